"""The catalogue in HATS, the layout that LSDB opens, searches and cross-matches.

A collection of two catalogues: the galaxies in partitions that hold about as many each, sorted by their place on the
sky, and a margin, which holds for each partition the galaxies just outside it, so that a match across its edge is
found. The layout is that of HATS 1.0 (https://hats.readthedocs.io), without the optional sky map.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph import __version__
from morph.atomic import atomic
from morph.errors import InputError
from serving.scores.astropy_words import astropy_words, widths
from serving.scores.partitions import CELLS, FINEST, MARGIN, Partitions, around, number
from serving.scores.schema import REPEATED
from serving.scores.score_files import ScoreFiles, with_about

#: Galaxies in a partition at most, unless more lie in one cell: 130 MB in memory.
ROWS = 150_000

#: Rows that a reader who wants a small piece of a partition reads at once.
GROUP = 20_000

#: Galaxies closer to a partition than this are in its margin, arcsec.
THRESHOLD = 10.0

INDEX = "_healpix_29"

#: What a catalogue that is matched with others is not for.
LEFT_OUT = ("picture",)


def write_hats(scores: ScoreFiles, path: Path, about: dict[str, Any], name: str = "morph", rows: int = ROWS) -> int:
    """Write a HATS collection, whole or not at all; at no time is more than a partition and a tile in memory.

    Parameters
    ----------
    path : the collection's folder, which `lsdb.open_catalog` takes.
    about : provenance, kept in every file's schema.
    name : of the catalogue inside.
    rows : in a partition at most.

    Returns how many galaxies have no place on the sky and are left out.

    Raises InputError when a score file cannot be read, no galaxy has a place, or the catalogue cannot be written.
    """
    tiles = [_cells(table) for table in scores.tables(["ra", "dec"])]
    if not any(len(tile.cells) for tile in tiles):
        raise InputError(
            "None of the galaxies has a place on the sky, so there is no HATS catalogue; leave out --hats."
        )
    cells, which = np.unique(np.concatenate([tile.cells for tile in tiles]), return_inverse=True)
    counts = np.bincount(which, np.concatenate([tile.counts for tile in tiles]), minlength=len(cells))
    partitions = Partitions.of(cells, counts, rows)
    fields = [field for field in scores.schema if field.name not in LEFT_OUT]
    margin_name = f"{name}_{THRESHOLD:g}arcs"
    with atomic(path) as building:
        main = _Catalogue(building / name, fields, about)
        margin = _Catalogue(building / margin_name, fields, about)
        for k, (inside, beside) in enumerate(_rows_of(partitions, tiles, scores, fields)):
            main.add(partitions, k, inside)
            if len(beside):
                margin.add(partitions, k, beside)
        main.close({**_object(name), "moc_sky_fraction": f"{partitions.sky:.5g}"})
        collection = {"obs_collection": name, "hats_primary_table_url": name}
        # LSDB takes no catalogue without partitions for a margin.
        if margin.rows:
            margin.close(_margin(margin_name, name))
            collection |= {"all_margins": margin_name, "default_margin": margin_name}
        _properties(building / "collection.properties", "HATS Collection", collection)
    return scores.galaxies - main.rows


@dataclass(frozen=True)
class _Cells:
    """The cells that a tile's galaxies lie in, and how many in each."""

    cells: np.ndarray
    counts: np.ndarray


def _cells(table: pa.Table) -> _Cells:
    place = _places(table)
    return _Cells(*np.unique(place[place >= 0] >> 2 * (FINEST - CELLS), return_counts=True))


def _places(table: pa.Table) -> np.ndarray:
    return number(table["ra"].to_numpy(), table["dec"].to_numpy())


