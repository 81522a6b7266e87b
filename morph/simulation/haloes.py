"""Ellipticals with a diffuse outer halo, for tiles on which stacking is tested.

The body is a Sersic profile as everywhere in this simulator; the halo is a second one, larger, bluer and of a lower
index (the double Sersic profiles of D'Souza et al. 2014). Both are drawn to where they are lost, without a border.
The point-spread function of such a tile has an aureole, which galaxies and stars share: a few per cent of the light
in wings that reach over an arcminute.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import galsim
import numpy as np
from scipy.signal import fftconvolve
from scipy.special import gamma, gammainc

from morph.simulation.field import CatalogGalaxy, Conditions, FieldStrip, Measured, Source, Star, half_light, moments
from morph.simulation.observe import MOFFAT_BETA
from morph.simulation.scenes import Colours, Scene
from morph.simulation.sky import GLOW_SCALE, SPIKES, glow

#: Share of the light in the halo, its half-light radius in those of the body, and its index.
SHARES, RADII, INDICES = (0.10, 0.30), (2.5, 4.5), (1.0, 2.0)
#: How much bluer the halo is in g - r, and in r - i.
BLUER = (0.12, 0.04)
#: Half-light radii of the halo across half the stamp, and the largest half, arcsec.
REACH, FARTHEST = 7.0, 100.0
#: Share of a source's light in the aureole.
AUREOLE = 0.02
#: Stars brighter than this show their aureole.
FAINTEST = 19.5
#: The highest Sersic index of a body with a halo.
HIGHEST_INDEX = 4.0
#: What the truth says about the body and about the halo.
PROFILE = ("radius", "index", "axis_ratio", "flux_g", "flux_r", "flux_i")


@dataclass(frozen=True)
class Halo:
    """A halo of a scene: its share of the total light in r, half-light radius (arcsec), index and axis ratio."""

    share: float
    radius: float
    index: float
    axis_ratio: float


@dataclass(frozen=True)
class HaloGalaxy:
    """An elliptical of the catalogue, number `index`, with its halo; its centre in pixels."""

    index: int
    scene: Scene
    halo: Halo
    x: float
    y: float

    def _half(self, conditions: Conditions) -> int:
        """Half of the stamp's side, pixels."""
        reach = min(max(REACH * self.halo.radius, 10 * self.scene.radius), FARTHEST)
        return int(np.ceil(reach / conditions.survey.pixel_scale))

    def reach(self, conditions: Conditions) -> float:
        return self._half(conditions) + 1

    def fluxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the body and of the halo in g, r, i: nanomaggies."""
        old = self.scene.old
        bluer = Colours(old.g_r - BLUER[0], old.r_i - BLUER[1])
        body, halo = (1 - self.halo.share) * self.scene.flux, self.halo.share * self.scene.flux
        return body * np.array(old.fluxes()), halo * np.array(bluer.fluxes())

    def brightness(self, major: np.ndarray, minor: np.ndarray) -> np.ndarray:
        """Its true surface brightness without any blurring: nanomaggies per square arcsec in g, r, i, [..., 3].

        Parameters
        ----------
        major, minor : offsets along the axes, arcsec.
        """
        bulge = self.scene.bulge
        assert bulge is not None
        body, halo = self.fluxes()
        return (
            sersic(major, minor, self.scene.radius, bulge.index, bulge.axis_ratio)[..., None] * body
            + sersic(major, minor, self.halo.radius, self.halo.index, self.halo.axis_ratio)[..., None] * halo
        )

    def draw(self, strip: FieldStrip, conditions: Conditions) -> None:
        """Add the galaxy to the strip, and measure it if its centre is there."""
        light, left, low = _stamp(self, conditions)
        low -= strip.top
        side = len(light)
        rows = slice(max(low, 0), min(low + side, strip.image.shape[0]))
        columns = slice(max(left, 0), min(left + side, strip.image.shape[1]))
        if rows.start < rows.stop and columns.start < columns.stop:
            inner = light[rows.start - low : rows.stop - low, columns.start - left : columns.stop - left]
            strip.image[rows, columns] += inner
        if strip.top <= round(self.y) < strip.top + len(strip.image):
            dx = np.arange(side)[None, :] - (self.x - left)
            dy = np.arange(side)[:, None] - (self.y - strip.top - low)
            # A catalogue's apertures end where the halo is below the noise.
            near = np.hypot(dx, dy) * conditions.survey.pixel_scale < 6 * self.scene.radius
            radii = half_light(np.where(near[..., None], light, 0), np.hypot(dx, dy))
            axes = moments(light[..., 1], dx, dy, 3 * radii[1])
            fluxes = sum(self.fluxes())
            strip.measured[self.index] = Measured(self.scene, self.x, self.y, np.asarray(fluxes), radii, axes)


@dataclass(frozen=True)
class AureoleStar(Star):
    """A star whose aureole is drawn too, as bright stars' are elsewhere."""

    def reach(self, conditions: Conditions) -> float:
        return max(super().reach(conditions), FARTHEST / conditions.survey.pixel_scale)

    def draw(self, strip: FieldStrip, conditions: Conditions) -> None:
        super().draw(strip, conditions)
        half = int(FARTHEST / conditions.survey.pixel_scale)
        kernel = _aureole(half, conditions.survey.pixel_scale)
        low, left = round(self.y) - half - strip.top, round(self.x) - half
        rows = slice(max(low, 0), min(low + len(kernel), strip.image.shape[0]))
        columns = slice(max(left, 0), min(left + len(kernel), strip.image.shape[1]))
        if rows.start < rows.stop and columns.start < columns.stop:
            part = kernel[rows.start - low : rows.stop - low, columns.start - left : columns.stop - left]
            light = AUREOLE * part[..., None] * self.fluxes(conditions)
            strip.image[rows, columns] += light.astype("float32")


