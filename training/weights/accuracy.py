"""The figures by which models are compared, each with its interval and its aim: real galaxies first.

A row is measured by a function of a `Bench`, which holds the model and its answers for the datasets of a folder, so
that a galaxy is classified once. Nothing here depends on the model's size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS
from morph.errors import InputError
from morph.model.anomaly import EDGES, range_of
from morph.model.autoencoder import get_architecture
from morph.model.classifier import Classifier
from morph.model.store import load_model
from morph.simulation.degraded import degrade
from training.evaluation.anomalies import ALL, HOSTS, REAL, SCORES, auroc, measure_anomalies, share
from training.evaluation.crossvalidate import cross_validate
from training.evaluation.evaluate import ask
from training.evaluation.lenses import LABELS, few_labels, lens_labels
from training.evaluation.photoz import evaluate_photoz
from training.evaluation.prior import measure_prior
from training.evaluation.real_artifacts import KINDS as TRANSPLANTED
from training.evaluation.real_artifacts import read_artifacts, transplant
from training.evaluation.retrieval import EXAMPLES, SIMILARITY, measure_retrieval
from training.fitting.batches import mostly_artifact
from training.importers.annotating import read_columns
from training.label_budget.plan import THREE_QUESTIONS, Trial, three_questions
from training.label_budget.trials import Setting, Target, train_and_predict
from training.metrics import votes as metrics
from training.metrics.estimates import RESAMPLES, Estimate
from training.metrics.photoz import flat_enough

#: Galaxies of a question below which its calibration error is not counted, and the largest error that counts as met.
ENOUGH_ASKED, CALIBRATED = 200, 0.03
#: The sets and the questions whose calibration counts.
CALIBRATED_SETS = ("gz1", "sim-sdss", "sim-des")
#: Degraded galaxies of a set that the rate of false alarms is measured on.
FAINT = 1000


@dataclass(frozen=True)
class Row:
    """One figure with the value to reach, a whole number where it is a count, and whether less is better."""

    title: str
    estimate: Estimate
    reach: float | tuple[float, float] | None = None
    less: bool = False
    percent: bool = True

    @property
    def measured(self) -> str:
        if isinstance(self.reach, int):
            return f"{self.estimate.value:.0f}"
        scale, digits = (100, 1) if self.percent else (1, 3)
        value, low, high = (scale * part for part in (self.estimate.value, self.estimate.low, self.estimate.high))
        return f"{value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"

    @property
    def number(self) -> str:
        return f"{self.estimate.n:,}"

    @property
    def aim(self) -> str:
        scale, digits = (100, 1) if self.percent else (1, 3)
        if self.reach is None:
            return "–"
        if isinstance(self.reach, int):
            return f"≥ {self.reach}"
        if isinstance(self.reach, tuple):
            return "–".join(f"{scale * part:.{digits}f}" for part in self.reach)
        return f"{'≤' if self.less else '≥'} {scale * self.reach:.{digits}f}"

    @property
    def reached(self) -> bool | None:
        value = self.estimate.value
        if self.reach is None:
            return None
        if isinstance(self.reach, tuple):
            return self.reach[0] <= value <= self.reach[1]
        return value <= self.reach if self.less else value >= self.reach


@dataclass(frozen=True)
class Bench:
    """A model and the datasets that it is measured on.

    Attributes
    ----------
    classifier, model : the model and its name.
    sets : the folder of datasets.
    data : the folder of public images with their tables; None if there is none.
    split : of the datasets with a training split.
    """

    classifier: Classifier
    model: str
    sets: Path
    data: Path | None
    split: str = "test"
    _answers: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @classmethod
    def open(cls, model: str, sets: Path, data: Path | None, split: str) -> "Bench":
        """Load the model. InputError when there is none, or no folder of datasets.

        Parameters
        ----------
        model : as every verb takes it.
        sets, data, split : as for the class.
        """
        if not sets.is_dir():
            raise InputError(f"There is no folder '{sets}'; give that of the datasets of `make weights`.")
        return cls(load_model(model), model, sets, data, split)

    def galaxies(self, name: str, split: str | None = None) -> Galaxies:
        """A dataset's part to measure on (`split`, by default the bench's, or "all")."""
        path, split = self.sets / name, split or self.split
        return Galaxies.open(path) if split == "all" else Galaxies.open(path).split()[split]

    def answers(self, name: str, split: str | None = None) -> tuple[Galaxies, dict[str, np.ndarray]]:
        """The galaxies and the model's answers for them, which are kept."""
        galaxies, key = self.galaxies(name, split), f"{name} {split or self.split}"
        if key not in self._answers:
            self._answers[key] = ask(self.classifier, galaxies.images)
        return galaxies, self._answers[key]

    def figures(self, name: str, split: str | None = None) -> dict[str, Estimate]:
        """The metrics of `training.metrics.votes` on a dataset."""
        galaxies, answers = self.answers(name, split)
        return metrics.measure(galaxies.votes, answers["probabilities"], answers["concentration"])

    @cached_property
    def decam(self) -> Galaxies:
        """DECam's galaxies with any of Galaxy Zoo's labels, each once."""
        galaxies = Galaxies.concatenate([self.galaxies(name, "all") for name in ("examples", "galaxy10")])
        return galaxies.select(np.sort(np.unique(galaxies.ids, return_index=True)[1]))


