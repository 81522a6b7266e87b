"""Catalogues of galaxies: where they are, how large and how bright, in whatever columns a survey uses.

Rows come as a stream, so that ten million take no more memory than a hundred thousand. A row that cannot be used stops
no other: it is left out, counted, and reported with its reason.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import Table

from morph.catalogs.base import TableFile
from morph.catalogs.column_mapping import CHANNEL_MAGNITUDES, FILE_ID_COLUMNS, ColumnMapping, map_columns, radii
from morph.catalogs.row_filter import Selection
from morph.catalogs.tables import open_tables
from morph.catalogs.values import check_digits, degrees, identifiers, measured, numbers, texts, unknown_values
from morph.console import counted
from morph.errors import InputError
from morph.surveys import UNKNOWN, get_survey, magnitude

#: A catalogue's columns here. `x` and `y` (pixels, 0-based) stand where a catalogue has no positions on the sky, and
#: `radius_pixels` where its sizes are in pixels: `radius` is then right for images at the survey's own scale.
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        *(
            (name, pa.float64())
            for name in ("ra", "dec", "x", "y", "radius", "radius_pixels", *CHANNEL_MAGNITUDES, "redshift")
        ),
        ("tilename", pa.string()),
    ]
)
#: Those by which one catalogue differs from another in what is scored.
_IDENTITY = ("ra", "dec", "x", "y", "radius")

#: Why a row is left out.
NO_POSITION = "its position is not a number (decimal degrees, or sexagesimal text)"
OFF_SPHERE = "its position is off the sphere (degrees are needed, declinations at most 90)"
NO_TILE = "its position is in pixels, and its file's name is that of no tile"
DUPLICATE = "a row before it has its id"
NOT_PRIMARY = "it is not its brick's own (brick_primary): another brick lists it"

#: Of each reason, how many rows are listed.
LISTED = 10_000

#: The name of a DES tile, in a file's name too.
_DES_TILE = re.compile(r"DES\d{4}[+-]\d{4}")


class RejectedRows:
    """The rows of a catalogue that are not scored: how many for which reason, and the first `LISTED` of each.

    Attributes
    ----------
    counts : rows by the reason.
    unknown : values that count as unknown, by the column: they are not possible, or not numbers.
    notes : how else the catalogue is read, where that is unusual; one sentence each.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.notes: dict[str, None] = {}
        self._rows: list[tuple[str, float, float, str]] = []

    def __len__(self) -> int:
        return sum(self.counts.values())

    def add(self, rows: pa.Table, bad: np.ndarray, reason: str) -> None:
        """Add rows.

        Parameters
        ----------
        rows : with `id`, `ra` and `dec`.
        bad : bool [n], which of them are left out.
        reason : why.
        """
        room = max(LISTED - self.counts[reason], 0)
        self.counts[reason] += int(bad.sum())
        some = rows.take(np.flatnonzero(bad)[:room])
        self._rows += [(*row.values(), reason) for row in some.select(["id", "ra", "dec"]).to_pylist()]

    def table(self) -> pa.Table:
        """The listed rows: `id`, `ra`, `dec` (deg, as they are in the catalogue) and `reason`."""
        columns = [list(values) for values in zip(*self._rows, strict=True)] or [[], [], [], []]
        kinds = (pa.string(), pa.float64(), pa.float64(), pa.string())
        arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
        return pa.table(dict(zip(("id", "ra", "dec", "reason"), arrays, strict=True)))

    def lines(self) -> list[str]:
        """One sentence a reason, a column and a note."""
        lines = [
            f"{counted(count, 'row')} of the catalogue left out: {reason}."
            for reason, count in self.counts.most_common()
            if count
        ]
        lines += [f"{unknown_values(column, count)}." for column, count in self.unknown.items() if count]
        return lines + list(self.notes)


