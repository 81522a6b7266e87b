"""The value-added catalogue: the columns that most people want, with plain names and one answer a question."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from morph.decision_tree import ANSWER_COLUMNS, TREE, Question, column_name, phrase, phrases
from morph.stamps.flags import Flag, is_clean

#: The summary of a source that is too faint or too small: its most likely answers would be those of noise.
UNRESOLVED = "too faint or too small to classify"

#: A question has an answer where at least half of the volunteers would have been asked it: who looks for bars wants
#: the face-on disks, not the chance of a bar in an elliptical.
ASKED = 0.5

#: Columns that are copied.
KEPT = ("id", "ra", "dec", "tile", "radius", "snr")
AFTER = ("anomaly_score", "anomaly", "flags")

#: Columns that `value_added` needs, beside the magnitudes (`magnitudes`).
NEEDED = (*KEPT, *ANSWER_COLUMNS, *(column_name(f"{question.name}_concentration") for question in TREE), *AFTER)


def magnitudes(schema: pa.Schema) -> list[str]:
    """The columns of magnitudes, one for each band that was measured."""
    return [name for name in schema.names if re.fullmatch("mag_[a-z]", name)]


def value_added(scores: pa.Table) -> pa.Table:
    """The value-added catalogue of some scores.

    Parameters
    ----------
    scores : rows of a score file with the columns `NEEDED` and its `magnitudes`.

    Returns
    -------
    `KEPT` and the magnitudes; ``summary``, the answers in words, or `UNRESOLVED`; for each question its most likely
    answer, that answer's probability and the probability's standard error (of the Dirichlet distribution; null where
    its concentration is unknown), null where fewer than `ASKED` of the volunteers would be asked; `AFTER`; ``clean``,
    whether nothing is wrong with the stamp, though a band may be missing.
    """
    kept = [*KEPT[:4], *magnitudes(scores.schema), *KEPT[4:]]
    columns: dict[str, pa.Array | pa.ChunkedArray] = {name: scores[name] for name in kept}
    fields = [scores.schema.field(name) for name in kept]
    p = columns_of(scores, ANSWER_COLUMNS)
    answers = []
    for question, best in zip(TREE, most_likely(p), strict=True):
        name = column_name(question.name)
        worth = columns_of(scores, [f"{name}_concentration"])[0]
        chance = np.where(best >= 0, p[TREE.slices[question.name]].max(axis=0), np.float32(np.nan))
        error = np.sqrt(chance * (1 - chance) / (1 + worth))
        answers += [
            (_field(name, pa.string(), f"most likely answer: {', '.join(question.answers)}"), _named(question, best)),
            (_field(f"{name}_probability", pa.float32(), "of that answer"), _known(chance)),
            (_field(f"{name}_error", pa.float32(), "standard error of that probability"), _known(error)),
        ]
    summary = _field(
        "summary",
        pa.string(),
        f"the answers to the questions that most volunteers would be asked, in words; with flag 64 '{UNRESOLVED}'",
    )
    fields += [summary, *(field for field, _ in answers), *(scores.schema.field(name) for name in AFTER)]
    flags = scores["flags"].to_numpy()
    columns["summary"] = summaries(p, flags)
    columns |= {field.name: values for field, values in answers}
    columns |= {name: scores[name] for name in AFTER}
    fields.append(_field("clean", pa.bool_(), "nothing is wrong with the stamp, though a band may be missing"))
    columns["clean"] = pa.array(is_clean(flags))
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def summaries(p: np.ndarray, flags: np.ndarray) -> pa.Array:
    """The answers in words, or `UNRESOLVED`; null where there is none.

    Parameters
    ----------
    p : probabilities [answers, n], each question summing to one.
    flags : `morph.stamps.flags.Flag` bits, int [n].
    """
    unresolved = pa.array((flags & Flag.UNRESOLVED) != 0)
    return pc.if_else(unresolved, UNRESOLVED, _in_words(most_likely(p)))


def most_likely(p: np.ndarray) -> list[np.ndarray]:
    """Of each question the number of its most likely answer, int [n]; -1 where fewer than `ASKED` of the volunteers
    would be asked. `p` are probabilities [answers, n]."""
    asked = reach(p)
    # Comparisons with NaN are false.
    return [
        np.where(asked[question.name] >= ASKED, p[TREE.slices[question.name]].argmax(axis=0), -1) for question in TREE
    ]


def text_widths() -> dict[str, int]:
    """How long the texts that `value_added` adds can become, by column."""
    widths = {column_name(question.name): max(map(len, question.answers)) for question in TREE}
    longest = (max(len(phrase(question.name, answer)) for answer in question.answers) for question in TREE)
    return {**widths, "summary": sum(length + len(", ") for length in longest)}


def columns_of(scores: pa.Table, names: Sequence[str]) -> np.ndarray:
    """Columns as the rows of an array, float32 [columns, n], null as NaN."""
    values = np.empty((len(names), len(scores)), dtype="float32")
    for row, name in zip(values, names, strict=True):
        row[:] = scores[name].to_numpy()
    return values


def reach(p: np.ndarray) -> dict[str, np.ndarray]:
    """How many of the volunteers would be asked each question: {question: share [n]}.

    Parameters
    ----------
    p : probabilities [answers, n], each question summing to one.
    """
    asked: dict[str, np.ndarray] = {}
    for question in TREE:
        parents = [
            asked[parent] * p[TREE.columns.index(f"{parent}_{answer}")] for parent, answer in question.asked_after
        ]
        asked[question.name] = np.sum(parents, axis=0) if parents else np.where(np.isnan(p[0]), p[0], np.float32(1))
    return asked


def _named(question: Question, best: np.ndarray) -> pa.Array:
    codes = pa.array(np.maximum(best, 0).astype("int8"), mask=best < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(question.answers)).dictionary_decode()


def _in_words(chosen: Sequence[np.ndarray]) -> pa.Array:
    """A sentence a galaxy, from its answer to each question, [n] each; null where there is none."""
    # One number a galaxy stands for all of its answers: thousands of galaxies share a few hundred sentences.
    bases = [len(question.answers) + 1 for question in TREE]
    kinds, which = np.unique(np.ravel_multi_index([best + 1 for best in chosen], bases), return_inverse=True)
    sentences = [", ".join(_words(kind)) or None for kind in np.column_stack(np.unravel_index(kinds, bases)) - 1]
    codes = pa.array(which.astype("int32"))
    return pa.DictionaryArray.from_arrays(codes, pa.array(sentences, pa.string())).dictionary_decode()


def _words(kind: np.ndarray) -> list[str]:
    return phrases((question.name, question.answers[k]) for question, k in zip(TREE, kind, strict=True) if k >= 0)


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description})


def _known(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float32(), mask=np.isnan(values))
