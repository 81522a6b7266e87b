"""The wings of the point-spread function, from a stack of stars, and the light that they carry into a halo.

Profiles are sums of Gaussians (Bendinelli 1991, Cappellari 2002), whose convolutions are Gaussians again.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

#: Widths of the Gaussians of a star's profile, arcsec: from, to, how many.
STAR_WIDTHS = (0.15, 40.0, 22)
#: Widths of those of a galaxy's, of the reach of its profile.
GALAXY_WIDTHS = (0.004, 1.2, 24)
#: A star's flux is that within so many arcsec, and values beyond so many sigma of the other stars' do not count.
APERTURE, CLIP = 6.0, 5.0
#: A profile is fitted no better than this part of itself.
FLOOR = 0.02
#: Times that the stars are drawn anew for the error of the wings, and the fewest stars that make a profile.
DRAWS, FEWEST = 24, 5


def ring_means(edges: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The mean of round Gaussians of unit flux in rings: [rings, widths].

    Parameters
    ----------
    edges : of the rings.
    widths : standard deviations, in the unit of the edges; the mean is per square of it.
    """
    reached = np.exp(-0.5 * (edges[:, None] / widths) ** 2)
    return (reached[:-1] - reached[1:]) / (np.pi * np.diff(edges**2))[:, None]


@dataclass(frozen=True)
class StarStack:
    """The profile of the stars of a band.

    Attributes
    ----------
    edges : of the rings, arcsec.
    profile, error : [rings], a star's flux per square arcsec, over its flux.
    widths, weights : the Gaussians (arcsec) that make it, and their shares of the light, which add up to 1.
    stars : how many.
    """

    edges: np.ndarray
    profile: np.ndarray
    error: np.ndarray
    widths: np.ndarray
    weights: np.ndarray
    stars: int

    @classmethod
    def of(cls, mean: np.ndarray, cover: np.ndarray, edges: np.ndarray) -> "StarStack | None":
        """The stack of stars; None where there are fewer than `FEWEST`.

        Parameters
        ----------
        mean, cover : [n, rings], brightness in the rings and the share of each that is not masked.
        edges : arcsec.
        """
        flux = _fluxes(mean, cover, edges)
        usable = np.isfinite(flux) & (flux > 0)
        if usable.sum() < FEWEST:
            return None
        mean, flux = mean[usable], flux[usable]
        weights = np.where(cover[usable] >= 0.5, cover[usable], 0)
        for _ in range(3):
            total = (weights * flux[:, None] ** 2).sum(axis=0)
            profile = (weights * flux[:, None] * mean).sum(axis=0) / np.maximum(total, 1e-30)
            residual = np.where(weights > 0, mean / flux[:, None] - profile, np.nan)
            spread = 1.4826 * np.nanmedian(abs(np.where(np.isfinite(residual).any(axis=0), residual, 0)), axis=0)
            weights = np.where(abs(np.nan_to_num(residual)) > CLIP * np.maximum(spread, 1e-30), 0, weights)
        share = weights * flux[:, None] ** 2 / np.maximum(total, 1e-30)
        error = np.sqrt((share**2 * np.nan_to_num(residual) ** 2).sum(axis=0))
        widths = np.geomspace(*STAR_WIDTHS)
        found = _fit(profile, np.hypot(error, FLOOR * abs(profile)), ring_means(edges, widths))
        return cls(edges, profile, error, widths, found / max(found.sum(), 1e-30), int(usable.sum()))

    def beyond(self, radius: float) -> float:
        """The share of a star's light beyond a radius, arcsec."""
        return float((self.weights * np.exp(-0.5 * (radius / self.widths) ** 2)).sum())


def _fluxes(mean: np.ndarray, cover: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Of stars, within `APERTURE`; NaN where part of it is masked."""
    inner = edges[1:] <= APERTURE
    areas = np.pi * np.diff(edges**2)
    return np.where((cover[:, inner] > 0.5).all(axis=1), (mean * areas)[:, inner].sum(axis=1), np.nan)


def _fit(values: np.ndarray, errors: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Amplitudes, none negative, of the columns of a design."""
    good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    # Columns of one length, or the solver's tolerance is that of the largest.
    scaled = design[good] / errors[good, None]
    length = np.maximum(np.linalg.norm(scaled, axis=0), 1e-300)
    return nnls(scaled / length, values[good] / errors[good], maxiter=2000)[0] / length


def in_units(stack: StarStack, units: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The point-spread function that a stack of galaxies sees, whose units differ on the sky: widths and shares.

    Parameters
    ----------
    stack : of stars.
    units : [n], what a unit of each galaxy's radius is, arcsec.
    light : [n], how much each counts: its flux in square units.
    """
    grid = np.geomspace(stack.widths[0] / units.max(), stack.widths[-1] / units.min(), 40)
    shares = np.zeros(len(grid))
    light = np.maximum(light, 0) / max(np.maximum(light, 0).sum(), 1e-30)
    for width, weight in zip(stack.widths, stack.weights, strict=True):
        if weight > 0:
            place = np.interp(np.log(width / units), np.log(grid), np.arange(len(grid)))
            low = np.minimum(place.astype(int), len(grid) - 2)
            np.add.at(shares, low, weight * light * (1 - (place - low)))
            np.add.at(shares, low + 1, weight * light * (place - low))
    kept = shares > 0
    return grid[kept], shares[kept]


def carried(
    flux: np.ndarray, error: np.ndarray, edges: np.ndarray, widths: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """What the point-spread function adds to each ring: [rings], negative where it takes light away.

    The profile is fitted by Gaussians that are convolved with the point-spread function; the difference of the fit
    and the same Gaussians without it is what was carried. It comes from the bright inner rings, so that noise in the
    outer ones does not matter.

    Parameters
    ----------
    flux, error : [rings], of the stack.
    edges : of the rings.
    widths, shares : the point-spread function, in the unit of the edges.
    """
    sharp = np.geomspace(*GALAXY_WIDTHS[:2], GALAXY_WIDTHS[2]) * edges[-1]
    blurred = sum(
        share * ring_means(edges, np.hypot(sharp, width)) for width, share in zip(widths, shares, strict=True)
    )
    found = _fit(flux, np.hypot(error, FLOOR * abs(flux)), np.asarray(blurred))
    return np.asarray(blurred) @ found - ring_means(edges, sharp) @ found
