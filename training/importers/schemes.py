"""Schemes of labels: how the published kinds are recognised, hard classes, and the user's own mapping.

A hard class is one word a galaxy, worth one vote on each question that it answers. A scheme is a function that takes a
table and returns `Labels`, or None when the table is of another kind; a new one is an entry of `SCHEMES`.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import numpy as np

from morph.decision_tree import VOTE_COLUMNS, question_of, vote_column
from morph.errors import InputError
from morph.votes import DEBIASED, RAW
from training.importers import galaxy_zoo, long_format
from training.importers.labels import Labels, assemble, kind_of, normalise
from training.importers.tables import Table

#: Hard classes: the answers that each implies, and no more.
_SMOOTH = ("smooth-or-featured_smooth",)
_DISK = ("smooth-or-featured_featured-or-disk",)
_FACE_ON_DISK = (*_DISK, "disk-edge-on_no")
_SPIRAL_DISK = (*_FACE_ON_DISK, "has-spiral-arms_yes")
_EDGE_ON = (*_DISK, "disk-edge-on_yes")
GALAXY_ZOO_1_CLASSES: dict[str, tuple[str, ...]] = {
    "elliptical": (*_SMOOTH, "merging_none"),
    "spiral_clockwise": (*_SPIRAL_DISK, "merging_none"),
    "spiral_anticlockwise": (*_SPIRAL_DISK, "merging_none"),
    "spiral": (*_SPIRAL_DISK, "merging_none"),
    # Half of what Galaxy Zoo 1 calls edge-on, Galaxy Zoo 2 calls smooth and cigar-shaped: not asked which.
    "edge_on": ("disk-edge-on_yes", "merging_none"),
    "merger": ("merging_merger", "odd-feature_merger"),
    "unknown": ("smooth-or-featured_artifact",),
}
#: Answers of Galaxy Zoo 1 without an alternative: it had no button for a disk without arms, nor for other odd features
#: than a merger.
_WITHOUT_ALTERNATIVE = ("has-spiral-arms_yes", "odd-feature_merger")
#: The answers that a vote for each class implies. A hard class may imply answers without an alternative: it is one
#: vote beside those of other surveys; as shares of a galaxy's own volunteers such votes would all be for one answer.
#: And a vote for edge-on must count as not smooth there, or a galaxy that nine of ten saw edge-on would be smooth by
#: the tenth's vote alone.
GALAXY_ZOO_1_VOTES: dict[str, tuple[str, ...]] = {
    name: tuple(answer for answer in answers if answer not in _WITHOUT_ALTERNATIVE)
    for name, answers in {**GALAXY_ZOO_1_CLASSES, "edge_on": (*_EDGE_ON, "merging_none")}.items()
}
#: Galaxy10 DECaLS (Leung & Bovy), in the order of its integer classes.
GALAXY10_CLASSES: dict[str, tuple[str, ...]] = {
    "disturbed": ("merging_disturbance",),
    "merging": ("merging_merger",),
    "round_smooth": (*_SMOOTH, "how-rounded_round"),
    "in_between_smooth": (*_SMOOTH, "how-rounded_in-between"),
    "cigar_smooth": (*_SMOOTH, "how-rounded_cigar-shaped"),
    "barred_spiral": (*_SPIRAL_DISK, "bar_strong-or-weak"),
    "unbarred_tight_spiral": (*_SPIRAL_DISK, "bar_no", "spiral-winding_tight"),
    "unbarred_loose_spiral": (*_SPIRAL_DISK, "bar_no", "spiral-winding_loose"),
    "edge_on_without_bulge": (*_EDGE_ON, "edge-on-bulge_none"),
    "edge_on_with_bulge": (*_EDGE_ON, "edge-on-bulge_rounded"),
}
#: Rings among face-on featured galaxies (Walmsley et al. 2022b). "No ring" may have another odd feature,
#: which one vote in the shared tree cannot express, so it counts against "ring" as "none".
RING_CLASSES: dict[str, tuple[str, ...]] = {
    "ring": (*_FACE_ON_DISK, "odd-feature_ring"),
    "no_ring": (*_FACE_ON_DISK, "odd-feature_none"),
}

#: Class names that other releases of the same labels use.
ALIASES = {
    "ring": {"no ring": "no_ring", "nonring": "no_ring"},
    "galaxy10": {"in_between_round_smooth": "in_between_smooth", "cigar_shaped_smooth": "cigar_smooth"},
}

#: Vote fractions of the Galaxy Zoo 1 tables (Lintott et al. 2011), and the class that each is for.
GALAXY_ZOO_1_COLUMNS = {
    "P_EL": "elliptical",
    "P_CW": "spiral_clockwise",
    "P_ACW": "spiral_anticlockwise",
    "P_EDGE": "edge_on",
    "P_DK": "unknown",
    "P_MG": "merger",
}

#: Below this share of rows with a known class, a column is something else.
_ENOUGH = 0.5


def galaxy_zoo_1_fractions(table: Table) -> Labels | None:
    """Votes of the published Galaxy Zoo 1 tables: `P_EL` ... `P_MG` of `NVOTE` volunteers."""
    found = {table.find((name,)): GALAXY_ZOO_1_VOTES[kind] for name, kind in GALAXY_ZOO_1_COLUMNS.items()}
    columns = {name: answers for name, answers in found.items() if name is not None}
    volunteers = table.find(("NVOTE", "NVOTE_TOT"))
    if len(columns) < len(GALAXY_ZOO_1_COLUMNS) or volunteers is None:
        return None
    shares = table.fractions({name: name for name in columns})
    votes = _from_numbers(shares, columns, table.counts(volunteers))
    return Labels("Galaxy Zoo 1 votes (fractions of NVOTE)", votes)


def galaxy_zoo_1(table: Table) -> Labels | None:
    """Galaxy Zoo 1's classes: elliptical, spiral, edge_on, merger, unknown."""
    return _known(table, "Galaxy Zoo 1 classes", GALAXY_ZOO_1_CLASSES, {})


