"""Galaxy Zoo 2: the published vote tables and the Kaggle challenge made from them.

Tables: Willett et al. (2013), Hart et al. (2016). Columns are named `<question>_<answer>_<measure>`, as
`t01_smooth_or_features_a01_smooth_weighted_fraction`. Counts are used where there are any; otherwise the
number of volunteers is carried down the tree from the fractions. The challenge's fractions are debiased.
"""

import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from morph.decision_tree import TREE, VOTE_COLUMNS, column_name, question_of
from morph.votes import DEBIASED
from training.importers.labels import Labels, add, assemble, choose_kind, columns_of, kind_of
from training.importers.tables import Table

#: The questions by number: the answers after which each is asked, its name in the shared tree, and its answers by
#: number (a01 ... a38, Willett et al. 2013) in the order of the tables and of Kaggle's class numbers. Question 6
#: ("anything odd?") is asked of everybody who saw a galaxy; a14 is its "yes". "Just noticeable" bulges are small,
#: "obvious" ones moderate or large.
_TREE = {
    "t01": ((), "smooth-or-featured", "a01 smooth, a02 featured-or-disk, a03 artifact"),
    "t02": (("a02",), "disk-edge-on", "a04 yes, a05 no"),
    "t03": (("a05",), "bar", "a06 strong-or-weak, a07 no"),
    "t04": (("a05",), "has-spiral-arms", "a08 yes, a09 no"),
    "t05": (("a05",), "bulge-size", "a10 none, a11 small, a12 large-or-moderate, a13 dominant"),
    "t06": (("a01", "a02"), "odd-feature", "a14 any, a15 none"),
    "t07": (("a01",), "how-rounded", "a16 round, a17 in-between, a18 cigar-shaped"),
    "t08": (
        ("a14",),
        "odd-feature",
        "a19 ring, a20 lens-or-arc, a21 disturbed, a22 irregular, a23 other, a24 merger, a38 dust-lane",
    ),
    "t09": (("a04",), "edge-on-bulge", "a25 rounded, a26 boxy, a27 none"),
    "t10": (("a08",), "spiral-winding", "a28 tight, a29 medium, a30 loose"),
    "t11": (("a08",), "spiral-arm-count", "a31 1, a32 2, a33 3, a34 4, a36 more-than-4, a37 cant-tell"),
}
_COLUMNS = {number: columns_of(question, answers) for number, (_, question, answers) in _TREE.items()}

#: The answers of each question.
QUESTIONS: dict[str, tuple[str, ...]] = {number: tuple(columns) for number, columns in _COLUMNS.items()}

#: The shared vote column of each answer.
GALAXY_ZOO_2 = {answer: column for columns in _COLUMNS.values() for answer, column in columns.items()}

#: What is published about each answer, best first.
GZ2_MEASURES = ("count", "weighted_fraction", "fraction", "debiased")

#: Volunteers of a galaxy whose table does not say: the median of Galaxy Zoo 2 is 44.
VOLUNTEERS = 40.0

_GZ2_COLUMN = re.compile(r"^(t\d\d)_.*_(a\d\d)_.*?_(count|weighted_fraction|fraction|debiased)$", re.I)
_KAGGLE = re.compile(r"^class(\d+)\.(\d+)$", re.I)


def galaxy_zoo_2(table: Table, kind: str | None = None) -> Labels | None:
    """Votes of a table with Galaxy Zoo 2's columns; of the given kind, or raw where it has both."""
    found: dict[str, dict[str, str]] = {}
    for column in table.columns:
        if match := _GZ2_COLUMN.match(column):
            question, answer, measure = (part.lower() for part in match.groups())
            if answer in QUESTIONS.get(question, ()):
                found.setdefault(measure, {})[answer] = column
    if not found:
        return None
    usable = [name for name, columns in found.items() if all(answer in columns for answer in QUESTIONS["t01"])]
    kind, notes = choose_kind(usable or found, kind, table)
    # A table may give plain fractions for a few answers and weighted ones for all.
    measure = max((name for name in GZ2_MEASURES if kind_of(name) == kind), key=lambda name: len(found.get(name, ())))
    columns = found[measure]
    if measure == "count":
        values = {answer: table.counts(column) for answer, column in columns.items()}
    else:
        values = table.fractions(columns)
    complete = _complete(values)
    notes += _missing(complete, "its columns are not all there")
    known = {answer: values[answer] for question in complete for answer in QUESTIONS[question]}
    if measure == "count":
        counts = known
    else:
        total = table.find(("total_classifications",))
        volunteers = np.full(len(table), VOLUNTEERS) if total is None else table.counts(total)
        counts = counts_from_fractions(known, volunteers)
        reached = [q for q in complete if QUESTIONS[q][0] in counts]
        notes += [
            f"{q} is left out: a question before it is missing, so the number of its votes is unknown."
            for q in complete
            if q not in reached
        ]
    name = f"Galaxy Zoo 2 votes ({measure.replace('_', ' ')} columns)"
    return Labels(name, assemble(_shared(counts), len(table)), notes, kind=kind)


