"""How realistic samples are, beside the floor of two halves of real galaxies, and how many are drawn a second.

    python benchmarks/sampling.py MODEL DATASET [--split test] [--number 300] [--judge MODEL]

DATASET holds fluxes with magnitudes, radii and redshifts that the model was not trained on; as many samples
have their properties (`morph sample --like`) and their survey's noise.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError


@click.command()
@click.argument("model")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["validation", "test", "all"]), default="test", show_default=True)
@click.option("--number", "-n", default=300, show_default=True, help="Galaxies of either kind.")
@click.option("--judge", help="A model that did not train with the decoder, for the kernel distance.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
def command(model: str, dataset: Path, split: str, number: int, judge: str | None, seed: int) -> None:
    """Measure the samples of MODEL against the galaxies of DATASET."""
    from morph.model.store import load_model
    from morph.simulation.sampling.draw import Request, Sampler
    from morph.simulation.sampling.population import Population
    from training.evaluation.realism import measure_realism

    try:
        real = Galaxies.open(dataset)
        real = (real if split == "all" else real.split()[split]).select(np.arange(number))
        classifier = load_model(model)
        with TemporaryDirectory() as folder:
            real.write(Path(folder) / "real")
            like = Population.of_dataset(Path(folder) / "real")
        sampler = Sampler(classifier, Request(real.survey, observed=True, size=real.size), like)
        tables = [sampler.batch(seed, k, min(512, number - start)) for k, start in enumerate(range(0, number, 512))]
        sampled = Galaxies.concatenate([Galaxies.from_table(table, "sampled") for table in tables])
        for line in measure_realism(classifier, real, sampled, load_model(judge) if judge else None, seed).lines():
            click.echo(line)
        click.echo(f"{rate(classifier):,.0f} pictures a second of processor time, without noise")
    except InputError as error:
        sys.exit(f"sampling: {error}")


def rate(classifier, n: int = 512, rounds: int = 4) -> float:
    """Samples of the exported signature's function a second of processor time, on one core."""
    from keras import ops

    from morph.model.batched import compiled
    from morph.model.conditions import encode_conditions
    from morph.model.sampling import sample

    conditions = encode_conditions(n, surveys=["des"] * n, kind="flux")
    function = compiled(classifier, lambda noise: sample(classifier, noise, ops.convert_to_tensor(conditions)))
    noise = np.random.default_rng(0).standard_normal((n, classifier.latent), dtype="float32")
    function(noise)
    start = time.process_time()
    for _ in range(rounds):
        function(noise)
    return rounds * n / (time.process_time() - start)


if __name__ == "__main__":
    command()