class Catalog:
    """A catalogue on disk: one table, a folder or glob of them (one a tile, for instance), or a HATS catalogue.

    Parameters
    ----------
    survey : whose pixel scale holds for sizes in pixels, and whose seeing is added to sizes without it; None where it
        is not known. Sizes in pixels then stay in pixels, sizes without seeing are left out, and `left_out` notes so.
    where : which rows are wanted, see `morph.catalogs.row_filter.Selection`; all if not given.
    tiles : names of the tiles to be scored. A file that is called like one of them lists that tile's galaxies.

    Attributes
    ----------
    left_out : the rows that `chunks` left out so far.
    radius_column : where sizes come from.
    by_file : whether rows belong to a tile by the name of their file and not by a column.

    Raises
    ------
    InputError : there is no such table, or it cannot be read; a needed column is missing; `where` is not a valid
        expression, or names a column that is not there.
    """

    def __init__(
        self, path: str | Path, survey: str | None = None, where: str | None = None, tiles: Sequence[str] = ()
    ):
        self.path = Path(path)
        self.survey = get_survey(survey or UNKNOWN.name)
        self.where = Selection(where) if where and where.strip() else None
        self._tiles = {name for name in tiles if name}
        files = open_tables(self.path)
        # A single catalogue in the pixels of a single tile needs no name.
        self._only = next(iter(self._tiles)) if len(files) == len(self._tiles) == 1 else ""
        self._tables = [(table, map_columns(table, self.survey)) for table in files]
        self._wheres = [
            self.where.of(table.schema, f"'{table.path}'") if self.where else None for table, _ in self._tables
        ]
        self.radius_column = next((mapping.radius_column for _, mapping in self._tables if mapping.radius_column), "")
        self.by_file = any(not mapping.tilename and self._tile_of(table) for table, mapping in self._tables)
        self.left_out = RejectedRows()
        self.left_out.notes |= dict.fromkeys(note for _, mapping in self._tables for note in mapping.notes)

    def chunks(self) -> Iterator[pa.Table]:
        """The galaxies in the files' order, some at a time, with the columns of `SCHEMA`; `tilename` may be empty.

        Raises InputError when a file is damaged, or no row is left.
        """
        seen = np.empty(0, dtype="int64")
        count = 0
        for (table, mapping), where in zip(self._tables, self._wheres, strict=True):
            for rows in table.batches(mapping.columns, where):
                if not len(rows):
                    continue
                chunk = self._usable(self._standard(rows, table, mapping), rows, mapping)
                chunk, seen = self._without_duplicates(chunk, seen)
                count += len(chunk)
                if len(chunk):
                    yield chunk
        if not count:
            raise self._nothing()
        if self.left_out.counts[DUPLICATE] > count:
            raise InputError(
                f"Most rows of the catalogue '{self.path}' have an id that another has, too "
                f"({self.left_out.counts[DUPLICATE]:,} rows); every galaxy needs its own."
            )

    def _nothing(self) -> InputError:
        if self.left_out:
            return InputError(
                f"No row of the catalogue '{self.path}' can be used: {self.left_out.counts.most_common()[0][0]}."
            )
        if self.where:
            return InputError(f"No row of the catalogue '{self.path}' is chosen by --where '{self.where.text}'.")
        return InputError(f"The catalogue '{self.path}' has no rows; give one with at least one galaxy.")

    def _standard(self, rows: pa.Table, table: TableFile, mapping: ColumnMapping) -> pa.Table:
        missing = np.full(len(rows), np.nan)
        columns: dict[str, np.ndarray | pa.Array] = dict.fromkeys(SCHEMA.names, missing)
        if mapping.ra and mapping.dec:
            columns["ra"], columns["dec"] = (degrees(rows[q.column], q) for q in (mapping.ra, mapping.dec))
        else:
            columns["x"], columns["y"] = numbers(rows[mapping.x]) - 1, numbers(rows[mapping.y]) - 1
        for name, quantity in mapping.values.items():
            if name != "radius":
                values, wrong = measured(rows[quantity.column], quantity)
                columns[name] = magnitude(values) if quantity.kind == "flux" else values
                self.left_out.unknown[quantity.column] += wrong
        if (size := mapping.values.get("radius")) is not None:
            columns["radius"] = radii(rows, size, self.survey, np.asarray(columns["redshift"]))
            if size.size == "pixels":
                columns["radius_pixels"] = self._in_pixels(columns["radius"], numbers(rows[size.column]) * size.factor)
        if mapping.tilename:
            columns["tilename"] = texts(rows[mapping.tilename])
        else:
            tile = self._tile_of(table) or (self._only if mapping.x else "")
            columns["tilename"] = pa.array([tile] * len(rows), pa.string())
        columns["id"] = self._ids(rows, table, mapping, columns)
        return pa.table(columns, schema=SCHEMA)

    def _in_pixels(self, radius: np.ndarray, written: np.ndarray) -> np.ndarray:
        """Sizes in pixels of images whose scale the survey knows, or as they are `written` where it does not."""
        if np.isfinite(self.survey.pixel_scale):
            return np.asarray(radius) / self.survey.pixel_scale
        return np.where(written > 0, written, np.nan)

    def _ids(self, rows: pa.Table, table: TableFile, mapping: ColumnMapping, columns: dict) -> pa.Array:
        """Ids that are unique in the catalogue; those that are empty are named by position."""
        if not mapping.id:
            return pa.array(position_names(columns["ra"], columns["dec"]), pa.string())
        for name in mapping.id:
            check_digits(rows[name], name, str(table.path))
        parts = [identifiers(rows[name]) for name in mapping.id]
        if len(self._tables) > 1 and mapping.id[-1].lower() in FILE_ID_COLUMNS:
            parts.insert(0, pa.array([self._tile_of(table) or table.path.name.split(".")[0]] * len(rows)))
        ids = parts[-1] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "-")
        empty = np.asarray(pc.equal(parts[-1], ""))
        if empty.any():
            names = position_names(columns["ra"], columns["dec"])
            ids = pc.if_else(pa.array(empty), pa.array(names, pa.string()), ids)
        return ids

    def _usable(self, chunk: pa.Table, rows: pa.Table, mapping: ColumnMapping) -> pa.Table:
        """The rows with something to score; positions on the sphere, 0 to 360 and -90 to 90 degrees."""
        ra, dec = (chunk[name].to_numpy() for name in ("ra", "dec"))
        named = np.asarray(pc.not_equal(chunk["tilename"], ""))
        finite = np.isfinite(ra) & np.isfinite(dec)
        placed = np.isfinite(chunk["x"].to_numpy()) & np.isfinite(chunk["y"].to_numpy())
        off = finite & ((np.abs(ra) > 360) | (np.abs(dec) > 90))
        secondary = np.zeros_like(off)
        if mapping.primary:
            secondary = np.asarray(
                pc.is_in(pc.utf8_lower(texts(rows[mapping.primary])), pa.array(["false", "f", "0"]))
            )
        if mapping.x:
            reasons = {NO_POSITION: ~placed, NO_TILE: placed & ~named}
        else:
            # A row with a tile name belongs to that tile's file, flagged, even where its position is not known.
            reasons = {NO_POSITION: ~finite & ~named, OFF_SPHERE: off, NOT_PRIMARY: secondary}
        keep = np.ones(len(chunk), dtype=bool)
        for reason, bad in reasons.items():
            if (bad := bad & keep).any():
                self.left_out.add(chunk, bad, reason)
                keep &= ~bad
        chunk = chunk.set_column(SCHEMA.get_field_index("ra"), "ra", pa.array(np.mod(ra, 360)))
        return chunk if keep.all() else chunk.filter(keep)

    def _without_duplicates(self, chunk: pa.Table, seen: np.ndarray) -> tuple[pa.Table, np.ndarray]:
        """The rows whose id was not seen before, and all ids seen, as sorted hashes.

        Of ten million galaxies, two share a hash of 64 bits once in four hundred thousand catalogues.
        """
        keys = np.fromiter(map(hash, chunk["id"].to_pylist()), dtype="int64", count=len(chunk))
        unique, first = np.unique(keys, return_index=True)
        new = np.ones(len(unique), dtype=bool)
        if len(seen):
            places = np.minimum(np.searchsorted(seen, unique), len(seen) - 1)
            new = seen[places] != unique
        keep = np.zeros(len(chunk), dtype=bool)
        keep[first[new]] = True
        if not keep.all():
            self.left_out.add(chunk, ~keep, DUPLICATE)
            chunk = chunk.filter(keep)
        # Two sorted runs: a stable sort merges them.
        return chunk, np.sort(np.concatenate([seen, unique[new]]), kind="stable")

    def _tile_of(self, table: TableFile) -> str:
        """The tile that a table's file is called after; empty if none is."""
        stem = table.path.name
        des = _DES_TILE.search(stem)
        if des and des[0] in self._tiles:
            return des[0]
        edges = [0, *(m.start() for m in re.finditer(r"[._-]", stem)), len(stem)]
        parts = {stem[a:b].strip("._-") for i, a in enumerate(edges) for b in edges[i + 1 :]}
        return max(parts & self._tiles, key=len, default="")


