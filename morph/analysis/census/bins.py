"""The bins of a census: `--by magnitude,redshift --bins magnitude=14,16,17,18`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from morph.errors import InputError

#: Edges where none are given: whole magnitudes, steps of 0.05 in redshift, factors of the square root of two in size
#: (arcsec) and of two in signal to noise.
EDGES: dict[str, np.ndarray] = {
    "magnitude": np.arange(8.0, 29.0),
    "redshift": np.concatenate([np.arange(0, 0.5, 0.05), np.arange(0.5, 1.01, 0.1), [1.25, 1.5, 2, 3, 5, 10]]).round(
        2
    ),
    "radius": 0.5 * 2 ** (np.arange(20) / 2),
    "snr": 10.0 * 2 ** np.arange(12),
}
_SAME = {"mag_r": "magnitude", "mag": "magnitude", "z": "redshift", "size": "radius"}

#: Bins with fewer galaxies than this are merged with a neighbour, or flagged where there is none.
FEWEST = 10

#: More bins than this are a mistake, and would not fit into memory.
MOST = 5000


@dataclass(frozen=True)
class Bins:
    """A grid of bins over some quantities.

    Attributes
    ----------
    names : of the quantities, as they were asked for; none for one bin that holds all.
    edges : of each quantity, in rising order.
    """

    names: tuple[str, ...] = ()
    edges: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, by: str, given: Sequence[str] = ()) -> "Bins":
        """Read ``--by`` and each ``--bins``. InputError names what cannot be understood.

        >>> Bins.of("magnitude,z", ["magnitude=14,16,18", "z=0:0.2:0.1"]).edges
        (array([14., 16., 18.]), array([0. , 0.1, 0.2]))
        """
        names = [name.strip().lower() for name in by.split(",") if name.strip()]
        if len({*names}) < len(names):
            raise InputError(f"--by {by} names a quantity twice.")
        edges: dict[str, np.ndarray] = {}
        for text in given:
            name, _, numbers = text.partition("=")
            name = name.strip().lower()
            if name not in names or not numbers:
                raise InputError(
                    f"--bins '{text}' does not name a quantity of --by; write --bins magnitude=14,16,17,18 or --bins "
                    "redshift=0:0.3:0.05."
                )
            edges[name] = _edges(numbers, text)
        for name in names:
            usual = _SAME.get(name, name)
            if name not in edges and usual not in EDGES:
                raise InputError(f"Bins of '{name}' have no usual edges; give them: --bins {name}=LOW,...,HIGH.")
            edges.setdefault(name, EDGES.get(usual, np.zeros(0)))
        made = cls(tuple(names), tuple(edges[name] for name in names))
        if made.count > MOST:
            raise InputError(f"These are {made.count:,} bins; give wider ones with --bins, at most {MOST:,} in all.")
        return made

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(each) - 1 for each in self.edges)

    @property
    def count(self) -> int:
        """Bins in all."""
        return int(np.prod(self.shape, dtype=int))

    def place(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The bin of each galaxy, int [n]; -1 where a value is not known, -2 where one lies outside all bins.

        The lower edge belongs to a bin, and the last bin has its upper edge too.
        """
        count = len(next(iter(values.values())))
        place, outside, unknown = (np.zeros(count, dtype=int) for _ in range(3))
        for name, edges in zip(self.names, self.edges, strict=True):
            each = values[name]
            at = np.searchsorted(edges, each, side="right") - 1
            at = np.where(each == edges[-1], len(edges) - 2, at)
            unknown |= ~np.isfinite(each)
            outside |= (at < 0) | (at >= len(edges) - 1)
            place = place * (len(edges) - 1) + np.clip(at, 0, len(edges) - 2)
        return np.where(unknown > 0, -1, np.where(outside > 0, -2, place))

    def limits(self, number: int) -> dict[str, tuple[float, float]]:
        """The lower and upper edge of a bin in each quantity."""
        at = np.unravel_index(number, self.shape) if self.names else ()
        return {
            name: (float(edges[i]), float(edges[i + 1]))
            for name, edges, i in zip(self.names, self.edges, at, strict=True)
        }


@dataclass(frozen=True)
class Merged:
    """Bins that are reported together: their numbers, and whether they were merged for having few galaxies."""

    numbers: tuple[int, ...]
    merged: bool


def merge_few(bins: Bins, counts: np.ndarray, fewest: int = FEWEST) -> list[Merged]:
    """Merge bins of few galaxies with their neighbours along the last quantity.

    Parameters
    ----------
    bins : the grid.
    counts : galaxies in each bin, [bins].
    fewest : galaxies that a bin needs.

    Returns
    -------
    Bins with galaxies, in order. One that is still short of galaxies has no neighbour that it could be merged with.

    Examples
    --------
    >>> one = Bins.of("magnitude", ["magnitude=14,15,16,17"])
    >>> [each.numbers for each in merge_few(one, np.array([3, 20, 40]))]
    [(0, 1), (2,)]
    """
    rows = np.arange(bins.count).reshape(-1, bins.shape[-1] if bins.names else 1)
    found: list[Merged] = []
    for row in rows:
        groups: list[list[int]] = []
        for number in row.tolist():
            if groups and 0 < counts[groups[-1]].sum() < fewest and counts[number] > 0:
                groups[-1].append(number)
            elif counts[number] > 0:
                groups.append([number])
        # The last one that is short joins the one before.
        if len(groups) > 1 and counts[groups[-1]].sum() < fewest:
            groups[-2:] = [[*groups[-2], *groups[-1]]]
        found += [Merged(tuple(group), len(group) > 1) for group in groups]
    return found


def _edges(numbers: str, text: str) -> np.ndarray:
    """Numbers with commas between, or LOW:HIGH:STEP."""
    try:
        if numbers.count(":") == 2:
            low, high, step = map(float, numbers.split(":"))
            if not 0 < (high - low) / step <= MOST:
                raise ValueError
            edges = np.linspace(low, high, max(round((high - low) / step), 1) + 1)
        else:
            edges = np.array([float(part) for part in numbers.split(",")])
    except (ValueError, ZeroDivisionError):
        edges = np.zeros(0)
    if len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise InputError(
            f"--bins '{text}' is not a list of rising numbers; write --bins magnitude=14,16,17,18 or "
            "--bins redshift=0:0.3:0.05."
        )
    return edges.round(9)
