"""How realistic samples are, beside the floor of two halves of real galaxies; how many different ones there are, and
whether they copy; and how many are drawn a second.

    python benchmarks/sampling.py MODEL DATASET [--split test] [--number 300] [--judge MODEL] [--draws 4096]
        [--decoder plain]

DATASET holds fluxes with magnitudes, radii and redshifts that the model was not trained on; as many samples
have their properties (`morph sample --like`) and their survey's noise. The birthday test compares --draws samples of
each of three seeds, of which nothing but the survey is given. If the model was trained on the training split of
DATASET, the distances to it and to the other galaxies say whether samples are copies.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError

#: Galaxies outside the training, and of it, that the birthday test uses.
FEW = 1200


@click.command()
@click.argument("model")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["validation", "test", "all"]), default="test", show_default=True)
@click.option("--number", "-n", default=300, show_default=True, help="Galaxies of either kind.")
@click.option("--judge", help="A model that did not train with the decoder, for the kernel distance.")
@click.option("--draws", default=4096, show_default=True, help="Samples of each seed for the birthday test; 0: none.")
@click.option("--decoder", type=click.Choice(["plain", "detail"]), help="What draws, as in `morph sample`.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
def command(
    model: str,
    dataset: Path,
    split: str,
    number: int,
    judge: str | None,
    draws: int,
    decoder: str | None,
    seed: int,
) -> None:
    """Measure the samples of MODEL against the galaxies of DATASET."""
    from morph.model.store import load_model
    from morph.simulation.sampling.draw import Request, Sampler
    from morph.simulation.sampling.population import Population
    from training.evaluation.realism import measure_realism
    from training.evaluation.support import measure_diversity

    try:
        whole = Galaxies.open(dataset)
        sides = {"all": whole, **whole.split()}
        real = sides[split].select(np.arange(min(number, len(sides[split]))))
        number = len(real)
        classifier, other = load_model(model), load_model(judge) if judge else None
        with TemporaryDirectory() as folder:
            real.write(Path(folder) / "real")
            like = Population.of_dataset(Path(folder) / "real")
        sampler = Sampler(classifier, Request(real.survey, observed=True, size=real.size, decoder=decoder), like)
        tables = [sampler.batch(seed, k, min(512, number - start)) for k, start in enumerate(range(0, number, 512))]
        sampled = Galaxies.concatenate([Galaxies.from_table(table, "sampled") for table in tables])
        lines = measure_realism(classifier, real, sampled, other, seed).lines()
        if draws:
            free = Sampler(classifier, Request(real.survey, observed=True, size=real.size, decoder=decoder))
            trained_on = None if split == "all" else sides["train"].select(np.arange(len(sides["train"])) < FEW)
            seeds = (seed, seed + 1, seed + 2)
            held_out = sides[split].select(np.arange(len(sides[split])) < FEW)
            lines += measure_diversity(classifier, free, held_out, trained_on, draws, seeds, other).lines()
        for line in lines:
            click.echo(line)
        speed = rate(classifier, sampler.decoder)
        click.echo(f"{speed:,.0f} pictures of the {sampler.decoder} decoder a second of processor time, without noise")
    except InputError as error:
        sys.exit(f"sampling: {error}")


def rate(classifier, decoder: str, n: int = 128, rounds: int = 8) -> float:
    """Samples of the exported signature's function a second of processor time, on one core."""
    from keras import ops

    from morph.model.batched import compiled
    from morph.model.conditions import encode_conditions
    from morph.model.sampling import DETAIL, sample, sample_noise_size

    conditions = encode_conditions(n, surveys=["des"] * n, kind="flux")
    function = compiled(classifier, lambda noise: sample(classifier, noise, ops.convert_to_tensor(conditions)))
    width = sample_noise_size(classifier) if decoder == DETAIL else classifier.latent
    noise = np.random.default_rng(0).standard_normal((n, width), dtype="float32")
    function(noise)
    start = time.process_time()
    for _ in range(rounds):
        function(noise)
    return rounds * n / (time.process_time() - start)


if __name__ == "__main__":
    command()