def read_catalog(path: str | Path, survey: str | None = None, where: str | None = None) -> Table:
    """The galaxies of a catalogue, whole, in its order; see `Catalog` for what is read and what is left out.

    Columns are found by their usual names in any case (see `morph.catalogs.column_mapping`; a plain `id` comes first).
    Galaxies without an id are named by their position. `morph.catalogs.spatial_index.SpatialIndex` serves catalogues
    that are too large for this, and several processes.

    Parameters
    ----------
    path, survey, where : see `Catalog`.

    Returns
    -------
    Table with `id` (str), `ra`, `dec` (deg), `x`, `y` (pixels, 0-based, where there are no positions on the sky),
    `radius` (observed half-light radius, arcsec, NaN where the catalogue has none, or has it in pixels of images of no
    known survey), `radius_pixels` (in the image's pixels, where the catalogue has it so), `mag_g`, `mag_r`, `mag_i`
    (the survey's three bands), `redshift` (NaN where unknown) and `tilename` (empty where unknown). Its `meta`
    holds `source`, `radius_column`, `left_out` (`RejectedRows`) and `digest` (a hash of ids, positions and sizes).

    Raises
    ------
    InputError : as `Catalog`.

    Examples
    --------
    >>> from pathlib import Path
    >>> characters = Path("galaxies.csv").write_text("id,ra,dec,mag_auto_r\\na,10.5,-1,19.2\\n")
    >>> read_catalog("galaxies.csv", survey="des")["ra"].tolist()
    [10.5]
    """
    catalogue, digest = Catalog(path, survey, where), Digest()
    chunks = []
    for chunk in catalogue.chunks():
        digest.add(chunk)
        chunks.append(chunk)
    table = to_table(pa.concat_tables(chunks))
    table.meta = {
        "source": str(path),
        "radius_column": catalogue.radius_column,
        "digest": str(digest),
        "left_out": catalogue.left_out,
    }
    return table


