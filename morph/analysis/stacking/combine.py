"""The mean, the median or the clipped mean of many galaxies' rings, with its errors.

Every estimate has its influence function: what one galaxy more adds to it. Errors of estimates, of differences between
them and of what is computed from them follow from its scatter over galaxies, which is a bootstrap to first order.
"""

from dataclasses import dataclass

import numpy as np

#: Ways to combine galaxies.
KINDS = ("mean", "median", "clipped")
#: A sector is clipped that differs from its galaxy's own ring by more than so many sigma (scaled median absolute
#: deviation) of such differences and more than that ring's brightness; a ring, by so many sigma of other galaxies'.
CLIP, CLIP_RING = 5.0, 15.0
#: A cell counts where this share of it is not masked.
LEAST_COVER = 0.3
#: Galaxies that a test needs for each ring.
PER_RING = 10
#: Bootstrap draws.
DRAWS = 1000


@dataclass(frozen=True)
class Cells:
    """Cells of many galaxies: `mean`, nanomaggies per square arcsec, and `cover`, the unmasked share.

    Both float32 [n, bands, rings, sectors].
    """

    mean: np.ndarray
    cover: np.ndarray

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True)
class Profile:
    """An estimate in rings.

    Attributes
    ----------
    flux : [bands, rings], nanomaggies per square arcsec; NaN where no galaxy has data.
    influence : float32 [n, bands, rings], of each galaxy.
    number : [bands, rings], galaxies in it, those that are partly masked in part.
    """

    flux: np.ndarray
    influence: np.ndarray
    number: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Standard error: [bands, rings]."""
        return standard_error(self.influence)

    def __sub__(self, other: "Profile") -> "Profile":
        """The difference of two estimates of the same galaxies, whose common noise cancels."""
        number = np.minimum(self.number, other.number)
        return Profile(self.flux - other.flux, self.influence - other.influence, number)

    def covariance(self, band: int) -> np.ndarray:
        """Of the rings of a band: [rings, rings]."""
        centred = self.influence[:, band].astype("float64")
        return centred.T @ centred / len(centred) / max(len(centred) - 1, 1)

    def mean_over(self, rings: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean over some rings and its standard error: [bands], [bands].

        Parameters
        ----------
        rings : bool [rings].
        areas : [rings], which weigh them.
        """
        weights = np.where(rings, areas, 0.0)[None] * np.isfinite(self.flux)
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)
        level = (np.nan_to_num(self.flux) * weights).sum(axis=1)
        return level, standard_error((self.influence * weights).sum(axis=2))


def standard_error(influence: np.ndarray) -> np.ndarray:
    """Of an estimate with an influence function [n, ...]: [...]."""
    count = len(influence)
    return np.sqrt((influence.astype("float64") ** 2).sum(axis=0) / max(count - 1, 1) / max(count, 1))


def weights_of(cells: Cells, kind: str, members: np.ndarray | None = None) -> np.ndarray:
    """How much each cell of each galaxy counts: float32, of the cells' shape.

    Parameters
    ----------
    cells : of galaxies.
    kind : one of `KINDS`.
    members : bool [n], the galaxies that count; all if not given.
    """
    weights = np.where(cells.cover >= LEAST_COVER, cells.cover, 0)
    if members is not None:
        weights[~members] = 0
    if kind != "clipped":
        return weights
    # Band by band, for a copy of all takes memory.
    for band in range(cells.mean.shape[1]):
        values = np.where(weights[:, band] > 0, cells.mean[:, band], np.nan)
        weights[:, band][_outliers(values)] = 0
    return weights


def _outliers(values: np.ndarray) -> np.ndarray:
    """Which cells [n, rings, sectors] are another source's light.

    A bright galaxy is bright in all sectors and is not clipped: a mean that leaves the brightest out is no mean.
    """
    seen = np.isfinite(values)
    own = np.nanmedian(np.where(seen.any(axis=-1, keepdims=True), values, 0), axis=-1)
    apart = np.where(seen, values - own[..., None], np.nan)
    _, spread = _robust(np.moveaxis(apart, 2, 1).reshape(-1, values.shape[1]))
    middle, rings = _robust(np.where(seen.any(axis=-1), own, np.nan))
    with np.errstate(invalid="ignore"):
        sector = abs(apart) > CLIP * spread[:, None] + abs(own)[..., None]
        return sector | (abs(own - middle) > CLIP_RING * rings)[..., None]


