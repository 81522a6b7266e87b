"""Galaxy Zoo DECaLS, DESI and their kin: columns named `<question>_<answer>`.

Tables: Walmsley et al. (2022, 2023). The question may carry its campaign (`bar-dr5_strong`, `bar-dr12_yes`,
`bar-gz2_yes`), and the answer its measure (`_fraction`, `_debiased`; none for counts). Campaigns asked slightly
different questions of different volunteers, so their votes on one galaxy add up. Hyphens may be underscores.
"""

import re
from collections import defaultdict

import numpy as np

from morph.decision_tree import TREE, VOTE_COLUMNS, column_name, question_of
from training.importers.galaxy_zoo_2 import VOLUNTEERS
from training.importers.labels import Labels, add, assemble
from training.importers.measures import choose_kind, kind_of
from training.importers.tables import Table

#: Answers under the names of other campaigns, and the shared vote column that each counts for.
OTHER_NAMES = {
    "bar_yes": "bar_strong-or-weak",
    "bulge-size_obvious": "bulge-size_large-or-moderate",
    "bulge-size_just-noticeable": "bulge-size_small",
    "bulge-size_no": "bulge-size_none",
    "how-rounded_completely": "how-rounded_round",
    "how-rounded_cigar": "how-rounded_cigar-shaped",
    "merging_neither": "merging_none",
    "merging_tidal-debris": "merging_disturbance",
    "merging_both": "merging_any",
    "something-odd_yes": "odd-feature_any",
    "something-odd_no": "odd-feature_none",
    "bulge-shape_round": "edge-on-bulge_rounded",
    "bulge-shape_boxy": "edge-on-bulge_boxy",
    "bulge-shape_no-bulge": "edge-on-bulge_none",
}

_KNOWN = {**{name: name for name in VOTE_COLUMNS}, **OTHER_NAMES}
_SPELLED = {column_name(name): name for name in _KNOWN}
_QUESTIONS = "|".join(sorted({question_of(name).replace("-", "[-_]") for name in _KNOWN}, key=len, reverse=True))
#: Where all is underscores, what stands between question and answer is a campaign only if it has a number (dr5, gz2).
_CAMPAIGN = r"-[a-z0-9]+|_[a-z]+\d+"
_COLUMN = re.compile(rf"^({_QUESTIONS})({_CAMPAIGN})?_([a-z0-9_-]+?)(_count|_fraction|_debiased)?$", re.I)

#: Counts first, then the volunteers' fractions, then those corrected for distance.
MEASURES = ("count", "fraction", "debiased")


def published(table: Table, kind: str | None = None) -> Labels | None:
    """Votes of a table with Galaxy Zoo DECaLS's or DESI's columns; of the given kind, or raw where it has both."""
    campaigns: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for column in table.columns:
        if match := _COLUMN.match(column.lower()):
            question, campaign, answer, measure = match.groups()
            if name := _SPELLED.get(column_name(f"{question}_{answer}")):
                campaigns[campaign or ""][(measure or "_count")[1:]][name] = column
    if not campaigns:
        return None
    usable = [name for of in campaigns.values() for name, columns in of.items() if _complete(columns)[0]]
    kind, notes = choose_kind(usable or ["count"], kind, table)
    votes = np.full((len(table), len(VOTE_COLUMNS)), np.nan, dtype="float32")
    used = []
    for campaign, measures in campaigns.items():
        of_kind = [name for name in MEASURES if kind_of(name) == kind]
        measure = max(of_kind, key=lambda name: len(measures.get(name, ())))
        if measure not in measures:
            notes.append(f"{campaign[1:] or 'the first campaign'} is left out: it has no {kind} votes.")
            continue
        columns, lone = _complete(measures[measure])
        notes += [
            f"{name}{campaign and f' ({campaign[1:]})'} is left out: it is its question's only answer."
            for name in lone
        ]
        if measure == "count":
            counts = {name: table.counts(column) for name, column in columns.items()}
        else:
            counts = _counts(table, campaign, table.fractions(columns))
        shared: dict[str, np.ndarray] = {}
        for name, count in counts.items():
            shared[_KNOWN[name]] = shared.get(_KNOWN[name], np.zeros(len(table))) + count
        votes = add(votes, assemble(shared, len(table)))
        used.append(f"{campaign[1:] + ' ' if campaign else ''}{measure}s".replace("debiaseds", "debiased fractions"))
    return Labels(f"Galaxy Zoo DECaLS / DESI columns ({', '.join(used)})", votes, notes, kind=kind)


def _complete(columns: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Columns of questions with at least two answers, and the answers that stand alone."""
    answers: dict[str, list[str]] = defaultdict(list)
    for name in columns:
        answers[question_of(name)].append(name)
    lone = [names[0] for names in answers.values() if len(names) == 1]
    return {name: column for name, column in columns.items() if name not in lone}, lone


def _counts(table: Table, campaign: str, fractions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fractions times the number of volunteers who were asked: the table's own totals where it has them, else
    `VOLUNTEERS` carried down the tree."""
    asked: dict[str, np.ndarray] = {}
    counts: dict[str, np.ndarray] = {}
    for question in TREE:
        names = [name for name in fractions if question_of(_KNOWN[name]) == question.name]
        if not names:
            continue
        own_name = question_of(names[0])
        name = f"{own_name}{campaign}_total-votes"
        total = table.find((name, column_name(name)))
        if total is not None:
            asked[question.name] = table.counts(total)
        elif not question.asked_after:
            asked[question.name] = np.full(len(table), VOLUNTEERS)
        else:
            parents = [f"{parent}_{answer}" for parent, answer in question.asked_after]
            came = [counts[parent] for parent in parents if parent in counts]
            asked[question.name] = sum(came, np.zeros(len(table)))
        for name in names:
            counts[name] = asked[question.name] * fractions[name]
    return counts