def to_table(rows: pa.Table) -> Table:
    """Rows of `SCHEMA` as astropy's table, with units."""
    columns = {f.name: rows[f.name].to_numpy() for f in SCHEMA}
    for name in ("id", "tilename"):
        columns[name] = columns[name].astype(str)
    table = Table(columns)
    table["ra"].unit = table["dec"].unit = "deg"
    table["radius"].unit = "arcsec"
    return table


def position_names(ra: np.ndarray, dec: np.ndarray) -> list[str]:
    """The customary names JHHMMSS.ss+DDMMSS.s of places in degrees; those that are not numbers count as 0."""
    hundredths = np.rint(np.nan_to_num(ra) * 24000).astype("int64") % 8_640_000
    tenths = np.rint(np.abs(np.nan_to_num(dec)) * 36000).astype("int64")
    signs = np.where(np.signbit(dec), "-", "+").tolist()
    return [
        f"J{h // 360000:02d}{h // 6000 % 60:02d}{h // 100 % 60:02d}.{h % 100:02d}"
        f"{sign}{t // 36000:02d}{t // 600 % 60:02d}{t // 10 % 60:02d}.{t % 10}"
        for h, sign, t in zip(hundredths.tolist(), signs, tenths.tolist(), strict=True)
    ]


class Digest:
    """A hash of the ids, positions and sizes in a catalogue, whatever file they come from."""

    def __init__(self) -> None:
        self._parts = {name: hashlib.sha256() for name in ("id", *_IDENTITY)}

    def add(self, chunk: pa.Table) -> None:
        """Add rows of `SCHEMA`."""
        self._parts["id"].update("".join(f"{name}\n" for name in chunk["id"].to_pylist()).encode())
        for name in _IDENTITY:
            values = chunk[name].to_numpy()
            if name == "radius":
                # Sizes in pixels of images of no known survey are no angles yet.
                values = np.where(np.isnan(values), chunk["radius_pixels"].to_numpy(), values)
            self._parts[name].update(np.ascontiguousarray(values, dtype="<f8").tobytes())

    def __str__(self) -> str:
        whole = hashlib.sha256("".join(part.hexdigest() for part in self._parts.values()).encode())
        return whole.hexdigest()[:16]
