"""A shard: some of an index's galaxies, in the order of their HEALPix numbers, in files that are mapped into memory.

``rows.arrow`` has what is known of each galaxy, uncompressed, so that a hundred of ten million rows, or one column of
them, are read without the others. ``vectors.npy`` has the similarity vectors in half precision, and ``LISTS.faiss``
the lists of their codes, where the index has any (`serving.similarity.lists`).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from morph.atomic import atomic
from morph.catalogs.row_filter import Where
from morph.errors import InputError
from serving.similarity.cone import Cone
from serving.similarity.header import ShardEntry

ROWS, VECTORS, ABOUT = "rows.arrow", "vectors.npy", "shard.json"

#: The column that rows are sorted by; -1 where a galaxy's position is unknown.
PLACE = "_healpix_29"

#: Vectors that are compared at once: 6 MB of them.
BLOCK = 1 << 15


def write_shard(folder: Path, rows: pa.Table, vectors: np.ndarray, sources: Sequence[str], left_out: int = 0) -> None:
    """Write a shard without its lists, atomically.

    Parameters
    ----------
    folder : of the shard.
    rows : with the column `PLACE`, in any order.
    vectors : of unit length, [n, d].
    sources : names of what the galaxies were read from.
    left_out : galaxies there without a vector.
    """
    order = np.argsort(rows[PLACE].to_numpy(), kind="stable")
    rows = rows.take(pa.array(order)).combine_chunks()
    with atomic(folder) as building:
        building.mkdir()
        with pa.OSFile(str(building / ROWS), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            # One batch, so that a column is one array.
            writer.write_table(rows, max_chunksize=max(len(rows), 1))
        np.save(building / VECTORS, vectors[order].astype("float16"))
        about = {"galaxies": len(rows), "dimension": vectors.shape[1], "sources": [*sources], "left_out": left_out}
        (building / ABOUT).write_text(json.dumps(about) + "\n")


def read_shard_about(folder: Path) -> dict[str, Any] | None:
    """What `write_shard` noted; None where there is no such shard."""
    try:
        return json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Shard:
    """A shard, whose files are mapped into memory.

    Attributes
    ----------
    folder : of its files.
    entry : what the index's header says of it.
    lists : name of the file of its lists, without the ending; empty where there are none.
    """

    folder: Path
    entry: ShardEntry
    lists: str

    def __len__(self) -> int:
        return self.entry.galaxies

    def map(self) -> None:
        """Map the files. InputError where one is missing or cut short."""
        for name, size in self.entry.sizes.items():
            path = self.folder / name
            found = path.stat().st_size if path.is_file() else -1
            if found != size:
                what = "is missing" if found < 0 else f"has {found:,} bytes instead of {size:,}"
                raise InputError(
                    f"The index is damaged: '{path}' {what}; make the index again with `morph index`, or copy it anew."
                )
        _ = self.rows, self.vectors

    @cached_property
    def rows(self) -> pa.Table:
        """All rows, mapped from their file."""
        return self._mapped(lambda: pa.ipc.open_file(pa.memory_map(str(self.folder / ROWS))).read_all())

    @cached_property
    def vectors(self) -> np.ndarray:
        """float16 [n, d], mapped from their file."""
        # A memmap is twice as slow to take rows from as an array.
        return self._mapped(lambda: np.load(self.folder / VECTORS, mmap_mode="r").view(np.ndarray))

    def _mapped(self, read: Callable[[], Any]) -> Any:
        try:
            found = read()
        except (pa.ArrowInvalid, OSError, ValueError, EOFError) as error:
            raise InputError(
                f"The index is damaged: '{self.folder}' cannot be read ({str(error).splitlines()[0]}); make the index "
                "again with `morph index`."
            ) from None
        if len(found) != len(self):
            raise InputError(
                f"The index is damaged: '{self.folder}' has {len(found):,} rows instead of {len(self):,}."
            )
        return found

    def column(self, name: str) -> np.ndarray:
        """A column of numbers, NaN where there is none; without a copy where it has no gaps."""
        if name not in self.rows.column_names:
            return np.full(len(self), np.nan)
        (values,) = self.rows[name].chunks
        return values.to_numpy(zero_copy_only=False)

    def unit_vectors(self, numbers: np.ndarray | slice) -> np.ndarray:
        """Vectors of some galaxies, float32, of unit length."""
        found = np.asarray(self.vectors[numbers], dtype="float32")
        return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-9)

    # --- Which galaxies -------------------------------------------------------------------------------------

    def find(self, id_: str) -> int:
        """The number of the galaxy of this name; -1 where there is none."""
        return int(pc.index(self.rows["id"], id_).as_py())

    def within(self, cone: Cone) -> np.ndarray:
        """The galaxies in a cone, in order: their numbers. Those of unknown position are in none."""
        numbers = cone.rows_among(self.column(PLACE))
        ra, dec = self.column("ra")[numbers], self.column("dec")[numbers]
        return numbers[cone.contains(ra, dec)]

    # --- The nearest ----------------------------------------------------------------------------------------

    def blocks(self, chosen: np.ndarray | None = None) -> Iterator[tuple[np.ndarray | slice, np.ndarray]]:
        """Numbers and vectors (float32, as they are stored) of all galaxies, or of those chosen by their numbers."""
        count = len(self) if chosen is None else len(chosen)
        for start in range(0, count, BLOCK):
            part = slice(start, min(start + BLOCK, count))
            which = part if chosen is None else chosen[part]
            yield which, np.asarray(self.vectors[which], dtype="float32")

    def nearest(self, query: np.ndarray, most: int, chosen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The galaxies nearest to a query, by comparing all, or all of those chosen.

        Parameters
        ----------
        query : [d], of unit length.
        most : galaxies wanted.
        chosen : numbers of the galaxies that are compared.

        Returns
        -------
        Cosines and numbers, in no order.
        """
        cosines, numbers = np.empty(0, "float32"), np.empty(0, "int64")
        for which, vectors in self.blocks(chosen):
            found = vectors @ query
            own = np.arange(which.start, which.stop) if isinstance(which, slice) else which
            cosines, numbers = np.concatenate([cosines, found]), np.concatenate([numbers, own])
            if len(cosines) > most:
                kept = np.argpartition(-cosines, most - 1)[:most]
                cosines, numbers = cosines[kept], numbers[kept]
        return cosines, numbers


