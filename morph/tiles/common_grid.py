"""The bands of a tile on one grid of pixels."""

from pathlib import Path

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from morph.errors import InputError
from morph.fits.planes import Planes
from morph.fits.reprojection import Reprojection
from morph.fits.wcs import celestial, to_pixels, to_sky

#: Bands whose grids differ by more than this, pixels, or by more than this part of the pixel scale, are resampled.
#: SDSS's differ by up to some ten pixels, which are taken into account where a galaxy is cut out.
MOST_MISALIGNED = 100
MOST_SCALED = 0.01

#: An image that covers less than this share of the finest one shows other sky.
LEAST_SHARED = 0.5


def to_common_grid(planes: dict[str, Planes], name: str) -> tuple[dict[str, Planes], dict[str, str]]:
    """The bands of a tile, resampled to the grid of the finest where they are not on it.

    Parameters
    ----------
    planes : {band: planes} with sky coordinates; those on nearly one grid are returned as they are.
    name : the tile's.

    Returns
    -------
    planes : {band: planes}, all of one shape.
    resampled : {band: from which pixel scale to which}, of those that were not on the grid.

    Raises
    ------
    InputError : a band has no sky coordinates, or shows other sky.
    """
    grids = {band: celestial(one.header, one.path) for band, one in planes.items()}
    scales = {band: float(np.mean(proj_plane_pixel_scales(grid)) * 3600) for band, grid in grids.items()}
    first = next(iter(planes))
    # Bands of as good as one scale are on the first one's grid, whichever is the finest by a hair.
    finest = min(planes, key=lambda band: scales[band] if scales[band] < scales[first] * (1 - MOST_SCALED) else np.inf)
    if not scales[finest] < scales[first] * (1 - MOST_SCALED):
        finest = first
    grid, shape = grids[finest], (planes[finest].shape[0], planes[finest].shape[1])
    found, resampled = dict(planes), {}
    for band, one in planes.items():
        if band == finest or (one.shape == shape and _as_good_as(grids[band], grid, shape)):
            continue
        onto = _onto(grids[band], one.shape[:2], grid, shape)
        if onto.covered() < LEAST_SHARED:
            raise _other_sky(name, planes[finest].path, one.path)
        found[band] = one.onto(onto, planes[finest].header)
        resampled[band] = f"{scales[band]:.3g} to {scales[finest]:.3g} arcsec"
    return found, resampled


def reading_notes(planes: dict[str, Planes], resampled: dict[str, str]) -> tuple[str, ...]:
    """How some bands are read, where that is unusual; one sentence each."""
    notes = [
        f"Band {band} was resampled to the grid of the finest band, from {how}." for band, how in resampled.items()
    ]
    if any(one.science.regrid is not None for one in planes.values()):
        notes.append("Pixels that are not square were resampled to square ones.")
    return tuple(dict.fromkeys([*notes, *(note for one in planes.values() for note in one.notes)]))


def grid_offset(grid: WCS, other: WCS, shape: tuple[int, int]) -> float:
    """The largest distance between two grids of pixels.

    Parameters
    ----------
    grid, other : the coordinate systems.
    shape : height and width of `grid`.

    Returns
    -------
    Pixels of `grid`; NaN off the sky.
    """
    height, width = shape
    x, y = (np.array(c, dtype=float) for c in ([0, width, 0, width, width / 2], [0, 0, height, height, height / 2]))
    with np.errstate(invalid="ignore"):
        places = to_pixels(other, *to_sky(grid, x, y))
    return float(np.hypot(places[0] - x, places[1] - y).max())


def _onto(image: WCS, stored: tuple[int, ...], grid: WCS, shape: tuple[int, int]) -> Reprojection:
    """The way from an image to a grid, by the sky coordinates of both."""
    return Reprojection.of(lambda x, y: to_pixels(image, *to_sky(grid, x, y)), (stored[0], stored[1]), shape)


def _as_good_as(other: WCS, grid: WCS, shape: tuple[int, int]) -> bool:
    scales = [np.mean(proj_plane_pixel_scales(one)) for one in (grid, other)]
    return grid_offset(grid, other, shape) < MOST_MISALIGNED and abs(scales[1] / scales[0] - 1) <= MOST_SCALED


def _other_sky(name: str, first: Path, other: Path) -> InputError:
    return InputError(
        f"The bands of tile '{name}' cover different sky ('{first}', '{other}'); give images of one field."
    )
