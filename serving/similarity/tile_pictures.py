"""Pictures of the galaxies of an index: cut from tiles where they are at hand, else as the index has them."""

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from PIL import Image

from morph.errors import InputError
from morph.fits.zero_points import HEADERS, Calibration
from morph.reports.html import jpeg_file
from morph.sizes import STAMP_SIZE
from morph.stamps.flags import Flag
from morph.stamps.stamp_stream import stream_stamps
from morph.stamps.stretch import to_pictures
from morph.tiles.tile import Tile, find_tiles, tile_name
from serving.similarity.index import Index
from serving.similarity.places import place_of

log = logging.getLogger("morph.explore")

#: Pictures that are kept, some 5 KB each, and tiles whose headers are.
KEPT, OPEN_TILES = 4_000, 16

#: Quality of the JPEG files.
QUALITY = 90

#: What a picture is made of.
NEEDED = ("id", "tile", "x", "y", "radius", "survey", "picture")

T = TypeVar("T")


def picture_of(stamp: np.ndarray) -> bytes:
    """A stamp, uint8 (a composite) or float32 (flux, row 0 the lowest) [size, size, 3], as a JPEG file."""
    pixels = to_pictures(stamp[None])[0]
    upright = pixels if stamp.dtype == np.uint8 else pixels[::-1]
    return jpeg_file(Image.fromarray(np.ascontiguousarray(upright)), QUALITY)


class TilePictures:
    """JPEG pictures of galaxies, by their rows in an index.

    Parameters
    ----------
    tiles : files, folders or globs of the tiles that the galaxies were scored on; without, the index's own pictures.

    Raises
    ------
    InputError : a file, folder or glob holds no tile.
    """

    def __init__(self, tiles: Sequence[str | Path] = ()):
        self._groups = {tile_name(group): group for group in find_tiles(list(tiles))} if tiles else {}
        self._rows: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._pictures: OrderedDict[str, bytes | None] = OrderedDict()
        self._tiles: OrderedDict[str, Tile | None] = OrderedDict()
        self._lock = Lock()

    def clear(self) -> None:
        """Forget all rows and pictures, but not the tiles."""
        with self._lock:
            self._rows.clear()
            self._pictures.clear()

    def add_rows(self, table: pa.Table) -> list[bool]:
        """Keep the rows of galaxies that were found: their pictures are asked for next. Returns whether each has one,
        as far as is known before its tile is read."""
        rows = table.select([name for name in NEEDED if name in table.column_names]).to_pylist()
        with self._lock:
            for row in rows:
                _keep(self._rows, row["id"], row, KEPT)
        return [row.get("picture") is not None or row.get("tile") in self._groups for row in rows]

    def by_id(self, index: Index, name: str) -> bytes | None:
        """The picture of a galaxy; None where there is none. StatusError where the index has no such galaxy."""
        with self._lock:
            if name in self._pictures:
                self._pictures.move_to_end(name)
                return self._pictures[name]
            row = self._rows.get(name)
        if row is None:
            row = index.row(place_of(index, name))
        picture = self._cut(row) or row.get("picture")
        with self._lock:
            _keep(self._pictures, name, picture, KEPT)
        return picture

    def _cut(self, row: Mapping[str, Any]) -> bytes | None:
        tile = self._tile(str(row.get("tile")), row.get("survey"))
        if tile is None or row.get("x") is None or row.get("y") is None:
            return None
        # A radius that is not known is measured.
        radius = float("nan") if row.get("radius") is None else row["radius"] / tile.pixel_scale
        try:
            (batch,) = stream_stamps(tile, [row["x"]], [row["y"]], [radius], STAMP_SIZE, threads=1)
        except (InputError, OSError, ValueError) as error:
            log.warning("No picture can be cut from tile %s: %s", tile.name, error)
            return None
        return None if batch.flags[0] & Flag.NO_DATA else picture_of(batch.stamps[0])

    def _tile(self, name: str, survey: str | None) -> Tile | None:
        """The open tile of a name; None where it is not at hand or cannot be read."""
        if name not in self._groups:
            return None
        with self._lock:
            if name not in self._tiles:
                _keep(self._tiles, name, _open(self._groups[name], survey), OPEN_TILES)
            self._tiles.move_to_end(name)
            return self._tiles[name]


def _keep(kept: OrderedDict[str, T], name: str, value: T, most: int) -> None:
    """Keep a value, and of all the latest so many."""
    kept[name] = value
    kept.move_to_end(name)
    while len(kept) > most:
        kept.popitem(last=False)


def _open(group: Sequence[Path], survey: str | None) -> Tile | None:
    # Without zero points a picture has its colours less right, which is better than none.
    for calibration in (HEADERS, Calibration.parse("none", None)):
        try:
            return Tile.open(group, survey, calibration=calibration)
        except (InputError, OSError) as error:
            problem = error
    log.warning("Tile %s cannot be read: %s", tile_name(group), problem)
    return None
