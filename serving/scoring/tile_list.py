"""A list of a survey's tiles, which need not be on disk, to plan with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from morph.catalogs.column_mapping import TILE_COLUMNS
from morph.catalogs.tables import is_table, open_tables
from morph.catalogs.values import numbers, texts
from morph.errors import InputError
from morph.fits.planes import is_fits
from morph.simulation.coadd_files import Tilename, write_band
from morph.simulation.tile import TILENAME, simulate_tile
from morph.surveys import Survey, get_survey
from morph.tiles.tile import Tile
from serving.scoring.costs import ROWS

#: Columns of a tile's corners, as the tile tables of DES and of the Legacy Surveys call them.
CORNERS = (
    ("rall", "raur", "decll", "decur"),
    ("ra1", "ra2", "dec1", "dec2"),
    ("uramin", "uramax", "udecmin", "udecmax"),
)

#: Pixels on a side of a tile whose corners are not listed: those of DES.
SIDE = 10_000


@dataclass(frozen=True)
class TileList:
    """Tiles by name, and the `area` of each on the sky, square degrees, [n], NaN where it is unknown."""

    names: tuple[str, ...]
    area: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> "TileList":
        """The tiles in a table with their names and, if it has them, their corners. InputError when it has no
        names."""
        names, areas = [], []
        for table in open_tables(path):
            there = {name.lower(): name for name in table.schema.names}
            name = next((there[column] for column in TILE_COLUMNS if column in there), None)
            if name is None:
                raise InputError(
                    f"'{path}' is not a list of tiles: it has none of the columns {', '.join(TILE_COLUMNS)}."
                )
            corners = next(([there[c] for c in four] for four in CORNERS if there.keys() >= set(four)), [])
            for rows in table.batches([name, *corners]):
                names += texts(rows[name]).to_pylist()
                areas.append(_area(*(numbers(rows[c]) for c in corners)) if corners else np.full(len(rows), np.nan))
        if not names:
            raise InputError(f"The list of tiles '{path}' is empty.")
        return cls(tuple(names), np.concatenate(areas))

    def __len__(self) -> int:
        return len(self.names)

    def pixels(self, survey: Survey) -> float:
        """Of a tile, on average."""
        side = 3600 / survey.pixel_scale
        return float(np.mean(np.where(np.isnan(self.area), SIDE**2, self.area * side**2)))


def is_list(path: str | Path) -> bool:
    """Whether a path is a table, and not an image."""
    if not is_table(Path(path)):
        return False
    if is_fits(path):
        with fits.open(path, memmap=True) as hdus:
            return not any(hdu.is_image and hdu.shape for hdu in hdus)
    return True


def _area(west: np.ndarray, east: np.ndarray, south: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Square degrees of rectangles on the sky, which may lie across right ascension 0."""
    width = np.mod(np.asarray(east) - west, 360) * np.cos(np.radians((south + north) / 2))
    return width * np.abs(north - south)


def example(folder: Path, survey: str) -> tuple[list[Path], int]:
    """Simulated rows as wide as a tile, in three files compressed as DES's are; and how many pixels they are.

    Small ones are simulated, and repeated sideways.
    """
    camera, tilename = get_survey(survey), Tilename(TILENAME)
    small = simulate_tile(folder / "small", ROWS, survey, galaxies=40, progress=False)
    wide = folder / "wide"
    wide.mkdir()
    times = SIDE // ROWS
    with Tile.open(list(small.paths), survey) as tile:
        for band, path in enumerate(small.paths):
            flux = np.nan_to_num(tile.plane(camera.bands[band]))
            mask = tile.mask(camera.bands[band]).astype("int32")
            flux, mask = (np.tile(plane, (1, times)) for plane in (flux, mask))
            write_band(wide / path.name, flux, mask, camera, band, tilename, tile.wcs)
    return sorted(wide.iterdir()), ROWS * ROWS * times
