"""Redshifts of another table, joined to the scores by id."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from morph.catalogs.tables import open_tables
from morph.catalogs.values import identifiers, numbers
from morph.errors import InputError


class Redshifts:
    """Redshifts by id, some 40 bytes a galaxy.

    Parameters
    ----------
    path : a table with the columns id and redshift, such as `morph predict` writes.

    Raises
    ------
    InputError : the table or the column is missing, or an id occurs twice.
    """

    def __init__(self, path: str | Path):
        ids, values = [], []
        for table in open_tables(path):
            missing = [name for name in ("id", "redshift") if name not in table.schema.names]
            if missing:
                raise InputError(
                    f"'{path}' has no column '{missing[0]}'; --redshifts takes a table with id and redshift."
                )
            for rows in table.batches(["id", "redshift"]):
                ids.append(_as_bytes(identifiers(rows["id"])))
                values.append(numbers(rows["redshift"]).astype("float32"))
        if not ids:
            raise InputError(f"'{path}' has no rows.")
        names = np.concatenate(ids)
        order = np.argsort(names, kind="stable")
        self._ids, self._values = names[order], np.concatenate(values)[order]
        if (self._ids[1:] == self._ids[:-1]).any():
            twice = self._ids[1:][self._ids[1:] == self._ids[:-1]][0].decode()
            raise InputError(f"'{path}' has the id '{twice}' twice; give one redshift a galaxy.")

    def of(self, ids: pa.ChunkedArray) -> np.ndarray:
        """The redshift of each galaxy, NaN for those that are not in the table: [n]."""
        wanted = _as_bytes(identifiers(ids))
        place = np.minimum(np.searchsorted(self._ids, wanted), len(self._ids) - 1)
        return np.where(self._ids[place] == wanted, self._values[place], np.nan)


def _as_bytes(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return np.array(ids.to_pylist(), dtype="S")
