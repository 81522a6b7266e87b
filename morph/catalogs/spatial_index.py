"""A catalogue in an order in which a tile's galaxies are found without looking at the others.

Galaxies stand in zones of declination, and by right ascension within a zone (the zones of Gray, Nieto-Santisteban &
Szalay 2006, arXiv:cs/0701171), piece by piece in one Arrow file. Processes map the file into their memory, where it is
shared: what is sent to another process is the file's name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.coordinates import angular_separation
from astropy.table import Table

from morph.atomic import atomic
from morph.catalogs.catalog import SCHEMA, Catalog, Digest, RejectedRows, to_table
from morph.stamps.cutting import on_tile
from morph.stamps.stamp_stream import measure_radii
from morph.tiles.tile import Tile

#: Height of a zone, degrees: half a tile, so that a tile meets three or four.
ZONE = 0.25

#: Rows of a piece: sorting one takes two hundred megabytes for a moment.
PIECE = 500_000

#: What the index adds to a catalogue's columns: `row`, its number in the catalogue; `zone`, 360 times the number of
#: its zone plus its right ascension, in which order the rows of a piece are; `tile`, the number of its `tilename`
#: among all, and `by_tile`, the piece's rows in order of that.
_SCHEMA = pa.schema(
    [
        *(f for f in SCHEMA if f.name != "tilename"),
        ("row", pa.int64()),
        ("zone", pa.float64()),
        ("tile", pa.int32()),
        ("by_tile", pa.int32()),
    ]
)


@dataclass(frozen=True)
class SpatialIndex:
    """The galaxies of a catalogue, by place and by tile.

    Made by `read`, or by `of_table` from a table in memory. With a file it pickles as that file's name.

    Attributes
    ----------
    kept : the sorted rows: a file, or its content.
    source : the catalogue; `where` : what was chosen from it; `radius_column` : where sizes come from.
    digest : a hash of ids, positions and sizes.
    count : how many there are.
    left_out : the rows of the catalogue that cannot be used.
    tiles : the rows' tiles, "" for those without; `by_file` : whether a file's name gives the tile, and not the
        row.
    """

    kept: Path | pa.Buffer = field(repr=False)
    source: str
    where: str
    radius_column: str
    digest: str
    count: int
    left_out: RejectedRows = field(repr=False)
    tiles: tuple[str, ...] = field(repr=False)
    by_file: bool = field(repr=False)

    @classmethod
    def read(
        cls,
        path: str | Path,
        survey: str | None = None,
        where: str | None = None,
        tiles: Sequence[str] = (),
        to: str | Path | None = None,
    ) -> "SpatialIndex":
        """Those of a catalogue on disk; see `Catalog` for the first four parameters and for what it raises.

        Parameters
        ----------
        path, survey, where, tiles : see `Catalog`.
        to : the file that is to hold them, about 100 bytes a galaxy, for other processes to share; it appears when it
            is whole. Without it they stay in memory.
        """
        catalogue = Catalog(path, survey, where, tiles)
        about: dict[str, Any] = {
            "source": str(path),
            "where": catalogue.where.text if catalogue.where else "",
            "radius_column": catalogue.radius_column,
            "left_out": catalogue.left_out,
            "by_file": catalogue.by_file,
        }
        return cls(**_keep(catalogue.chunks(), to), **about)

    @classmethod
    def of_table(cls, table: Table) -> "SpatialIndex":
        """Those of a table as `morph.catalogs.catalog.read_catalog` makes it, in memory."""
        missing = np.full(len(table), np.nan)
        columns = {f.name: table[f.name] if f.name in table.colnames else missing for f in SCHEMA}
        chunk = pa.table({name: pa.array(values.tolist()) for name, values in columns.items()}, schema=SCHEMA)
        about: dict[str, Any] = {
            "source": table.meta.get("source", "a table in memory"),
            "where": "",
            "radius_column": table.meta.get("radius_column", ""),
            "left_out": table.meta.get("left_out", RejectedRows()),
            "by_file": False,
        }
        return cls(**_keep(iter([chunk]), None), **about)

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def about(self) -> dict[str, str]:
        """The provenance that score files keep; `digest` is the same for the same galaxies."""
        return {"source": self.source, "digest": self.digest, "radius_column": self.radius_column}

    def of(self, tile: Tile) -> Table:
        """The galaxies that are a tile's, placed on it, in the catalogue's order; see `place`.

        Radii that the catalogue does not have are NaN.
        """
        rows = self._rows(self._near(*footprint(tile)), {tile.name, tile.tilename})
        return place(tile, rows, by_file=self.by_file)

    def near(self, ra: float, dec: float, reach: float) -> Table:
        """The galaxies around a place, in the catalogue's order.

        Parameters
        ----------
        ra, dec, reach : the place and the distance from it, degrees.

        Returns
        -------
        Table with all galaxies within `reach`, and some more around them.
        """
        return self._rows(self._near(ra, dec, reach), set())

    def _rows(self, near: list[tuple[float, float]], names: set[str]) -> Table:
        """The rows in intervals of `zone`, and those of the named tiles."""
        numbers = [self.tiles.index(name) for name in names - {""} if name in self.tiles]
        found = []
        for piece in self._pieces:
            zone, tile, by_tile = (piece[name].to_numpy() for name in ("zone", "tile", "by_tile"))
            rows = [np.arange(*edges) for edges in np.searchsorted(zone, near)]
            for number in numbers:
                rows.append(
                    by_tile[slice(*np.searchsorted(tile, np.array([number, number + 1], "int32"), sorter=by_tile))]
                )
            wanted = np.unique(np.concatenate(rows))
            if len(wanted):
                found.append(pa.Table.from_batches([piece]).take(wanted))
        rows = (pa.concat_tables(found) if found else _SCHEMA.empty_table()).sort_by("row")
        names_of = np.array(self.tiles, dtype=object)[rows["tile"].to_numpy()]
        return to_table(rows.append_column("tilename", pa.array(names_of, pa.string())))

    def _near(self, ra: float, dec: float, reach: float) -> list[tuple[float, float]]:
        """The intervals of `zone` that cover a circle on the sky, degrees."""
        low, high = max(dec - reach, -90.0), min(dec + reach, 90.0)
        # The circle's widest right ascension; a circle over a pole has all of them.
        half = 180.0
        if high < 90 and low > -90:
            half = float(np.degrees(np.arcsin(np.sin(np.radians(reach)) / np.cos(np.radians(dec)))))
        left, right = (ra - half) % 360, (ra + half) % 360
        spans = [(left, right)] if left <= right else [(left, 360.0), (0.0, right)]
        if half >= 180:
            spans = [(0.0, 360.0)]
        zones = range(int((low + 90) // ZONE), int((high + 90) // ZONE) + 1)
        return [(zone * 360 + a, np.nextafter(zone * 360 + b, np.inf)) for zone in zones for a, b in spans]

    @cached_property
    def _file(self) -> pa.ipc.RecordBatchFileReader:
        return pa.ipc.open_file(pa.memory_map(str(self.kept)) if isinstance(self.kept, Path) else self.kept)

    @cached_property
    def _pieces(self) -> list[pa.RecordBatch]:
        return [self._file.get_batch(i) for i in range(self._file.num_record_batches)]


def _keep(chunks: Iterator[pa.Table], to: str | Path | None) -> dict[str, Any]:
    """Sort a catalogue's rows; what `SpatialIndex` knows of them."""
    if to is None:
        sink = pa.BufferOutputStream()
        about = _sort(chunks, sink)
        return {**about, "kept": sink.getvalue()}
    to = Path(to).absolute()
    with atomic(to, "The catalogue's galaxies") as building, pa.OSFile(str(building), "wb") as file:
        about = _sort(chunks, file)
    return {**about, "kept": to}


