"""A table's columns as plain numbers and texts, however the table keeps them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def numbers(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column as float64 [n]; NaN where there is no number."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column = blank_is_null(column).cast(pa.float64())
        except pa.ArrowInvalid:
            return np.array([_number(value) for value in column.to_pylist()], dtype=float)
    try:
        values = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.full(len(column), np.nan)
    return np.asarray(
        values.fill_null(np.nan).to_numpy(zero_copy_only=False)
        if isinstance(values, pa.Array)
        else values.fill_null(np.nan).to_numpy()
    )


def _number(value: str | None) -> float:
    try:
        return float(value or "nan")
    except ValueError:
        return np.nan


def texts(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as text without blanks around it; empty where there is nothing.

    Whole numbers that a table keeps as floats, because it has gaps, lose their ".0".
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
        if pc.all(pc.equal(pc.round(column), column)).as_py() is not False:
            column = column.cast(pa.int64(), safe=False)
    return pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null("")


def blank_is_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without blanks around it; null where there is nothing else."""
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
