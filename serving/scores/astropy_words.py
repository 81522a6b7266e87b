"""What astropy's `Table.read` wants to know of a Parquet file beside its rows: units, descriptions, how wide text is.

It does not look at the columns' own metadata, and cannot find out how wide a text is where one is missing. The keys
are those of `astropy.io.misc.parquet`; other readers pass over them.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: Under which keys of a file's metadata astropy looks for its own header, in YAML, and for a text column's width.
HEADER, WIDTH = "table_meta_yaml", "table::len::"


def widths(table: pa.Table) -> dict[str, int]:
    """The longest value of each column of text (characters) or bytes; at least 1."""
    kinds = {field.name: field.type for field in table.schema}
    texts = {name: pc.utf8_length(table[name]) for name, kind in kinds.items() if pa.types.is_string(kind)}
    files = {name: pc.binary_length(table[name]) for name, kind in kinds.items() if pa.types.is_binary(kind)}
    return {name: max(pc.max(lengths).as_py() or 0, 1) for name, lengths in {**texts, **files}.items()}


def astropy_words(schema: pa.Schema, widest: Mapping[str, int], about: Mapping[str, Any]) -> dict[str, str]:
    """The entries of a file's metadata.

    Parameters
    ----------
    schema : columns with "unit" and "description" in their metadata, or without.
    widest : of all columns of text and bytes, as `widths` finds them.
    about : what becomes the table's `meta`.
    """
    columns = []
    for field in schema:
        words = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        columns.append({"name": field.name, **{key: words[key] for key in ("unit", "description") if key in words}})
    # JSON is YAML, too, and is written in a hundredth of the time.
    header = json.dumps({"datatype": columns, "meta": dict(about)})
    return {HEADER: header, **{f"{WIDTH}{name}": str(width) for name, width in widest.items()}}
