"""How much of what a biased spectroscopic set costs photo-z `morph photoz augment` gives back, on simulated galaxies.

    python benchmarks/photoz_augmentation.py POOL TEST --to WORK [--bias bright,redshift,both] [--trees]

POOL and TEST are simulated datasets of one survey, of two different simulations. Spectroscopic sets are cut from POOL
as RAIL's degraders cut them: `bright` keeps galaxies brighter than a magnitude in r, `redshift` (inverse redshift
incompleteness) keeps a galaxy with the probability min(1, pivot / z), `both` does both. The sampler is trained from
scratch on images, magnitudes and radii of POOL, without votes, and its decoders and its prior on the redshifts of the
biased set only.

Three training sets are compared on all galaxies of TEST: as many galaxies of POOL at random (representative), the
biased set, and the biased set filled with samples (augmented). Estimators are boosted trees on magnitudes, colours and
radius, and morph, whose decoders of measurements are fitted to each set upon one network that has seen no redshift.
The network, its training and the redshifts of each biased set are kept in WORK, and a run that was stopped goes on.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from photoz import TREES, columns
from rich.console import Console
from rich.table import Table

from morph.atomic import atomic
from morph.dataset import Galaxies, tables_of
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.experts import MODALITIES
from training.experiments.train import save
from training.fitting.posteriors import VIEWS, Posteriors
from training.metrics.estimates import RESAMPLES, Estimate
from training.metrics.photoz import MAD, OUTLIER_LOW, deltas, rail_outliers, sigma_mad

BIASES = ("bright", "redshift", "both")
#: What is trained on; the samples' redshifts are by the trend of the spectra or by the model.
SETS = ("representative", "biased", "augmented, trend", "augmented, model")
#: Share of the pool that decides when the fits of decoders and prior stop.
HELD_OUT = 0.1
#: Draws from each posterior.
DRAWS = 200


def outliers(delta: np.ndarray) -> np.ndarray:
    """Share beyond 0.05, over the last axis."""
    return (np.abs(delta) > OUTLIER_LOW).mean(axis=-1)


def nmad(delta: np.ndarray) -> np.ndarray:
    """1.4826 median |delta| about zero, over the last axis: scatter and bias."""
    return MAD * np.median(np.abs(delta), axis=-1)


FIGURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "% > 0.05": outliers, "% outliers (RAIL)": rail_outliers, "NMAD": nmad, "σ_MAD": sigma_mad,
    "bias": lambda delta: np.median(delta, axis=-1),
}  # fmt: skip
#: Those of which a share of a loss can be recovered.
LOSSES = ("% > 0.05", "% outliers (RAIL)", "NMAD", "σ_MAD")


def first(path: str, number: int) -> Galaxies:
    """The first galaxies of a dataset; the others are not read."""
    tables: list[pa.Table] = []
    for table in tables_of(path, 512):
        if sum(map(len, tables)) >= number:
            break
        tables.append(table)
    return Galaxies.from_table(pa.concat_tables(tables).slice(0, number), path)


def cut(pool: Galaxies, bias: str, bright: float, pivot: float, seed: int) -> np.ndarray:
    """Which galaxies of the pool have a spectrum, bool [n]."""
    kept = np.ones(len(pool), dtype=bool)
    if bias in ("bright", "both"):
        kept &= pool.properties["mag_r"] < bright
    if bias in ("redshift", "both"):
        chance = np.minimum(1.0, pivot / np.maximum(pool.properties["redshift"], 1e-6))
        kept &= np.random.default_rng([seed, 1]).random(len(pool)) < chance
    return kept


def photometric(galaxies: Galaxies) -> Galaxies:
    """The galaxies without redshifts and votes."""
    unknown = np.full(len(galaxies), np.nan, dtype="float32")
    votes = np.full_like(galaxies.votes, np.nan)
    return galaxies.with_columns(redshift=unknown, votes=votes, vote_kind=np.full(len(galaxies), ""))


def network(pool: Galaxies, path: Path, epochs: int, seed: int) -> Classifier:
    """A network trained from scratch on the pool without redshifts; a stopped training goes on."""
    from morph.model.store import load_model
    from training.fitting.fit import fit
    from training.fitting.objective import Recipe

    if not path.exists():
        classifier = Classifier(survey=pool.survey)
        recipe = Recipe(epochs=epochs, seed=seed, balance=0.0)
        fit(classifier, [(photometric(pool), 1.0)], None, recipe, path.with_suffix(".state"), _report)
        save(classifier, path)
    return load_model(path)


def posteriors(classifier: Classifier, galaxies: Galaxies) -> Posteriors:
    """The posteriors of z from everything but the redshift, which the network has not seen."""
    found = Posteriors.of(classifier, galaxies, VIEWS[:2])
    return replace(found, present=found.present & (np.array([*MODALITIES]) != "redshift"))


def learn_redshifts(classifier: Classifier, spectra: Posteriors, pool: Posteriors, prior: bool, seed: int) -> None:
    """Fit the decoders of measurements to redshifts, in place, half and half with galaxies that have none.

    Parameters
    ----------
    classifier : whose network stays as it is.
    spectra, pool : galaxies with redshifts, and without.
    prior : whether the latent prior, which samples, is fitted too.
    seed : of the fits.
    """
    from training.fitting.measurements import fit_decoders
    from training.fitting.prior import fit_flow

    sides: list[list[Posteriors]] = [[], []]
    for each in (spectra, pool):
        order = np.random.default_rng(seed).permutation(len(each))
        held_out = round(HELD_OUT * len(each))
        most = max(len(spectra), len(pool))
        sides[0].append(each.select(np.resize(order[held_out:], most)))
        sides[1].append(each.select(np.resize(order[:held_out], round(HELD_OUT * most))))
    train, watched = map(Posteriors.concatenate, sides)
    fit_decoders(classifier.measurements, train, watched, seed)
    if prior:
        fit_flow(classifier.prior, train, watched, seed=seed)


def _report(epoch: int, figures: dict[str, float]) -> None:
    said = "  ".join(
        f"{name} {figures[name]:.3f}" for name in ("loss", "reconstruction", "redshift") if name in figures
    )
    click.echo(f"epoch {epoch + 1}  {said}", err=True)


def by_trees(train: Galaxies, weights: np.ndarray, test: Galaxies) -> np.ndarray:
    """Redshifts of the test galaxies by boosted trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(**TREES, early_stopping=True, random_state=0)
    return trees.fit(columns(train), train.properties["redshift"].astype(float), weights).predict(columns(test))