def kaggle(table: Table) -> Labels | None:
    """Votes of the Kaggle Galaxy Zoo challenge's table, whose `Class1.1` ... `Class11.6` are fractions already
    multiplied down the tree, except question 6, which is normalised to one. They are debiased."""
    columns: dict[str, str] = {}
    for column in table.columns:
        if match := _KAGGLE.match(column):
            question, place = f"t{int(match[1]):02d}", int(match[2])
            if question in QUESTIONS and 1 <= place <= len(QUESTIONS[question]):
                columns[QUESTIONS[question][place - 1]] = column
    if not columns:
        return None
    values = table.fractions(columns)
    complete = _complete(values)
    galaxy = 1 - values["a03"] if "a03" in values else 1.0
    counts = {}
    for question in complete:
        seen = galaxy if question in ("t06", "t08") else 1.0
        counts.update({answer: VOLUNTEERS * seen * values[answer] for answer in QUESTIONS[question]})
    votes = assemble(_shared(counts), len(table))
    name = f"Kaggle Galaxy Zoo challenge fractions (as votes of {VOLUNTEERS:.0f} volunteers)"
    return Labels(name, votes, _missing(complete, "its classes are not all there"), kind=DEBIASED)


def counts_from_fractions(fractions: Mapping[str, np.ndarray], volunteers: np.ndarray) -> dict[str, np.ndarray]:
    """Votes on every answer, from each question's own fractions and the number of volunteers.

    A question is asked of those who gave one of the answers before it (Willett et al. 2013, figure 1), so its
    votes are that number times its fractions. Questions whose parents are unknown are left out.
    """
    counts: dict[str, np.ndarray] = {}
    for question, (parents, _, _) in _TREE.items():
        answers = QUESTIONS[question]
        if any(answer not in fractions for answer in answers) or any(parent not in counts for parent in parents):
            continue
        asked = sum((counts[parent] for parent in parents), np.zeros(len(volunteers))) if parents else volunteers
        for answer in answers:
            counts[answer] = asked * fractions[answer]
    return counts


def _shared(counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Counts by Galaxy Zoo 2 answer, as counts by shared vote column.

    "Anything odd? Yes" is not an answer of the shared tree: those volunteers said what is odd in question 8.
    Where their answers to it are not in the table, they saw *some* odd feature.
    """
    shared = {GALAXY_ZOO_2[answer]: values for answer, values in counts.items()}
    if "a14" in counts:
        which = sum((counts[a] for a in QUESTIONS["t08"] if a in counts), np.zeros(len(counts["a14"])))
        shared["odd-feature_any"] = np.where(which > 0, 0.0, counts["a14"])
    return shared


def _complete(values: Mapping[str, np.ndarray]) -> list[str]:
    """The questions all of whose answers have values."""
    return [question for question, answers in QUESTIONS.items() if values.keys() >= set(answers)]


def _missing(complete: list[str], why: str) -> list[str]:
    return [f"{question} is left out: {why}." for question in QUESTIONS if question not in complete]


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


_DECALS_COLUMN = re.compile(rf"^({_QUESTIONS})({_CAMPAIGN})?_([a-z0-9_-]+?)(_count|_fraction|_debiased)?$", re.I)


#: Counts first, then the volunteers' fractions, then those corrected for distance.
DECALS_MEASURES = ("count", "fraction", "debiased")


def galaxy_zoo_decals(table: Table, kind: str | None = None) -> Labels | None:
    """Votes of a table with Galaxy Zoo DECaLS's or DESI's columns; of the given kind, or raw where it has both."""
    campaigns: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for column in table.columns:
        if match := _DECALS_COLUMN.match(column.lower()):
            question, campaign, answer, measure = match.groups()
            if name := _SPELLED.get(column_name(f"{question}_{answer}")):
                campaigns[campaign or ""][(measure or "_count")[1:]][name] = column
    if not campaigns:
        return None
    usable = [name for of in campaigns.values() for name, columns in of.items() if _complete_questions(columns)[0]]
    kind, notes = choose_kind(usable or ["count"], kind, table)
    votes = np.full((len(table), len(VOTE_COLUMNS)), np.nan, dtype="float32")
    used = []
    for campaign, measures in campaigns.items():
        of_kind = [name for name in DECALS_MEASURES if kind_of(name) == kind]
        measure = max(of_kind, key=lambda name: len(measures.get(name, ())))
        if measure not in measures:
            notes.append(f"{campaign[1:] or 'the first campaign'} is left out: it has no {kind} votes.")
            continue
        columns, lone = _complete_questions(measures[measure])
        notes += [
            f"{name}{campaign and f' ({campaign[1:]})'} is left out: it is its question's only answer."
            for name in lone
        ]
        if measure == "count":
            counts = {name: table.counts(column) for name, column in columns.items()}
        else:
            counts = _counts_of_campaign(table, campaign, table.fractions(columns))
        shared: dict[str, np.ndarray] = {}
        for name, count in counts.items():
            shared[_KNOWN[name]] = shared.get(_KNOWN[name], np.zeros(len(table))) + count
        votes = add(votes, assemble(shared, len(table)))
        used.append(f"{campaign[1:] + ' ' if campaign else ''}{measure}s".replace("debiaseds", "debiased fractions"))
    return Labels(f"Galaxy Zoo DECaLS / DESI columns ({', '.join(used)})", votes, notes, kind=kind)


def _complete_questions(columns: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Columns of questions with at least two answers, and the answers that stand alone."""
    answers: dict[str, list[str]] = defaultdict(list)
    for name in columns:
        answers[question_of(name)].append(name)
    lone = [names[0] for names in answers.values() if len(names) == 1]
    return {name: column for name, column in columns.items() if name not in lone}, lone


def _counts_of_campaign(table: Table, campaign: str, fractions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
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