def galaxy_zoo(bench: Bench) -> list[Row]:
    """Classes and votes of Galaxy Zoo."""
    first, second = bench.figures("gz1"), bench.figures("gz2")
    return [
        Row("SDSS, Galaxy Zoo 1, four classes: accuracy", first["four-class/accuracy"], 0.88),
        Row("  balanced", first["four-class/balanced-accuracy"], 0.78),
        Row("SDSS, Galaxy Zoo 2, vote fractions: rms error", second["all/rms"], 0.075, less=True, percent=False),
    ]


def other_surveys(bench: Bench) -> list[Row]:
    """Four classes on surveys without a label."""
    galaxies = bench.decam
    answers = ask(bench.classifier, galaxies.images)
    decam = metrics.measure(galaxies.votes, answers["probabilities"])
    kids = bench.figures("kids", "all")
    return [
        Row("DECam, four classes, no label: accuracy", decam["four-class/accuracy"], 0.82),
        Row("  balanced", decam["four-class/balanced-accuracy"]),
        Row("KiDS, four classes, no label: accuracy", kids["four-class/accuracy"], 0.88),
        Row("  balanced", kids["four-class/balanced-accuracy"], 0.84),
    ]


def folds(bench: Bench) -> list[Row]:
    """DECam after fine-tuning on the other folds."""
    classes = cross_validate(bench.classifier, bench.decam, 5)
    decam = metrics.measure(bench.decam.votes, classes["probabilities"])
    rings = bench.galaxies("rings", "all")
    answers = cross_validate(bench.classifier, rings, 5)
    found = metrics.measure(rings.votes, answers["probabilities"])
    return [
        Row("DECam, four classes, 5 folds: accuracy", decam["four-class/accuracy"], 0.88),
        Row("DECam, ring or none, 5 folds: accuracy", found["odd-feature/accuracy"], 0.75),
    ]


def simulated(bench: Bench) -> list[Row]:
    """Three questions on simulated DES galaxies, where volunteers agree, without a label."""
    galaxies, answers = bench.answers("sim-des")
    return _three(galaxies.votes, answers["probabilities"], "no label", 0.93)


def labels(bench: Bench) -> list[Row]:
    """The same after fine-tuning on 300 labels."""
    parts = bench.galaxies("sim-des", "all").split()
    target = Target(parts["train"], parts[bench.split])
    trial = Trial("finetuned", 300, 0)
    answers = train_and_predict(trial, Setting().recipe(trial), bench.classifier, target)
    return _three(target.test.votes, answers["probabilities"], "300 labels", 0.95)


def _three(votes: np.ndarray, probabilities: np.ndarray, how: str, reach: float) -> list[Row]:
    sums = metrics.contributions(three_questions(votes), probabilities)
    sizes, best, spread = (
        metrics.sample_sizes(sums.total()),
        metrics.figures(sums.total()),
        metrics.figures(sums.resample(RESAMPLES, 0)),
    )
    names = [f"{question}/accuracy-confident" for question in THREE_QUESTIONS]
    mean = Estimate.of(
        np.mean([best[name] for name in names]), np.mean([spread[name] for name in names], axis=0), sizes[names[0]]
    )
    bars = Estimate.of(best[names[-1]], spread[names[-1]], sizes[names[-1]])
    return [
        Row(f"simulated DES, mean of three questions, {how}: accuracy", mean, reach),
        Row(f"  bars alone, {how}", bars, 0.88),
    ]


def calibration(bench: Bench) -> list[Row]:
    """Expected calibration errors of every question with enough galaxies, and how many are small."""
    rows = []
    for name in CALIBRATED_SETS:
        for key, figure in bench.figures(name).items():
            question, _, what = key.partition("/")
            if what == "calibration-error" and question != metrics.FOUR_CLASS and figure.n >= ENOUGH_ASKED:
                rows.append(Row(f"  ECE, {name}: {question}", figure, CALIBRATED, less=True))
    met = sum(bool(row.reached) for row in rows)
    total = Estimate(float(met), float(met), float(met), len(rows))
    return [Row(f"ECE of at most {100 * CALIBRATED:.0f} %: sets and questions", total, 17, percent=False), *rows]


