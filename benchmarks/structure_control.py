"""What beta and lambda decide: how real samples look against how well they are what was asked for.

    python benchmarks/structure_control.py DATASET --work FOLDER [--to structure-control.png]

Beta weighs the Kullback-Leibler term of the evidence lower bound, lambda the likelihoods of votes, magnitudes, radius
and redshift given z (`votes`, `photometry`, `radius`, `redshift` of the training's recipe, all times lambda). For each
pair a network continues from MODEL for some steps, the same batches for all, and its latent prior after it. Samples
with the properties of galaxies outside the training, observed by their survey, are compared with these galaxies; what
measures votes and redshifts on them is MODEL, the same for all. --from-scratch begins with random weights instead,
which takes a hundred times as many steps to look like galaxies.

Each pair leaves a file in FOLDER; those that are there are not computed again.
"""

import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import click
import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError

#: The weights that are tried, those of the shipped model first of each.
BETAS, LAMBDAS = (1.0, 0.25, 4.0), (1.0, 5.0)
#: Learning rate of a latent prior that continues.
PRIOR_RATE = 5e-4
#: What is drawn: a figure of structure against one of control, and their titles.
PANELS = (
    ("wasserstein", "mean Wasserstein distance", "votes", "rms difference of asked and measured votes"),
    ("power", "deviation of the power spectrum", "redshift", "σ_MAD of asked and measured redshifts"),
)


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--model", default="models:/morph@sdss", show_default=True, help="What is trained on, and what judges.")
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--to", type=click.Path(path_type=Path), help="The figure, PNG.")
@click.option("--steps", default=300, show_default=True, help="Batches of 64 of each training.")
@click.option("--prior-epochs", default=20, show_default=True, help="Epochs of the latent prior.")
@click.option("--galaxies", default=3000, show_default=True, help="Training galaxies, at most.")
@click.option("--measured", default=300, show_default=True, help="Galaxies to measure on, at most.")
@click.option("--from-scratch", is_flag=True, help="Begin with random weights.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
def command(
    dataset: Path,
    model: str,
    work: Path,
    to: Path | None,
    steps: int,
    prior_epochs: int,
    galaxies: int,
    measured: int,
    from_scratch: bool,
    seed: int,
) -> None:
    """Train with every pair of beta and lambda on DATASET, galaxies of fluxes with votes and redshifts."""
    work.mkdir(parents=True, exist_ok=True)
    try:
        sides = {name: first(side, galaxies) for name, side in Galaxies.open(dataset).split().items()}
        test = first(sides["test"], measured)
        for beta, weight in product(BETAS, LAMBDAS):
            file = work / f"beta-{beta:g}-lambda-{weight:g}.json"
            if not file.exists():
                trained = train(model, sides, beta, weight, steps, prior_epochs, from_scratch, seed)
                found = measure(trained, model, test, seed) | {"beta": beta, "lambda": weight, "steps": steps}
                file.write_text(json.dumps(found))
            click.echo(file.read_text())
    except InputError as error:
        sys.exit(f"structure_control: {error}")
    if to:
        draw([json.loads(file.read_text()) for file in sorted(work.glob("beta-*.json"))]).savefig(to, dpi=130)


def first(galaxies: Galaxies, n: int) -> Galaxies:
    """The first `n` galaxies, as far as there are so many."""
    return galaxies.select(np.arange(min(n, len(galaxies))))


def train(model: str, sides, beta: float, weight: float, steps: int, epochs: int, from_scratch: bool, seed: int):
    """A classifier trained with these weights, its latent prior fitted."""
    from morph.model.classifier import Classifier
    from morph.model.store import load_model
    from training.fitting.fit import fit
    from training.fitting.objective import PRETRAINING
    from training.fitting.optimisation import fit_part
    from training.fitting.posteriors import VIEWS, Posteriors
    from training.fitting.prior import Draws, PriorLikelihood, fit_flow

    classifier = load_model(model)
    if from_scratch:
        classifier = Classifier(architecture=classifier.architecture)
    recipe = PRETRAINING[classifier.architecture]
    shares = {name: weight * getattr(recipe, name) for name in ("votes", "photometry", "radius", "redshift")}
    rate = recipe.learning_rate * (1.0 if from_scratch else 0.5)
    recipe = replace(recipe, epochs=10, steps=steps // 10, beta=beta, learning_rate=rate, seed=seed, **shares)
    fit(classifier, [(sides["train"], 1.0)], None, recipe)
    learned, held_out = (
        Posteriors.of(classifier, sides[name], views) for name, views in (("train", VIEWS), ("validation", VIEWS[:1]))
    )
    prior = classifier.prior
    if from_scratch:
        fit_flow(prior, learned, held_out, epochs, seed)
    else:
        watched = Draws(held_out, seed + 1)[0][0]
        fit_part(prior, PriorLikelihood(prior), Draws(learned, seed), watched, epochs, epochs, PRIOR_RATE, 1e-4)
    return classifier


def measure(classifier, model: str, real: Galaxies, seed: int) -> dict[str, float]:
    """Figures of structure and of control of samples with the properties of galaxies, and their floors."""
    from morph.model.conditions import encode_conditions
    from morph.model.experts import MEASUREMENTS
    from morph.model.store import load_model
    from morph.simulation.sampling.draw import Request, Sampler
    from morph.simulation.sampling.population import Population
    from morph.sizes import NETWORK_SIZE
    from morph.stamps.stretch import centre_crop
    from training.evaluation.realism import power_deviation
    from training.evaluation.realism_distances import between_halves, wasserstein
    from training.evaluation.realism_statistics import power_spectra, statistics

    measured = np.stack([real.properties[name] for name in MEASUREMENTS], axis=1)
    shares = encode_conditions(len(real), real.votes)[:, : real.votes.shape[1]]
    asked = encode_conditions(len(real), None, measured, real.surveys, "flux")
    asked[:, : shares.shape[1]] = shares
    population = Population("the galaxies", {"redshift": measured[:, 4]}, {})
    sampler = Sampler(classifier, Request(real.survey, observed=True, size=real.size), population)
    drawn = Galaxies.from_table(sampler.batch(seed, 0, len(real), asked), "sampled")
    random = np.random.default_rng(seed)
    tables = [statistics(galaxies) for galaxies in (real, drawn)]
    spectra = [power_spectra(centre_crop(galaxies.images, NETWORK_SIZE)) for galaxies in (real, drawn)]
    figures = {
        "wasserstein": [float(np.nanmean(each)) for each in between_halves(wasserstein, *tables, random)],
        "power": [float(np.mean(np.abs(each))) for each in between_halves(power_deviation, *spectra, random)],
    }
    judge = load_model(model)
    found = [_control(judge, galaxies, shares, real.properties["redshift"], seed) for galaxies in (drawn, real)]
    figures |= {name: [float(each[name]) for each in found] for name in found[0]}
    return {name: value for name, (value, _) in figures.items()} | {
        f"{name} floor": floor for name, (_, floor) in figures.items()
    }


def _control(judge, galaxies: Galaxies, shares: np.ndarray, redshift: np.ndarray, seed: int) -> dict[str, float]:
    """How far what a model measures on galaxies is from what was asked for."""
    from morph.decision_tree import ANSWERS
    from morph.model.inference import infer
    from training.metrics.photoz import sigma_mad

    probabilities = judge.answer(galaxies.images)["probabilities"]
    inferred = infer(judge, {"image": galaxies.images}, draws=64, seed=seed, surveys=galaxies.surveys).redshift
    off = (np.median(inferred, axis=1) - redshift) / (1 + redshift)
    return {
        "votes": np.sqrt(np.nanmean(np.square(probabilities - shares[:, : len(ANSWERS)]))),
        "redshift": sigma_mad(off[np.isfinite(off)]),
    }


def draw(results: list[dict[str, float]]):
    """Structure against control: a figure of two panels, in which the shipped weights have a ring."""
    from matplotlib.figure import Figure

    from morph.reports.style import COLOURS, FAINT, INK, style

    with style():
        figure = Figure(figsize=(9.5, 3.9), layout="constrained")
        for axes, (up, up_title, across, across_title) in zip(figure.subplots(1, 2), PANELS, strict=True):
            for colour, weight in zip(COLOURS, LAMBDAS, strict=False):
                row = sorted((each for each in results if each["lambda"] == weight), key=lambda each: each["beta"])
                x, y = ([each[name] for each in row] for name in (across, up))
                axes.plot(x, y, "o-", color=colour, label=f"λ = {weight:g}")
                for each in row:
                    text = axes.annotate(f"β = {each['beta']:g}", (each[across], each[up]), color=colour)
                    text.set(position=(6, 5), fontsize=9)
                    text.anncoords = "offset points"
                    if (each["beta"], weight) == (BETAS[0], LAMBDAS[0]):
                        axes.plot(each[across], each[up], "o", ms=15, mfc="none", mec=INK, label="shipped")
            axes.axvline(results[0][f"{across} floor"], color=FAINT, linestyle=":")
            axes.axhline(results[0][f"{up} floor"], color=FAINT, linestyle=":", label="galaxies themselves")
            axes.set(xlabel=f"{across_title} (control)", ylabel=f"{up_title} (structure)")
        figure.axes[0].legend(fontsize=9)
        return figure


if __name__ == "__main__":
    command()
