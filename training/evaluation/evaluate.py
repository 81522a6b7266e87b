"""Evaluating a model on galaxies, with its prediction of each, so that models can be compared on the same ones."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph import __version__
from morph.atomic import atomic
from morph.console import track
from morph.dataset import SPLITS, Galaxies
from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS
from morph.errors import InputError
from morph.sizes import STAMP_SIZE
from morph.votes import one_kind
from training.metrics import votes as metrics
from training.metrics.estimates import Estimate

if TYPE_CHECKING:
    from training.run import Run

#: Where a run's artifacts hold its evaluation.
FOLDER = "evaluation"
_JSON, _PARQUET = "evaluation.json", "predictions.parquet"
#: Galaxies between two steps of the progress bar.
_CHUNK = 1024

#: What is kept of a model's answers, and how wide each is (0: one number a galaxy).
_ANSWERS = {
    "probabilities": len(ANSWERS),
    "concentration": len(ANSWERS),
    "reconstruction_error": 0,
    "anomaly_score": 0,
    "anomaly": 0,
}


@dataclass(frozen=True)
class Evaluation:
    """How a model did on a set of galaxies.

    Attributes
    ----------
    about : model, dataset, digest, split, survey, simulated (bool), galaxies, flagged (share flagged as anomalous),
        votes (raw or debiased, empty where not known); from `morph evaluate` also model_votes, the same of the model's
        answers, and seen, how many of the galaxies it was trained on (`training_record.Overlap.document`).
    ids : the galaxies, [n].
    votes : [n, vote columns], NaN where not asked.
    answers : the model's, one row a galaxy: ``probabilities`` and ``concentration`` [n, answers],
        ``reconstruction_error``, ``anomaly_score`` and ``anomaly`` [n].
    figures : see `training.metrics.votes`.
    """

    about: dict[str, Any]
    ids: np.ndarray
    votes: np.ndarray
    answers: dict[str, np.ndarray]
    figures: dict[str, Estimate]

    def questions(self) -> list[str]:
        """The questions with votes, in the order of the tree, and last the four classes."""
        names = [*(question.name for question in TREE), metrics.FOUR_CLASS]
        return [name for name in names if f"{name}/accuracy" in self.figures]

    def save(self, folder: str | Path) -> None:
        """Write ``evaluation.json`` and ``predictions.parquet``; the folder appears whole or not at all."""
        figures = {name: asdict(figure) for name, figure in self.figures.items()}
        with atomic(folder) as building:
            building.mkdir()
            (building / _JSON).write_text(json.dumps({"about": self.about, "figures": figures}, indent=1) + "\n")
            pq.write_table(self._table(), building / _PARQUET, compression="zstd")

    def _table(self) -> pa.Table:
        votes = pa.FixedSizeListArray.from_arrays(
            pa.array(self.votes.ravel(), pa.float32(), from_pandas=True), len(VOTE_COLUMNS)
        )
        columns = {"id": pa.array(self.ids.astype(str)), "votes": votes}
        for name, width in _ANSWERS.items():
            values = self.answers[name]
            flat = pa.array(values.ravel())
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, width) if width else flat
        return pa.table(columns)

    @classmethod
    def load(cls, folder: str | Path) -> "Evaluation":
        """Read what `save` wrote. InputError when it is not there or damaged."""
        folder = Path(folder)
        try:
            written = json.loads((folder / _JSON).read_text())
            table = pq.read_table(folder / _PARQUET).combine_chunks()
        except (OSError, ValueError) as error:
            raise InputError(
                f"There is no evaluation in '{folder}' ({error}); make one with `morph evaluate`."
            ) from None
        answers = {name: _matrix(table[name], width) for name, width in _ANSWERS.items()}
        figures = {name: Estimate(**figure) for name, figure in written["figures"].items()}
        ids = table["id"].to_numpy(zero_copy_only=False).astype(str)
        return cls(written["about"], ids, _matrix(table["votes"], len(VOTE_COLUMNS)), answers, figures)


def _matrix(column: pa.ChunkedArray, width: int) -> np.ndarray:
    array = column.combine_chunks()
    if not width:
        return array.to_numpy(zero_copy_only=False)
    return array.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)


def part_of(galaxies: Galaxies, split: str) -> Galaxies:
    """One side of a dataset's split, or ``all`` of it. InputError when the side is empty.

    Examples
    --------
    >>> from morph.simulation.sample import simulate_galaxies
    >>> galaxies = simulate_galaxies("sample", 4, processes=1, progress=False)
    >>> len(part_of(galaxies, "all"))
    4
    """
    part = galaxies if split == "all" else galaxies.split()[split]
    if not len(part):
        raise InputError(
            f"'{galaxies.about.get('path')}' has no galaxies in its {split} split; use --split all to take every one."
        )
    return part


def evaluate(
    classifier, galaxies: Galaxies, model: str = "", split: str = "all", resamples: int = metrics.RESAMPLES
) -> Evaluation:
    """Classify every galaxy and compare the answers with the votes.

    Parameters
    ----------
    classifier : a `morph.model.classifier.Classifier`.
    galaxies : the galaxies to measure on, already cut to their split.
    model, split : names of the model and the split in the record.
    resamples : of the bootstrap that gives the intervals.
    """
    answers = ask(classifier, galaxies.images)
    return record(answers, galaxies, model or classifier.name, split, resamples)


def ask(classifier, images: np.ndarray) -> dict[str, np.ndarray]:
    """`classifier.answer` with a progress bar."""
    parts = np.array_split(np.arange(len(images)), max(1, -(-len(images) // _CHUNK)))
    answers = [classifier.answer(images[part]) for part in track(parts, "Classifying", len(parts))]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def record(
    answers: Mapping[str, np.ndarray],
    galaxies: Galaxies,
    model: str,
    split: str = "all",
    resamples: int = metrics.RESAMPLES,
) -> Evaluation:
    """The evaluation of given answers, for instance over the folds of a cross-validation.

    Parameters
    ----------
    answers : as `Classifier.answer`.
    galaxies, model, split, resamples : as for `evaluate`.
    """
    from morph.dataset import dataset_name

    figures = metrics.measure(galaxies.votes, answers["probabilities"], answers["concentration"], resamples)
    about = {
        "model": model,
        "dataset": dataset_name(galaxies),
        "digest": galaxies.digest,
        "split": split,
        "survey": galaxies.survey,
        "simulated": galaxies.simulated,
        "galaxies": len(galaxies),
        "votes": one_kind([galaxies], "be measured against"),
        "flagged": float(np.mean(answers["anomaly"])),
        "morph": __version__,
    }
    kept = {name: np.asarray(answers[name]) for name in _ANSWERS}
    return Evaluation(about, galaxies.ids, galaxies.votes, kept, figures)


def log(run: "Run", evaluation: Evaluation, galaxies: Galaxies | None = None, plots: bool = True) -> None:
    """Log an evaluation to a run: estimates as metrics, predictions and plots as artifacts.

    Parameters
    ----------
    run : where to log.
    evaluation : to log.
    galaxies : the evaluated ones; with them the most anomalous ones are plotted.
    plots : whether to log plots.
    """
    import tempfile

    run.log_metrics({**headlines(evaluation.figures), "all/flagged": evaluation.about["flagged"]})
    figures = {name: asdict(figure) for name, figure in evaluation.figures.items()}
    columns = {key: [figure[key] for figure in figures.values()] for key in ("value", "low", "high", "n")}
    run.log_table({"figure": [*figures], **columns}, "figures.json")
    with tempfile.TemporaryDirectory() as folder:
        evaluation.save(Path(folder) / FOLDER)
        run.log_folder(Path(folder) / FOLDER, FOLDER)
    if plots:
        _log_plots(run, evaluation, galaxies)


def headlines(figures: Mapping[str, Estimate]) -> dict[str, float]:
    """The few of an evaluation's figures that MLflow compares, in groups: all are in its table of figures.

    ``all/...`` as they are, ``accuracy/<question>`` and ``calibration-error/<question>``, and of photo-z the spread,
    bias and outliers.
    """
    found = {}
    for name, figure in figures.items():
        group, _, rest = name.partition("/")
        if rest in ("accuracy", "calibration-error"):
            found[f"{rest}/{group}"] = figure.value
        elif group == "all" or (group == "photo-z" and rest.endswith(("/sigma-mad", "/bias", "/outliers"))):
            found[name] = figure.value
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _log_plots(run: "Run", evaluation: Evaluation, galaxies: Galaxies | None) -> None:
    from morph.stamps.stretch import centre_crop, to_pictures
    from training import plots as draw
    from training.evaluation import diagnostic_plots

    votes, p = evaluation.votes, evaluation.answers["probabilities"]
    questions = evaluation.questions()
    for question in questions:
        matrix, answers = metrics.confusion(votes, p, question)
        run.log_figure(draw.confusion(matrix, answers, question), f"plots/confusion-{question}.png")
    curves = {q: metrics.reliability(votes, p, q) for q in questions if q != metrics.FOUR_CLASS}
    if curves:
        drawn = diagnostic_plots.reliability(curves, evaluation.figures, title_of(evaluation))
        run.log_figure(drawn, "plots/calibration.png")
    if "all/coverage-90" in evaluation.figures:
        drawn = diagnostic_plots.coverage(evaluation.figures, title_of(evaluation))
        run.log_figure(drawn, "plots/coverage.png")
    if galaxies is not None:
        order = np.lexsort((-evaluation.answers["reconstruction_error"], evaluation.answers["anomaly_score"]))[:32]
        captions = [f"p = {score:.3f}" for score in evaluation.answers["anomaly_score"][order]]
        sheet = draw.contact_sheet(
            to_pictures(centre_crop(galaxies.images[order], STAMP_SIZE)), captions, title=title_of(evaluation)
        )
        run.log_figure(sheet, "plots/most-anomalous.png")


def title_of(evaluation: Evaluation) -> str:
    """What an evaluation was made on, in a few words; simulated galaxies are called so."""
    about = evaluation.about
    simulated = ", simulated" if about["simulated"] else ""
    split = {"all": "", **{name: f", {name} split" for name in SPLITS}}.get(about["split"], f", {about['split']}")
    return f"{about['dataset']} ({about['survey']}{simulated}{split})"
