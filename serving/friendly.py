"""The friendly catalogue: the columns that most people want, with plain names and one answer a question."""

import numpy as np
import pyarrow as pa

from morph.questions import TREE, Question
from morph.wording import NOTHING, word

#: A question has an answer where at least half of the volunteers would have been asked it: who looks for bars wants
#: the face-on disks, not the chance of a bar in an elliptical.
ASKED = 0.5

#: Columns that are taken over as they are.
KEPT = ("id", "ra", "dec", "tile", "mag_g", "mag_r", "mag_i", "radius")
AFTER = ("anomaly_score", "anomaly", "flags")

#: What `friendly` needs of a score file.
NEEDED = (
    *KEPT,
    *TREE.columns,
    *(f"{column}_tree" for column in TREE.columns),
    *(f"{question.name}_concentration" for question in TREE),
    *AFTER,
)


def friendly(scores: pa.Table) -> pa.Table:
    """The friendly rows of some scores.

    Parameters
    ----------
    scores : rows of a score file with the columns `NEEDED`.

    Returns
    -------
    `KEPT`; ``summary``, the answers in words; for each question its most likely answer, that answer's probability and
    the probability's standard error (of the Dirichlet distribution; null where its concentration is unknown), null
    where fewer than `ASKED` of the volunteers would be asked; `AFTER`; ``clean``, whether nothing is wrong with the
    stamp. Hyphens are underscores, which every tool takes in a column's name.
    """
    columns: dict[str, pa.Array | pa.ChunkedArray] = {name: scores[name] for name in KEPT}
    fields = [scores.schema.field(name) for name in KEPT]
    chosen, answers = [], []
    for question in TREE:
        best, p, error = _likely(scores, question)
        chosen.append(best)
        name = plain(question.name)
        answers += [
            (_field(name, pa.string(), f"most likely answer: {', '.join(question.answers)}"), _named(question, best)),
            (_field(f"{name}_probability", pa.float32(), "of that answer"), _known(p)),
            (_field(f"{name}_error", pa.float32(), "standard error of that probability"), _known(error)),
        ]
    told = _field("summary", pa.string(), "the answers to the questions that most volunteers would be asked, in words")
    fields += [told, *(field for field, _ in answers), *(scores.schema.field(name) for name in AFTER)]
    columns["summary"] = _in_words(np.column_stack(chosen))
    columns |= {field.name: values for field, values in answers}
    columns |= {name: scores[name] for name in AFTER}
    fields.append(_field("clean", pa.bool_(), "nothing is wrong with the stamp: flags is 0"))
    columns["clean"] = pa.array(scores["flags"].to_numpy() == 0)
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def plain(name: str) -> str:
    """A column's name as every tool takes it."""
    return name.replace("-", "_")


def matrix(scores: pa.Table, names: list[str]) -> np.ndarray:
    """Columns side by side, float32 [n, columns], null as NaN."""
    return np.column_stack([scores[name].to_numpy().astype("float32", copy=False) for name in names])


def _likely(scores: pa.Table, question: Question) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The most likely answer's index (-1: the question is not asked), its probability and that one's error."""
    p = matrix(scores, list(question.columns))
    reached = matrix(scores, [f"{column}_tree" for column in question.columns]).sum(axis=1)
    worth = matrix(scores, [f"{question.name}_concentration"])[:, 0]
    # Comparisons with NaN are false.
    asked = reached >= ASKED
    best = np.where(asked, np.nan_to_num(p).argmax(axis=1), -1)
    chance = np.where(asked, p.max(axis=1), np.nan)
    return best, chance, np.sqrt(chance * (1 - chance) / (1 + worth))


def _named(question: Question, best: np.ndarray) -> pa.Array:
    codes = pa.array(np.maximum(best, 0).astype("int8"), mask=best < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(question.answers)).dictionary_decode()


def _in_words(chosen: np.ndarray) -> pa.Array:
    """A sentence a galaxy, from its answers [n, questions]; null where there is none."""
    kinds, which = np.unique(chosen, axis=0, return_inverse=True)
    sentences = [", ".join(_words(kind)) or None for kind in kinds]
    codes = pa.array(which.reshape(-1).astype("int32"))
    return pa.DictionaryArray.from_arrays(codes, pa.array(sentences, pa.string())).dictionary_decode()


def _words(kind: np.ndarray) -> list[str]:
    given = [(question, question.answers[k]) for question, k in zip(TREE, kind, strict=True) if k >= 0]
    return [word(question.name, answer) for question, answer in given if f"{question.name}_{answer}" not in NOTHING]


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description})


def _known(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float32(), mask=np.isnan(values))
