"""Tables in long format, `id, question, answer`, with the texts that Galaxy Zoo shows to volunteers.

One row is one answer about one galaxy, worth one vote. A question is reached by the answers before it, so where only
one path leads there, the row implies those as well.
"""

import numpy as np

from morph.decision_tree import TREE, VOTE_COLUMNS, column_name, question_of
from training.importers.labels import Labels, assemble, normalise
from training.importers.tables import Table

#: Each question by words that only its text has, and its answers' texts.
TEXTS: dict[str, tuple[str, dict[str, str]]] = {
    "smooth-or-featured": (
        "simply smooth",
        {
            "smooth": "smooth-or-featured_smooth",
            "features_or_disk": "smooth-or-featured_featured-or-disk",
            "features": "smooth-or-featured_featured-or-disk",
            "star_or_artifact": "smooth-or-featured_artifact",
        },
    ),
    "disk-edge-on": ("disk viewed edge-on", {"yes": "disk-edge-on_yes", "no": "disk-edge-on_no"}),
    "has-spiral-arms": (
        "spiral arm pattern",
        {
            "spiral": "has-spiral-arms_yes",
            "yes": "has-spiral-arms_yes",
            "no_spiral": "has-spiral-arms_no",
            "no": "has-spiral-arms_no",
        },
    ),
    "bar": (
        "bar feature",
        {
            "bar": "bar_strong-or-weak",
            "yes": "bar_strong-or-weak",
            "strong_bar": "bar_strong",
            "weak_bar": "bar_weak",
            "no_bar": "bar_no",
            "no": "bar_no",
        },
    ),
    "bulge-size": (
        "how prominent is the central bulge",
        {
            "no_bulge": "bulge-size_none",
            "just_noticeable": "bulge-size_small",
            "small": "bulge-size_small",
            "moderate": "bulge-size_moderate",
            "obvious": "bulge-size_large-or-moderate",
            "large": "bulge-size_large",
            "dominant": "bulge-size_dominant",
        },
    ),
    "how-rounded": (
        "how rounded",
        {
            "completely_round": "how-rounded_round",
            "round": "how-rounded_round",
            "in_between": "how-rounded_in-between",
            "cigar_shaped": "how-rounded_cigar-shaped",
        },
    ),
    "edge-on-bulge": (
        "bulge at its cent",
        {"boxy": "edge-on-bulge_boxy", "no_bulge": "edge-on-bulge_none", "rounded": "edge-on-bulge_rounded"},
    ),
    "spiral-winding": (
        "how tightly wound",
        {"tight": "spiral-winding_tight", "medium": "spiral-winding_medium", "loose": "spiral-winding_loose"},
    ),
    "spiral-arm-count": (
        "how many spiral arms",
        {
            "1": "spiral-arm-count_1",
            "2": "spiral-arm-count_2",
            "3": "spiral-arm-count_3",
            "4": "spiral-arm-count_4",
            "more_than_4": "spiral-arm-count_more-than-4",
            "can_t_tell": "spiral-arm-count_cant-tell",
        },
    ),
    "merging": (
        "currently merging",
        {
            "neither": "merging_none",
            "none": "merging_none",
            "tidal_debris": "merging_disturbance",
            "minor_disturbance": "merging_minor-disturbance",
            "major_disturbance": "merging_major-disturbance",
            "merging": "merging_merger",
            "merger": "merging_merger",
            "both": "merging_any",
        },
    ),
    "odd-feature": (
        "odd features",
        {
            "none": "odd-feature_none",
            "ring": "odd-feature_ring",
            "lens_or_arc": "odd-feature_lens-or-arc",
            "disturbed": "odd-feature_disturbed",
            "irregular": "odd-feature_irregular",
            "other": "odd-feature_other",
            "merger": "odd-feature_merger",
            "dust_lane": "odd-feature_dust-lane",
            # Two galaxies in one line of sight: odd, but none of the shared tree's odd features.
            "overlapping": "odd-feature_any",
        },
    ),
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
