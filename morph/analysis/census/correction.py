"""Corrected fractions: what labelled galaxies, scored by the same model, say about a sample of another mix.

A model's fractions lean towards the mix that it was calibrated on, and towards what is still seen of faint and small
galaxies. The answers that it gives to galaxies of one kind, by contrast, are the same in every sample whose galaxies
are seen as well. So the labelled galaxies are weighted until the model's mean answers to them are those to the sample,

    w_i = b_i exp(sum_k lambda_k T_ik),

with T what the volunteers said of galaxy i: the mix is tilted in what the galaxies are, not in how the model saw them.
The corrected fractions are the volunteers', weighted by w; they lie between 0 and 1 and add up. b_i chooses labelled
galaxies and degraded copies of them which are seen as well as the sample's. lambda is the most probable one given the
covariance of the model's answers at fixed T and a normal prior. Where classes are hard, this is label shift solved by
moments (Lipton et al. 2018); expectation maximisation (Saerens et al. 2002) takes fractions of votes for uncertain
classes, and makes them worse.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from morph.analysis.census.classes import CLASSES, index_of, shares
from morph.analysis.census.visibility import CELLS, cell_of, in_common, likeness, sufficiency

#: The classes by which the mix may be tilted, and the classes whose means are compared.
TILTED = (
    "smooth-or-featured_smooth",
    "smooth-or-featured_featured-or-disk",
    "disk-edge-on_yes",
    "has-spiral-arms_yes",
    "how-rounded_round",
    "how-rounded_cigar-shaped",
    "bar_strong-or-weak",
    "bulge-size_small",
    "merging_any",
)
COMPARED = (
    *TILTED,
    "smooth-or-featured_artifact",
    "disk-edge-on_no",
    "has-spiral-arms_no",
    "how-rounded_in-between",
    "bulge-size_large-or-moderate",
    "odd-feature_any",
)

#: Width of the prior of lambda, for classes in units of their scatter among the labelled galaxies.
PRIOR = 1.0

#: Share of its diagonal that is added to a covariance matrix, which few galaxies measure badly.
RIDGE = 0.05

#: A class by which the mix is tilted must be known of so many of the labelled galaxies, and scatter by so much.
KNOWN, SCATTER = 0.9, 0.005

#: Resamples that make an interval.
RESAMPLES = 100

#: Steps of the search for lambda.
STEPS = 20


@dataclass(frozen=True)
class Labelled:
    """Labelled galaxies and degraded copies of them, scored by one model.

    Attributes
    ----------
    galaxy : which galaxy each row shows, int [n].
    copy : number of the degraded copy, int [n]; 0 for the galaxy as it is.
    answers : the model's tree fractions of the classes, [n, classes].
    truth : the volunteers', of the galaxy as it was shown to them, [n, classes]; NaN where not known.
    size, snr : how well the row's galaxy is seen, [n].
    about : provenance.
    """

    galaxy: np.ndarray
    copy: np.ndarray
    answers: np.ndarray
    truth: np.ndarray
    size: np.ndarray
    snr: np.ndarray
    about: dict[str, Any]

    @property
    def galaxies(self) -> int:
        return len(np.unique(self.galaxy))


@dataclass(frozen=True)
class Corrected:
    """Corrected mean tree fractions of one sample.

    Attributes
    ----------
    mean : [classes]; NaN where the labels do not say.
    resampled : [resamples, classes]: what else the fractions of this sample may be.
    variance : what one more galaxy adds to the fractions among those asked, its square, mean over the sample's
        galaxies, [classes]; over their number it is the variance from one sample to the next.
    effective : how many labelled galaxies the weights amount to.
    """

    mean: np.ndarray
    resampled: np.ndarray
    variance: np.ndarray
    effective: float


class Correction:
    """Corrects samples of galaxies.

    Parameters
    ----------
    labelled : the galaxies that it stands on.
    """

    def __init__(self, labelled: Labelled):
        truth = labelled.truth
        tilted = [index_of(name) for name in TILTED]
        rows = np.isfinite(truth[:, [index_of("smooth-or-featured_smooth")]]).all(axis=1)
        known = np.isfinite(truth[rows][:, tilted]).mean(axis=0) if rows.any() else np.zeros(len(tilted))
        scatter = np.array(
            [np.nanstd(truth[rows, k]) if share > 0 else 0 for k, share in zip(tilted, known, strict=True)]
        )
        self.tilted = [k for k, s, t in zip(tilted, known, scatter, strict=True) if s >= KNOWN and t > SCATTER]
        self.rows = np.flatnonzero(rows & np.isfinite(truth[:, self.tilted]).all(axis=1))
        self.labelled = labelled
        self.compared = [index_of(name) for name in COMPARED]
        self._x = labelled.answers[self.rows][:, self.compared].astype(float)
        self._truth = truth[self.rows]
        part = self._truth[:, self.tilted]
        self._z = (part - part.mean(axis=0)) / np.maximum(part.std(axis=0), 1e-9) if len(part) else part
        _, self._galaxy = np.unique(labelled.galaxy[self.rows], return_inverse=True)

    @property
    def galaxies(self) -> int:
        """Labelled galaxies that the correction stands on."""
        return int(self._galaxy.max()) + 1 if len(self._galaxy) else 0

    @cached_property
    def _originals(self) -> np.ndarray:
        """Which rows show a galaxy as it is, bool [rows]."""
        return self.labelled.copy[self.rows] == 0

    @cached_property
    def _stand_ins(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How well galaxies as they are stand for each cell, and copies, [cells, rows] each; and whether there are
        enough copies, [cells]."""
        size, snr = self.labelled.size[self.rows], self.labelled.snr[self.rows]
        found = []
        for some in (self._originals, ~self._originals):
            found.append(np.zeros((CELLS, len(size))))
            found[-1][:, some] = likeness(size[some], snr[some])
        copies = ~self._originals
        return found[0], found[1], sufficiency(size[copies], snr[copies]) if not copies.all() else np.ones(CELLS)

    def base(self, cells: np.ndarray) -> np.ndarray:
        """Weights of the labelled rows that are seen as well as a sample, [rows].

        Of a galaxy that is seen badly volunteers, too, see little, so that it would bring what they missed. Its votes
        count in a sample that is seen like the labelled galaxies as a whole; in any other, copies of galaxies that
        were seen better stand in, as far as there are enough.

        Parameters
        ----------
        cells : weight of the sample's galaxies in each cell, [cells + 1]; the last, of which it is not known how well
            they are seen, count as seen like the labelled galaxies as they are.
        """
        share = cells / max(cells.sum(), 1e-30)
        originals, copies, enough = self._stand_ins
        labelled = np.bincount(
            cell_of(*(each[self.rows][self._originals] for each in (self.labelled.size, self.labelled.snr))),
            minlength=CELLS + 1,
        )
        by_copies = enough * (1 - in_common(share[:CELLS], labelled[:CELLS]))
        unknown = self._originals / max(self._originals.sum(), 1)
        known = (share[:CELLS] * (1 - by_copies)) @ originals + (share[:CELLS] * by_copies) @ copies
        return known + share[CELLS] * unknown

    def correct(self, mean: np.ndarray, effective: float, cells: np.ndarray, seed: int = 0) -> Corrected:
        """The corrected mean tree fractions of a sample.

        Parameters
        ----------
        mean : the model's mean tree fractions, [classes].
        effective : galaxies in the sample, fewer where their weights differ.
        cells : as for `base`.
        seed : of the resamples.
        """
        base = self.base(cells)
        wanted = mean[self.compared]
        weight, start = self._tilt(base, wanted, effective)
        # What the model says of galaxies of one kind scatters: by so much the sample's mean may differ by chance.
        spread = np.linalg.cholesky(self._scatter(weight) / max(effective, 1.0))
        random = np.random.default_rng(seed)
        found = np.empty((RESAMPLES, len(CLASSES)))
        for row in found:
            # Bayesian bootstrap (Rubin 1981): a galaxy and its copies have one weight.
            drawn = base * random.standard_exponential(self.galaxies)[self._galaxy]
            moved = wanted + spread @ random.standard_normal(len(wanted))
            # What the sample does not determine is left to the prior, and is as uncertain as that.
            prior = PRIOR * random.standard_normal(len(start))
            row[:] = self._means(self._tilt(drawn / drawn.sum(), moved, effective, start, prior)[0])
        of_galaxy = np.bincount(self._galaxy, weight)
        return Corrected(self._means(weight), found, self._variance(weight), float(1 / np.sum(of_galaxy**2)))

    def completeness(self, cells: np.ndarray) -> np.ndarray:
        """What of each class is still seen in a sample, [classes]: how much the model's answers differ between
        galaxies that have it and galaxies that do not, over how much they do among galaxies that are seen best.

        NaN where the labels do not say, or it is not known how well the sample is seen.
        """
        known = cells[:CELLS].sum()
        if known <= 0:
            return np.full(len(CLASSES), np.nan)
        return np.clip(cells[:CELLS] / known @ self.seen, 0, 1)

    @cached_property
    def seen(self) -> np.ndarray:
        """`completeness` of each cell, [cells, classes]."""
        answers = self.labelled.answers[self.rows]
        known = np.isfinite(self._truth)
        t, x = np.where(known, self._truth, 0.0), np.where(known, answers, 0.0)
        originals, copies, there = self._stand_ins
        weight = there[:, None] * copies + (1 - there[:, None]) * originals
        total = np.maximum(weight @ known, 1e-30)
        mean_t, mean_x = (weight @ t) / total, (weight @ x) / total
        covariance = (weight @ (t * x)) / total - mean_t * mean_x
        variance = (weight @ t**2) / total - mean_t**2
        enough = (total > 0.5) & (variance > SCATTER**2)
        slope = np.divide(covariance, variance, where=enough, out=np.full_like(variance, np.nan))
        return slope / np.maximum(slope[-1], 1e-9)

    def _means(self, weight: np.ndarray) -> np.ndarray:
        """The volunteers' fractions, weighted; NaN for classes that are not known of a twentieth of the weight."""
        known = np.isfinite(self._truth)
        total = weight @ known
        mean = weight @ np.where(known, self._truth, 0) / np.maximum(total, 1e-30)
        return np.where(total >= 0.95, mean, np.nan)

    def _variance(self, weight: np.ndarray) -> np.ndarray:
        """`Corrected.variance`: of ratios, linearised."""
        fraction, asked = shares(self._means(weight))
        reach = shares(self._truth)[1]
        off = np.where(np.isfinite(self._truth), self._truth - fraction * reach, 0.0)
        return weight @ off**2 / np.maximum(asked, 1e-9) ** 2

    def _tilt(
        self,
        base: np.ndarray,
        wanted: np.ndarray,
        effective: float,
        start: np.ndarray | None = None,
        prior: np.ndarray | float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights whose mean answers are those `wanted`, and lambda: Gauss-Newton steps, shorter where too long.
        `prior` is the prior's mean."""
        of_galaxy = np.bincount(self._galaxy, base)
        scatter = self._scatter(base) * (1 / max(effective, 1.0) + np.sum(of_galaxy**2))
        inverse = np.linalg.inv(scatter)
        x, z = self._x, self._z
        lam = np.zeros(z.shape[1]) if start is None else start

        def at(value: np.ndarray) -> tuple[np.ndarray, float]:
            exponent = z @ value
            weight = base * np.exp(exponent - exponent.max())
            weight /= weight.sum()
            off = wanted - weight @ x
            return weight, float(off @ inverse @ off + np.sum((value - prior) ** 2) / PRIOR**2)

        weight, worth = at(lam)
        for _ in range(STEPS):
            mean = weight @ x
            slope = ((z - weight @ z) * weight[:, None]).T @ (x - mean)
            curvature = slope @ inverse @ slope.T + np.eye(len(lam)) / PRIOR**2
            step = np.linalg.solve(curvature, slope @ inverse @ (wanted - mean) - (lam - prior) / PRIOR**2)
            for scale in (1.0, 0.5, 0.25, 0.1, 0.02):
                tried, value = at(lam + scale * step)
                if value < worth:
                    break
            else:
                break
            gained, lam, weight, worth = worth - value, lam + scale * step, tried, value
            if gained < 1e-4:
                break
        return weight, lam

    def _scatter(self, base: np.ndarray) -> np.ndarray:
        """Covariance of the model's answers at fixed truth."""
        x, z = self._x - base @ self._x, self._z - base @ self._z
        spread = (z * base[:, None]).T @ z
        part = RIDGE * np.diag(np.diag(spread)) + 1e-9 * np.eye(len(spread))
        rest = x - z @ np.linalg.solve(spread + part, (z * base[:, None]).T @ x)
        scatter = (rest * base[:, None]).T @ rest
        diagonal = np.diag(scatter)
        return scatter + np.diag(RIDGE * diagonal + 1e-3 * diagonal.mean() + 1e-9)