def with_haloes(conditions: Conditions, sources: list[Source]) -> list[Source]:
    """The sources of a tile with a halo around every undisturbed elliptical of the catalogue, and aureoles of stars.

    Parameters
    ----------
    conditions : of the observation.
    sources : as `morph.simulation.field.draw_field` gives them.
    """
    found: list[Source] = []
    for source in sources:
        if isinstance(source, CatalogGalaxy) and _is_plain(source.scene):
            assert source.scene.bulge is not None
            # Wings of a higher index would be cut off by the stamp.
            bulge = replace(source.scene.bulge, index=min(source.scene.bulge.index, HIGHEST_INDEX))
            scene = replace(source.scene, bulge=bulge)
            halo = draw_halo(scene, conditions.random(source.index, 12))
            found.append(HaloGalaxy(source.index, scene, halo, source.x, source.y))
        elif isinstance(source, Star) and SPIKES <= source.magnitude < FAINTEST:
            found.append(AureoleStar(source.index, source.x, source.y, source.magnitude))
        else:
            found.append(source)
    return found


def _is_plain(scene: Scene) -> bool:
    return scene.kind == "elliptical" and not (scene.companions or scene.tails or scene.disk)


def halo_columns(galaxies: dict[int, HaloGalaxy], count: int) -> dict[str, np.ndarray]:
    """The truth about a tile's haloes, a row for each of `count` galaxies of the catalogue; NaN where there is none.

    Returns
    -------
    dict : ``body_`` and ``halo_`` each with ``radius`` (arcsec), ``index``, ``axis_ratio``, ``flux_g`` and so on
        (nanomaggies), and ``angle`` (degrees from x towards y).
    """
    rows = []
    for index in range(count):
        if index not in galaxies:
            rows.append(np.full(13, np.nan))
            continue
        galaxy = galaxies[index]
        bulge, halo = galaxy.scene.bulge, galaxy.halo
        assert bulge is not None
        body_flux, halo_flux = galaxy.fluxes()
        body = (galaxy.scene.radius, bulge.index, bulge.axis_ratio, *body_flux)
        rows.append(np.array([*body, halo.radius, halo.index, halo.axis_ratio, *halo_flux, galaxy.scene.angle]))
    names = [f"{part}_{name}" for part in ("body", "halo") for name in PROFILE]
    return dict(zip([*names, "angle"], np.array(rows).T.astype("float32"), strict=True))