def false_alarms(bench: Bench) -> list[Row]:
    """Normal galaxies flagged at 1 %, by set and, for degraded copies too, by range of signal to noise."""
    rows = []
    names = [f"S/N {low:g}–{high:g}" for low, high in zip((0.0, *EDGES), (*EDGES, np.inf), strict=True)]
    for kind, sets in (("composite", ("gz1", "gz2")), ("flux", ("sim-sdss", "sim-des"))):
        parts = [bench.answers(name) for name in sets]
        kept = [~mostly_artifact(galaxies.votes) for galaxies, _ in parts]
        galaxies = Galaxies.concatenate([g.select(keep) for (g, _), keep in zip(parts, kept, strict=True)])
        flags = np.concatenate([answers["anomaly"][keep] for (_, answers), keep in zip(parts, kept, strict=True)])
        rows.append(Row(f"normal {kind} galaxies flagged at 1 %", share(flags), (0.007, 0.013)))
        faint = galaxies.select(np.resize(np.random.default_rng(0).permutation(len(galaxies)), FAINT))
        images = np.concatenate([degrade(faint.select(part), 11) for part in np.array_split(np.arange(FAINT), 4)])
        for what, some, flagged in (
            ("", galaxies.images, flags),
            (", degraded", images, bench.classifier.answer(images)["anomaly"]),
        ):
            places = range_of(bench.classifier.anomaly_features(some))
            for place in np.unique(places):
                here = places == place
                rows.append(Row(f"  {names[place]}{what}", share(flagged[here]), (0.007, 0.013)))
    return rows


def anomalies(bench: Bench) -> list[Row]:
    """Areas under the ROC curve of injected anomalies and real artifacts."""
    rows = []
    for name in ("gz1", "sim-des"):
        galaxies = bench.galaxies(name, "all").split()
        found = measure_anomalies(bench.classifier, galaxies[bench.split], galaxies["validation"]).figures
        for row, reach in ((ALL, 0.98), (REAL, 0.95)):
            figure = found.get(f"auroc/{row}/{SCORES[0]}")
            if figure is not None:
                rows.append(Row(f"AUROC, {name}: {row}", figure, reach, percent=False))
    return rows


def artifacts(bench: Bench) -> list[Row]:
    """Areas under the ROC curve of real artifacts: of DECam exposures in simulated DES galaxies, and in pictures."""
    if bench.data is None:
        raise InputError("Real artifacts are in the folder of public images; name it by MORPH_DATA or --data.")
    found = read_artifacts(bench.data / "decam-exposures" / "images")
    galaxies, answers = bench.answers("sim-des")
    kept = ~mostly_artifact(galaxies.votes)
    normal, scores = galaxies.select(kept), -answers["anomaly_score"][kept]
    hosts = normal.select(np.random.default_rng(0).permutation(len(normal))[:HOSTS])
    rows = []
    for kind in TRANSPLANTED:
        images, which = transplant(hosts, found, kind)
        figure = auroc(scores, -bench.classifier.answer(images)["anomaly_score"], groups=which)
        # So much is masked that any galaxy is flagged: what the mask leaves is not a test.
        aim = 0.95 if kind in TRANSPLANTED[:2] else None
        rows.append(Row(f"AUROC, DECam artifacts in sim-des: {kind}", figure, aim, percent=False))
    galaxies, answers = bench.answers("examples", "all")
    artifacts = mostly_artifact(galaxies.votes)
    figure = auroc(-answers["anomaly_score"][~artifacts], -answers["anomaly_score"][artifacts])
    rows.append(Row("AUROC, DECam examples: real artifacts", figure, 0.95, percent=False))
    galaxies, answers = bench.answers("lenses", "all")
    table = bench.data / "cfhtls-lenses" / "labels.csv"
    artifacts, like = read_columns(table, galaxies, ["kind"])["kind"] == "artifact", lens_labels(galaxies, table) == 0
    figure = auroc(-answers["anomaly_score"][like], -answers["anomaly_score"][artifacts])
    return [*rows, Row("AUROC, CFHTLS: artifacts against lenses' look-alikes", figure, 0.95, percent=False)]


