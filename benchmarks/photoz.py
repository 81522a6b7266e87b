"""Photo-z of a model against gradient-boosted trees on the true magnitudes, on the same galaxies.

    python benchmarks/photoz.py MODEL DATASET [--split test]

The trees (scikit-learn's HistGradientBoostingRegressor) are fitted to the dataset's training split, on magnitudes and
colours, with the radius, and with the model's embedding: the last says how much more the image carries than the
magnitudes and the radius do. The table is measured on the test split, or on the validation split while choosing.

The trees' densities, for the CDE loss, are of a classifier of redshifts in bins (HistGradientBoostingClassifier). A
last line compares outliers with and without the image where the magnitudes alone leave two redshifts, or, where they
do so for next to no galaxy, where they say least.
"""

import sys
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from morph.dataset import Galaxies
from morph.errors import InputError
from training.evaluation.photoz import FROM
from training.evaluation.tables import show
from training.metrics import photoz as metrics
from training.metrics.densities import densities, grid_of, second_peaks
from training.metrics.estimates import RESAMPLES, interval
from training.metrics.photoz import OUTLIER_LOW
from training.prediction.predict import known, predict, values, words

#: Rate and size of the trees. Rounds stop when a tenth of the training galaxies, set aside, gain no more.
TREES = {"learning_rate": 0.05, "max_iter": 400, "max_leaf_nodes": 12, "min_samples_leaf": 30, "max_features": 0.5}
#: Those of the classifier, and its bins, each with as many training galaxies.
CLASSES, BINS = {"learning_rate": 0.05, "max_iter": 100, "max_leaf_nodes": 8, "min_samples_leaf": 20}, 20
#: The redshift is ambiguous where the second peak of its density given the magnitudes alone holds more than this.
SECOND_PEAK = 0.2
#: With fewer such galaxies, this share of all, those with the widest posteriors, stands for them.
FEWEST, WIDEST = 30, 0.1
#: Models are compared with this one.
BASELINE = "trees: magnitudes and radius"


