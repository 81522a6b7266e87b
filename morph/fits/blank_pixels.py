"""Blank pixels that are stored as a number: 0 in what SWarp and others write, -999, or any other constant.

Noise never repeats one value many times in a row. How often it repeats a value once is measured on the row itself:
never in floating point, often in integers. A longer run of one value is not a measurement. Each row is judged by
itself, so that the answer does not depend on how many rows are read at a time.
"""

import numpy as np

#: A run that noise makes with a smaller probability is blank. A survey's tile has 1e8 pixels.
CHANCE = 1e-15

#: Pixels of the shortest run that can be blank, and of runs that do not enter the estimate of the noise.
SHORTEST = 4
LONG = 16

#: Equal neighbours, and neighbours, that are added to those of a row: a prior for rows with few pixels.
UNSEEN = 0.5, 16

#: As `CHANCE`, for noise that often repeats one value: at most a tenth of a run in a tile is lost by it.
CHANCE_OF_FEW_VALUES = 1e-9

#: At least so many runs of one value in a row, single pixels included, measure how noise repeats it.
FEWEST = 8

#: No flux is so large; some programs mark missing pixels with such a value.
LARGEST = 1e20


def find_blank(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The blank pixels of some rows: those in runs of one value that noise cannot have made.

    A run that is the brightest in its row and does not touch the row's ends is a saturated star's plateau; those
    pixels are measurements and are returned separately.

    Parameters
    ----------
    rows : [..., rows, width], any real number; NaN belongs to no run.

    Returns
    -------
    blank : int [m], flat indices of the blank pixels.
    plateaus : int [k], flat indices of the pixels on saturated plateaus.
    """
    nothing = np.empty(0, dtype=int)
    width = rows.shape[-1]
    if width < SHORTEST or not rows.size:
        return nothing, nothing
    equal = rows[..., 1:] == rows[..., :-1]
    # Most images have no equal neighbours at all.
    if not equal.any():
        return nothing, nothing
    equal, pixels = equal.reshape(-1, width - 1), rows.reshape(-1, width)
    # Compressed images have many, and few rows with as many in turn as the shortest run has.
    pairs = equal[:, 1:] & equal[:, :-1]
    repeating = np.flatnonzero((pairs[:, 1:] & equal[:, :-2]).any(axis=1))
    if not len(repeating):
        return nothing, nothing
    row, first, length = _runs(equal[repeating])
    row = repeating[row]
    impossible = length >= _longest(row, length, width, len(pixels))
    row, first, length = row[impossible], first[impossible], length[impossible]
    impossible = length >= _longest_of_value(pixels, row, first)
    row, first, length = row[impossible], first[impossible], length[impossible]
    if not len(row):
        return nothing, nothing
    top = _is_top(pixels, row, first, length)
    begin = row * width + first
    return _indices(begin[~top], length[~top]), _indices(begin[top], length[top])


def mask_blank(flux: np.ndarray) -> np.ndarray:
    """A copy of an image, float [height, width, bands], that is NaN where a band is blank."""
    planes = np.array(np.moveaxis(flux, -1, 0), order="C")
    planes.flat[find_blank(planes)[0]] = np.nan
    return np.moveaxis(planes, 0, -1)


def _runs(equal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The runs of equal pixels: their row, their first pixel and their length; `equal` is bool [rows, width - 1]."""
    edges = np.zeros((len(equal), equal.shape[1] + 2), dtype="int8")
    edges[:, 1:-1] = equal
    steps = np.diff(edges, axis=1)
    row, first = np.nonzero(steps == 1)
    _, last = np.nonzero(steps == -1)
    return row, first, last - first + 1


def _longest(row: np.ndarray, length: np.ndarray, width: int, rows: int) -> np.ndarray:
    """The least length of each run, pixels, that the noise of its row cannot have made."""
    pairs = length - 1.0
    # The noise is measured without the long runs and the longest one, which may be blank themselves.
    longest = np.zeros(rows)
    np.maximum.at(longest, row, pairs)
    short = length < LONG
    left_out = np.bincount(row, np.where(short, 0, pairs), rows) + np.where(longest < LONG - 1, longest, 0)
    seen = np.bincount(row, pairs, rows) - left_out
    of_all = width - 1 - left_out
    share = (seen + UNSEEN[0]) / (of_all + UNSEEN[1])
    return np.maximum(np.log(CHANCE) / np.log(share[row]) + 1, SHORTEST)


def _longest_of_value(pixels: np.ndarray, row: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The least length of each run, pixels, that noise of few values cannot have made.

    Coarsely quantised noise repeats one value for long. It leaves that value as often as chance has it, so that the
    share of single-pixel runs measures the probability that a run goes on. Gaps have no single-pixel runs.
    """
    longest = np.zeros(len(row))
    for one in np.unique(row):
        line, here = pixels[one], np.flatnonzero(row == one)
        values = line[first[here]]
        for value in np.unique(values):
            edges = np.flatnonzero(np.diff(np.concatenate([[False], line == value, [False]]).astype("int8")))
            lengths = edges[1::2] - edges[::2]
            singles = (lengths == 1).sum()
            if singles and len(lengths) >= FEWEST:
                going_on = max(1 - singles / len(lengths), 1e-9)
                longest[here[values == value]] = np.log(CHANCE_OF_FEW_VALUES) / np.log(going_on) + 1
    return longest


def _is_top(pixels: np.ndarray, row: np.ndarray, first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Which runs are the brightest in their row, and do not touch its ends: bool [runs]."""
    value = pixels[row, first]
    brightest = np.fmax.reduce(pixels[row], axis=1)
    inside = (first > 0) & (first + length < pixels.shape[1])
    return inside & (value >= brightest) & (value > 0) & (value < LARGEST)


def _indices(begin: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The flat indices of all pixels of runs."""
    ends = np.cumsum(length)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(begin - ends + length, length)
