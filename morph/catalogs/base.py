"""What a table on disk is to its readers: a stream of Arrow tables of the columns asked for, some rows at a time."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from morph.catalogs.row_filter import Where

#: Rows that are read together: columns of eight bytes take 2 MB each.
ROWS = 1 << 18

#: What a column without a name is called, and what pandas calls one: an index that was written without its name.
NO_NAME = "(no name)"
_NAMELESS = re.compile(r"\(no name\).*|__index_level_\d+__|Unnamed: \d+")


class TableFile(Protocol):
    """One table.

    `schema` are its flat columns; `units` those of them whose unit is given in the file, as it is written there;
    `mapping` the columns of which the file states what they hold ("ra", "dec").
    """

    @property
    def path(self) -> Path: ...

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def units(self) -> dict[str, str]: ...

    @property
    def mapping(self) -> dict[str, str]: ...

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        """The rows for which `where` holds, some at a time."""


def is_nameless(column: str) -> bool:
    """Whether a column has no name of its own, so that it may be nothing but the rows' numbers."""
    return _NAMELESS.fullmatch(column) is not None


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def columns_read(columns: Sequence[str], where: Where | None) -> list[str]:
    """The columns to read: those asked for and those chosen by, each once."""
    return list(dict.fromkeys([*columns, *(where.columns if where else ())]))


def select(table: pa.Table, columns: Sequence[str], where: Where | None) -> pa.Table:
    """The chosen rows of a table, and the columns asked for."""
    return (table if where is None else table.filter(where.value)).select(list(columns))
