"""`morph predict`: infer missing properties of galaxies from known ones."""

from pathlib import Path

import click

from morph.errors import InputError


@click.command(name="predict")
@click.argument("model")
@click.argument("dataset")
@click.option(
    "--given",
    metavar="NAMES",
    help="What to predict from, separated by commas: any of image, votes, photometry, radius, redshift "
    "[everything in DATASET that is not inferred].",
)
@click.option(
    "--infer", metavar="NAMES", required=True, help="What to predict: any of the same names, and similarity."
)
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The catalogue: .parquet, .fits or .csv.")
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train", "all"]),
    default="all",
    show_default=True,
    help="The part of the dataset's split to predict; training never uses the test part.",
)
@click.option(
    "--draws", type=click.IntRange(100), default=500, show_default=True, help="Draws from each galaxy's posterior."
)
@click.option(
    "--qp", type=click.Path(path_type=Path), help="Also write the redshifts' posteriors as a qp ensemble, .hdf5."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed of the draws.")
def command(
    model: str,
    dataset: str,
    given: str | None,
    infer: str,
    to: Path,
    split: str,
    draws: int,
    qp: Path | None,
    seed: int,
) -> None:
    """Infer properties of the galaxies of DATASET from others, with their uncertainties.

    \b
    redshift    median, mean, sigma and 99 quantiles of the posterior
    photometry  median and middle 68 % of the magnitudes in g, r and i
    radius      median and middle 68 % of the half-light radius, arcsec
    votes       probability and Dirichlet concentration of every answer
    image       the stamps as NAME_images.npy, and beside the real ones in NAME_images.png
    similarity  the image's vector for similarity search, however the galaxy is turned

    A galaxy that lacks some of what is given is predicted from the rest, and from the prior when it lacks all; the
    catalogue states which. Properties that the dataset already holds are compared with the prediction.

    \b
        morph predict models:/morph@sdss sample --given image,photometry,radius --infer redshift --to photoz.parquet \\
          --qp photoz.hdf5
        morph predict models:/morph@sdss sample --given votes,photometry --infer image --to images.parquet
    """
    from training.prediction.predict import INFERABLE, parse

    asked = parse(infer, INFERABLE)
    chosen = parse(given) if given is not None else None

    from morph.catalogs.table_files import check_table
    from training.prediction.output import predict_catalog
    from training.prediction.qp_output import check_qp

    check_table(to)
    if qp is not None:
        if "redshift" not in asked:
            raise InputError("--qp holds posteriors of redshifts; add redshift to --infer.")
        check_qp(qp)

    from morph.checks import check_memory
    from morph.dataset import Galaxies, find_dataset
    from morph.registry import find_model
    from training.evaluation.evaluate import part_of

    find_model(model)
    check_memory([find_dataset(dataset)])
    galaxies = part_of(Galaxies.open(dataset), split)
    for line in predict_catalog(model, galaxies, to, asked, chosen, split, draws, seed, qp):
        click.echo(line)
