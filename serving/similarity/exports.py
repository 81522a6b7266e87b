"""Marked galaxies as files: a table of all that is known of them, or labels that `morph import` reads."""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from morph.decision_tree import TREE
from morph.errors import InputError
from serving.similarity.index import Index
from serving.similarity.places import place_of

#: The most galaxies of one file.
MOST = 10_000

_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "labels": "text/csv"}
_FILES = {"csv": "marked.csv", "parquet": "marked.parquet", "labels": "labels.csv"}


@dataclass(frozen=True)
class Export:
    """What is to be written.

    Attributes
    ----------
    format : csv, parquet or labels.
    labels : {id of a galaxy: {question: answer}}, in the order in which they were marked.
    """

    format: str
    labels: dict[str, dict[str, str]]

    @classmethod
    def parse(cls, body: Any) -> "Export":
        """From a document ``{"format": ..., "galaxies": [{"id": ..., "labels": {question: answer}}]}`` in JSON.
        InputError where it is none, and for an answer that the decision tree does not have."""
        try:
            document = json.loads(body)
            found = {str(each["id"]): dict(each.get("labels") or {}) for each in document["galaxies"]}
            kind = str(document["format"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise InputError('The body is not {"format": "csv", "galaxies": [{"id": "..."}]}.') from None
        if kind not in _TYPES:
            raise InputError(f"There is no format '{kind[:40]}'; choose {', '.join(_TYPES)}.")
        if not 1 <= len(found) <= MOST:
            raise InputError(f"Between 1 and {MOST:,} galaxies can be exported; these are {len(found):,}.")
        for labels in found.values():
            for question, answer in labels.items():
                _require_answer(question, answer)
        if kind == "labels" and not any(found.values()):
            raise InputError("None of the marked galaxies has a label; choose a question, and an answer for each.")
        return cls(kind, found)

    @property
    def content_type(self) -> str:
        return _TYPES[self.format]

    @property
    def file(self) -> str:
        return _FILES[self.format]

    def write(self, index: Index) -> bytes:
        """The file's content. StatusError where the index has no such galaxy."""
        if self.format == "labels":
            return self._labels(index)
        table = self._table(index, list(self.labels))
        names = [field.name for field in table.schema if not pa.types.is_binary(field.type)]
        table = table.select([name for name in names if not name.startswith("_")])
        buffer = io.BytesIO()
        if self.format == "csv":
            pc.write_csv(table, buffer, pc.WriteOptions(quoting_style="needed"))
        else:
            pq.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()

    def _labels(self, index: Index) -> bytes:
        """One row an answer, with the galaxy's position: `morph import` finds its image by name, or by position."""
        labelled = {name: labels for name, labels in self.labels.items() if labels}
        table = self._table(index, list(labelled))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "ra", "dec", "question", "answer"])
        for row in table.select(["id", "ra", "dec"]).to_pylist():
            for question, answer in labelled[row["id"]].items():
                writer.writerow([row["id"], row["ra"], row["dec"], question, answer])
        return text.getvalue().encode()

    @staticmethod
    def _table(index: Index, names: list[str]) -> pa.Table:
        return index.table([place_of(index, name) for name in names])


def _require_answer(question: str, answer: str) -> None:
    try:
        known = TREE[question].answers
    except KeyError:
        raise InputError(f"The decision tree has no question '{str(question)[:80]}'.") from None
    if answer not in known:
        raise InputError(f"'{str(answer)[:80]}' is not an answer to '{question}'; it has {', '.join(known)}.")