def draw_halo(scene: Scene, rng: np.random.Generator) -> Halo:
    """A halo for an elliptical: rounder than the body where that is flat."""
    assert scene.bulge is not None
    ratio = float(np.clip(scene.bulge.axis_ratio + rng.uniform(-0.05, 0.15), 0.4, 1.0))
    return Halo(
        float(rng.uniform(*SHARES)), float(scene.radius * rng.uniform(*RADII)), float(rng.uniform(*INDICES)), ratio
    )


def sersic(major: np.ndarray, minor: np.ndarray, radius: float, index: float, axis_ratio: float) -> np.ndarray:
    """Surface brightness of a Sersic profile with unit flux, per square of the unit of its radius.

    Parameters
    ----------
    major, minor : offsets along the axes, in the unit of the radius.
    radius : half-light radius, the geometric mean of the ellipse's axes, as GalSim's `shear(q=...)` leaves it.
    index, axis_ratio : of the profile.
    """
    b = galsim.Sersic(index, half_light_radius=1.0).scale_radius ** (-1 / index)
    distance = np.sqrt(axis_ratio * major**2 + minor**2 / axis_ratio) / radius
    norm = 2 * np.pi * index * b ** (-2 * index) * gamma(2 * index) * radius**2
    return np.exp(-b * distance ** (1 / index)) / norm


def share_within(distance: float, index: float) -> float:
    """The share of a Sersic profile's light within a distance, half-light radii.

    >>> round(share_within(1.0, 4.0), 3)
    0.5
    """
    b = galsim.Sersic(index, half_light_radius=1.0).scale_radius ** (-1 / index)
    return float(gammainc(2 * index, b * distance ** (1 / index)))


# The strips of a tile draw one galaxy several times, one after the other.
@lru_cache(maxsize=96)
def _stamp(galaxy: HaloGalaxy, conditions: Conditions) -> tuple[np.ndarray, int, int]:
    """The galaxy as observed: float32 [side, side, 3], nanomaggies per pixel, and its first column and row."""
    scale, half = conditions.survey.pixel_scale, galaxy._half(conditions)
    column, row = round(galaxy.x), round(galaxy.y)
    side = 2 * half + 1
    scene, halo, bulge = galaxy.scene, galaxy.halo, galaxy.scene.bulge
    assert bulge is not None
    accurate = galsim.GSParams(folding_threshold=2e-3, maximum_fft_size=8192)
    parts = [
        galsim.Sersic(n, half_light_radius=r, gsparams=accurate).shear(q=q, beta=scene.angle * galsim.degrees)
        for n, r, q in (
            (bulge.index, scene.radius, bulge.axis_ratio),
            (halo.index, halo.radius, halo.axis_ratio),
        )
    ]
    light = np.empty((side, side, 3), "float32")
    aureole = _aureole(half, scale)
    for band, (body, outer) in enumerate(zip(*galaxy.fluxes(), strict=True)):
        seeing = galsim.Moffat(beta=MOFFAT_BETA, fwhm=float(conditions.seeing[band]), gsparams=accurate)
        observed = galsim.Convolve(parts[0] * body + parts[1] * outer, seeing, gsparams=accurate)
        drawn = observed.drawImage(
            nx=side, ny=side, scale=scale, offset=(galaxy.x - column, galaxy.y - row), dtype=np.float32
        ).array
        light[..., band] = drawn * (1 - AUREOLE) + AUREOLE * fftconvolve(drawn, aureole, mode="same")
    return light, column - half, row - half


@lru_cache(maxsize=8)
def _aureole(half: int, scale: float) -> np.ndarray:
    """The aureole's light, a part of the source's per pixel: float32 [2 half + 1] * 2."""
    offset = np.arange(-half, half + 1)
    return glow(offset[None, :], offset[:, None], GLOW_SCALE / scale).astype("float32")
