"""Scores as an extension of a survey's own HATS catalogue: more columns for its galaxies, joined by their ids.

The layout is that of `hats.catalog.CatalogExtension` (HATS 0.11): a file of properties that names the columns to join
on, and beside it a HATS catalogue of the added columns, which can be opened alone. LSDB joins rows of the same
partition only. Therefore the extension has the survey's partitions, and each galaxy is in the one that the survey has
it in, at the survey's position, even where the image puts it on the other side of an edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.coordinates import angular_separation

from morph.atomic import atomic
from morph.catalogs.column_mapping import id_columns
from morph.catalogs.parquet import ParquetTable, hats_folder, hats_properties, open_hats
from morph.catalogs.values import check_digits, identifiers
from morph.console import counted
from morph.errors import InputError
from serving.scores.hats import (
    FINEST,
    INDEX,
    MARGIN,
    CatalogueWriter,
    Partitions,
    healpix_29,
    index_field,
    neighbours_of,
    write_properties,
)
from serving.scores.score_files import ScoreFiles

#: Rows with one id that are further apart, arcsec, are different objects: one of the ids is of another survey.
APART = 5.0


@dataclass
class Joined:
    """How the galaxies of scores fit to a survey's catalogue.

    Attributes
    ----------
    scored : galaxies in the scores.
    joined : of them, those in the extension.
    duplicates : rows left out because another row, with as many flags or fewer, is of the same galaxy.
    ambiguous : left out because several rows of the catalogue have their id.
    apart : left out because the catalogue has their id more than `APART` arcsec away.
    """

    scored: int
    joined: int = 0
    duplicates: int = 0
    ambiguous: int = 0
    apart: int = 0

    @property
    def unmatched(self) -> int:
        """Left out because the catalogue does not have their id in the partitions around them."""
        return max(0, self.scored - self.joined - self.duplicates - self.ambiguous - self.apart)

    def __str__(self) -> str:
        reasons = {
            "of a galaxy that another row has, with fewer flags or earlier": self.duplicates,
            "with an id that several rows of the catalogue have": self.ambiguous,
            f"more than {APART:g} arcsec from the catalogue's galaxy of that id": self.apart,
            "with an id that the catalogue does not have there": self.unmatched,
        }
        left_out = [f"{count:,} {reason}" for reason, count in reasons.items() if count]
        said = f"; left out: {', '.join(left_out)}" if left_out else ""
        return f"{self.joined:,} of {counted(self.scored, 'galaxy', 'galaxies')} joined{said}."


def write_extension(
    scores: ScoreFiles, catalog: Path, path: Path, about: dict[str, Any], id_column: str = "", name: str = "morph"
) -> Joined:
    """Write an extension of a HATS catalogue, atomically; a partition and the tiles on it are in memory.

    Parameters
    ----------
    catalog : the survey's HATS catalogue or collection, which is only read.
    path : the extension's folder: `lsdb.open_catalog(catalog).load_extension(path / "morph.properties")`.
    about : provenance, kept in every file's schema.
    id_column : the catalogue's column with the scores' ids, by default the one with a usual name.
    name : of the extension.

    Returns
    -------
    How many galaxies are in it, and why others are not.

    Raises
    ------
    InputError : the catalogue is not one in HATS, has no column of ids or one that has lost digits, no galaxy can be
        joined, something else is at `path`, or a file cannot be read or written.
    """
    primary = _Primary.open(catalog, id_column)
    _check_target(path, catalog, name)
    added = [field for field in scores.schema_of(scores.tabular) if field.name not in {"id", *_PLACE, *primary.names}]
    joined = Joined(scores.galaxies)
    with atomic(path) as building:
        writer = CatalogueWriter(building / name, [*primary.fields, *added], about)
        for k, numbers in enumerate(primary.touched_by(scores)):
            if numbers and len(table := _join(primary.read(k), _rows(scores, numbers, added), primary, joined)):
                writer.add(primary.partitions, k, table)
        if not writer.rows:
            raise InputError(_nothing(scores, primary, joined))
        writer.close(
            {
                "obs_collection": name,
                "dataproduct_type": "object",
                "hats_col_ra": primary.ra,
                "hats_col_dec": primary.dec,
            }
        )
        properties = {
            "obs_collection": name,
            "dataproduct_type": "extension",
            "hats_primary_table_url": str(catalog.resolve()),
            "hats_col_assn_primary": primary.id,
            "hats_assn_join_table_url": name,
            "hats_col_assn_join": primary.id,
            "hats_ext_cols": " ".join(field.name for field in added),
            "hats_ext_join_style": "left",
            "hats_ext_shares_primary_coords": "true",
        }
        write_properties(building / f"{name}.properties", "HATS Extension", properties)
    return joined


_PLACE = ("ra", "dec")


@dataclass(frozen=True)
class _Primary:
    """The survey's catalogue: the names of its columns, their fields, and its partitions with their files."""

    path: Path
    id: str
    ra: str
    dec: str
    healpix: str
    fields: tuple[pa.Field, ...]
    partitions: Partitions
    files: tuple[Path, ...]

    @property
    def names(self) -> tuple[str, str, str]:
        return self.id, self.ra, self.dec

    @classmethod
    def open(cls, path: Path, id_column: str) -> "_Primary":
        folder = hats_folder(path)
        table, properties = open_hats(path), hats_properties(folder)
        if not isinstance(table, ParquetTable) or not {"ra", "dec"} <= set(table.mapping):
            raise InputError(f"The HATS catalogue '{path}' does not say which columns hold its positions.")
        found = (id_column,) if id_column else id_columns(table.schema)
        if len(found) != 1 or found[0] not in table.schema.names:
            known = ", ".join(table.schema.names[:20])
            what = f"no column '{id_column}'" if id_column else "no single column with a usual name of ids"
            raise InputError(f"The catalogue '{path}' has {what}; give id_column, one of {known}.")
        names = (found[0], table.mapping["ra"], table.mapping["dec"])
        order, pixel, files = _partitions(folder)
        healpix = properties.get("hats_col_healpix", INDEX)
        if healpix not in table.schema.names or properties.get("hats_col_healpix_order", str(FINEST)) != str(FINEST):
            healpix = ""
        fields = tuple(table.schema.field(name) for name in names)
        return cls(path, *names, healpix, fields, Partitions(order, pixel), files)

    def read(self, which: int) -> pa.Table:
        """A partition's ids and positions, and the column `INDEX` first."""
        columns = [*self.names, *([self.healpix] if self.healpix else [])]
        try:
            table = pq.read_table(self.files[which], columns=columns, partitioning=None)
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(f"The catalogue's file '{self.files[which]}' cannot be read ({reason}).") from None
        check_digits(table[self.id], self.id, str(self.path))
        if self.healpix:
            place = table[self.healpix].cast(pa.int64())
        else:
            place = pa.array(healpix_29(*(table[name].to_numpy().astype("float64") for name in (self.ra, self.dec))))
        return table.select(self.names).add_column(0, index_field(), place)

    def touched_by(self, scores: ScoreFiles) -> list[list[int]]:
        """The score files with galaxies in each partition, or so near that the survey may have them in it."""
        touching: list[list[int]] = [[] for _ in self.files]
        for number, table in enumerate(scores.tables(_PLACE)):
            place = healpix_29(table["ra"].to_numpy(), table["dec"].to_numpy())
            place = place[place >= 0]
            near = neighbours_of(np.unique(place >> 2 * (FINEST - MARGIN)), MARGIN)
            found = [self.partitions.find(place, FINEST), self.partitions.find(near.ravel(), MARGIN)]
            for k in np.unique(np.concatenate(found)):
                if k >= 0:
                    touching[k].append(number)
        return touching