def _sort(chunks: Iterator[pa.Table], sink: pa.NativeFile) -> dict[str, Any]:
    digest, tiles, count = Digest(), dict[str, int](), 0
    with pa.ipc.new_file(sink, _SCHEMA) as file:
        for piece in _pieces(chunks):
            digest.add(piece)
            file.write_table(_sorted(piece, count, tiles))
            count += len(piece)
    return {"digest": str(digest), "count": count, "tiles": tuple(tiles)}


def _pieces(chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Chunks put together until they have `PIECE` rows or are the last."""
    waiting: list[pa.Table] = []
    for chunk in chunks:
        waiting.append(chunk)
        if sum(map(len, waiting)) >= PIECE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _sorted(piece: pa.Table, before: int, tiles: dict[str, int]) -> pa.Table:
    """A piece in the index's order; `before` rows came earlier, and `tiles` numbers the tiles, new ones too."""
    names = piece["tilename"].combine_chunks().dictionary_encode()
    numbers = [tiles.setdefault(name, len(tiles)) for name in names.dictionary.to_pylist()]
    tile = np.array(numbers, dtype="int32")[names.indices.to_numpy()]
    ra, dec = piece["ra"].to_numpy(), piece["dec"].to_numpy()
    zone = np.floor((dec + 90) / ZONE) * 360 + ra  # NaN, where there is no position, comes last
    order = np.argsort(zone, kind="stable")
    columns = {f.name: piece[f.name] for f in SCHEMA if f.name != "tilename"}
    columns |= {"row": before + np.arange(len(piece)), "zone": zone, "tile": tile}
    table = pa.table(columns).take(order)
    by_tile = np.argsort(tile[order], kind="stable").astype("int32")
    return table.append_column("by_tile", pa.array(by_tile)).cast(_SCHEMA).combine_chunks()


def locate(tile: Tile, catalogue: Table) -> Table:
    """`place`, with sizes measured on the image where the catalogue has none."""
    table = place(tile, catalogue)
    unknown = ~np.isfinite(np.asarray(table["radius"])) & on_tile(tile, table["x"], table["y"])
    if unknown.any():
        table["radius"][unknown] = measure_radii(tile, table["x"][unknown], table["y"][unknown]) * tile.pixel_scale
    return table


def place(tile: Tile, catalogue: Table, by_file: bool = False) -> Table:
    """The rows of a catalogue that are this tile's, with their places on it.

    A row belongs to the tile that its `tilename` names, on the image or not. A row without a `tilename` belongs to the
    tile on which it falls; where tiles overlap, to the one that answers for the place (`Tile.answers_for`). A cutout
    of a tile leaves out the tile's rows outside it, and where cutouts of one tile overlap the place decides too.

    Parameters
    ----------
    by_file : whether a row's `tilename` is only the name of its catalogue: then it has to lie in the part of the sky
        that belongs to the tile, too.

    Returns
    -------
    Table with the catalogue's columns, and `x`, `y` (pixels, 0-based, NaN where the sky is not on the tile's plane);
    sizes in pixels are the tile's own.
    """
    x, y = _pixels(tile, catalogue)
    ra, dec = np.array(catalogue["ra"], dtype=float), np.array(catalogue["dec"], dtype=float)
    if "x" in catalogue.colnames:
        in_pixels = np.isfinite(np.asarray(catalogue["x"], dtype=float)) & ~np.isfinite(ra)
        x[in_pixels], y[in_pixels] = tile.from_stored_pixels(catalogue["x"][in_pixels], catalogue["y"][in_pixels])
        if in_pixels.any():
            ra[in_pixels], dec[in_pixels] = tile.sky(x[in_pixels], y[in_pixels])
    shown = on_tile(tile, x, y)
    tilename = np.asarray(catalogue["tilename"], dtype=str)
    own = {tile.name, tile.tilename} - {""}
    # Images to which their survey gives no name are identified by their own names and their neighbours'.
    elsewhere = ~np.isin(tilename, ["", *own]) if tile.tilename else np.isin(tilename, list(tile.neighbours))
    named = np.isin(tilename, list(own - tile.neighbours)) & (not by_file)
    here = shown & ~elsewhere & (named | tile.answers_for(ra, dec))
    rows = np.flatnonzero(here | (~shown & (tilename == tile.name)))
    table = catalogue[rows]
    table["x"], table["y"], table["ra"], table["dec"] = x[rows], y[rows], ra[rows], dec[rows]
    if "radius_pixels" in table.colnames:
        known = np.isfinite(table["radius_pixels"])
        table["radius"][known] = table["radius_pixels"][known] * tile.pixel_scale
    return table


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
