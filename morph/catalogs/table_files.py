"""Tables out: Parquet, FITS or CSV, by the ending of the name."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.checks import check_file
from morph.errors import InputError

#: Endings of a name.
SUFFIXES = (".parquet", ".fits", ".csv")


def check_table(path: Path) -> None:
    """InputError unless a table can be written to `path`."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"'{path}' cannot be a catalogue; give a name ending in {', '.join(SUFFIXES[:-1])} or .csv.")
    if not path.parent.is_dir():
        raise InputError(f"'{path}' cannot be written: the folder '{path.parent}' does not exist; make it first.")
    check_file(path)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table in the format that its name ends in.

    FITS keeps lists as vector columns, and the units in the columns' metadata; CSV gives each number of a list a
    column of its own, named by its ``levels`` or ``order`` in the metadata, or else by its number.

    Parameters
    ----------
    table : of numbers, text, and lists of fixed length. What its metadata under ``morph`` call ``made_by`` becomes the
        history of a FITS file.
    path : see `check_table`.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        pq.write_table(table, path, compression="zstd")
    elif suffix == ".fits":
        _write_fits(table, path)
    else:
        import pyarrow.csv as csv

        csv.write_csv(_flat(table), path)


def _write_fits(table: pa.Table, path: Path) -> None:
    from astropy.table import Table

    about = json.loads((table.schema.metadata or {}).get(b"morph", b"{}"))
    columns = Table(meta={"HISTORY": about["made_by"]} if "made_by" in about else {})
    for field, column in zip(table.schema, table.columns, strict=True):
        whole = column.combine_chunks()
        if pa.types.is_fixed_size_list(field.type):
            values = whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), -1)
        else:
            values = whole.to_numpy(zero_copy_only=False)
        if values.dtype == object:
            # FITS has no null among text.
            values = np.array(["" if value is None else value for value in values], dtype=str)
        columns[field.name] = values
        columns[field.name].unit = (field.metadata or {}).get(b"unit", b"").decode() or None
    columns.write(path, format="fits", overwrite=True)


def _flat(table: pa.Table) -> pa.Table:
    """Lists spread over columns: ``redshift_quantiles_0.01``, ``concentration_<question>_<answer>``,
    ``similarity_0``."""
    flat: dict[str, pa.Array] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if not pa.types.is_fixed_size_list(field.type):
            flat[field.name] = column
            continue
        whole = column.combine_chunks()
        values = whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), -1)
        metadata = field.metadata or {}
        known = metadata.get(b"levels") or metadata.get(b"order")
        labels = json.loads(known) if known else range(values.shape[1])
        for label, each in zip(labels, values.T, strict=True):
            flat[f"{field.name}_{label}"] = pa.array(each)
    return pa.table(flat)
