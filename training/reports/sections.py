"""The sections of a report about galaxies: arrays in, what the template ``model.html`` shows out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from morph.dataset import Galaxies
from morph.decision_tree import ABSENCES, COARSE, VOTE_COLUMNS, most_likely_path, phrase, phrases, question_of
from morph.reports.html import jpeg
from morph.reports.style import svg
from morph.sizes import NETWORK_SIZE
from morph.stamps.stretch import centre_crop, reconstruction_pictures, to_pictures
from morph.votes import vote_counts
from training import plots
from training.evaluation import diagnostic_plots
from training.evaluation.tables import show
from training.experiments.comparison import Comparison
from training.metrics import votes as metrics
from training.metrics.categories import four_classes

Answers = Mapping[str, np.ndarray]

#: How many galaxies each section shows.
CARDS, PAIRS, MOST_ANOMALOUS = 12, 12, 24


def galaxies_section(galaxies: Galaxies, answers: Answers) -> dict[str, Any]:
    """Galaxies of every kind with their answers: the likely path through the tree as bars, votes as marks."""
    return {
        "count": f"{len(galaxies):,}",
        "simulated": galaxies.simulated,
        "voted": any(galaxies.answered().values()),
        "cards": [_card(galaxies, answers, i) for i in various(answers["probabilities"], CARDS)],
    }


def various(probabilities: np.ndarray, n: int) -> list[int]:
    """Indices of `n` galaxies of as many kinds as there are, the surest of each kind first."""
    kinds: dict[tuple, list[int]] = {}
    p4 = four_classes(probabilities).max(axis=1)
    for i in np.argsort(-p4):
        path = most_likely_path(probabilities[i])
        kind = tuple((q, a) for q, a, _ in path if f"{q}_{a}" not in ABSENCES and q in _SHAPES)
        kinds.setdefault(kind, []).append(int(i))
    # Common kinds come first, and every kind is seen once before any is seen twice.
    queues = sorted(kinds.values(), key=len, reverse=True)
    chosen: list[int] = []
    for depth in range(n):
        chosen += [queue[depth] for queue in queues if depth < len(queue)]
    return chosen[:n]


#: The questions whose answers make a kind of galaxy.
_SHAPES = ("smooth-or-featured", "disk-edge-on", "has-spiral-arms", "bar", "how-rounded", "merging", "odd-feature")


def _card(galaxies: Galaxies, answers: Answers, i: int) -> dict[str, Any]:
    path = most_likely_path(answers["probabilities"][i])
    return {
        "id": galaxies.ids[i],
        "picture": jpeg(to_pictures(centre_crop(galaxies.images[i : i + 1], NETWORK_SIZE))[0], 128),
        "score": answers["anomaly_score"][i],
        "flagged": bool(answers["anomaly"][i]),
        "words": phrases((q, a) for q, a, _ in path),
        "bars": [
            {"question": q, "answer": a, "word": phrase(q, a), "p": p, "share": _share(galaxies.votes[i], q, a)}
            for q, a, p in path
        ],
    }


def _share(votes: np.ndarray, question: str, answer: str) -> float | None:
    """The share of the volunteers for a fine answer; None where the votes do not contain it."""
    column = f"{question}_{answer}"
    counts = vote_counts(votes)
    offered = [i for i, name in enumerate(VOTE_COLUMNS) if question_of(name) == question]
    total = counts[offered].sum()
    coarse = sum(counts[VOTE_COLUMNS.index(name)] for name, members in COARSE.items() if column in members)
    if not total > 0 or coarse > 0:
        return None
    return float(counts[VOTE_COLUMNS.index(column)] / total)


def reconstruction_section(galaxies: Galaxies, answers: Answers, classifier) -> dict[str, Any]:
    """The section of galaxies beside their reconstructions.

    Parameters
    ----------
    galaxies : the dataset.
    answers : the model's, for all of them.
    classifier : the model.
    """
    which = various(answers["probabilities"], 2 * PAIRS)[:PAIRS]
    images = classifier.central(galaxies.images[which])
    shown = to_pictures(images), reconstruction_pictures(images, classifier.reconstruct_images(images))
    return {
        "numbers": classifier.embedding_size,
        "pairs": [
            {
                "id": galaxies.ids[i],
                "observed": jpeg(observed, 112),
                "reconstructed": jpeg(reconstructed, 112),
                "error": answers["reconstruction_error"][i],
            }
            for i, observed, reconstructed in zip(which, *shown, strict=True)
        ],
    }


def most_anomalous_section(galaxies: Galaxies, answers: Answers, threshold: float) -> dict[str, Any]:
    """The section of the galaxies least like the training set.

    Parameters
    ----------
    galaxies : the dataset.
    answers : the model's, for all of them.
    threshold : p-value below which a galaxy is flagged.
    """
    order = np.lexsort((-answers["reconstruction_error"], answers["anomaly_score"]))[:MOST_ANOMALOUS]
    images = to_pictures(centre_crop(galaxies.images[order], NETWORK_SIZE))
    flagged = int(np.sum(answers["anomaly"]))
    return {
        "flagged": f"{flagged:,}",
        "percent": 100 * flagged / max(len(galaxies), 1),
        "normal_percent": 100 * threshold,
        "shown": [
            {"id": galaxies.ids[i], "picture": jpeg(image, 112), "caption": f"p = {answers['anomaly_score'][i]:.3f}"}
            for i, image in zip(order, images, strict=True)
        ],
    }


def embedding_map(galaxies: Galaxies, answers: Answers) -> Markup:
    """The embedding in two dimensions, with galaxies where they lie."""
    shown = to_pictures(centre_crop(galaxies.images, NETWORK_SIZE))
    return svg(plots.embedding_map(answers["embedding"], shown))


def calibration_section(galaxies: Galaxies, answers: Answers) -> dict[str, Any] | None:
    """Predicted probabilities against votes; None without votes."""
    curves = {}
    for question, n in galaxies.answered().items():
        if n >= 20:
            curve = metrics.reliability(galaxies.votes, answers["probabilities"], question)
            if len(curve):
                curves[question] = curve
    if not curves:
        return None
    figures = metrics.measure(galaxies.votes, answers["probabilities"], answers.get("concentration"))
    return {
        "reliability": svg(diagnostic_plots.reliability(curves, figures)),
        "coverage": svg(diagnostic_plots.coverage(figures)) if "all/coverage-90" in figures else None,
    }


def comparison_section(comparison: Comparison) -> dict[str, Any]:
    """Runs side by side: the sentence that follows from the numbers, a chart, a table."""
    questions = comparison.questions
    names = _distinct([run.name for run in comparison.runs])
    chart = {
        question: {
            name: (figure.value, figure.low, figure.high)
            for name, each in zip(names, comparison.figures, strict=True)
            if (figure := each.get(f"{question}/balanced-accuracy"))
        }
        for question in questions
    }
    main = [f"{q}/{figure}" for q in questions for figure in ("accuracy", "balanced-accuracy")] + ["all/rms"]
    rest = [f"{q}/{figure}" for q in questions for figure in ("log-likelihood", "calibration-error")]
    return {
        "conclusion": comparison.conclusion(),
        "shared": f"{len(comparison.shared):,}",
        "title": comparison.title,
        "chart": svg(plots.comparison(chart, "balanced accuracy")),
        "main": _figures_table(comparison, names, main),
        "rest": _figures_table(comparison, names, rest),
    }


def _figures_table(comparison: Comparison, names: list[str], wanted: list[str]) -> dict[str, Any]:
    """One row a figure, one column a run; in bold what is significantly better than every other run."""
    rows, bold = [], []
    for name in wanted:
        if name not in comparison.figures[0]:
            continue
        percent = name.split("/")[1] not in ("log-likelihood", "rms")
        each = [figures[name] for figures in comparison.figures]
        title = name.replace("/", ": ").replace("-", " ") + (" (%)" if percent else "")
        rows.append([title, f"{each[0].n:,}", *(show(figure, percent) for figure in each)])
        leader = comparison.clear_leader(name)
        bold.append(None if leader is None else leader + 2)
    return {"header": ["", "n", *names], "rows": rows, "bold": bold}


def _distinct(names: list[str]) -> list[str]:
    """Names made different where two runs share one."""
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]