def galaxy10(table: Table) -> Labels | None:
    """Galaxy10 DECaLS: class names, or the integers 0 to 9 in a column called `ans`."""
    numbers = {str(i): answers for i, answers in enumerate(GALAXY10_CLASSES.values())}
    if (column := table.find(("ans",))) is not None and numbers.keys() & set(table.text(column)):
        return Labels(*_from_words(table, column, numbers, "Galaxy10 classes (integers)"))
    return _known(table, "Galaxy10 classes", GALAXY10_CLASSES, ALIASES["galaxy10"])


def rings(table: Table) -> Labels | None:
    """Ring or no ring, among face-on galaxies with features."""
    return _known(table, "ring classes", RING_CLASSES, ALIASES["ring"])


def mapped(table: Table, mapping: Mapping[str, tuple[str, ...]], kind: str | None = None) -> Labels:
    """Labels read through the user's own mapping of columns (numbers: votes) or classes to vote columns.

    Parameters
    ----------
    table : of labels.
    mapping : as `read_mapping` returns it.
    kind : whether the votes are raw or debiased; by default as the columns' names state it.

    Raises
    ------
    InputError : neither a column nor a class of the table is in the mapping, some of its columns are named as debiased
        and others are not, or they give a question only one answer.
    """
    columns = {name: answers for name, answers in mapping.items() if name in table}
    if columns:
        notes = [f"the mapping's '{name}' is not a column of the table." for name in mapping if name not in columns]
        kinds = {name: kind_of(name) for name in columns}
        if len(set(kinds.values())) > 1 and kind is None:
            raise InputError(
                f"The mapping takes {_listed(name for name in kinds if kinds[name] == DEBIASED)} beside "
                f"{_listed(name for name in kinds if kinds[name] == RAW)}, debiased votes beside raw ones; "
                f"map columns of one kind, or state the kind of all with --votes."
            )
        _refuse_one_sided(columns)
        kind = kind or next(iter(kinds.values()))
        scheme = f"columns of the given mapping, taken as {kind} votes"
        counts = {name: table.counts(name) for name in columns}
        return Labels(scheme, _from_numbers(counts, columns, 1.0), notes, kind=kind)
    classes = {normalise(name): answers for name, answers in mapping.items()}
    column = _best_column(table, classes)
    if column is None:
        raise InputError(
            f"Nothing in '{table.source}' is called {_listed(mapping)}; "
            f"the mapping's names must be columns or classes of the table (its columns: {_listed(table.columns)})."
        )
    return Labels(*_from_words(table, column, classes, "classes of the given mapping"), kind=kind or RAW)


def _refuse_one_sided(columns: Mapping[str, tuple[str, ...]]) -> None:
    """InputError where columns of votes give one answer to a question: it would have all of the question's votes."""
    answers = sorted({answer for some in columns.values() for answer in some})
    for answer in answers:
        if sum(question_of(other) == question_of(answer) for other in answers) == 1:
            column = next(name for name, some in columns.items() if answer in some)
            raise InputError(
                f"The mapping's column '{column}' is for '{answer}', and none is for another answer to "
                f"'{question_of(answer)}', so every galaxy would have all of its votes; map a column with the others."
            )


