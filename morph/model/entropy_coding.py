"""Numbers to bytes: quantised by one step, which is the finest that fits, and coded by how often each value occurs.

All numbers of a galaxy have the same step, so that all have the same error, which is the best for a given length
(Cover & Thomas 2006, section 10.3.3). A number that is mostly zero then costs a fraction of a bit. The values are
coded as one long integer (arithmetic coding: Rissanen 1976); Python's integers have as many digits as that takes.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

#: Quantiles that the distribution of each number is kept as, and their levels: dense in both tails.
KNOTS = 65
LEVELS = 0.5 * (1 - np.cos(np.pi * np.arange(KNOTS) / (KNOTS - 1)))
#: The steps, finest first. The finest is far below the noise of any image, the coarsest leaves no number but zero.
STEPS = 2.0 ** (np.arange(64) / 4 - 3)
#: Values reach beyond those of the training galaxies by this share of their range, to each side.
BEYOND = 0.5
#: Less than this of a step is dropped from the size of every number, since zeros are cheap.
DEAD_ZONE = 0.1
#: Probabilities are multiples of 2 to the power of minus this.
PRECISION = 20


@dataclass(frozen=True)
class _Table:
    """The values of all numbers at one step.

    Attributes
    ----------
    lowest, highest : values of each number, int [k].
    offsets : the place of each number's first value in `cumulative`, int [k].
    cumulative : cumulative frequencies of the values of one number after the other, with a last one for the end, int.
    bits : of each value, at the same places.
    """

    lowest: np.ndarray
    highest: np.ndarray
    offsets: np.ndarray
    cumulative: np.ndarray
    bits: np.ndarray
    lists: list[list[int]]


class EntropyCoder:
    """Numbers of codes to bytes and back.

    Parameters
    ----------
    knots : the quantiles at `LEVELS` of each number, [k, `KNOTS`].
    """

    def __init__(self, knots: np.ndarray):
        self.knots = np.asarray(knots, dtype="float64")
        self._tables: dict[int, _Table] = {}

    def encode(self, numbers: np.ndarray, length: int) -> tuple[np.ndarray, list[bytes]]:
        """The code of each galaxy.

        Parameters
        ----------
        numbers : [n, k], the first ones.
        length : of the code in bytes.

        Returns
        -------
        steps : the place in `STEPS` of each galaxy's step, int [n].
        codes : `length` bytes each.
        """
        steps = self._finest(numbers, 8 * length)
        codes = [b""] * len(numbers)
        for step in np.unique(steps):
            table, rows = self._table(int(step)), np.flatnonzero(steps == step)
            places = _places(table, numbers[rows], STEPS[step])
            low = table.cumulative[places]
            size = table.cumulative[places + 1] - low
            for row, starts, sizes in zip(rows, low.tolist(), size.tolist(), strict=True):
                codes[row] = _to_bytes(starts, sizes, length)
        return steps, codes

    def decode(self, steps: np.ndarray, codes: list[bytes], count: int) -> np.ndarray:
        """The numbers of codes, float32 [n, count]: the inverse of `encode`.

        Parameters
        ----------
        steps, codes : as `encode` gives them.
        count : of the numbers in each code.
        """
        numbers = np.zeros((len(codes), count), dtype="float32")
        for row, (step, code) in enumerate(zip(steps.tolist(), codes, strict=True)):
            table = self._table(step)
            values = _from_bytes(code, table.lists[:count])
            numbers[row] = (np.asarray(values) + table.lowest[:count]) * STEPS[step]
        return numbers

    def _finest(self, numbers: np.ndarray, bits: int) -> np.ndarray:
        """The place of the finest step by which each galaxy fits into so many bits, int [n]: a binary search."""
        low, high = np.zeros(len(numbers), dtype=int), np.full(len(numbers), len(STEPS) - 1)
        while (open_ := low < high).any():
            middle = (low + high) // 2
            fits = np.zeros(len(numbers), dtype=bool)
            for step in np.unique(middle[open_]):
                rows = np.flatnonzero(open_ & (middle == step))
                table = self._table(int(step))
                # The sum's rounding must not make an integer too long.
                fits[rows] = table.bits[_places(table, numbers[rows], STEPS[step])].sum(axis=1) <= bits - 1e-6
            high = np.where(open_ & fits, middle, high)
            low = np.where(open_ & ~fits, middle + 1, low)
        return high

    def _table(self, step: int) -> _Table:
        if step not in self._tables:
            self._tables[step] = self._make_table(STEPS[step])
        return self._tables[step]

    def _make_table(self, step: float) -> _Table:
        least, most = self.knots[:, 0], self.knots[:, -1]
        margin = BEYOND * (most - least)
        lowest = np.minimum(np.rint((least - margin) / step), 0).astype(int)
        highest = np.maximum(np.rint((most + margin) / step), 0).astype(int)
        parts, bits = [], []
        for knots, low, high in zip(self.knots, lowest, highest, strict=True):
            # The zero is as wide as its dead zone makes it, all other values lie farther out.
            edges = np.arange(low, high) + 0.5
            edges = (edges + DEAD_ZONE * np.sign(edges)) * step
            shares = np.concatenate([[0.0], np.interp(edges, knots, LEVELS, left=0.0, right=1.0), [1.0]])
            count = high - low + 1
            # Every value occurs, so that none is impossible to code.
            cumulative = np.floor(shares * (2**PRECISION - count)).astype(np.int64) + np.arange(count + 1)
            parts.append(cumulative)
            bits.append(np.append(PRECISION - np.log2(np.diff(cumulative)), 0.0))
        offsets = np.cumsum([0, *(len(part) for part in parts[:-1])])
        lists = [part.tolist() for part in parts]
        return _Table(lowest, highest, offsets, np.concatenate(parts), np.concatenate(bits), lists)


def _places(table: _Table, numbers: np.ndarray, step: float) -> np.ndarray:
    """The places of quantised numbers in a table, int [n, k]."""
    k = numbers.shape[1]
    values = np.copysign(np.floor(np.abs(numbers) / step + (0.5 - DEAD_ZONE)), numbers).astype(int)
    values = np.clip(values, table.lowest[:k], table.highest[:k])
    return values - table.lowest[:k] + table.offsets[:k]


def _to_bytes(starts: list[int], sizes: list[int], length: int) -> bytes:
    """The bytes of a sequence of values.

    Each narrows an interval of integers to its own part. The code is the one integer of the last interval that ends
    with enough zeros, without them.

    Parameters
    ----------
    starts, sizes : cumulative frequency and frequency of each value.
    length : of the code in bytes.
    """
    low, width, digits = 0, 1, 0
    for start, size in zip(reversed(starts), reversed(sizes), strict=True):
        low = (start << digits) + size * low
        width *= size
        digits += PRECISION
    shift = digits - 8 * length
    if shift <= 0:
        return (low << -shift).to_bytes(length, "big")
    return (-(-low >> shift)).to_bytes(length, "big")


def _from_bytes(code: bytes, tables: list[list[int]]) -> list[int]:
    """The values of a code, counted from the lowest of each number.

    Parameters
    ----------
    code : as `_to_bytes` gives it.
    tables : the cumulative frequencies of the values of each number.
    """
    digits = PRECISION * len(tables)
    shift = digits - 8 * len(code)
    left = int.from_bytes(code, "big")
    left = left << shift if shift > 0 else left >> -shift
    values = []
    for cumulative in tables:
        digits -= PRECISION
        # A damaged code may point beyond the last value.
        value = min(bisect_right(cumulative, left >> digits) - 1, len(cumulative) - 2)
        start = cumulative[value]
        left = (left - (start << digits)) // (cumulative[value + 1] - start)
        values.append(value)
    return values
