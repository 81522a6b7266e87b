"""The catalogue in HATS, the layout that LSDB opens, searches and cross-matches.

A collection of two catalogues: the galaxies in partitions that hold about as many each, sorted by their place on the
sky, and a margin, which holds for each partition the galaxies just outside it, so that a match across its edge is
found. The layout is that of HATS 1.0 (https://hats.readthedocs.io), without the optional sky map.

Partitions are HEALPix pixels (Gorski et al. 2005) in the nested scheme, in which a pixel's number is that of its
parent with two bits more, so that the pixels of any order inside a partition are one range of numbers.
"""

from collections.abc import Iterator, Sequence
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
from serving.scores.schema import REPEATED, astropy_metadata, widths, with_about
from serving.scores.score_files import ScoreFiles

#: The order at which every place has a number of its own, 0.4 milliarcsec across.
FINEST = 29

#: The order of the cells in which galaxies are counted, 3.4 arcmin across; no partition is smaller.
CELLS = 10

#: The order of the cells that a margin is made of. They are 26 arcsec across, at the narrowest more than 10.
MARGIN = 13

#: Galaxies in a partition at most, unless more lie in one cell: 130 MB in memory.
ROWS = 150_000

#: Rows that a reader who wants a small piece of a partition reads at once.
GROUP = 20_000

#: Galaxies closer to a partition than this are in its margin, arcsec.
THRESHOLD = 10.0

INDEX = "_healpix_29"


@dataclass(frozen=True)
class Partitions:
    """Pixels of several orders that do not overlap, sorted by where they lie in the nested scheme.

    Attributes
    ----------
    order, pixel : int64 [partitions].
    """

    order: np.ndarray
    pixel: np.ndarray

    @classmethod
    def of(cls, cells: np.ndarray, counts: np.ndarray, most: int) -> "Partitions":
        """The largest pixels with at most `most` galaxies; a cell that has more is a partition all the same.

        Parameters
        ----------
        cells : numbers at order `CELLS`, each once; counts : the galaxies in each.
        """
        orders, pixels = [], []
        for order in range(CELLS + 1):
            parents, which = np.unique(cells >> 2 * (CELLS - order), return_inverse=True)
            few = (np.bincount(which, counts) <= most) | (order == CELLS)
            orders.append(np.full(few.sum(), order))
            pixels.append(parents[few])
            left = ~few[which]
            cells, counts = cells[left], counts[left]
            if not len(cells):
                break
        found = cls(np.concatenate(orders), np.concatenate(pixels))
        first = np.argsort(found.pixel << 2 * (FINEST - found.order))
        return cls(found.order[first], found.pixel[first])

    def __len__(self) -> int:
        return len(self.pixel)

    def find(self, pixel: np.ndarray, order: int) -> np.ndarray:
        """Which partition holds each pixel of an order no coarser than theirs; -1 where none does.

        Parameters
        ----------
        pixel : int64, any shape; negative numbers lie nowhere.
        """
        place = pixel << 2 * (FINEST - order)
        begin = self.pixel << 2 * (FINEST - self.order)
        end = (self.pixel + 1) << 2 * (FINEST - self.order)
        found = np.searchsorted(begin, place, side="right") - 1
        return np.where((found >= 0) & (pixel >= 0) & (place < end[found]), found, -1)

    @property
    def sky(self) -> float:
        """The part of the sky that they cover."""
        return float((0.25**self.order).sum() / 12)


