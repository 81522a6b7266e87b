"""The sections of a report about galaxies: arrays in, HTML out."""

from collections.abc import Mapping

import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import ABSENCES, COARSE, VOTE_COLUMNS, most_likely_path, phrase, question_of
from morph.reports.html import Section, escape, facts, picture, short, simulated_mark, table
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
CARDS, PAIRS, STRANGEST = 12, 12, 24


def galaxies_section(galaxies: Galaxies, answers: Answers) -> Section:
    """Galaxies of every kind with their answers: the likely path through the tree as bars, votes as marks."""
    cards = [_card(galaxies, answers, i) for i in various(answers["probabilities"], CARDS)]
    voted = any(n for n in galaxies.answered().values())
    marks = " An orange mark shows the share of the volunteers who gave that answer." if voted else ""
    body = (
        f"<p>A choice of every kind among {len(galaxies):,} galaxies{simulated_mark(galaxies.simulated)}. Bars are "
        f"the model's probabilities along the most likely path through the questions.{marks} The p-value says how "
        f"many normal galaxies look as strange or stranger.</p>"
        f'<div class="cards">{"".join(cards)}</div>'
    )
    return Section(_named("Galaxies with their answers", galaxies), body)


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


def _card(galaxies: Galaxies, answers: Answers, i: int) -> str:
    image = to_pictures(centre_crop(galaxies.images[i : i + 1], NETWORK_SIZE))[0]
    path = most_likely_path(answers["probabilities"][i])
    words = [phrase(q, a) for q, a, _ in path if f"{q}_{a}" not in ABSENCES]
    bars = "".join(_bar(q, a, p, _share(galaxies.votes[i], q, a)) for q, a, p in path)
    score = answers["anomaly_score"][i]
    strange = ", flagged" if answers["anomaly"][i] else ""
    return (
        f'<div class="card pixels"><div>{picture(image, f"galaxy {galaxies.ids[i]}", 128)}'
        f'<p class="id">{escape(galaxies.ids[i])}<br>p = {score:.3f}{strange}</p></div>'
        f'<div><p class="path">{escape(", ".join(words))}</p>{bars}</div></div>'
    )


def _share(votes: np.ndarray, question: str, answer: str) -> float | None:
    """The share of the volunteers for a fine answer; None where the votes do not tell it."""
    column = f"{question}_{answer}"
    counts = vote_counts(votes)
    offered = [i for i, name in enumerate(VOTE_COLUMNS) if question_of(name) == question]
    total = counts[offered].sum()
    coarse = sum(counts[VOTE_COLUMNS.index(name)] for name, members in COARSE.items() if column in members)
    if not total > 0 or coarse > 0:
        return None
    return float(counts[VOTE_COLUMNS.index(column)] / total)


def _bar(question: str, answer: str, p: float, share: float | None) -> str:
    mark = f'<b style="left:{100 * share:.0f}%"></b>' if share is not None else ""
    return (
        f'<div class="answer" title="{escape(question)}: {escape(answer)}">{escape(phrase(question, answer))}'
        f"<span>{100 * p:.0f} %</span>"
        f'<div class="track"><i style="width:{100 * p:.0f}%"></i>{mark}</div></div>'
    )


def reconstruction_section(galaxies: Galaxies, answers: Answers, classifier) -> Section:
    """Galaxies beside what the decoder makes of their embedding."""
    which = various(answers["probabilities"], 2 * PAIRS)[:PAIRS]
    images = classifier.central(galaxies.images[which])
    originals = to_pictures(images)
    drawn = reconstruction_pictures(images, classifier.reconstruct_images(images))
    pairs = []
    for k, i in enumerate(which):
        left, right = picture(originals[k], "observed", 112), picture(drawn[k], "redrawn", 112)
        error = answers["reconstruction_error"][i]
        pairs.append(
            f'<figure class="pixels"><div class="pair">{left}{right}</div>'
            f"<figcaption>{escape(galaxies.ids[i])}, error {error:.2f}</figcaption></figure>"
        )
    body = (
        f"<p>Left as observed{simulated_mark(galaxies.simulated)}, right as the decoder redraws it from "
        f"{classifier.embedding_size} numbers. The error is the mean square of what was missed in units of the noise; "
        f"1 means that only noise was missed.</p>"
        f'<div class="grid">{"".join(pairs)}</div>'
    )
    return Section("Reconstructions beside originals", body)


