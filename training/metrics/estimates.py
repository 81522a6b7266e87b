"""Estimates with bootstrap intervals.

Every metric in `training.metrics.votes` is a function of sums over galaxies: counts in a confusion matrix, summed
squared errors, summed log-likelihoods. So the bootstrap needs no loop: a matrix of resampling weights times a matrix
of each galaxy's contributions gives the sums of all resamples at once, the same resamples for every metric and every
model. That makes differences between models *paired*: galaxies that are hard for both cancel.
"""

from dataclasses import dataclass, replace

import numpy as np

#: Resamples of the bootstrap, and the tail left out on each side of an interval.
RESAMPLES = 1000
TAIL = 0.025
#: Numbers in one block of resampling weights: 160 MB of float64.
_BLOCK = 20_000_000


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval from the bootstrap, and the number of galaxies behind it.

    An interval of no width means that all these galaxies agree, not that the value is certain: look at `n`.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, value: float | np.ndarray, resamples: np.ndarray, n: int) -> "Estimate":
        """A value with the interval of its resamples.

        Parameters
        ----------
        value : of all galaxies.
        resamples : its values for the bootstrap's samples.
        n : galaxies.
        """
        low, high = interval(resamples)
        return cls(float(value), float(low), float(high), n)

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero; meant for differences."""
        return self.low > 0 or self.high < 0


def interval(resamples: np.ndarray) -> np.ndarray:
    """The middle 95 % of resampled values, along the first axis: low and high.

    NaN is left out: some resamples hold no galaxy of a rare answer.
    """
    return np.nanquantile(resamples, [TAIL, 1 - TAIL], axis=0)


@dataclass(frozen=True)
class Sums:
    """Contributions to the metrics, of each galaxy or added up.

    Attributes
    ----------
    parts : {(question, what): [..., k]}; `what` is one of ``confusion`` (answers x answers, flat), ``confident``
        (right, all), ``calibration`` and ``class-calibration`` (excess, its square and galaxies, each in bins),
        ``asked`` (1), ``log-likelihood`` (1), ``coverage`` (one a level, galaxies), ``squares`` (sum, terms,
        galaxies). The leading axis is that of galaxies, then, after `total`, none; after `resample`, that of
        resamples.
    answers : {question: names of the rows and columns of its confusion matrix}.
    """

    parts: dict[tuple[str, str], np.ndarray]
    answers: dict[str, tuple[str, ...]]

    def total(self) -> "Sums":
        """Added up over galaxies."""
        return replace(self, parts={key: part.sum(axis=0) for key, part in self.parts.items()})

    def resample(self, resamples: int, seed: int) -> "Sums":
        """Added up over as many galaxies drawn with replacement, `resamples` times."""
        table = np.column_stack(list(self.parts.values()))
        ends = np.cumsum([part.shape[1] for part in self.parts.values()])
        sums = _bootstrap(table, resamples, np.random.default_rng(seed))
        return replace(self, parts=dict(zip(self.parts, np.split(sums, ends[:-1], axis=1), strict=True)))


def _bootstrap(table: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    n = len(table)
    rows = max(1, _BLOCK // n)
    sums = np.empty((resamples, table.shape[1]))
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        drawn = generator.integers(n, size=(block, n)) + n * np.arange(block)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=block * n).reshape(block, n)
        sums[start : start + block] = weights.astype(float) @ table
    return sums
