"""How well photometric redshifts agree with the true ones, in the field's terms: pure NumPy, every metric an
estimate with its interval.

With delta = (z_phot - z_spec) / (1 + z_spec), and z_phot the median of the posterior:

- ``sigma-mad``: 1.4826 median |delta - median(delta)|, the scatter of the core (the normalised median absolute
  deviation of Ilbert et al. 2006, here taken about the median, as in Brammer et al. 2008, so that a bias is not
  counted twice).
- ``bias``: median(delta).
- ``outliers``: share of galaxies with |delta| > 0.15 (Ilbert et al. 2006), and ``outliers-low``: with |delta| > 0.05,
  the tighter cut for samples at low redshift, where hardly any delta can reach 0.15.
- ``crps``: continuous ranked probability score of the posterior, in redshift; less is better (Gneiting & Raftery
  2007).
- ``cde-loss``: mean of the integral of p(z)^2 less 2 p(z_spec), for the posterior's kernel density p; less is better
  (Izbicki & Lee 2017, as RAIL evaluates conditional densities).
- ``coverage-68``, ``coverage-95``: share of the true redshifts inside the posterior's central 68 % and 95 %.
- ``pit-ks``: Kolmogorov's distance between the probability integral transforms (PIT) of the true redshifts and a flat
  distribution. A finite sample is never flat: chance alone stays below `flat_enough` 95 times in 100.

Intervals are 95 %, from a bootstrap over galaxies. A bootstrap adds noise of its own to a distance that cannot be
negative, so the interval of ``pit-ks`` lies too high; those of the others do not.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from training.metrics.densities import densities, grid_of
from training.metrics.estimates import RESAMPLES, Estimate

#: |delta| beyond which a redshift is an outlier, for any sample and for one at low redshift.
OUTLIER, OUTLIER_LOW = 0.15, 0.05
#: A Gaussian's standard deviation in units of its median absolute deviation.
MAD = 1.4826
#: Kolmogorov's distance times sqrt(n) that chance exceeds once in twenty times.
KOLMOGOROV = 1.358
#: Numbers in one block of resampled galaxies: 80 MB of float64.
_BLOCK = 10_000_000


def deltas(z_phot: np.ndarray, z_spec: np.ndarray) -> np.ndarray:
    """(z_phot - z_spec) / (1 + z_spec), [n].

    >>> deltas(np.array([0.21]), np.array([0.1])).round(3).tolist()
    [0.1]
    """
    return (np.asarray(z_phot, float) - z_spec) / (1 + np.asarray(z_spec, float))


def sigma_mad(delta: np.ndarray) -> np.ndarray:
    """1.4826 median |delta - median(delta)| over the last axis."""
    return MAD * np.median(np.abs(delta - np.median(delta, axis=-1, keepdims=True)), axis=-1)


def rail_outliers(delta: np.ndarray) -> np.ndarray:
    """Share with |delta| above three standard deviations (interquartile range / 1.349), and above 0.06 at least, over
    the last axis: RAIL's ``PointOutlierRate``."""
    low, high = np.quantile(delta, [0.25, 0.75], axis=-1)
    return (np.abs(delta) > np.maximum(3 * (high - low) / 1.349, 0.06)[..., None]).mean(axis=-1)


def pit(draws: np.ndarray, z_spec: np.ndarray, seed: int = 0) -> np.ndarray:
    """The probability integral transform: the posterior's probability below the true redshift, [n] in (0, 1).

    Uniform when the posteriors are calibrated (Dawid 1984). The true redshift's rank among the draws is one of
    draws + 1 equal steps; a uniform number within the step makes the result continuous.

    Parameters
    ----------
    draws : [n, draws] from each posterior.
    z_spec : [n].
    seed : of the random numbers within the steps.

    Returns
    -------
    [n].
    """
    below = (draws < z_spec[:, None]).sum(axis=1)
    # Draws that equal the truth lie on either side of it.
    equal = (draws == z_spec[:, None]).sum(axis=1)
    random = np.random.default_rng(seed).random(len(draws))
    return (below + random * (equal + 1)) / (draws.shape[1] + 1)


def crps(draws: np.ndarray, z_spec: np.ndarray) -> np.ndarray:
    """E|z - z_spec| - E|z - z'| / 2 over each posterior's draws, [n] (Gneiting & Raftery 2007, eq. 21).

    The second mean is over pairs of different draws, which makes the score unbiased in their number.
    """
    ordered = np.sort(draws.astype(float), axis=1)
    m = ordered.shape[1]
    # Of the ordered draws, number k is the larger of k pairs and the smaller of m - 1 - k.
    spread = ordered @ (2 * np.arange(m) - (m - 1)) / max(m * (m - 1), 1)
    return np.abs(ordered - z_spec[:, None]).mean(axis=1) - spread


def cde_loss(draws: np.ndarray, z_spec: np.ndarray) -> np.ndarray:
    """The integral of p(z)^2 less 2 p(z_spec), [n], for the kernel density p of each posterior's draws.

    >>> bool(cde_loss(np.full((1, 50), 0.2) + np.linspace(-0.01, 0.01, 50), np.array([0.2]))[0] < -10)
    True
    """
    draws = np.maximum(draws.astype(float), 0)
    grid = grid_of(np.append(draws, z_spec))
    density = densities(draws, grid)
    there = np.array([np.interp(z, grid, each) for z, each in zip(z_spec, density, strict=True)])
    return np.trapezoid(np.square(density), grid, axis=1) - 2 * there