def most_anomalous_section(galaxies: Galaxies, answers: Answers, threshold: float) -> Section:
    """The galaxies least like those that the model was taught; below `threshold` they are flagged."""
    order = np.lexsort((-answers["reconstruction_error"], answers["anomaly_score"]))[:STRANGEST]
    images = to_pictures(centre_crop(galaxies.images[order], NETWORK_SIZE))
    figures = "".join(
        f'<figure class="pixels">{picture(image, f"galaxy {galaxies.ids[i]}", 112)}<figcaption>'
        f"{short(galaxies.ids[i])}p = {answers['anomaly_score'][i]:.3f}</figcaption></figure>"
        for i, image in zip(order, images, strict=True)
    )
    flagged = int(np.sum(answers["anomaly"]))
    body = (
        f"<p>{flagged:,} of {len(galaxies):,} galaxies{simulated_mark(galaxies.simulated)} are "
        f"flagged ({100 * flagged / max(len(galaxies), 1):.1f} %; of normal galaxies {100 * threshold:g} % "
        f"are). The {len(order)} strangest:</p>"
        f'<div class="sheet">{figures}</div>'
    )
    return Section("The strangest objects", body)


def map_section(galaxies: Galaxies, answers: Answers) -> Section:
    """The embedding in two dimensions, with galaxies where they lie."""
    shown = to_pictures(centre_crop(galaxies.images, NETWORK_SIZE))
    figure = plots.embedding_map(answers["embedding"], shown)
    body = (
        f"<p>Galaxies{simulated_mark(galaxies.simulated)} where the model's embedding puts them: neighbours look "
        f"alike to it. The two axes are the directions in which the embeddings differ most.</p>"
        f'<div class="plot">{svg(figure)}</div>'
    )
    return Section("A map of the embedding", body)


def calibration_section(galaxies: Galaxies, answers: Answers) -> Section | None:
    """Stated probabilities against votes; None where there are no votes."""
    curves = {}
    for question, n in galaxies.answered().items():
        if n >= 20:
            curve = metrics.reliability(galaxies.votes, answers["probabilities"], question)
            if len(curve):
                curves[question] = curve
    if not curves:
        return None
    figures = metrics.measure(galaxies.votes, answers["probabilities"], answers.get("concentration"))
    body = (
        f"<p>When the model says 70 %, do 70 % of the volunteers agree? On the grey line they do. Measured on "
        f"{len(galaxies):,} galaxies{simulated_mark(galaxies.simulated)}; bars at the dots are 95 % intervals, those "
        f"below count the answers. The error is that of the most probable answer, the noise what scatter alone "
        f"makes of it.</p>"
        f'<div class="plot">{svg(diagnostic_plots.reliability(curves, figures))}</div>'
    )
    if "all/coverage-90" in figures:
        body += (
            "<p>The model also says how far the votes will scatter. Of the vote fractions of galaxies with ten votes "
            "or more, half should lie in its 50 % intervals and nine of ten in its 90 % intervals.</p>"
            f'<div class="plot">{svg(diagnostic_plots.coverage(figures))}</div>'
        )
    return Section("Calibration", body)


def comparison_section(comparison: Comparison) -> Section:
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
    body = (
        f'<p class="lead">{escape(comparison.conclusion())}</p>'
        + facts([(f"{len(comparison.shared):,}", f"galaxies of {comparison.title}, shown to every run")])
        + f'<div class="plot">{svg(plots.comparison(chart, "balanced accuracy"))}</div>'
        + _figures_table(comparison, names, main)
        + '<p class="note">Intervals are 95 %, from a bootstrap over galaxies. Bold: better than every other run by '
        "more than the noise of the paired difference.</p>"
        + f"<details><summary>Likelihoods and calibration</summary>{_figures_table(comparison, names, rest)}</details>"
    )
    return Section("The runs compared", body)


def _figures_table(comparison: Comparison, names: list[str], wanted: list[str]) -> str:
    """One row a figure, one column a run; in bold what beats every other run by more than the noise."""
    rows, best = [], []
    for name in wanted:
        if name not in comparison.figures[0]:
            continue
        percent = name.split("/")[1] not in ("log-likelihood", "rms")
        each = [figures[name] for figures in comparison.figures]
        title = name.replace("/", ": ").replace("-", " ") + (" (%)" if percent else "")
        rows.append([title, f"{each[0].n:,}", *(show(figure, percent) for figure in each)])
        clear = comparison.clear_leader(name)
        best.append(None if clear is None else clear + 2)
    return table(["", "n", *names], rows, best)


def _distinct(names: list[str]) -> list[str]:
    """Names made different where two runs share one."""
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def _named(title: str, galaxies: Galaxies) -> str:
    return f"{title} (simulated)" if galaxies.simulated else title
