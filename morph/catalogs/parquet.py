"""Parquet: files, folders of them and HATS catalogues, and what pandas, astropy and TOPCAT note beside the columns."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset

from morph.catalogs import base
from morph.catalogs.base import InMemoryTable
from morph.catalogs.row_filter import Where
from morph.errors import InputError

#: What the files of a HATS catalogue are called: the catalogue itself, and a collection of it and its indexes.
HATS, HATS_COLLECTION = "hats.properties", "collection.properties"


@dataclass(frozen=True)
class ParquetTable:
    """Parquet files with one schema; what `where` needs of them is read first, and row groups without it are not.

    `index` is the column that pandas wrote as a start and a step alone, if there is one; `vectors` are the columns of
    lists of a fixed length, which the schema leaves out and `batches` reads.
    """

    path: Path
    dataset: pyarrow.dataset.Dataset
    schema: pa.Schema
    units: dict[str, str] = field(default_factory=dict)
    mapping: dict[str, str] = field(default_factory=dict)
    index: str = ""
    vectors: tuple[str, ...] = ()

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        wanted = base.columns_read(columns, where)
        if self.index not in wanted:
            for batch in self._scan(self.dataset, list(columns), where):
                yield pa.Table.from_batches([batch])
            return
        wanted.remove(self.index)
        for fragment in self.dataset.get_fragments():
            steps = _range_index(fragment.physical_schema)
            if steps is None:
                raise InputError(f"'{fragment.path}' has no index as the other files of '{self.path}' do.")
            value, step = steps["start"], steps["step"]
            for batch in self._scan(fragment, wanted, None):
                numbers = pa.array(range(value, value + step * len(batch), step), pa.int64())
                value += step * len(batch)
                table = pa.Table.from_batches([batch]).append_column(self.index, numbers)
                yield base.select(table, columns, where)

    @staticmethod
    def _scan(source, columns: list[str], where: Where | None) -> Iterator[pa.RecordBatch]:
        # What the defaults read ahead is several times all that is kept of a large catalogue.
        return source.to_batches(
            columns=columns,
            filter=where and where.value,
            batch_size=base.ROWS,
            batch_readahead=1,
            **({"fragment_readahead": 1} if isinstance(source, pyarrow.dataset.Dataset) else {}),
            fragment_scan_options=pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False),
            use_threads=False,
        )


def open_parquet(path: Path, files: list[Path], mapping: dict[str, str] | None = None) -> ParquetTable | InMemoryTable:
    """The table in Parquet files of one schema.

    Parameters
    ----------
    path : the file or folder, for messages.
    files : to be read, in order.
    mapping : columns of which the catalogue states what they hold.

    Returns
    -------
    ParquetTable, or InMemoryTable where columns are astropy's objects.
    """
    dataset = pyarrow.dataset.dataset([str(file) for file in files], format="parquet")
    notes = dataset.schema.metadata or {}
    if b"__serialized_columns__" in notes.get(b"table_meta_yaml", b"") and len(files) == 1:
        return InMemoryTable.read(path, "parquet")
    units = _units(notes)
    units |= {f.name: f.metadata[b"unit"].decode() for f in dataset.schema if b"unit" in (f.metadata or {})}
    schema = pa.schema([f.remove_metadata() for f in dataset.schema if not pa.types.is_nested(f.type)])
    vectors = tuple(field.name for field in dataset.schema if pa.types.is_fixed_size_list(field.type))
    index = _range_index(dataset.schema)
    if index is None:
        return ParquetTable(path, dataset, schema, units, mapping or {}, vectors=vectors)
    name = str(index["name"] or base.NO_NAME)
    schema = schema.append(pa.field(name, pa.int64()))
    return ParquetTable(path, dataset, schema, units, mapping or {}, name, vectors)


def _range_index(schema: pa.Schema) -> dict | None:
    """What pandas notes of an index of evenly spaced whole numbers, which has no column."""
    notes = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    for index in notes.get("index_columns", ()):
        if isinstance(index, dict) and index.get("kind") == "range" and index["name"] not in schema.names:
            return index
    return None


def _units(notes: dict[bytes, bytes]) -> dict[str, str]:
    """The columns' units as astropy notes them, or as a VOTable (VOParquet, which TOPCAT writes)."""
    if b"table_meta_yaml" in notes:
        from astropy.table.meta import get_header_from_yaml

        header = get_header_from_yaml(notes[b"table_meta_yaml"].decode().splitlines())
        return {column["name"]: str(column["unit"]) for column in header["datatype"] if "unit" in column}
    if b"IVOA.VOTable-Parquet.content" in notes:
        from astropy.io import votable

        content = io.BytesIO(notes[b"IVOA.VOTable-Parquet.content"])
        fields = next(votable.parse(content).iter_tables()).iter_fields_and_params()
        return {column.name: str(column.unit) for column in fields if column.unit is not None}
    return {}


def hats_folder(path: Path) -> Path:
    """The folder of a HATS catalogue (https://hats.readthedocs.io), or of the first one of a HATS collection."""
    folder = path
    if (path / HATS_COLLECTION).is_file():
        folder = path / _properties(path / HATS_COLLECTION).get("hats_primary_table_url", "")
        if not (folder / HATS).is_file():
            raise InputError(f"The HATS collection names '{folder}', where no HATS catalogue is.")
    if not (folder / HATS).is_file():
        raise InputError(f"There is no HATS catalogue at '{path}': it has no '{HATS}' and no '{HATS_COLLECTION}'.")
    return folder


def hats_properties(folder: Path) -> dict[str, str]:
    """What a HATS catalogue says of itself."""
    return _properties(folder / HATS)


def open_hats(path: Path) -> ParquetTable | InMemoryTable:
    """The catalogue of a HATS folder, or the first one of a HATS collection."""
    folder = hats_folder(path)
    properties = hats_properties(folder)
    mapping = {role: properties[key] for role in ("ra", "dec") if (key := f"hats_col_{role}") in properties}
    files = sorted((folder / "dataset").glob("Norder=*/Dir=*/Npix=*.parquet"))
    # A pixel may be a folder of files.
    files += sorted((folder / "dataset").glob("Norder=*/Dir=*/Npix=*/*.parquet"))
    if not files:
        raise InputError(f"The HATS catalogue '{folder}' has no data in 'dataset/Norder=*/'.")
    return open_parquet(folder, files, mapping)


def _properties(path: Path) -> dict[str, str]:
    lines = (line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in lines if value}
