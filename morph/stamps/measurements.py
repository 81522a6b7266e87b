"""Flux, shape and concentration of galaxies, measured on their stamps.

A stamp spans the same number of half-light radii whatever the galaxy, so that all are measured at once, in arrays,
whether they were detected or come from a catalogue.
"""

from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.flags import SMALLEST_RADIUS, stamp_width
from morph.stamps.signal_to_noise import flux_and_noise, noise_of_sums

#: Columns of the scores: unit, description and UCD. `flux_g` and the like are named for the three channels.
COLUMNS = {
    f"{quantity}_{band}": (unit, description.format(band), f"{ucd};em.opt.{colour}")
    for quantity, unit, description, ucd in (
        (
            "flux",
            "nanomaggy",
            "total flux in {}, from that within the half-light radius and the seeing in the band",
            "phot.flux",
        ),
        (
            "flux_err",
            "nanomaggy",
            "standard error of flux_{}: the sky's noise by the tile's weights, or else by the stamp's border",
            "stat.error;phot.flux",
        ),
        (
            "mag_err",
            "mag",
            "standard error of the magnitude in {} as it was measured on the stamp",
            "stat.error;phot.mag",
        ),
    )
    for band, colour in zip("gri", "BRI", strict=True)
} | {
    "ellipticity": ("", "1 - b/a from adaptive moments, point-spread function included", "src.ellipticity"),
    "position_angle": ("deg", "of the major axis, east of north, 0 to 180", "pos.posAng"),
    "concentration": (
        "",
        "5 log10(r80 / r20) of the light within three half-light radii, point-spread function included",
        "phys.size;arith.ratio",
    ),
    "psf_fwhm": (
        "arcsec",
        "full width at half maximum of the tile's point sources; null: too few",
        "instr.obsty.seeing",
    ),
    "point_like": (
        "",
        "probability that it is a point source, from its size and concentration against the tile's own point sources",
        "stat.probability;src.class.starGalaxy",
    ),
}

#: A stamp is averaged to so many pixels a side before its shape is measured: 16 across its half-light diameter.
COARSE = 32

#: Steps of the adaptive moments. More change nothing that is seen.
STEPS = 6


