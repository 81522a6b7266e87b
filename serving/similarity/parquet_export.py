"""An index as Parquet files that other vector databases load: a number, the vector and the row of each galaxy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.atomic import atomic
from morph.errors import InputError
from serving.similarity.index import Index

#: Rows that are written at once: 7 MB of vectors.
ROWS = 1 << 15

KEY, VECTOR = "key", "vector"


def export_parquet(
    index: Index, folder: str | Path, advance: Callable[[int, int], None] = lambda done, total: None
) -> list[Path]:
    """Write a Parquet file for each shard of an index; about `ROWS` galaxies are in memory.

    The columns are ``key`` (int64, the galaxy's number in the index), ``vector`` (list of float32, of unit length, so
    that the inner product is the cosine) and those of `Index.columns`. Milvus imports such files in bulk; Qdrant's
    client is given their rows.

    Parameters
    ----------
    folder : of the files, which is new or empty.
    advance : called with the galaxies written, and all.

    Returns
    -------
    The files.

    Raises
    ------
    InputError : there is something in the folder, or it cannot be written to.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' is not an empty folder; choose another one.")
    clash = next((name for name in (KEY, VECTOR) if name in index.columns), None)
    if clash:
        raise InputError(f"The index has a column '{clash}' of its own, which the files need for something else.")
    done, paths = 0, []
    with atomic(folder) as building:
        building.mkdir()
        for number, shard in enumerate(index.shards):
            path = building / f"{number:06d}.parquet"
            names = [name for name in index.columns if name in shard.rows.column_names]
            vector = pa.list_(pa.float32())
            schema = pa.schema(
                [(KEY, pa.int64()), (VECTOR, vector), *(shard.rows.schema.field(name) for name in names)]
            )
            with pq.ParquetWriter(path, schema, compression="zstd") as file:
                for start in range(0, len(shard), ROWS):
                    rows = np.arange(start, min(start + ROWS, len(shard)))
                    vectors = shard.unit_vectors(rows)
                    ends = pa.array(np.arange(len(rows) + 1, dtype="int32") * vectors.shape[1])
                    columns = shard.rows.select(names).slice(start, len(rows)).columns
                    lists = pa.ListArray.from_arrays(ends, pa.array(vectors.ravel()))
                    keys = pa.array(rows + done)
                    file.write_table(pa.Table.from_arrays([keys, lists, *columns], schema=schema))
            done += len(shard)
            paths.append(folder / path.name)
            advance(done, len(index))
    return paths