def _robust(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and scaled median absolute deviation over galaxies; NaN without any."""
    empty = ~np.isfinite(values).any(axis=0)
    filled = np.where(empty, 0, values)
    middle = np.nanmedian(filled, axis=0)
    spread = 1.4826 * np.nanmedian(abs(filled - middle), axis=0)
    return middle, np.where(spread > 0, spread, np.inf)


def combine(
    cells: Cells, kind: str = "clipped", members: np.ndarray | None = None, sectors: np.ndarray | None = None
) -> Profile:
    """Combine galaxies cell by cell, and average the sectors of each ring.

    Parameters
    ----------
    cells : of galaxies.
    kind : one of `KINDS`.
    members : bool [n], the galaxies that count; all if not given.
    sectors : bool [sectors], the sectors that count; all if not given.
    """
    weights = weights_of(cells, kind, members)
    if sectors is not None:
        weights[..., ~sectors] = 0
    count = len(cells)
    total = weights.sum(axis=0, dtype="float64")
    known = total > 0
    if kind == "median":
        values = np.where(weights > 0, cells.mean, np.nan)
        values[:, ~known] = 0
        flux = np.nanmedian(values, axis=0)
        low, high = np.nanquantile(values, [0.4, 0.6], axis=0)
        # The median's influence is the sign over twice the density, which two quantiles around it give.
        step = np.maximum(high - low, 1e-30) / 0.4
        seen = (weights > 0).sum(axis=0)
        scaled = np.sign(np.nan_to_num(values - flux)) * (weights > 0) * (step * count / np.maximum(seen, 1))
    else:
        flux = (weights * cells.mean).sum(axis=0, dtype="float64") / np.where(known, total, 1)
        scaled = weights * (cells.mean - flux) * (count / np.where(known, total, 1))
    share = known / np.maximum(known.sum(axis=-1, keepdims=True), 1)
    ring = (np.where(known, flux, 0) * share).sum(axis=-1)
    ring[~known.any(axis=-1)] = np.nan
    influence = np.einsum("nbrs,brs->nbr", scaled.astype("float32"), share.astype("float32"))
    return Profile(ring, influence, (total * share).sum(axis=-1))


def at_certainty(cells: Cells, probability: np.ndarray, kind: str = "clipped") -> Profile:
    """The profile of galaxies that are certainly of a type, from a calibrated probability that each is.

    A galaxy of probability p has the type's profile with that probability and another with 1 - p, so that the mean
    brightness is a straight line in p; this is where the line ends at p = 1.

    Parameters
    ----------
    cells : of galaxies.
    probability : [n], calibrated.
    kind : how outliers are treated.

    Returns
    -------
    Profile : at p = 1; NaN where the probabilities are too much alike.
    """
    weights = weights_of(cells, kind)
    number = weights.sum(axis=-1)
    values = (weights * cells.mean).sum(axis=-1) / np.maximum(number, 1e-9)
    number = number / cells.mean.shape[-1]
    rest = (1 - probability)[:, None, None]
    sums = [number.sum(axis=0), (number * rest).sum(axis=0), (number * rest**2).sum(axis=0)]
    first, second = (number * values).sum(axis=0), (number * rest * values).sum(axis=0)
    determinant = sums[0] * sums[2] - sums[1] ** 2
    safe = np.where(determinant > 1e-9 * np.maximum(sums[0], 1) ** 2, determinant, np.nan)
    flux = (sums[2] * first - sums[1] * second) / safe
    slope = (sums[0] * second - sums[1] * first) / safe
    pull = (sums[2] - sums[1] * rest) / safe
    influence = len(cells) * number * pull * (values - flux - slope * rest)
    return Profile(flux, np.nan_to_num(influence).astype("float32"), sums[0])


def draw(influence: np.ndarray, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """Bootstrap draws of what estimates with these influences deviate from their values: [draws, ...].

    Parameters
    ----------
    influence : [n, ...].
    seed : of the random numbers: with one seed, estimates of the same galaxies deviate together.
    draws : how many.
    """
    count = len(influence)
    rng = np.random.default_rng(seed)
    flat = influence.reshape(count, -1)
    found = np.zeros((draws, flat.shape[1]))
    step = max(1, 20_000_000 // max(count, 1))
    for start in range(0, draws, step):
        times = rng.multinomial(count, np.full(count, 1 / count), size=min(step, draws - start))
        found[start : start + len(times)] = (times - 1.0) @ flat / count
    return found.reshape(draws, *influence.shape[1:])


def chi_square(profile: Profile, band: int, common: float = 0.0) -> tuple[float, int, float]:
    """Whether a profile is zero: chi-square, rings (or groups of them), and the probability of a larger one.

    Hotelling's test: the covariance is the galaxies' own.

    Parameters
    ----------
    profile : of a band.
    band : which.
    common : standard error of a level that all rings share.
    """
    from scipy.stats import f

    good = np.flatnonzero(np.isfinite(profile.flux[band]) & (profile.error[band] > 0))
    count = len(profile.influence)
    if len(good) == 0 or count < PER_RING:
        return float("nan"), len(good), float("nan")
    # With few galaxies a covariance of many rings is not known: neighbouring rings are joined.
    groups = np.array_split(good, max(1, min(len(good), count // PER_RING)))
    weights = np.zeros((len(groups), len(profile.flux[band])))
    for row, group in zip(weights, groups, strict=True):
        row[group] = profile.error[band, group] ** -2.0
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = weights @ profile.covariance(band) @ weights.T + common**2
    flux = weights @ np.nan_to_num(profile.flux[band])
    value, rings = float(flux @ np.linalg.solve(matrix, flux)), len(groups)
    return value, rings, float(f.sf(value * (count - rings) / (rings * (count - 1)), rings, count - rings))
