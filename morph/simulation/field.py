"""The sources of a simulated tile, drawn strip by strip.

All sources are drawn from the seed before any pixel is. Each source and each row of noise has its own random numbers,
so that a strip depends on the seed and on its position alone, not on the strips before it or on its height.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from morph.simulation.coadd_files import Mask
from morph.simulation.observe import blurred_light, correlate, draw_residual, photon_noise, sky_residual
from morph.simulation.population import FIELD_MIX, draw_scene
from morph.simulation.scenes import Scene
from morph.simulation.sky import (
    SPIKE_REACH,
    SPIKES,
    Blob,
    add_blob,
    add_star,
    band_fluxes,
    box_around,
    draw_galaxies,
    offsets,
    star_blob,
    star_colours,
    star_magnitudes,
)
from morph.surveys import Survey

#: Magnitudes in r of the catalogue's galaxies.
MAGNITUDES = (15.5, 20.5)

#: Stars brighter than this saturate the detector, and their number per square arcsec at high latitude.
SATURATED = 15.0
SATURATED_DENSITY = 1.6e-5

#: Half-light radii across the stamp on which a galaxy is drawn.
STAMP_RADII = 20.0

#: Rows of noise beyond a strip's edges that smoothing reaches: four standard deviations of the widest kernel.
NOISE_MARGIN = 4


@dataclass(frozen=True, eq=False)
class Conditions:
    """The observing conditions of a tile.

    Attributes
    ----------
    size : pixels on a side.
    seed : of all random numbers.
    seeing : full width at half maximum in each band, arcsec, [3].
    residual : residual sky background, see `morph.simulation.observe.draw_residual`.
    """

    survey: Survey
    size: int
    seed: int
    seeing: np.ndarray
    residual: np.ndarray

    def random(self, *place: int) -> np.random.Generator:
        """Random numbers of the source or the row at `place`."""
        return np.random.default_rng([self.seed, *place])


@dataclass(frozen=True, eq=False)
class FieldStrip:
    """Part of a tile from row `top` on: light [rows, size, 3] (nanomaggies), mask [rows, size] and the rows of the
    catalogue, with their numbers, whose centres are in it."""

    top: int
    image: np.ndarray
    mask: np.ndarray
    measured: dict[int, "Measured"]


@dataclass(frozen=True, eq=False)
class Measured:
    """A galaxy of the catalogue: its position (pixels, 0-based), and what was measured on its noiseless image."""

    scene: Scene
    x: float
    y: float
    fluxes: np.ndarray
    radii: np.ndarray
    axes: tuple[float, float, float]


class Source(Protocol):
    """A source on a tile: the row of its centre, the number of rows to either side that it reaches, and how it is
    drawn."""

    @property
    def y(self) -> float: ...

    def reach(self, conditions: Conditions) -> float: ...

    def draw(self, strip: FieldStrip, conditions: Conditions) -> None: ...


# --- Sources ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CatalogGalaxy:
    """A galaxy of the catalogue, number `index`, drawn with its structure."""

    index: int
    scene: Scene
    x: float
    y: float

    def _field(self, conditions: Conditions) -> float:
        return STAMP_RADII * float(np.hypot(self.scene.radius, 0.5 * max(conditions.survey.seeing)))

    def reach(self, conditions: Conditions) -> float:
        # Half the stamp, which is rounded up to a size whose point-spread function is kept.
        return self._field(conditions) / conditions.survey.pixel_scale / 2 + 32

    def draw(self, strip: FieldStrip, conditions: Conditions) -> None:
        """Add the galaxy to the strip, and measure it if its centre is there."""
        column, row = round(self.x), round(self.y)
        scale = conditions.survey.pixel_scale
        # The middle of an even stamp is between pixels, half a pixel before the one that counts as its centre.
        place = (self.x - column + 0.5) * scale, (self.y - row + 0.5) * scale
        rng = conditions.random(self.index, 9)
        light, fluxes = blurred_light(
            self.scene, conditions.survey, conditions.seeing, rng, *place, field=self._field(conditions)
        )
        # The wings at the border would show as a square on the sky.
        border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
        light = np.maximum(light - np.percentile(border, 90, axis=0), 0).astype("float32")
        half = light.shape[0] // 2
        left, low = column - half, row - half - strip.top
        rows = slice(max(low, 0), min(low + 2 * half, strip.image.shape[0]))
        columns = slice(max(left, 0), min(left + 2 * half, strip.image.shape[1]))
        if rows.start < rows.stop:
            inner = light[rows.start - low : rows.stop - low, columns.start - left : columns.stop - left]
            strip.image[rows, columns] += inner
        if strip.top <= row < strip.top + len(strip.image):
            dx = np.arange(2 * half)[None, :] - (self.x - left)
            dy = np.arange(2 * half)[:, None] - (self.y - row + half)
            radii = half_light(light, np.hypot(dx, dy))
            axes = moments(light[..., 1], dx, dy, 3 * radii[1])
            strip.measured[self.index] = Measured(self.scene, self.x, self.y, fluxes, radii, axes)


@dataclass(frozen=True)
class FaintGalaxy:
    """A galaxy too faint for the catalogue: a profile without structure."""

    blob: Blob

    @property
    def y(self) -> float:
        return self.blob.y

    def reach(self, conditions: Conditions) -> float:
        return self.blob.reach

    def draw(self, strip: FieldStrip, conditions: Conditions) -> None:
        add_blob(strip.image, *self.blob, top=strip.top)


@dataclass(frozen=True)
class Star:
    """Star number `index`, of magnitude `magnitude` in r."""

    index: int
    x: float
    y: float
    magnitude: float

    @property
    def saturated(self) -> bool:
        return self.magnitude < SATURATED

    def fluxes(self, conditions: Conditions) -> np.ndarray:
        """Its flux in each band, nanomaggies."""
        return band_fluxes(self.magnitude, *star_colours(self.magnitude, conditions.random(self.index, 10)))

    def reach(self, conditions: Conditions) -> float:
        blob = star_blob(self.x, self.y, self.fluxes(conditions), conditions.survey, conditions.seeing)
        spikes = SPIKE_REACH / conditions.survey.pixel_scale if self.magnitude < SPIKES else 0
        return max(blob.reach, spikes, 12 * self._core(conditions) if self.saturated else 0)

    def draw(self, strip: FieldStrip, conditions: Conditions) -> None:
        rng = conditions.random(self.index, 10)
        add_star(strip.image, self.x, self.y, self.magnitude, conditions.survey, conditions.seeing, rng, top=strip.top)
        if self.saturated:
            self._saturate(strip, conditions, rng)

    def _core(self, conditions: Conditions) -> float:
        """Radius (pixels) within which the detector is saturated."""
        return 2.0 * 10 ** (0.1 * (SATURATED - self.magnitude)) / conditions.survey.pixel_scale

    def _saturate(self, strip: FieldStrip, conditions: Conditions, rng) -> None:
        """Flatten its core, add its bleed trail along the column, and set their mask bits."""
        core = self._core(conditions)
        bleeds = 4 * core * rng.uniform(1, 3)
        box = box_around(strip.image, self.x, self.y, int(12 * core) + 1, strip.top)
        if box is None:
            return
        dx, dy = offsets(box, self.x, self.y, strip.top)
        near = np.hypot(dx, dy)
        mask, image = strip.mask[box], strip.image[box]
        mask[near < core] |= Mask.SATURATED
        mask[near < 1.5 * core] |= Mask.STAR
        bleed = (np.abs(dx) < 1.5) & (np.abs(dy) < bleeds)
        mask[bleed] |= Mask.SATURATED | Mask.BLEED
        image[bleed] = np.maximum(image[bleed], 20.0)


@dataclass(frozen=True)
class SatelliteTrail:
    """A satellite that crossed the field during one exposure, in one band."""

    x: float
    y: float
    angle: float
    band: int

    def reach(self, conditions: Conditions) -> float:
        return conditions.size

    def draw(self, strip: FieldStrip, conditions: Conditions) -> None:
        box = slice(0, len(strip.image)), slice(0, conditions.size)
        dx, dy = offsets(box, self.x, self.y, strip.top)
        across = np.abs(np.cos(self.angle) * dy - np.sin(self.angle) * dx) * conditions.survey.pixel_scale
        near = across < 6.0
        light = 8 * conditions.survey.noise()[self.band] * np.exp(-0.5 * (across[near] / 0.7) ** 2)
        strip.image[near, self.band] += light.astype("float32")
        strip.mask[across < 1.5] |= Mask.STREAK


# --- The tile -----------------------------------------------------------------------------------------


def draw_field(survey: Survey, size: int, count: int, seed: int) -> tuple[Conditions, list[Source]]:
    """The conditions and the sources of a tile, the galaxies of the catalogue first.

    Parameters
    ----------
    size : pixels on a side.
    count : galaxies of the catalogue.
    seed : of all random numbers.

    Returns
    -------
    Conditions, and the sources in the order in which they are drawn.
    """
    rng = np.random.default_rng([seed, size])
    seeing = np.asarray(survey.seeing) * rng.lognormal(0, 0.02, 3)
    conditions = Conditions(survey, size, seed, seeing, draw_residual(survey, rng))
    sources: list[Source] = []
    for index in range(count):
        scene = draw_scene(conditions.random(index, 7), survey, FIELD_MIX, MAGNITUDES)
        x, y = rng.uniform(0, size - 1, 2)
        sources.append(CatalogGalaxy(index, scene, float(x), float(y)))
    faint = draw_galaxies((size, size), survey, seeing, rng, brightest=MAGNITUDES[1])
    sources.extend(FaintGalaxy(blob) for blob in faint)
    saturated = rng.poisson(SATURATED_DENSITY * (size * survey.pixel_scale) ** 2)
    magnitudes = np.concatenate(
        [
            star_magnitudes((size, size), survey, rng, brightest=SATURATED),
            rng.triangular(10.5, SATURATED, SATURATED, saturated),
        ]
    )
    places = rng.uniform(0, size, (len(magnitudes), 2))
    sources.extend(
        Star(index, float(x), float(y), float(magnitude))
        for index, ((x, y), magnitude) in enumerate(zip(places, magnitudes, strict=True))
    )
    if rng.random() < 0.5:
        x, y = rng.uniform(0.3, 0.7, 2) * size
        sources.append(SatelliteTrail(float(x), float(y), rng.uniform(0, np.pi), int(rng.integers(3))))
    return conditions, sources


def divide(conditions: Conditions, sources: list[Source], height: int) -> list[tuple[range, list[Source]]]:
    """Divide a tile into strips, each with the sources that reach into it.

    Parameters
    ----------
    conditions : of the observation.
    sources : on the tile.
    height : rows of a strip; the last may have fewer.

    Returns
    -------
    list of (rows, sources)
    """
    strips: list[tuple[range, list[Source]]] = [
        (range(top, min(top + height, conditions.size)), []) for top in range(0, conditions.size, height)
    ]
    for source in sources:
        reach = source.reach(conditions) + 1
        first = max(int((source.y - reach) // height), 0)
        for _, within in strips[first : int((source.y + reach) // height) + 1]:
            within.append(source)
    return strips


def draw_strip(conditions: Conditions, rows: range, sources: list[Source]) -> FieldStrip:
    """Draw some rows of the tile with noise.

    Parameters
    ----------
    rows : of the tile.
    sources : those that reach into the rows.
    """
    shape = len(rows), conditions.size
    strip = FieldStrip(rows.start, np.zeros((*shape, 3), "float32"), np.zeros(shape, "int32"), {})
    for source in sources:
        source.draw(strip, conditions)
    noise = photon_noise(_noise(conditions, rows), strip.image, conditions.survey)
    noise += sky_residual((conditions.size, conditions.size), conditions.residual, slice(rows.start, rows.stop))
    light = strip.image
    light += noise
    return strip


def _noise(conditions: Conditions, rows: range) -> np.ndarray:
    """Noise of unit variance in some rows of the tile: float32 [rows, size, 3]."""
    beyond = range(rows.start, rows.stop + 2 * NOISE_MARGIN)
    white = np.empty((len(beyond), conditions.size, 3), "float32")
    for row, values in zip(beyond, white, strict=True):
        conditions.random(row, 11).standard_normal(dtype="float32", out=values)
    if conditions.survey.noise_correlation:
        white = correlate(white, conditions.survey.noise_correlation)
    return white[NOISE_MARGIN:-NOISE_MARGIN]


# --- Measuring ----------------------------------------------------------------------------------------


def half_light(light: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The radius of the circle that holds half of the light [h, w, 3] in each band, in the unit of `distance`: [3]."""
    order = np.argsort(distance, axis=None)
    growth = np.cumsum(light.reshape(-1, 3)[order], axis=0, dtype="float64")
    half = [np.searchsorted(band, band[-1] / 2) for band in growth.T]
    return distance.ravel()[order[half]]


def moments(light: np.ndarray, dx: np.ndarray, dy: np.ndarray, within: float) -> tuple[float, float, float]:
    """Standard deviations along the major and the minor axis (pixels) and its angle (degrees) from x towards y.

    Parameters
    ----------
    light : [h, w].
    dx, dy : offsets from the centre, pixels, [1, w] and [h, 1].
    within : distance from the centre up to which light counts, pixels.
    """
    weight = np.where(np.hypot(dx, dy) < within, np.maximum(light, 0), 0)
    weight = weight / max(float(weight.sum()), 1e-20)
    xx, yy, xy = ((weight * product).sum() for product in (dx * dx, dy * dy, dx * dy))
    mean, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))
    return float(np.sqrt(mean + spread)), float(np.sqrt(max(mean - spread, 0.05))), float(angle)