def healpix_29(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Pixel numbers at order `FINEST` of coordinates in degrees: int64 [n], -1 where one is NaN."""
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    known = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90)
    found = np.full(len(ra), -1, dtype="int64")
    found[known] = lonlat_to_healpix(ra[known] * units.deg, dec[known] * units.deg, 1 << FINEST, order="nested")
    return found


def neighbours_of(pixel: np.ndarray, order: int) -> np.ndarray:
    """The eight pixels around each, -1 where there are only seven: int64 [8, n]."""
    from astropy_healpix import neighbours

    return neighbours(pixel, 1 << order, order="nested")


def write_hats(scores: ScoreFiles, path: Path, about: dict[str, Any], name: str = "morph", rows: int = ROWS) -> int:
    """Write a HATS collection, atomically; at most a partition and a tile are in memory.

    Parameters
    ----------
    path : the collection's folder, which `lsdb.open_catalog` takes.
    about : provenance, kept in every file's schema.
    name : of the catalogue inside.
    rows : in a partition at most.

    Returns
    -------
    How many galaxies have no coordinates and are left out.

    Raises
    ------
    InputError : a score file cannot be read, no galaxy has coordinates, or the catalogue cannot be written.
    """
    tiles, galaxies = zip(*(_cells(table) for table in scores.tables(["ra", "dec"])), strict=True)
    if not any(map(len, tiles)):
        raise InputError(
            "None of the galaxies has coordinates, so that there is no HATS catalogue to write; leave out --hats."
        )
    cells, which = np.unique(np.concatenate(tiles), return_inverse=True)
    counts = np.bincount(which, np.concatenate(galaxies), minlength=len(cells))
    partitions = Partitions.of(cells, counts, rows)
    fields = list(scores.schema_of(scores.tabular))
    margin_name = f"{name}_{THRESHOLD:g}arcs"
    with atomic(path) as building:
        main = CatalogueWriter(building / name, fields, about)
        margin = CatalogueWriter(building / margin_name, fields, about)
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
        write_properties(building / "collection.properties", "HATS Collection", collection)
    return scores.galaxies - main.rows


def _cells(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The cells that a tile's galaxies lie in, and how many in each."""
    place = _places(table)
    return np.unique(place[place >= 0] >> 2 * (FINEST - CELLS), return_counts=True)


def _places(table: pa.Table) -> np.ndarray:
    return healpix_29(table["ra"].to_numpy(), table["dec"].to_numpy())


def _rows_of(
    partitions: Partitions, tiles: Sequence[np.ndarray], scores: ScoreFiles, fields: list[pa.Field]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The galaxies inside each partition and those in its margin, in the partitions' order.

    A tile is read again for every partition that it touches: a few times, which costs less than keeping its rows.
    """
    touching: list[list[int]] = [[] for _ in range(len(partitions))]
    for which, own in enumerate(tiles):
        near = np.concatenate([own, neighbours_of(own, CELLS).ravel()])
        for k in np.unique(partitions.find(near, CELLS)):
            if k >= 0:
                touching[k].append(which)
    names = [field.name for field in fields]
    for k, numbers in enumerate(touching):
        inside, beside = [], []
        for n in numbers:
            table = scores.read(n, names)
            place = _places(table)
            own = partitions.find(place, FINEST)
            table = table.add_column(0, index_field(), pa.array(place))
            inside.append(table.filter(pa.array(own == k)))
            outside = np.flatnonzero((own != k) & (place >= 0))
            near = partitions.find(neighbours_of(place[outside] >> 2 * (FINEST - MARGIN), MARGIN), MARGIN)
            beside.append(table.take(pa.array(outside[(near == k).any(axis=0)])))
        yield _sorted(inside), _sorted(beside)


def _sorted(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).sort_by(INDEX)


def index_field() -> pa.Field:
    words = {"description": "HEALPix number at order 29, nested", "ucd": "pos.healpix"}
    return pa.field(INDEX, pa.int64(), metadata=words)


class CatalogueWriter:
    """One HATS catalogue, partition by partition.

    Attributes
    ----------
    rows : written so far.
    """

    def __init__(self, folder: Path, fields: list[pa.Field], about: dict[str, Any]):
        self.rows = 0
        self._folder, self._about = folder, about
        self._schema = with_about(pa.schema([index_field(), *fields]), about)
        self._pixels: list[tuple[int, int]] = []
        self._largest = 0

    def add(self, partitions: Partitions, which: int, table: pa.Table) -> None:
        """Write a partition.

        Parameters
        ----------
        which : its number in `partitions`.
        table : its rows, the column `INDEX` first.
        """
        order, pixel = int(partitions.order[which]), int(partitions.pixel[which])
        path = (
            self._folder / "dataset" / f"Norder={order}" / f"Dir={pixel // 10_000 * 10_000}" / f"Npix={pixel}.parquet"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        words = astropy_metadata(self._schema, widths(table), self._about)
        table = table.replace_schema_metadata({**self._schema.metadata, **words})
        pq.write_table(table, path, compression="zstd", use_dictionary=REPEATED, row_group_size=GROUP)
        self._pixels.append((order, pixel))
        self._largest = max(self._largest, len(table))
        self.rows += len(table)

    def close(self, properties: dict[str, str]) -> None:
        """Write the files beside the partitions. Their `_metadata` is left out: it would be 50 kB a row group.

        Parameters
        ----------
        properties : of the catalogue; where they name no columns of positions, these are those of scores.
        """
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
            write_properties(self._folder / file, "HATS catalog", {**_COLUMNS, **properties, **found})


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


def write_properties(path: Path, title: str, values: dict[str, str]) -> None:
    """Write a file of properties, as HATS describes all that it holds.

    Parameters
    ----------
    title : its first line, which says of what they are.
    values : {property: value}; the version of HATS, the date and the builder are added.
    """
    shared = {
        "hats_builder": f"morph {__version__}",
        "hats_creation_date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MUTC"),
        "hats_version": "v1.0",
    }
    lines = [f"#{title}", *(f"{key}={value}" for key, value in {**values, **shared}.items())]
    path.write_text("\n".join(lines) + "\n")