def _partitions(folder: Path) -> tuple[np.ndarray, np.ndarray, tuple[Path, ...]]:
    """Order, pixel and file (or folder of files) of each partition, in the order of the sky."""
    found = []
    for path in (folder / "dataset").glob("Norder=*/Dir=*/Npix=*"):
        order, pixel = (int(name.partition("=")[2].partition(".")[0]) for name in (path.parts[-3], path.name))
        found.append((pixel << 2 * (FINEST - order), order, pixel, path))
    found.sort()
    return np.array([row[1] for row in found]), np.array([row[2] for row in found]), tuple(row[3] for row in found)


def _rows(scores: ScoreFiles, numbers: Sequence[int], added: Sequence[pa.Field]) -> pa.Table:
    """The galaxies of some score files that have a position."""
    names = list(dict.fromkeys(["id", *_PLACE, "flags", *(field.name for field in added)]))
    table = pa.concat_tables(scores.read(number, names) for number in numbers)
    known = [pc.fill_null(pc.is_finite(table[name]), False) for name in _PLACE]
    return table.filter(pc.and_(*known))


def _join(rows: pa.Table, scored: pa.Table, primary: _Primary, joined: Joined) -> pa.Table:
    """The rows of a partition that have scores, with these beside them; `joined` is counted up."""
    keys = identifiers(rows[primary.id])
    counts = keys.value_counts()
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    scored = scored.filter(pc.is_in(scored["id"], keys))
    ambiguous = pc.is_in(scored["id"], repeated)
    joined.ambiguous += pc.sum(ambiguous).as_py() or 0
    scored = scored.filter(pc.invert(ambiguous))
    which = pc.index_in(scored["id"], keys).to_numpy()
    there = rows.take(pa.array(which))
    close = _arcsec(there, scored, primary) <= APART
    joined.apart += int((~close).sum())
    kept = _best(which, scored["flags"].to_numpy(), np.flatnonzero(close))
    joined.duplicates += int(close.sum()) - len(kept)
    joined.joined += len(kept)
    table, beside = there.take(pa.array(kept)), scored.take(pa.array(kept))
    for field in scored.schema:
        if field.name not in {"id", *_PLACE, *table.column_names}:
            table = table.append_column(field, beside[field.name])
    return table.sort_by(INDEX)


