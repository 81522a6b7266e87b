"""Tables in long format, `id, question, answer`, with the texts that Galaxy Zoo shows to volunteers.

One row is one answer about one galaxy, worth one vote. A question is reached by the answers before it, so where only
one path leads there, the row implies those as well.
"""

import numpy as np

from morph.decision_tree import TREE, VOTE_COLUMNS, column_name, question_of
from training.importers.labels import Labels, assemble, columns_of, normalise
from training.importers.tables import Table

#: Each question by words that only its text has, and the shared tree's answers by their texts.
TEXTS = {
    question: (words, columns_of(question, answers))
    for question, words, answers in (
        (
            "smooth-or-featured",
            "simply smooth",
            "smooth smooth, features_or_disk featured-or-disk, features featured-or-disk, star_or_artifact artifact",
        ),
        ("disk-edge-on", "disk viewed edge-on", "yes yes, no no"),
        ("has-spiral-arms", "spiral arm pattern", "spiral yes, yes yes, no_spiral no, no no"),
        (
            "bar",
            "bar feature",
            "bar strong-or-weak, yes strong-or-weak, strong_bar strong, weak_bar weak, no_bar no, no no",
        ),
        (
            "bulge-size",
            "how prominent is the central bulge",
            "no_bulge none, just_noticeable small, small small, moderate moderate, obvious large-or-moderate, "
            "large large, dominant dominant",
        ),
        (
            "how-rounded",
            "how rounded",
            "completely_round round, round round, in_between in-between, cigar_shaped cigar-shaped",
        ),
        ("edge-on-bulge", "bulge at its cent", "boxy boxy, no_bulge none, rounded rounded"),
        ("spiral-winding", "how tightly wound", "tight tight, medium medium, loose loose"),
        (
            "spiral-arm-count",
            "how many spiral arms",
            "1 1, 2 2, 3 3, 4 4, more_than_4 more-than-4, can_t_tell cant-tell",
        ),
        (
            "merging",
            "currently merging",
            "neither none, none none, tidal_debris disturbance, minor_disturbance minor-disturbance, "
            "major_disturbance major-disturbance, merging merger, merger merger, both any",
        ),
        (
            "odd-feature",
            "odd features",
            # Two galaxies in one line of sight: odd, but none of the shared tree's odd features.
            "none none, ring ring, lens_or_arc lens-or-arc, disturbed disturbed, irregular irregular, other other, "
            "merger merger, dust_lane dust-lane, overlapping any",
        ),
    )
}


def question_and_answer(table: Table) -> Labels | None:
    """Votes of a table with columns `question` and `answer`."""
    asked, given = table.find(("question",)), table.find(("answer",))
    if asked is None or given is None:
        return None
    votes: dict[str, np.ndarray] = {}
    unknown: dict[str, int] = {}
    for row, (question, answer) in enumerate(zip(table.text(asked), table.text(given), strict=True)):
        column = vote_column(question, answer)
        if column is None:
            unknown[f"'{question}' '{answer}'"] = unknown.get(f"'{question}' '{answer}'", 0) + 1
            continue
        for implied in (column, *path_to(question_of(column))):
            votes.setdefault(implied, np.zeros(len(table)))[row] = 1
    notes = [f"{count} rows have {text}, which the shared tree does not have." for text, count in unknown.items()]
    name = "Galaxy Zoo questions and answers, one a row"
    return Labels(name, assemble(votes, len(table)), notes, repeats=True)


def vote_column(question: str, answer: str) -> str | None:
    """The shared vote column of an answer in the volunteers' words; None when there is none.

    The question may also be given by its name in the shared tree.
    """
    for name, (words, answers) in TEXTS.items():
        if words in question.lower() or column_name(question) == column_name(name):
            column = answers.get(normalise(answer)) or f"{name}_{answer}"
            return column if column in VOTE_COLUMNS else None
    return None


def path_to(question: str) -> tuple[str, ...]:
    """The answers that lead to `question`; those before a fork are unknown."""
    path: list[str] = []
    while len(parents := TREE[question].asked_after) == 1:
        path.append(f"{parents[0][0]}_{parents[0][1]}")
        question = parents[0][0]
    return tuple(path)