def rows_where(
    shards: Sequence[Shard], condition: Where, among: Sequence[np.ndarray | None]
) -> list[np.ndarray | None]:
    """The galaxies that meet a condition on the index's columns.

    Parameters
    ----------
    shards : of the index; they are read together, for each reading takes a while to start.
    condition : on their columns; one that a shard does not have, as of another survey, is unknown there.
    among : numbers of the galaxies of each shard that are looked at; None for all.

    Returns
    -------
    Their numbers in each shard.
    """
    parts = []
    for shard, rows in zip(shards, among, strict=True):
        part = _columns(shard.rows, condition.columns)
        parts.append(part if rows is None else part.take(pa.array(rows)))
    table = pa.concat_tables(parts, promote_options="permissive")
    found = pyarrow.dataset.dataset(table).to_table(columns={"_": condition.value}, use_threads=False)["_"]
    ends = np.cumsum([len(part) for part in parts])
    # Half the time of a mask in NumPy.
    meets = pc.indices_nonzero(found.fill_null(False)).to_numpy().astype("int64")
    own = np.split(meets, np.searchsorted(meets, ends[:-1]))
    begins = ends - [len(part) for part in parts]
    return [
        each - begin if rows is None else rows[each - begin]
        for rows, each, begin in zip(among, own, begins, strict=True)
    ]


def _columns(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Some columns, without a copy; null where there is none of the name."""
    known = [name for name in names if name in rows.column_names]
    # A condition may name no column at all.
    table = rows.select(known or ["id"])
    for name in names:
        if name not in known:
            table = table.append_column(name, pa.nulls(len(rows)))
    return table