def _rows_of(
    partitions: Partitions, tiles: list[_Cells], scores: ScoreFiles, fields: list[pa.Field]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The galaxies inside each partition and those in its margin, in the partitions' order.

    A tile is read again for every partition that it touches: a few times, which costs less than keeping its rows.
    """
    touching: list[list[int]] = [[] for _ in range(len(partitions))]
    for number_, tile in enumerate(tiles):
        near = np.concatenate([tile.cells, around(tile.cells, CELLS).ravel()])
        for k in np.unique(partitions.find(near, CELLS)):
            if k >= 0:
                touching[k].append(number_)
    names = [field.name for field in fields]
    for k, numbers in enumerate(touching):
        inside, beside = [], []
        for n in numbers:
            table = scores.read(n, names)
            place = _places(table)
            own = partitions.find(place, FINEST)
            table = table.add_column(0, _index(), pa.array(place))
            inside.append(table.filter(pa.array(own == k)))
            outside = np.flatnonzero((own != k) & (place >= 0))
            near = partitions.find(around(place[outside] >> 2 * (FINEST - MARGIN), MARGIN), MARGIN)
            beside.append(table.take(pa.array(outside[(near == k).any(axis=0)])))
        yield _sorted(inside), _sorted(beside)


def _sorted(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).sort_by(INDEX)


def _index() -> pa.Field:
    words = {"description": "HEALPix number at order 29, nested", "ucd": "pos.healpix"}
    return pa.field(INDEX, pa.int64(), metadata=words)


class _Catalogue:
    """One catalogue of the collection, partition by partition."""

    def __init__(self, folder: Path, fields: list[pa.Field], about: dict[str, Any]):
        self.rows = 0
        self._folder, self._about = folder, about
        self._schema = with_about(pa.schema([_index(), *fields]), about)
        self._pixels: list[tuple[int, int]] = []
        self._largest = 0

    def add(self, partitions: Partitions, which: int, table: pa.Table) -> None:
        order, pixel = int(partitions.order[which]), int(partitions.pixel[which])
        path = (
            self._folder / "dataset" / f"Norder={order}" / f"Dir={pixel // 10_000 * 10_000}" / f"Npix={pixel}.parquet"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        words = astropy_words(self._schema, widths(table), self._about)
        table = table.replace_schema_metadata({**self._schema.metadata, **words})
        pq.write_table(table, path, compression="zstd", use_dictionary=REPEATED, row_group_size=GROUP)
        self._pixels.append((order, pixel))
        self._largest = max(self._largest, len(table))
        self.rows += len(table)

    def close(self, properties: dict[str, str]) -> None:
        """Write what stands beside the partitions. Their `_metadata` is left out: it would be 50 kB a row group."""
        pq.write_metadata(self._schema, self._folder / "dataset" / "_common_metadata")
        lines = ["Norder,Npix", *(f"{order},{pixel}" for order, pixel in self._pixels)]
        (self._folder / "partition_info.csv").write_text("\n".join(lines) + "\n")
        size = sum(path.stat().st_size for path in self._folder.rglob("*.parquet"))
        found = {
            "hats_nrows": str(self.rows),
            "hats_max_rows": str(self._largest),
            "hats_order": str(max(order for order, _ in self._pixels)),
            "hats_estsize": str(size // 1024),
        }
        # Older readers look for the second name.
        for file in ("hats.properties", "properties"):
            _properties(self._folder / file, "HATS catalog", {**properties, **_COLUMNS, **found})


_COLUMNS = {
    "hats_col_ra": "ra",
    "hats_col_dec": "dec",
    "hats_col_healpix": INDEX,
    "hats_col_healpix_order": str(FINEST),
    "hats_npix_suffix": ".parquet",
}


def _object(name: str) -> dict[str, str]:
    return {"obs_collection": name, "dataproduct_type": "object"}


def _margin(name: str, of: str) -> dict[str, str]:
    return {
        "obs_collection": name,
        "dataproduct_type": "margin",
        "hats_primary_table_url": of,
        "hats_margin_threshold": str(THRESHOLD),
    }


def _properties(path: Path, title: str, values: dict[str, str]) -> None:
    shared = {
        "hats_builder": f"morph {__version__}",
        "hats_creation_date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MUTC"),
        "hats_version": "v1.0",
    }
    lines = [f"#{title}", *(f"{key}={value}" for key, value in {**values, **shared}.items())]
    path.write_text("\n".join(lines) + "\n")