def lenses(bench: Bench) -> list[Row]:
    """Graded lenses of CFHTLS against look-alikes: anomaly score, answer, and a regression on few labels."""
    galaxies, answers = bench.answers("lenses", "all")
    if bench.data is None:
        raise InputError("The lenses' grades are in the folder of public images; name it by MORPH_DATA or --data.")
    lens = lens_labels(galaxies, bench.data / "cfhtls-lenses" / "labels.csv")
    rows = []
    values = {
        "anomaly score": (-answers["anomaly_score"], 0.65),
        "answer lens-or-arc": (answers["probabilities"][:, ANSWERS.index("odd-feature_lens-or-arc")], 0.75),
    }
    for name, (value, reach) in values.items():
        figure = auroc(value[lens == 0], value[lens == 1])
        rows.append(Row(f"CFHTLS lenses against look-alikes, AUROC: {name}", figure, reach, percent=False))
    vectors = answers.get("similarity", answers["embedding"])
    known = lens >= 0
    figure = few_labels(vectors[known], lens[known], LABELS)
    rows.append(
        Row(f"  {LABELS} labels and a regression", replace(figure, n=int((lens == 1).sum())), 0.85, percent=False)
    )
    return rows


def latent_prior(bench: Bench) -> list[Row]:
    """How well draws of the latent prior match posterior draws, and whether it has memorised training galaxies."""
    held_out, trained_on = ([bench.galaxies(name, part) for name in CALIBRATED_SETS] for part in (None, "train"))
    found = measure_prior(bench.classifier, held_out, trained_on).figures
    return [
        Row("latent prior, AUC of a fresh classifier", found["auc/flow"], 0.55, less=True, percent=False),
        Row("  distance to training over held-out galaxies", found["distance-ratio"], 0.95, percent=False),
    ]


def redshifts(bench: Bench) -> list[Row]:
    """Photometric redshifts of simulated DES galaxies."""
    found = evaluate_photoz(bench.classifier, bench.galaxies("sim-des"))
    if found is None:
        return []
    everything = found.figures["all"]
    rows = [Row("simulated DES, photo-z, σ_MAD", everything["sigma-mad"], 0.030, less=True, percent=False)]
    for way, figures in found.figures.items():
        flat = figures["pit-ks"]
        rows.append(Row(f"  PIT, {way}: distance from flat", flat, flat_enough(flat.n), less=True, percent=False))
    return rows


def retrieval(bench: Bench) -> list[Row]:
    """How well the similarity vector finds galaxies of a class, copies, and the same galaxy in another survey."""
    found = measure_retrieval(bench.classifier, bench.galaxies("gz1")).figures
    aims = {"spiral": (0.72, 0.75), "edge-on": (0.76, 0.80), "merger": (0.38, 0.40)}
    wanted = {
        f"ndcg/{kind}": (
            f"nDCG@10, GZ1, one example: {kind}",
            aim[bench.classifier.size > get_architecture("small").size],
        )
        for kind, aim in aims.items()
    }
    wanted |= {
        f"ndcg-{EXAMPLES}/{kind}": (f"nDCG@10, GZ1, {EXAMPLES} examples: {kind}", aim)
        for kind, aim in {"spiral": 0.95, "edge-on": 0.95, "merger": 0.60}.items()
    }
    wanted |= {
        "first/turned or mirrored": ("  turned or mirrored copies that find the original first", 0.99),
        "first/re-noised": ("  re-noised copies that find the original first", 0.95),
        "ten/survey": ("simulated galaxies: SDSS's among the first ten of DES's", 0.80),
    }
    pairs = [bench.sets / name for name in ("pairs-sdss", "pairs-des")]
    if all(path.exists() for path in pairs):
        one, other = bench.galaxies("pairs-sdss"), bench.galaxies("pairs-des")
        paired = measure_retrieval(bench.classifier, one, other).figures
        found = found | {name: figure for name, figure in paired.items() if name.startswith("ten/")}
    rows = []
    for name, (title, aim) in wanted.items():
        if figure := found.get(f"{name}/{SIMILARITY}"):
            rows.append(Row(title, figure, aim, percent="nDCG" not in title))
    return rows


#: Every row's function by its name, in the order of the table.
ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "galaxy-zoo": galaxy_zoo,
    "other-surveys": other_surveys,
    "folds": folds,
    "simulated": simulated,
    "labels": labels,
    "calibration": calibration,
    "false-alarms": false_alarms,
    "anomalies": anomalies,
    "artifacts": artifacts,
    "lenses": lenses,
    "retrieval": retrieval,
    "photo-z": redshifts,
    "prior": latent_prior,
}

#: The rows that fine-tune, which take most of the time.
FINETUNING = ("folds", "labels")