def main(model: str, dataset: str, split: str) -> None:
    """Print the table."""
    from morph.model.store import load_model

    sides = {name: _complete(side) for name, side in Galaxies.open(dataset).split().items()}
    train, measured = sides["train"], sides[split]
    if not len(train) or not len(measured):
        raise InputError(f"'{dataset}' has too few galaxies with magnitudes, a radius and a redshift.")
    classifier = load_model(model)
    truth = measured.properties["redshift"].astype(float)
    redshifts, cde = _trees(train, measured, classifier)
    draws = {
        words(given): predict(classifier, measured, given, ("redshift",)).values["redshift"]
        for given in (("photometry",), *FROM.values())
    }
    for name, each in draws.items():
        redshifts[f"model: {name}"] = np.median(each, axis=1)
        cde[f"model: {name}"] = metrics.cde_loss(each, truth)
    far = {f"model: {name}": metrics.kolmogorov(metrics.pit(each, truth)) for name, each in draws.items()}
    simulated = ", simulated" if measured.simulated else ""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("photo-z from", no_wrap=True)
    for column in ("σ_MAD", "ratio", "bias", "% > 0.05", "% > 0.15", "CDE loss", "PIT"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, redshift in redshifts.items():
        figures = metrics.measure_points(redshift, truth)
        compared = "–"
        if name != BASELINE:
            compared = show(metrics.ratio(redshift, redshifts[BASELINE], truth), percent=False)
        core = figures["sigma-mad"]
        table.add_row(
            name,
            f"{core.value:.4f} ({core.low:.4f}–{core.high:.4f})",
            compared,
            f"{figures['bias'].value:+.4f}",
            f"{100 * figures['outliers-low'].value:.1f}",
            f"{100 * figures['outliers'].value:.1f}",
            f"{cde[name].mean():.2f} ± {cde[name].std() / np.sqrt(len(truth)):.2f}",
            f"{far[name]:.3f}" if name in far else "–",
        )
    console = Console(highlight=False, width=140)
    console.print(
        f"{model} on {Path(dataset).name} ({split} split{simulated}): {len(measured):,} galaxies.", markup=False
    )
    console.print(table)
    console.print(
        f"Ratio: σ_MAD over that of '{BASELINE}', fitted to {len(train):,} galaxies. % > 0.05: share of galaxies with "
        f"|Δz| / (1 + z) above that. 95 % intervals, the ratio's from a paired bootstrap. PIT: largest distance from "
        f"flat; calibrated posteriors stay below {metrics.flat_enough(len(truth)):.3f} 95 times in 100."
    )
    console.print(_ambiguous(draws, truth))


def _ambiguous(draws: dict[str, np.ndarray], truth: np.ndarray) -> str:
    """Outliers with and without the image where the magnitudes alone leave two redshifts, in a sentence."""
    names = [words(given) for given in (("photometry",), ("photometry", "radius"), FROM["all"])]
    grid = grid_of(draws[names[0]])
    alone = np.maximum(draws[names[0]], 0)
    chosen = second_peaks(densities(alone, grid), grid) > SECOND_PEAK
    which = f"the {chosen.sum():,} galaxies whose second peak holds more than {100 * SECOND_PEAK:.0f} %"
    if chosen.sum() < FEWEST:
        spread = np.subtract(*np.quantile(alone, [0.84, 0.16], axis=1)) / (1 + np.median(alone, axis=1))
        chosen = spread > np.quantile(spread, 1 - WIDEST)
        which = f"the tenth with the widest posteriors ({which[4:]} are too few)"
    outlier = [
        np.abs(metrics.deltas(np.median(draws[name][chosen], axis=1), truth[chosen])) > OUTLIER_LOW for name in names
    ]
    rows = np.random.default_rng(0).integers(chosen.sum(), size=(RESAMPLES, chosen.sum()))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = interval(outlier[-1][rows].mean(axis=1) / outlier[0][rows].mean(axis=1))
        compared = outlier[-1].mean() / outlier[0].mean()
    shares = ", ".join(f"{100 * each.mean():.1f} % from {name}" for name, each in zip(names, outlier, strict=True))
    return (
        f"Given the magnitudes alone, of {which}, beyond 0.05: {shares}; with image and radius {compared:.2f} "
        f"({low:.2f}–{high:.2f}) times as many as without."
    )


def _complete(galaxies: Galaxies) -> Galaxies:
    """The galaxies with all that is compared."""
    return galaxies.select(np.all([known(galaxies, name) for name in ("photometry", "radius", "redshift")], axis=0))


def _trees(train: Galaxies, measured: Galaxies, classifier) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Redshifts of the measured galaxies, and their CDE losses, by what the trees were fitted on."""
    sides = (train, measured)
    embeddings = [classifier.answer(galaxies.images)["embedding"] for galaxies in sides]
    magnitudes = [_magnitudes(galaxies) for galaxies in sides]
    with_radius = [columns(galaxies) for galaxies in sides]
    given = {
        "trees: magnitudes": magnitudes,
        BASELINE: with_radius,
        "trees: magnitudes, radius and embedding": [
            np.column_stack(parts) for parts in zip(with_radius, embeddings, strict=True)
        ],
    }
    truth, asked = (side.properties["redshift"].astype(float) for side in sides)
    redshifts = {name: _fitted(fit, ask, truth) for name, (fit, ask) in given.items()}
    return redshifts, {name: _cde_loss(fit, ask, truth, asked) for name, (fit, ask) in given.items()}


def _fitted(fit: np.ndarray, ask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(**TREES, early_stopping=True, random_state=0).fit(fit, truth).predict(ask)


def _cde_loss(fit: np.ndarray, ask: np.ndarray, truth: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The CDE loss of each galaxy by the densities of a classifier of bins of redshift, flat in each bin, [n]."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    edges = np.quantile(truth, np.linspace(0, 1, BINS + 1))
    edges[0], edges[-1] = 0.0, max(edges[-1], asked.max())
    inside = edges[1:-1]
    classes = HistGradientBoostingClassifier(**CLASSES, early_stopping=True, random_state=0)
    density = classes.fit(fit, np.digitize(truth, inside)).predict_proba(ask) / np.diff(edges)
    there = density[np.arange(len(asked)), np.digitize(asked, inside)]
    return (np.square(density) * np.diff(edges)).sum(axis=1) - 2 * there


def _magnitudes(galaxies: Galaxies) -> np.ndarray:
    """Magnitudes and the colours between neighbouring bands, [n, 5]."""
    magnitudes = values(galaxies, "photometry")
    return np.column_stack([magnitudes, -np.diff(magnitudes, axis=1)])


def columns(galaxies: Galaxies) -> np.ndarray:
    """Magnitudes, the colours between neighbouring bands, and the logarithm of the half-light radius, [n, 6]."""
    return np.column_stack([_magnitudes(galaxies), np.log10(values(galaxies, "radius"))])


@click.command()
@click.argument("model")
@click.argument("dataset")
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
def command(model: str, dataset: str, split: str) -> None:
    """Photo-z of MODEL on DATASET beside that of gradient-boosted trees."""
    try:
        main(model, dataset, split)
    except InputError as error:
        sys.exit(f"photoz: {error}")


if __name__ == "__main__":
    command()