def by_trees_alone(pool: Galaxies, test: Galaxies, kept: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """What `measure` finds by trees and the trend, for which no image needs to be drawn.

    Parameters
    ----------
    pool, test, kept, seed : see `measure`.
    """
    from morph.analysis.augmentation.cells import Cells
    from morph.analysis.augmentation.sets import magnitudes
    from morph.analysis.augmentation.trend import Trend

    spectra = pool.select(kept)
    cells = Cells.of(magnitudes(pool), magnitudes(spectra))
    samples = pool.select(cells.rows(cells.wanted(), np.random.default_rng(seed)))
    drawn = Trend(spectra).draw(samples, np.random.default_rng([seed, 2])).astype("float32")
    augmented = Galaxies.concatenate([spectra, samples.with_columns(redshift=drawn)])
    weights = cells.weights(cells.find(magnitudes(samples)))
    representative = pool.select(representatives(len(pool), kept.sum(), seed))
    ones = np.ones(len(spectra))
    return {
        "trees representative": by_trees(representative, ones, test),
        "trees biased": by_trees(spectra, ones, test),
        "trees augmented, trend": by_trees(augmented, weights, test),
    }


def representatives(pool: int, number: int, seed: int) -> np.ndarray:
    """Galaxies of the pool at random, bool [pool]."""
    chosen = np.zeros(pool, dtype=bool)
    chosen[np.random.default_rng([seed, 2]).permutation(pool)[:number]] = True
    return chosen


def by_morph(classifier: Classifier, test: Galaxies) -> np.ndarray:
    """Medians of the redshift's posteriors from image, magnitudes and radius."""
    from training.evaluation.photoz import FROM
    from training.prediction.predict import predict

    return np.median(predict(classifier, test, FROM["all"], ("redshift",), DRAWS).values["redshift"], axis=1)


class Found:
    """Redshifts of the test galaxies by what they are from, in a file that a stopped run goes on with.

    Parameters
    ----------
    path : of the file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.redshifts: dict[str, np.ndarray] = dict(np.load(path)) if path.exists() else {}

    def __contains__(self, name: str) -> bool:
        return f"trees {name}" in self.redshifts and f"morph {name}" in self.redshifts

    def add(self, name: str, trees: np.ndarray, morph: np.ndarray) -> None:
        """Keep what trees and morph find from one training set."""
        self.redshifts |= {f"trees {name}": trees, f"morph {name}": morph}
        with atomic(self.path) as building, building.open("wb") as file:
            np.savez(file, **self.redshifts)


def measure(
    pool: Galaxies, test: Galaxies, kept: np.ndarray, work: Path, classifier: Classifier, seed: int
) -> dict[str, np.ndarray]:
    """Redshifts of the test galaxies by what they are from: "trees representative" and so on.

    Parameters
    ----------
    pool, test : see the module.
    kept : which galaxies of the pool have spectra in the biased set.
    work : a folder for this biased set.
    classifier : the network without redshifts; its decoders change.
    seed : of everything.
    """
    from morph.analysis.augmentation.run import augment

    work.mkdir(exist_ok=True)
    found = Found(work / "redshifts.npz")
    if all(name in found for name in SETS):
        return found.redshifts
    chosen = representatives(len(pool), kept.sum(), seed)
    for name, galaxies in (("biased", pool.select(kept)), ("photometric", photometric(pool))):
        if not (work / name).exists():
            galaxies.write(work / name)
    without, sampler = posteriors(classifier, photometric(pool)), work / "sampler.keras"
    for name, mask in (("biased", kept), ("representative", chosen)):
        if name not in found or not sampler.exists():
            galaxies = pool.select(mask)
            learn_redshifts(classifier, posteriors(classifier, galaxies), without, not sampler.exists(), seed)
            if not sampler.exists():
                classifier.digest = ""
                save(classifier, sampler)
            found.add(name, by_trees(galaxies, np.ones(len(galaxies)), test), by_morph(classifier, test))
    for source in ("trend", "model"):
        if f"augmented, {source}" not in found:
            path = work / f"augmented-{source}"
            made = augment(sampler, work / "biased", work / "photometric", path, seed=seed, redshifts=source)
            click.echo(f"{made.spectroscopic} spectra, {made.sampled} sampled, {made.unlike} unlike.", err=True)
            galaxies = Galaxies.open(path)
            learn_redshifts(classifier, posteriors(classifier, galaxies), without, False, seed)
            found.add(f"augmented, {source}", by_trees(galaxies, made.weights, test), by_morph(classifier, test))
    return found.redshifts


def recovered(of: Sequence[np.ndarray], figure: Callable, seed: int = 0) -> Estimate | None:
    """The share of the biased set's loss that the augmented one gives back, with a paired bootstrap's interval; None
    where the loss is not significant.

    Parameters
    ----------
    of : deltas of the representative, the biased and the augmented set, [n] each.
    figure : of deltas, over the last axis.
    seed : of the bootstrap.
    """
    n = len(of[0])
    rows = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))

    (best, worst, now), resampled = map(figure, of), [figure(each[rows]) for each in of]
    loss = Estimate.of(worst - best, resampled[1] - resampled[0], n)
    if loss.low <= 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (resampled[1] - resampled[2]) / (resampled[1] - resampled[0])
    return Estimate.of((worst - now) / loss.value, shares, n)


def show(title: str, found: dict[str, np.ndarray], truth: np.ndarray, console: Console) -> None:
    """Print the figures of one biased set."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("photo-z from", no_wrap=True)
    for name in FIGURES:
        table.add_column(name, justify="right", no_wrap=True)
    for method in ("trees", "morph"):
        known = [name for name in SETS if f"{method} {name}" in found]
        delta = {name: deltas(found[f"{method} {name}"], truth) for name in known}
        for name, each in delta.items():
            values = {what: float(figure(each)) for what, figure in FIGURES.items()}
            shown = (f"{100 * value:.1f}" if "%" in what else f"{value:.4f}" for what, value in values.items())
            table.add_row(f"{method}, {name}", *shown)
            if name in SETS[2:]:
                compared = (delta["representative"], delta["biased"], each)
                shares = (recovered(compared, FIGURES[what]) for what in LOSSES)
                cells = [
                    f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
                    if share
                    else "no loss"
                    for share in shares
                ]
                table.add_row("  share of the loss recovered", *cells)
    console.print(table)


def main(pool: str, test: str, work: Path, biases: tuple[str, ...], trees: bool, number: int, epochs: int,
         bright: float, pivot: float, seed: int) -> None:  # fmt: skip
    """Print the tables."""
    galaxies, measured = first(pool, number), Galaxies.open(test)
    work.mkdir(parents=True, exist_ok=True)
    truth = measured.properties["redshift"].astype(float)
    classifier = None if trees else network(galaxies, work / "network.keras", epochs, seed)
    console = Console(highlight=False, width=140)
    for bias in biases:
        kept = cut(galaxies, bias, bright, pivot, seed)
        if classifier is None:
            found = by_trees_alone(galaxies, measured, kept, seed)
        else:
            found = measure(galaxies, measured, kept, work / bias, classifier, seed)
        known = f"{kept.sum():,} of {len(galaxies):,} galaxies have spectra"
        title = f"{bias}: {known}; {len(measured):,} test galaxies, simulated"
        show(title, found, truth, console)


@click.command()
@click.argument("pool")
@click.argument("test")
@click.option("--to", "work", type=click.Path(path_type=Path), required=True, help="A folder for what is made.")
@click.option("--bias", default="bright,redshift,both", show_default=True, help="How the spectroscopic set is cut.")
@click.option("--trees", is_flag=True, help="Trees alone, for which no network is trained: seconds, not an hour.")
@click.option("--number", default=2500, show_default=True, help="Galaxies of POOL that are used.")
@click.option("--epochs", default=5, show_default=True, help="Of the network's training.")
@click.option("--bright", default=17.5, show_default=True, help="Magnitude in r that spectra end at.")
@click.option("--pivot", default=0.05, show_default=True, help="Redshift up to which all have spectra.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
def command(pool: str, test: str, work: Path, bias: str, **options) -> None:
    """Photo-z trained on biased spectroscopic sets of POOL, with and without samples, on TEST."""
    biases = tuple(bias.split(","))
    if wrong := [each for each in biases if each not in BIASES]:
        sys.exit(f"photoz_augmentation: '{wrong[0]}' is no bias; give any of {', '.join(BIASES)}.")
    try:
        main(pool, test, work, biases, **options)
    except InputError as error:
        sys.exit(f"photoz_augmentation: {error}")


if __name__ == "__main__":
    command()