def _arcsec(rows: pa.Table, scored: pa.Table, primary: _Primary) -> np.ndarray:
    """How far rows are from each other, one by one."""
    places = [rows[primary.ra], rows[primary.dec], scored["ra"], scored["dec"]]
    ra, dec, other_ra, other_dec = (np.deg2rad(place.to_numpy().astype("float64")) for place in places)
    return np.rad2deg(angular_separation(ra, dec, other_ra, other_dec)) * 3600


def _best(which: np.ndarray, flags: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of `rows`, one for each value of `which`: that with the fewest flags, or the first."""
    order = rows[np.lexsort((rows, np.bitwise_count(flags[rows]), which[rows]))]
    _, first = np.unique(which[order], return_index=True)
    return order[first]


def _check_target(path: Path, catalog: Path, name: str) -> None:
    """InputError where something else than an extension is, or the catalogue itself."""
    there, survey = path.resolve(), catalog.resolve()
    if there == survey or survey in there.parents or there in survey.parents:
        raise InputError(f"'{path}' is not apart from the catalogue '{catalog}', which is only read; choose another.")
    if path.exists() and not (path / f"{name}.properties").is_file():
        raise InputError(f"'{path}' is there already, and is not an extension; choose another place.")


def _nothing(scores: ScoreFiles, primary: _Primary, joined: Joined) -> str:
    ours = next((str(name) for table in scores.tables(["id"]) for name in table["id"][:1]), "")
    theirs = identifiers(primary.read(0)[primary.id])[0]
    return (
        f"No scored galaxy can be joined to the catalogue '{primary.path}': {joined} The scores' ids are like "
        f"'{ours}', those in '{primary.id}' like '{theirs}'; score the galaxies of that catalogue (--catalog), or "
        "name another column with id_column."
    )
