"""The outputs of a model for some galaxies, with the model's own names of questions and answers."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from morph.decision_tree import column_name
from morph.errors import InputError

if TYPE_CHECKING:
    import astropy.table
    import pyarrow

#: Outputs with one column per answer, and the suffix of those columns; as in the files of `morph score`.
PER_ANSWER = {"probabilities": "", "tree_probabilities": "_tree", "concentration": "_concentration"}


class Columns(dict[str, np.ndarray]):
    """Arrays by name, one row a galaxy, which can become a table."""

    def columns(self) -> dict[str, np.ndarray]:
        """The columns of the table by name, [n, ...] each."""
        return dict(self)

    def to_table(self) -> "astropy.table.Table":
        """`columns` as an astropy Table. InputError when astropy is not installed."""
        try:
            from astropy.table import Table
        except ModuleNotFoundError as error:
            raise missing("A table", error, "tables") from None
        return Table(self.columns())

    def to_arrow(self) -> "pyarrow.Table":
        """`columns` as an Arrow Table. InputError when pyarrow is not installed."""
        try:
            import pyarrow as pa
        except ModuleNotFoundError as error:
            raise missing("An Arrow table", error, "tables") from None

        def array(values: np.ndarray) -> pa.Array:
            if values.ndim == 1:
                return pa.array(values)
            return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), math.prod(values.shape[1:]))

        return pa.table({name: array(np.asarray(values)) for name, values in self.columns().items()})


class Answers(Columns):
    """The outputs by name, one row per galaxy, and the names of their columns.

    >>> answers = Answers({"probabilities": np.array([[0.75, 0.25]])}, {"questions": [{"name": "bar",
    ...     "answers": ["yes", "no"]}], "name": "morph", "version": 1})
    >>> answers["probabilities"].shape
    (1, 2)
    >>> answers.named()
    [{'bar': {'yes': 0.75, 'no': 0.25}}]
    >>> list(answers.columns())
    ['bar_yes', 'bar_no', 'model', 'model_version']

    Attributes
    ----------
    description : that of the version that answered (`MorphClient.describe`).
    versions : int64 [n], the version that answered each galaxy.
    ids, flags : names and quality flags of galaxies that were read from files; else empty.
    """

    def __init__(
        self,
        outputs: dict[str, np.ndarray],
        description: dict[str, Any],
        versions: np.ndarray | None = None,
        ids: Sequence[str] = (),
        flags: Sequence[tuple[str, ...]] = (),
    ):
        super().__init__(outputs)
        self.description, self.ids, self.flags = description, tuple(ids), tuple(flags)
        rows = len(next(iter(outputs.values()))) if outputs else 0
        self.versions = np.full(rows, description["version"]) if versions is None else versions

    @property
    def width(self) -> int:
        """The number of answers of all questions together."""
        return _width(self.description)

    def named(self, output: str = "probabilities") -> list[dict[str, dict[str, float]]]:
        """One {question: {answer: value}} per galaxy, of ``probabilities``, ``tree_probabilities`` or
        ``concentration``. InputError when that output was not fetched."""
        if output not in PER_ANSWER or output not in self:
            raise InputError(f"'{output}' was not fetched, or has no value per answer; fetched are {', '.join(self)}.")
        return named(self[output], self.description)

    def columns(self) -> dict[str, np.ndarray]:
        """Every output by columns, as in the files of `morph score`: ``<question>_<answer>`` (with ``_tree`` or
        ``_concentration`` behind it for those outputs), [n] each; ``embedding`` [n, d]; the others by their own names;
        before them ``id`` and ``flags`` where galaxies came from files; ``model`` and ``model_version`` last."""
        columns: dict[str, np.ndarray] = {}
        if any(self.ids):
            columns["id"] = np.array(self.ids, dtype=str)
            columns["flags"] = np.array([" ".join(each) for each in self.flags], dtype=str)
        questions = self.description["questions"]
        names = [column_name(f"{q['name']}_{answer}") for q in questions for answer in q["answers"]]
        for output, values in self.items():
            if output in PER_ANSWER:
                for name, column in zip(names, values.T, strict=True):
                    columns[name + PER_ANSWER[output]] = column
            else:
                columns[output] = values
        columns["model"] = np.full(len(self.versions), self.description["name"])
        columns["model_version"] = self.versions
        return columns


def named(probabilities: np.ndarray, description: dict[str, Any]) -> list[dict[str, dict[str, float]]]:
    """Rows [n, answers] as {question: {answer: probability}}, one entry per galaxy. InputError unless there is one
    column for each of the model's answers."""
    questions = description["questions"]
    count = _width(description)
    values = np.asarray(probabilities, dtype=float)
    if values.ndim != 2 or values.shape[1] != count:
        raise InputError(f"Probabilities of shape {values.shape} do not fit the model's {count} answers.")
    rows = []
    for row in values.tolist():
        rest = iter(row)
        rows.append({q["name"]: {answer: next(rest) for answer in q["answers"]} for q in questions})
    return rows


def _width(description: dict[str, Any]) -> int:
    return sum(len(question["answers"]) for question in description["questions"])


def missing(what: str, error: ModuleNotFoundError, extra: str) -> InputError:
    """The error for an optional package that is not installed.

    Parameters
    ----------
    what : the subject of the sentence, which needs the package.
    error : as the import raised it.
    extra : the extra of morph-client that installs the package.

    Returns
    -------
    The error to raise.
    """
    return InputError(f"{what} needs {error.name}; install it with `pip install 'morph-client[{extra}]'`.")
