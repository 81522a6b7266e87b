"""How many normal galaxies the anomaly score flags, and how many anomalous ones it finds, beside two simpler scores.

The anomalies are injected (`training.fitting.injected`) and, where volunteers called some of the galaxies an
artifact, real. The simpler scores are the reconstruction error alone and an isolation forest on the embedding (Liu et
al. 2008). All three flag by the same rule: a p-value among normal galaxies below the rate, so they differ in nothing
but the score.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError
from training.fitting.batches import mostly_artifact
from training.fitting.injected import KINDS, inject, kinds_for
from training.metrics.estimates import RESAMPLES, TAIL, Estimate

if TYPE_CHECKING:
    from morph.model.classifier import Classifier
    from training.run import Run

#: The scores, in the order of the table.
SCORES = ("anomaly score", "reconstruction error", "isolation forest")
#: The rates of false alarms at which is counted.
ALPHAS = (0.01, 0.05)
#: Normal galaxies that anomalies are injected into, at most, and below which nothing is measured.
HOSTS, FEWEST = 200, 20
#: Rows of the table beside the injected kinds.
ALL, REAL = "all injected", "real artifacts"
#: Flagged examples of each injected kind that are kept.
EXAMPLES = 4


@dataclass(frozen=True)
class Anomalies:
    """What was found.

    Attributes
    ----------
    alphas : the rates of false alarms.
    figures : with 95 % intervals, by flat name: ``flagged/<alpha>/<score>`` (share of the normal galaxies),
        ``auroc/<row>/<score>`` and ``recall/<alpha>/<row>/<score>``, where a row is an injected kind, `ALL` or `REAL`.
    note : what the simpler scores were fitted on, or why nothing could be measured.
    examples, captions : flagged galaxies with an injected anomaly.
    """

    alphas: tuple[float, ...]
    figures: dict[str, Estimate]
    note: str
    examples: np.ndarray
    captions: tuple[str, ...]

    @property
    def rows(self) -> list[str]:
        return [row for row in (*KINDS, ALL, REAL) if f"auroc/{row}/{SCORES[0]}" in self.figures]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"note": self.note, "figures": {name: asdict(figure) for name, figure in self.figures.items()}}

    def log(self, run: "Run", title: str) -> None:
        """Put the figures, a plot and the flagged examples into a run."""
        from morph.stamps.stretch import to_pictures
        from training import plots

        # Of the score itself only; what it is compared with is in the document.
        shown = {name: figure for name, figure in self.figures.items() if name.endswith(f"/{SCORES[0]}")}
        shown = {name: figure for name, figure in shown.items() if not any(f"/{kind}/" in name for kind in KINDS)}
        run.log_metrics({f"anomaly/{name.replace(' ', '-')}": figure.value for name, figure in shown.items()})
        run.log_json(self.document(), "evaluation/anomalies.json")
        if self.rows:
            figures = {row: {score: self._interval(f"auroc/{row}/{score}") for score in SCORES} for row in self.rows}
            run.log_figure(plots.comparison(figures, "area under the ROC curve"), "plots/anomalies.png")
        if len(self.examples):
            sheet = plots.contact_sheet(to_pictures(self.examples), self.captions, title=f"Injected into {title}")
            run.log_figure(sheet, "plots/anomalies-found.png")

    def _interval(self, name: str) -> tuple[float, float, float]:
        figure = self.figures[name]
        return figure.value, figure.low, figure.high


def measure_anomalies(
    classifier: "Classifier",
    galaxies: Galaxies,
    reference: Galaxies | None = None,
    alphas: Sequence[float] = ALPHAS,
    seed: int = 0,
) -> Anomalies:
    """Count false alarms, inject anomalies and count how many are found.

    Parameters
    ----------
    galaxies : those to measure on, already cut to their split.
    reference : other galaxies of the same datasets, that the simpler scores are fitted on and their p-values set on;
        without them the measured galaxies themselves, where those scores' rates hold by construction.
    alphas : rates of false alarms.
    classifier : whose anomaly score is measured.
    seed : of the injection and of the bootstrap.

    Returns
    -------
    The estimates, or a note where there are too few normal galaxies.

    Raises
    ------
    InputError : a rate is outside (0, 1).
    """
    alphas = check_alphas(alphas)
    anomalous = mostly_artifact(galaxies.votes)
    normal = galaxies.select(~anomalous)
    if len(normal) < FEWEST:
        note = f"Only {len(normal)} normal galaxies: too few to measure the anomaly score on ({FEWEST} is the least)."
        return Anomalies(alphas, {}, note, galaxies.images[:0], ())
    others, where = _reference_of(normal, reference)
    scorer = _Scorer(classifier, others, seed)
    ordinary = scorer(normal.images)
    figures = {f"flagged/{alpha:g}/{score}": share(ordinary[score] < alpha) for alpha in alphas for score in SCORES}
    hosts = normal.select(np.random.default_rng(seed).permutation(len(normal))[:HOSTS])
    found: dict[str, dict[str, np.ndarray]] = {}
    examples, captions = [], []
    kinds = kinds_for(normal.kind)
    for kind in kinds:
        images = inject(hosts, kind, seed)
        found[kind] = scorer(images)
        p = found[kind][SCORES[0]]
        flagged = np.flatnonzero(p < max(alphas))[:EXAMPLES]
        examples.append(classifier.central(images[flagged]))
        captions += [f"{kind}\np = {value:.3f}" for value in p[flagged]]
    found[ALL] = {score: np.concatenate([found[kind][score] for kind in kinds]) for score in SCORES}
    if anomalous.any():
        found[REAL] = scorer(galaxies.images[anomalous])
    for row, scores in found.items():
        for score in SCORES:
            figures[f"auroc/{row}/{score}"] = auroc(-ordinary[score], -scores[score], seed=seed)
            for alpha in alphas:
                figures[f"recall/{alpha:g}/{row}/{score}"] = share(scores[score] < alpha)
    note = f"Injected into {len(hosts):,} galaxies. Reconstruction error and isolation forest are set on {where}."
    return Anomalies(alphas, figures, note, np.concatenate(examples), tuple(captions))


def _reference_of(normal: Galaxies, reference: Galaxies | None) -> tuple[Galaxies, str]:
    """The normal galaxies that the simpler scores are fitted on, and a description of them."""
    others = None if reference is None else reference.select(~mostly_artifact(reference.votes))
    if others is None or len(others) < FEWEST:
        return normal, "the measured galaxies themselves, since there are no others: their rates hold by construction"
    return others, f"{len(others):,} normal galaxies of the validation split"


class _Scorer:
    """Images to p-values by every score: {score: [n]}."""

    def __init__(self, classifier: "Classifier", normal: Galaxies, seed: int):
        from sklearn.ensemble import IsolationForest

        self.classifier = classifier
        answers = classifier.answer(normal.images)
        self.forest = IsolationForest(n_estimators=200, random_state=seed).fit(answers["embedding"])
        self.reference = {name: np.sort(values) for name, values in self._simple(answers).items()}

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        answers = self.classifier.answer(images)
        p = {SCORES[0]: answers["anomaly_score"].astype(float)}
        for name, values in self._simple(answers).items():
            known = self.reference[name]
            p[name] = (1 + len(known) - np.searchsorted(known, values)) / (1 + len(known))
        return p

    def _simple(self, answers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        forest = -self.forest.score_samples(answers["embedding"])
        return dict(zip(SCORES[1:], (answers["reconstruction_error"], forest), strict=True))


def check_alphas(alphas: Sequence[float]) -> tuple[float, ...]:
    """The rates in rising order, each once. InputError when one is not between 0 and 1."""
    for alpha in alphas:
        if not 0 < alpha < 1:
            raise InputError(
                f"A rate of false alarms of {alpha:g} makes no sense; use one between 0 and 1, like 0.01."
            )
    return tuple(sorted(set(alphas)))


def auroc(
    normal: np.ndarray,
    anomalous: np.ndarray,
    resamples: int = RESAMPLES // 2,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Estimate:
    """Area under the ROC curve: the chance that an anomalous galaxy scores higher than a normal one.

    Parameters
    ----------
    normal, anomalous : scores, [n] and [m]; ties count half.
    resamples, seed : of the bootstrap over both.
    groups : int [m], which anomalous scores belong together, such as one artifact in many galaxies: groups are drawn,
        not scores. Each is its own group if not given.

    Returns
    -------
    The area with its interval; its number is that of the groups.

    Raises
    ------
    InputError : either is empty.

    Examples
    --------
    >>> auroc(np.array([0.0, 1.0]), np.array([1.0, 2.0])).value
    0.875
    """
    if not len(normal) or not len(anomalous):
        raise InputError("An area under the ROC curve needs normal and anomalous galaxies; one of the two is missing.")
    values, place = np.unique(np.concatenate([normal, anomalous]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(values)) for part in np.split(place, [len(normal)])]
    random = np.random.default_rng(seed)
    low, high = (random.multinomial(count.sum(), count / count.sum(), resamples) for count in counts)
    number = len(anomalous)
    if groups is not None:
        _, group = np.unique(groups, return_inverse=True)
        number = int(group.max()) + 1
        by_group = np.zeros((number, len(values)), dtype=int)
        np.add.at(by_group, (group, place[len(normal) :]), 1)
        high = random.multinomial(number, np.full(number, 1 / number), resamples) @ by_group
    return Estimate.of(_area(*counts), _area(low, high), number)


def _area(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """From the counts of normal and anomalous galaxies at each value, rising along the last axis."""
    below = np.cumsum(normal, axis=-1) - normal / 2
    return (below * anomalous).sum(axis=-1) / (normal.sum(axis=-1) * anomalous.sum(axis=-1))


def share(flags: np.ndarray) -> Estimate:
    """A share with its exact binomial interval (Clopper & Pearson 1934), which is right for none of a few as well."""
    from scipy.stats import binomtest

    interval = binomtest(int(flags.sum()), len(flags)).proportion_ci(1 - 2 * TAIL)
    return Estimate(float(flags.mean()), float(interval.low), float(interval.high), len(flags))
