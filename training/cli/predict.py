"""`morph predict`: infer what is not known of galaxies from what is."""

from collections.abc import Iterator
from pathlib import Path

import click


@click.command(name="predict")
@click.argument("model")
@click.argument("dataset")
@click.option(
    "--given",
    metavar="NAMES",
    help="What to predict from, with commas between: any of image, votes, photometry, radius, redshift "
    "[everything in DATASET that is not asked for].",
)
@click.option("--infer", metavar="NAMES", required=True, help="What to predict: any of the same names.")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The catalogue: .parquet, .fits or .csv.")
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train", "all"]),
    default="all",
    show_default=True,
    help="Which side of the dataset's split to predict; training never sees the test side.",
)
@click.option(
    "--draws", type=click.IntRange(100), default=500, show_default=True, help="Draws from each galaxy's posterior."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
def command(
    model: str, dataset: str, given: str | None, infer: str, to: Path, split: str, draws: int, seed: int
) -> None:
    """Infer some things about the galaxies of DATASET from others, with the uncertainty of each.

    \b
    redshift    median, mean, sigma and 99 quantiles of the posterior
    photometry  median and middle 68 % of the magnitudes in g, r and i
    radius      median and middle 68 % of the half-light radius, arcsec
    votes       probability and Dirichlet concentration of every answer
    image       the stamps as NAME_images.npy, and beside the real ones in NAME_images.png

    A galaxy that lacks some of what is given is predicted from the rest, and from the prior when it lacks all; the
    catalogue says which. What the dataset knows already of what is asked for is compared with the prediction.

    \b
        morph predict models:/morph@sdss sample --given image,photometry,radius --infer redshift --to photoz.parquet
        morph predict models:/morph@sdss sample --given votes,photometry --infer image --to drawn.parquet
    """
    from training.prediction.predict import parse, words

    asked = parse(infer)
    chosen = parse(given) if given is not None else None

    from training.prediction.output import check, comparison_lines, write_predictions

    check(to)

    from morph.checks import check_memory
    from morph.dataset import Galaxies, find_dataset
    from morph.model.store import find_model, load_model
    from morph.votes import difference, one_kind
    from training.evaluation.evaluate import part_of
    from training.prediction.predict import choose, predict

    find_model(model)
    check_memory([find_dataset(dataset)])
    galaxies = part_of(Galaxies.open(dataset), split)
    chosen = choose(galaxies, chosen, asked)
    votes = one_kind([galaxies], "be predicted from") if "votes" in (*asked, *chosen) else ""

    classifier = load_model(model)
    predicted = predict(classifier, galaxies, chosen, asked, draws, seed)

    from morph import __version__
    from morph.dataset import dataset_name

    about = {
        "made_by": f"morph predict {__version__}: {model}, {', '.join(asked)} from {', '.join(chosen)}",
        "model": model,
        "dataset": dataset_name(galaxies),
        "digest": galaxies.digest,
        "split": split,
        "simulated": galaxies.simulated,
        "draws": draws,
        "seed": seed,
    }
    written = write_predictions(predicted, galaxies, classifier, about, to)
    whose = f"{len(galaxies):,} simulated galaxies" if galaxies.simulated else f"{len(galaxies):,} galaxies"
    click.echo(f"Predicted {words(asked)} of {whose} from {words(chosen)}.")
    if votes and votes != classifier.about.get("votes", ""):
        click.echo(difference(classifier.about.get("votes", ""), votes, "the votes of this dataset"))
    for sentence in (*_lacking(predicted), *comparison_lines(predicted, galaxies)):
        click.echo(sentence)
    click.echo(f"Wrote {', '.join(map(str, written))}.")


def _lacking(predicted) -> Iterator[str]:
    """Sentences on galaxies that lack some of what is given."""
    from training.prediction.predict import MODALITIES

    n = len(predicted.ids)
    for name, used in predicted.used.items():
        some = (~used & ~predicted.from_prior).sum()
        if some:
            yield f"{some:,} of {n:,} galaxies: no {MODALITIES[name]}, predicted from what else is given."
    if predicted.from_prior.any():
        yield f"{predicted.from_prior.sum():,} of {n:,} galaxies: nothing that is given, so that they get the prior."
