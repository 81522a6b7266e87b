"""Which tiles of a job overlap, so that a galaxy on several of them is taken from one.

The tiles of surveys that part the sky by a rule are not looked at. Of the others the headers are read, and what lies
on several belongs to the one in which it is farthest from the edge (`morph.tiles.footprints`), in whatever order the
tiles are given, and however many processes share them.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from astropy.wcs.utils import proj_plane_pixel_area

from morph.fits.zero_points import UNCALIBRATED
from morph.tiles.footprints import Footprint, Overlap, overlaps
from morph.tiles.layouts import layout_of
from morph.tiles.tile import Tile

#: Tiles whose headers are read at once; most of the time goes by waiting for the disk.
AT_ONCE = 8


def find_overlaps(groups: Sequence[Sequence[Path]], survey: str | None = None) -> dict[str, Overlap]:
    """With which others each tile may overlap, by its name; tiles of surveys with a rule are left out.

    So is a tile that cannot be opened: its place is not known, and other tiles that show its sky take its galaxies.

    Parameters
    ----------
    groups : each tile's files, as `find_tiles` makes them; names occur once.
    """
    unruled = [group for group in groups if not layout_of(group).partitioned]
    with warnings.catch_warnings(), ThreadPoolExecutor(AT_ONCE) as pool:
        # Each opening silences them for a moment, and threads that do so undo it for each other.
        warnings.simplefilter("ignore")
        found = list(pool.map(lambda group: _footprint(group, survey), unruled))
    return overlaps([footprint for footprint in found if footprint is not None])


def _footprint(group: Sequence[Path], survey: str | None) -> Footprint | None:
    try:
        with Tile.open(group, survey, calibration=UNCALIBRATED) as tile:
            # Corners of an image of the whole sky may be nowhere.
            return tile.footprint if np.isfinite(tile.footprint.circle).all() else None
    # Scoring the tile will report what is wrong with it.
    except Exception:
        return None


#: Rows and columns that are looked at; of a tile with more, so many at equal distances.
SAMPLED = 128


def area(tile: Tile) -> float:
    """The sky that a tile answers for, square degrees: its own pixels (`Tile.answers_for`) with data in any band.

    Raises InputError when a file turns out to be damaged.
    """
    height, width = tile.shape
    rows, columns = _sampled(height), _sampled(width)
    seen = np.zeros((len(rows), len(columns)), dtype=bool)
    for band in tile.bands:
        with tile.filling(band) as fill:
            for place, row in enumerate(rows):
                flux, saturated = np.empty((1, width), "float32"), np.zeros((1, width), bool)
                fill(int(row), flux, saturated)
                seen[place] |= np.isfinite(flux[0, columns])
    x, y = np.meshgrid(columns, rows)
    owned = np.zeros_like(seen)
    owned[seen] = tile.answers_for(*tile.sky(x[seen], y[seen]))
    return float(owned.mean() * height * width * proj_plane_pixel_area(tile.wcs))


def _sampled(length: int) -> np.ndarray:
    """At most `SAMPLED` pixels along an axis, each in the middle of its share of it."""
    count = min(length, SAMPLED)
    return ((np.arange(count) + 0.5) * length / count).astype(int)
