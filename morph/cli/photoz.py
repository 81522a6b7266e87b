"""`morph photoz`: training sets for photometric redshifts."""

from pathlib import Path

import click

from morph.console import counted


@click.group()
def command() -> None:
    """Make training sets for photometric redshifts; `morph predict --infer redshift --qp FILE` gives redshifts."""


@command.command("augment", short_help="Fill a spectroscopic set with samples where it lacks galaxies.")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--model", default="models:/morph@sdss", show_default=True, help="The model that samples.")
@click.option(
    "--photometric",
    type=click.Path(path_type=Path),
    required=True,
    help="A dataset of the galaxies that need redshifts, with magnitudes.",
)
@click.option("--to", "path", required=True, type=click.Path(path_type=Path), help="The dataset's folder.")
@click.option(
    "-n", "--number", type=int, help="How many samples.  [default: up to the density where spectra are common]"
)
@click.option(
    "--redshifts",
    type=click.Choice(["trend", "model"]),
    default="trend",
    show_default=True,
    help="Of the samples: by the trend of SPEC's with brightness, colours and size, or by MODEL.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option("--figure", type=click.Path(path_type=Path), help="Also draw n(z) before and after, PNG.")
def augment(
    spec: Path,
    model: str,
    photometric: Path,
    path: Path,
    number: int | None,
    redshifts: str,
    seed: int,
    figure: Path | None,
) -> None:
    """Write the galaxies of SPEC and samples where SPEC lacks galaxies, as one dataset.

    Spectroscopic samples are bright and near. Both sets are counted in cells of magnitude and colour; cells that SPEC
    lacks are filled with galaxies that MODEL samples, each with the magnitudes and the radius of a photometric galaxy
    there, and with a redshift by the trend that SPEC shows. Samples that look like no photometric galaxy are left out.
    Every row states its provenance, and a weight with which the set has the photometric galaxies' distribution again.

    With --redshifts model, MODEL must not have been trained on redshifts that SPEC lacks, or the result looks better
    than it is. A run that was stopped goes on with the same command.

    \b
        morph photoz augment spectra --model mine.keras --photometric survey --to train --figure nz.png
    """
    from morph.analysis.augmentation.run import augment as fill
    from morph.checks import check_file

    if figure:
        check_file(figure)
    made = fill(model, spec, photometric, path, number, seed, redshifts)
    if figure:
        from morph.analysis.augmentation.figure import plot
        from morph.atomic import atomic

        with atomic(figure) as building:
            plot(made).savefig(building, dpi=130, format="png")
    before = f", {made.resumed:,} of them drawn before" if made.resumed else ""
    click.echo(
        f"{path}: {made.spectroscopic:,} spectroscopic galaxies and {made.sampled:,} sampled ones{before}. "
        f"Without them, {100 * made.empty:.0f} % of the photometric galaxies are in cells without a spectroscopic one."
    )
    left = {
        "without a redshift or a magnitude, left out": made.left_out,
        "in cells without photometric galaxies, of weight 0": made.outside,
        "samples that looked like no photometric galaxy, left out": made.unlike,
    }
    for what, count in left.items():
        if count:
            click.echo(
                f"{counted(count, 'galaxy', 'galaxies')} {what}." if "samples" not in what else f"{count:,} {what}."
            )