def read_mapping(path: str | Path) -> dict[str, tuple[str, ...]]:
    """The user's mapping: a JSON or TOML file of `class or column = [vote columns]`.

    InputError when it is missing, cannot be read, or names a vote column that does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no mapping at '{path}'.")
    try:
        content = path.read_text("utf-8")
        raw = tomllib.loads(content) if path.suffix.lower() == ".toml" else json.loads(content)
    except ValueError as error:
        raise InputError(f"The mapping '{path}' cannot be read ({error}); use JSON, or TOML named .toml.") from None
    if not isinstance(raw, dict) or not raw:
        raise InputError(f'The mapping \'{path}\' must be like {{"my class": ["smooth-or-featured_smooth"]}}.')
    mapping = {}
    for name, answers in raw.items():
        answers = [answers] if isinstance(answers, str) else answers
        known = []
        for answer in answers if isinstance(answers, list) else [answers]:
            if (column := vote_column(str(answer))) is None:
                near = get_close_matches(str(answer), VOTE_COLUMNS, n=1, cutoff=0.0)[0]
                raise InputError(
                    f"The mapping '{path}' has '{answer}' for '{name}', which is not an answer; did you mean '{near}'?"
                )
            known.append(column)
        mapping[str(name)] = tuple(known)
    return mapping


def _known(table: Table, scheme: str, classes: Mapping[str, tuple[str, ...]], aliases: Mapping) -> Labels | None:
    known = {**classes, **{other: classes[name] for other, name in aliases.items()}}
    column = _best_column(table, known)
    return None if column is None else Labels(*_from_words(table, column, known, scheme))


def _best_column(table: Table, classes: Mapping) -> str | None:
    """The column that holds a known class in most rows."""
    shares = {name: np.mean([normalise(word) in classes for word in table.text(name)]) for name in table.names}
    best = max(shares, key=shares.__getitem__, default=None)
    return best if best is not None and shares[best] >= _ENOUGH else None


def _from_words(table: Table, column: str, classes: Mapping, scheme: str) -> tuple[str, np.ndarray, list[str]]:
    words = [normalise(word) for word in table.text(column)]
    votes: dict[str, np.ndarray] = {}
    for name, answers in classes.items():
        chosen = np.array([word == name for word in words], dtype=float)
        for answer in answers:
            votes[answer] = votes.get(answer, np.zeros(len(words))) + chosen
    unknown = [word for word in words if word not in classes]
    notes = []
    if unknown:
        notes.append(f"{len(unknown)} rows have another class in '{column}' ({_listed(sorted(set(unknown)))}).")
    return f"{scheme} in column '{column}'", assemble(votes, len(words)), notes


def _from_numbers(values: Mapping[str, np.ndarray], columns: Mapping, volunteers: np.ndarray | float) -> np.ndarray:
    votes: dict[str, np.ndarray] = {}
    for name, answers in columns.items():
        counts = values[name] * volunteers
        for answer in answers:
            votes[answer] = votes.get(answer, np.zeros(len(counts))) + counts
    return assemble(votes, len(next(iter(values.values()))))


def _listed(words, most: int = 6) -> str:
    shown = [str(word) or "(empty)" for word in words]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


#: Votes before classes: a table of votes often carries a class made from them as well.
SCHEMES: tuple[Callable[[Table], Labels | None], ...] = (
    long_format.question_and_answer,
    galaxy_zoo.galaxy_zoo_2,
    galaxy_zoo.kaggle,
    galaxy_zoo.galaxy_zoo_decals,
    galaxy_zoo_1_fractions,
    galaxy_zoo_1,
    galaxy10,
    rings,
)


#: Schemes whose tables can hold raw votes and debiased ones, so that they take the kind as an argument.
_OF_BOTH_KINDS = (galaxy_zoo.galaxy_zoo_2, galaxy_zoo.galaxy_zoo_decals)


def recognise(table: Table, mapping: Mapping[str, tuple[str, ...]] | None = None, kind: str | None = None) -> Labels:
    """The labels in `table`, by the user's mapping or by the first scheme that fits.

    Parameters
    ----------
    table : of labels.
    mapping : as `read_mapping` returns it.
    kind : raw or debiased: the votes to take where the table has both, and what they are where it does not state it.

    Raises
    ------
    InputError : no scheme fits, or none of the votes are of `kind`.
    """
    if mapping is not None:
        return mapped(table, mapping, kind)
    for scheme in SCHEMES:
        labels = (partial(scheme, kind=kind) if scheme in _OF_BOTH_KINDS else scheme)(table)
        if labels is not None:
            if kind not in (None, labels.kind):
                raise InputError(f"'{table.source}' has no {kind} votes, but {labels.kind} ones: {labels.scheme}.")
            return labels
    found = ", ".join(table.columns[:8]) + (" ..." if len(table.columns) > 8 else "")
    raise InputError(
        f"The columns of '{table.source}' ({found}) are not labels that morph recognises; "
        "give their meaning with --mapping FILE (see `morph import --help`)."
    )
