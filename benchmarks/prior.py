"""The latent prior of a model against galaxies of several datasets together, of any kind of image.

    python benchmarks/prior.py MODEL DATASET... [--split test] [--to sheet.png]

`morph evaluate --prior` measures the same on datasets of one kind. The prior is fitted to the training splits of all
the model's datasets; given the same ones here, the galaxies are a sample of its population.
"""

import sys
from pathlib import Path

import click

from morph.dataset import Galaxies
from morph.errors import InputError


@click.command()
@click.argument("model")
@click.argument("datasets", nargs=-1, required=True)
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
@click.option("--to", type=click.Path(path_type=Path), help="A contact sheet of the first dataset's survey.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the draws.")
def command(model: str, datasets: tuple[str, ...], split: str, to: Path | None, seed: int) -> None:
    """Measure the latent prior of MODEL on the galaxies of DATASETS."""
    from morph.model.store import load_model
    from training.evaluation.prior import contact_sheet, measure_prior

    try:
        sides = [Galaxies.open(path).split() for path in datasets]
        classifier = load_model(model)
        measured = measure_prior(classifier, [side[split] for side in sides], [side["train"] for side in sides], seed)
        for line in measured.lines():
            click.echo(line)
        for name, figure in measured.figures.items():
            click.echo(f"{name:24} {figure.value:8.3f} ({figure.low:.3f} to {figure.high:.3f}), n = {figure.n:,}")
        if to is not None:
            contact_sheet(classifier, sides[0][split], seed=seed).savefig(to, dpi=120)
    except InputError as error:
        sys.exit(f"prior: {error}")


if __name__ == "__main__":
    command()
