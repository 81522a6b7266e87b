"""Haloes of known brightness that are put on a tile, to see what becomes of them."""

import numpy as np
import sep
from scipy.ndimage import gaussian_filter

from morph.simulation.haloes import sersic
from morph.tiles.strip_reader import Strip

#: Mean surface brightness within the half-light radius of the body in g, r, i: mag per square arcsec, an elliptical's.
BRIGHTNESS = {"g": 22.6, "r": 21.8, "i": 21.4, "z": 21.1, "u": 24.4, "y": 21.0, "VIS": 21.7}
#: Sersic index of the body; share of the light, half-light radius (in those of the body) and index of the halo.
INDEX, SHARE, HALO_RADIUS, HALO_INDEX = 3.5, 0.2, 3.5, 1.5
#: A profile is drawn out to so many times the reach of a cutout.
BEYOND = 1.4


def model(x: float, y: float, half: int, radius: float, scale: float, bands: tuple[str, ...], seeing: float):
    """A round galaxy with a halo: float32 [bands, h, w], nanomaggies per square arcsec, in a window around a place.

    Parameters
    ----------
    x, y : its place, pixels of the tile; the window's middle is the pixel that holds it.
    half : half of the window's side, pixels.
    radius : half-light radius of the body, pixels.
    scale : arcsec per pixel.
    bands : in order.
    seeing : full width at half maximum, pixels.
    """
    offset = np.arange(-half, half + 1)
    dx, dy = (offset - (x - round(x)))[None, :], (offset - (y - round(y)))[:, None]
    body = gaussian_filter(sersic(dx, dy, radius, INDEX, 1.0), seeing / 2.3548, mode="nearest")
    halo = sersic(dx, dy, HALO_RADIUS * radius, HALO_INDEX, 1.0)
    shape = ((1 - SHARE) * body + SHARE * halo).astype("float32")
    # Half of the body's light lies within its radius, on so many pixels.
    flux = [2 * np.pi * radius**2 * 10 ** (0.4 * (22.5 - BRIGHTNESS.get(band, 21.8))) for band in bands]
    return np.array(flux, dtype="float32")[:, None, None] * shape


def add(planes: np.ndarray, light: np.ndarray, x: float, y: float) -> None:
    """Add a model to planes [bands, h, w], in place.

    Parameters
    ----------
    planes : nanomaggies per square arcsec.
    light : [bands, side, side].
    x, y : the middle of `light`, pixels of `planes`.
    """
    half = light.shape[-1] // 2
    low, left = round(y) - half, round(x) - half
    rows = slice(max(low, 0), max(min(low + 2 * half + 1, planes.shape[1]), 0))
    columns = slice(max(left, 0), max(min(left + 2 * half + 1, planes.shape[2]), 0))
    planes[:, rows, columns] += light[
        :, rows.start - low : rows.stop - low, columns.start - left : columns.stop - left
    ]


def with_models(strip: Strip, bands: tuple[str, ...], planes: np.ndarray) -> Strip:
    """The strip with light added.

    Parameters
    ----------
    strip : of a tile.
    bands, planes : the light, [bands, h, w], nanomaggies per square arcsec.
    """
    area = np.float32(strip.tile.pixel_scale**2)
    light = dict(zip(bands, planes, strict=True))
    flux = {band: plane + light[band] * area if band in light else plane for band, plane in strip.flux.items()}
    return Strip(strip.tile, strip.start, strip.stop, flux, strip.saturated, strip.weight)


def eaten(plane: np.ndarray, light: np.ndarray, mesh: int) -> np.ndarray:
    """How much of added light a subtraction of the sky in a mesh takes away: float32 [h, w].

    The sky is SExtractor's (a clipped mode in every cell of the mesh, a median over three cells, a spline), which
    most surveys' coadds are made with.

    Parameters
    ----------
    plane, light : [h, w], in one unit; NaN where there is no data.
    mesh : pixels on a side of a cell.
    """
    bad = ~np.isfinite(plane)
    known = np.where(bad, 0, plane).astype("float32")
    size = {"bw": min(mesh, plane.shape[1]), "bh": min(mesh, plane.shape[0])}
    before = sep.Background(known, mask=bad, **size).back()
    return sep.Background(known + np.where(bad, 0, light).astype("float32"), mask=bad, **size).back() - before