@dataclass(frozen=True)
class StampMeasurements:
    """What was measured of some stamps; NaN where it cannot be.

    Attributes
    ----------
    flux, flux_err : float32 [n, 3], nanomaggies: twice the flux within the half-light radius, and its noise if the
        image's pixels were independent, by the stamp's border.
    size : [n], standard deviation of the light by adaptive moments, mean of the axes, pixels of the image.
    ellipticity : [n], 1 - b/a.
    angle : [n], of the major axis, radians, from the stamp's x axis towards its y axis.
    concentration : [n].
    """

    flux: np.ndarray
    flux_err: np.ndarray
    size: np.ndarray
    ellipticity: np.ndarray
    angle: np.ndarray
    concentration: np.ndarray

    @property
    def mag_err(self) -> np.ndarray:
        """Standard errors of the magnitudes: [n, 3]; NaN where a flux is not positive."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.flux > 0, 2.5 / np.log(10) * self.flux_err / self.flux, np.nan)

    @classmethod
    def blank(cls, count: int) -> "StampMeasurements":
        """Of sources that nothing was measured of."""
        widths = {"flux": (count, 3), "flux_err": (count, 3)}
        known = {each.name: np.full(widths.get(each.name, (count,)), np.nan) for each in fields(cls)}
        return cls(**known)

    def put(self, rows: np.ndarray, found: "StampMeasurements") -> None:
        """Take over what was measured of some rows."""
        for each in fields(self):
            getattr(self, each.name)[rows] = getattr(found, each.name)

    def of(self, rows: np.ndarray) -> "StampMeasurements":
        """Those of some of the stamps."""
        return StampMeasurements(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


def measure(stamps: np.ndarray, radius: np.ndarray) -> StampMeasurements:
    """Measure galaxies on their stamps.

    Parameters
    ----------
    stamps : float32 [n, size, size, 3], nanomaggies per stamp pixel, NaN where there is no data.
    radius : [n], half-light radii for which they were cut, pixels of the image.
    """
    size = stamps.shape[1]
    # Pixels of the image to one of the stamp.
    step = np.asarray(stamp_width(np.maximum(radius, SMALLEST_RADIUS), 1))
    light, noise, sky, _ = flux_and_noise(stamps)
    image = _intensity(stamps, sky)
    second = _adaptive_moments(image)
    trace, difference = second[:, 0] + second[:, 2], np.hypot(second[:, 0] - second[:, 2], 2 * second[:, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        major, minor = np.sqrt((trace + difference) / 2), np.sqrt((trace - difference) / 2)
        sigma = np.sqrt(major * minor) * (size / COARSE) * step
    known = np.isfinite(light)
    return StampMeasurements(
        flux=np.where(known, 2 * light, np.nan).astype("float32"),
        flux_err=np.where(known, 2 * noise * noise_of_sums(step, size)[:, None], np.nan).astype("float32"),
        size=sigma,
        ellipticity=1 - minor / major,
        angle=np.arctan2(2 * second[:, 1], second[:, 0] - second[:, 2]) / 2,
        concentration=_concentration(image, NETWORK_SIZE / size),
    )


def full_widths(stamps: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Full widths at half maximum in each band, pixels of the image: [n, 3], NaN where nothing stands out.

    `stamps` and `radius` are as for `measure`.
    """
    size = stamps.shape[1]
    *_, sky, _ = flux_and_noise(stamps)
    reach = 1.25 * NETWORK_SIZE / FIELD
    near = slice(int(size / 2 - reach), int(size / 2 + reach) + 1)
    # A single pixel on the peak is up to a tenth too bright: the cubic interpolation overshoots between pixels.
    half = round(NETWORK_SIZE / FIELD / 5)
    core = slice(size // 2 - half, size // 2 + half)
    peak = stamps[:, core, core].mean(axis=(1, 2)) - sky
    # The area above half of the maximum is a circle's.
    above = (stamps[:, near, near] - sky[:, None, None] >= peak[:, None, None] / 2).sum(axis=(1, 2))
    width = np.where(peak > 0, 2 * np.sqrt(above / np.pi), np.nan)
    return width * np.asarray(stamp_width(np.maximum(radius, SMALLEST_RADIUS), 1))[:, None]


def _intensity(stamps: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """The bands' sum above the sky, in coarse pixels: float32 [n, COARSE, COARSE], 0 without data."""
    size = stamps.shape[1]
    taken = np.repeat(np.eye(COARSE, dtype="float32"), -(-size // COARSE), axis=0)[:size]
    area = np.outer(taken.sum(axis=0), taken.sum(axis=0))
    image = _coarse(stamps, taken) - sky.sum(axis=1)[:, None, None].astype("float32") * area
    missing = np.flatnonzero(np.isnan(image.sum(axis=(1, 2))))
    if len(missing):
        seen = np.nan_to_num(stamps[missing] - sky[missing, None, None, :].astype("float32"))
        image[missing] = _coarse(seen, taken)
    return image


def _coarse(stamps: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Sums of the bands over coarse pixels, to each of which belong rows and columns `taken`."""
    count, size, _, bands = stamps.shape
    rows = stamps.reshape(count * size, size * bands) @ np.repeat(taken, bands, axis=0)
    return taken.T @ rows.reshape(count, size, COARSE)


@cache
def _grid() -> tuple[np.ndarray, np.ndarray]:
    """The powers 1, x, y, xx, xy, yy of places on a coarse stamp, and the distance from its centre."""
    offset = np.arange(COARSE) - (COARSE - 1) / 2
    y, x = (each.ravel() for each in np.meshgrid(offset, offset, indexing="ij"))
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1).astype("float32"), np.hypot(x, y)


def _adaptive_moments(image: np.ndarray) -> np.ndarray:
    """Second moments xx, xy, yy in coarse pixels under the elliptical Gaussian that fits best, [n, 3].

    Each step measures the moments under the weight that the last one found, and doubles the covariance that comes
    out: a Gaussian's own is what does not change (Bernstein & Jarvis 2002, section 3.1). NaN where that leads nowhere.
    """
    powers, _ = _grid()
    count = len(image)
    pixels = image.reshape(count, -1)
    start = (COARSE / FIELD / 1.1774) ** 2
    found = np.tile(np.array([start, 0, start], dtype="float32"), (count, 1))
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            xx, xy, yy = found.T
            determinant = xx * yy - xy * xy
            exponent = np.stack([yy, -2 * xy, xx], axis=1) / (-2 * determinant)[:, None]
            # Numbers close to zero would take a hundred times as long.
            weight = np.exp(np.maximum(exponent.astype("float32") @ powers[:, 3:].T, -30)) * pixels
            sums = weight @ powers
            mean = sums[:, 1:3] / sums[:, :1]
            second = sums[:, 3:] / sums[:, :1]
            spread = second - np.stack([mean[:, 0] ** 2, mean[:, 0] * mean[:, 1], mean[:, 1] ** 2], axis=1)
            found = (2 * spread).astype("float32")
            lost = ~(
                (sums[:, 0] > 0)
                & (found[:, 0] * found[:, 2] - found[:, 1] ** 2 > 0.05)
                & (found[:, 0] + found[:, 2] < COARSE**2 / 2)
            )
            found[lost] = np.nan
    return found.astype(float)


def _concentration(image: np.ndarray, part: float) -> np.ndarray:
    """5 log10(r80 / r20) of the light in a circle across this part of each coarse stamp, from its growth curve."""
    _, distance = _grid()
    order = np.argsort(distance)
    order = order[distance[order] <= part * COARSE / 2]
    growth = np.cumsum(image.reshape(len(image), -1)[:, order], axis=1)
    area = np.sqrt((np.arange(len(order)) + 1) / np.pi)
    with np.errstate(all="ignore"):
        share = growth / growth[:, -1:]
        inner, outer = (area[np.argmax(share >= some, axis=1)] for some in (0.2, 0.8))
        return np.where(growth[:, -1] > 0, 5 * np.log10(outer / inner), np.nan)


def position_angle(angle: np.ndarray, east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Position angles, degrees east of north, 0 to 180, of major axes at an angle on the image.

    Parameters
    ----------
    angle : [n], radians from the image's x axis towards its y axis.
    east, north : [n, 2], the change of the position (any unit) along x, and along y: by one pixel.

    Returns
    -------
    float [n].

    >>> position_angle(np.zeros(1), np.array([[-1.0, 0.0]]), np.array([[0.0, 1.0]])).tolist()  # x points west
    [90.0]
    """
    x, y = np.cos(angle), np.sin(angle)
    turned = np.degrees(np.arctan2(east[:, 0] * x + east[:, 1] * y, north[:, 0] * x + north[:, 1] * y))
    # What rounding has put a little below 0 is 0, not 180.
    return np.where(turned % 180 > 180 - 1e-6, 0, turned % 180)
