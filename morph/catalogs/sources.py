"""Where the galaxies on a tile are: found on its images, or taken from a catalogue."""

import numpy as np
from astropy.coordinates import angular_separation
from astropy.table import Table

from morph.catalogs.catalog import read_catalog
from morph.catalogs.detection import detect
from morph.stamps.radii import measure_radii
from morph.tiles.tile import Tile

__all__ = ["detect", "locate", "measure_radii", "read_catalog"]


def locate(tile: Tile, catalogue: Table) -> Table:
    """`place`, with sizes measured on the image where the catalogue has none."""
    table = place(tile, catalogue)
    unknown = ~np.isfinite(np.asarray(table["radius"])) & _on_image(tile, table["x"], table["y"])
    if unknown.any():
        table["radius"][unknown] = measure_radii(tile, table["x"][unknown], table["y"][unknown]) * tile.pixel_scale
    return table


def place(tile: Tile, catalogue: Table, by_file: bool = False) -> Table:
    """The rows of a catalogue that are this tile's, with their places on it.

    A row belongs to the tile that its `tilename` says, on the image or not; one without a `tilename` belongs to the
    tile on which it falls, and of tiles that overlap to the one that owns the place (`Tile.owns`). On a cutout of a
    tile, the tile's rows outside the cutout are left out, and where cutouts of one tile overlap the place decides too.

    Parameters
    ----------
    by_file : whether a row's `tilename` says in which tile's catalogue it stands and no more: then, too, it has to be
        in the part of the sky that the tile owns.

    Returns
    -------
    Table with the catalogue's columns, and `x`, `y` (pixels, 0-based, NaN where the sky is not on the tile's plane);
    sizes in pixels are the tile's own.
    """
    x, y = _pixels(tile, catalogue)
    ra, dec = np.array(catalogue["ra"], dtype=float), np.array(catalogue["dec"], dtype=float)
    if "x" in catalogue.colnames:
        in_pixels = np.isfinite(np.asarray(catalogue["x"], dtype=float)) & ~np.isfinite(ra)
        x[in_pixels], y[in_pixels] = tile.of_stored(catalogue["x"][in_pixels], catalogue["y"][in_pixels])
        if in_pixels.any():
            ra[in_pixels], dec[in_pixels] = tile.sky(x[in_pixels], y[in_pixels])
    on_tile = _on_image(tile, x, y)
    tilename = np.asarray(catalogue["tilename"], dtype=str)
    own = {tile.name, tile.tilename} - {""}
    # Images without a survey's name for them are what their own names and their neighbours' say.
    elsewhere = ~np.isin(tilename, ["", *own]) if tile.tilename else np.isin(tilename, list(tile.neighbours))
    said = np.isin(tilename, list(own - tile.neighbours)) & (not by_file)
    here = on_tile & ~elsewhere & (said | tile.owns(ra, dec))
    rows = np.flatnonzero(here | (~on_tile & (tilename == tile.name)))
    table = catalogue[rows]
    table["x"], table["y"], table["ra"], table["dec"] = x[rows], y[rows], ra[rows], dec[rows]
    if "radius_pixels" in table.colnames:
        known = np.isfinite(table["radius_pixels"])
        table["radius"][known] = table["radius_pixels"][known] * tile.pixel_scale
    return table


def _on_image(tile: Tile, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    height, width = tile.shape
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)


def footprint(tile: Tile) -> tuple[float, float, float]:
    """A circle on the sky that holds the tile: right ascension, declination and radius, degrees."""
    height, width = tile.shape
    ra, dec = tile.sky((width - 1) / 2, (height - 1) / 2)
    return float(ra), float(dec), float(np.hypot(height, width) * tile.pixel_scale / 3600)


def _pixels(tile: Tile, catalogue: Table) -> tuple[np.ndarray, np.ndarray]:
    """Places on the tile's grid; NaN where they are farther from it than the tile is large."""
    ra, dec = np.asarray(catalogue["ra"], dtype=float), np.asarray(catalogue["dec"], dtype=float)
    middle_ra, middle_dec, reach = np.radians(footprint(tile))
    # A tangent plane shows the far side of the sky on top of the near one.
    near = angular_separation(np.radians(ra), np.radians(dec), middle_ra, middle_dec) < reach
    x, y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
    if near.any():
        x[near], y[near] = tile.pixels(ra[near], dec[near])
    return x, y