def flat_enough(n: int) -> float:
    """The ``pit-ks`` that n galaxies with calibrated posteriors stay below 95 times in 100."""
    return KOLMOGOROV / float(np.sqrt(n))


def measure_points(
    z_phot: np.ndarray, z_spec: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Estimate]:
    """Metrics of redshifts without posteriors: ``sigma-mad``, ``bias``, ``outliers`` and ``outliers-low``.

    Parameters
    ----------
    z_phot, z_spec : [n], all finite.
    resamples, seed : of the bootstrap.

    Returns
    -------
    Estimates by name.
    """
    return _with_intervals(_of_deltas, (deltas(z_phot, z_spec),), resamples, seed)


def measure(draws: np.ndarray, z_spec: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Estimate]:
    """All metrics of redshift posteriors.

    Parameters
    ----------
    draws : [n, draws] from each galaxy's posterior.
    z_spec : [n], all finite.
    resamples, seed : of the bootstrap.

    Returns
    -------
    Estimates by name, as the module lists them.
    """
    medians = deltas(np.median(draws, axis=1), z_spec)
    columns = (medians, pit(draws, z_spec, seed), crps(draws, z_spec), cde_loss(draws, z_spec))
    return _with_intervals(_of_posteriors, columns, resamples, seed)


def ratio(
    first: np.ndarray, second: np.ndarray, z_spec: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """``sigma-mad`` of the first redshifts over that of the second, with its paired interval.

    Parameters
    ----------
    first, second, z_spec : [n], the same galaxies.
    resamples, seed : of the bootstrap.

    Returns
    -------
    The ratio; below one where the first is better.
    """
    columns = (deltas(first, z_spec), deltas(second, z_spec))
    return _with_intervals(lambda a, b: {"ratio": sigma_mad(a) / sigma_mad(b)}, columns, resamples, seed)["ratio"]


def _of_deltas(delta: np.ndarray) -> dict[str, np.ndarray]:
    size = np.abs(delta)
    return {
        "sigma-mad": sigma_mad(delta),
        "bias": np.median(delta, axis=-1),
        "outliers": (size > OUTLIER).mean(axis=-1),
        "outliers-low": (size > OUTLIER_LOW).mean(axis=-1),
    }


def _of_posteriors(delta: np.ndarray, pit: np.ndarray, crps: np.ndarray, cde: np.ndarray) -> dict[str, np.ndarray]:
    from_middle = np.abs(pit - 0.5)
    return _of_deltas(delta) | {
        "crps": crps.mean(axis=-1),
        "cde-loss": cde.mean(axis=-1),
        "coverage-68": (from_middle < 0.34).mean(axis=-1),
        "coverage-95": (from_middle < 0.475).mean(axis=-1),
        "pit-ks": kolmogorov(pit),
    }


def kolmogorov(pit: np.ndarray) -> np.ndarray:
    """The largest distance between the distribution of numbers in (0, 1) and a flat one, over the last axis."""
    n = pit.shape[-1]
    ordered = np.sort(pit, axis=-1)
    above = np.arange(1, n + 1) / n - ordered
    return np.maximum(above, 1 / n - above).max(axis=-1)


def _with_intervals(
    figures: Callable[..., dict[str, np.ndarray]], columns: tuple[np.ndarray, ...], resamples: int, seed: int
) -> dict[str, Estimate]:
    n = len(columns[0])
    if not n:
        return {}
    best = figures(*columns)
    spread = [figures(*(column[rows] for column in columns)) for rows in _resampled(n, resamples, seed)]
    return {
        name: Estimate.of(value, np.concatenate([each[name] for each in spread]), n) for name, value in best.items()
    }


def _resampled(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Galaxies drawn with replacement, in blocks of int [block, n]."""
    generator = np.random.default_rng(seed)
    size = max(1, _BLOCK // n)
    for start in range(0, resamples, size):
        yield generator.integers(n, size=(min(size, resamples - start), n))


def line(figures: Mapping[str, Estimate]) -> str:
    """The estimates of `measure` in a sentence."""
    spread, bias, outliers = figures["sigma-mad"], figures["bias"], figures["outliers-low"]
    coverage, far = figures["coverage-68"], figures["pit-ks"]
    shape = "flat" if far.value < flat_enough(far.n) else "not flat"
    return (
        f"σ_MAD {spread.value:.4f} ({spread.low:.4f}–{spread.high:.4f}), bias {bias.value:+.4f} "
        f"({bias.low:+.4f} to {bias.high:+.4f}), {100 * outliers.value:.1f} % beyond {OUTLIER_LOW:.2f} and "
        f"{100 * figures['outliers'].value:.1f} % beyond {OUTLIER:.2f}, {100 * coverage.value:.0f} % inside "
        f"their 68 % interval, PIT {shape} ({far.value:.3f}; chance stays below {flat_enough(far.n):.3f}); "
        f"{spread.n:,} galaxies."
    )
