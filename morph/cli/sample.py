"""`morph sample`: galaxies that a model's latent prior draws."""

from pathlib import Path

import click

from morph.cli.options import stamp_size


@click.command("sample")
@click.argument("model")
@click.option("-n", "--number", default=1000, show_default=True, help="How many galaxies.")
@click.option(
    "--given",
    default="",
    help='What they have in common: "redshift=0.1..0.2, mag_r=18, radius=3+-0.5, bar_strong=1". Values, ranges and '
    "Gaussians of mag_g, mag_r, mag_i, radius (arcsec), redshift and of shares of votes. A range keeps the "
    "proportions of the population.",
)
@click.option("--uniform", default="", help="Ranges in which they are spread evenly: redshift=0.02..0.6.")
@click.option("--survey", default="des", show_default=True, help="The survey whose images they are.")
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    help="A dataset: what is not given is drawn together from its galaxies.  [default: by the model]",
)
@click.option("--noise", is_flag=True, help="Observe them: pixels, noise, sky and neighbours of the survey.")
@click.option(
    "--decoder",
    type=click.Choice(["plain", "detail"]),
    help="What draws them: the likelihood decoder, or the detail decoder after it.  [default: detail, where MODEL has "
    "learned it]",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
@stamp_size
@click.option("--to", "path", required=True, type=click.Path(path_type=Path), help="The dataset's folder.")
@click.option(
    "--sheet",
    type=click.Path(path_type=Path),
    help="Also write a picture of the first forty, PNG; beside as many galaxies of --like.",
)
def command(
    model: str,
    number: int,
    given: str,
    uniform: str,
    survey: str,
    like: Path | None,
    noise: bool,
    decoder: str | None,
    seed: int,
    stamp_size: int,
    path: Path,
    sheet: Path | None,
) -> None:
    """Sample galaxies from the latent prior of MODEL, as a flux dataset.

    Samples are simulated galaxies: the model invents what they show. Each row has what was asked of it, the model's
    digest, the decoder and the seed, and magnitudes, radius, redshift and votes. Without --noise a galaxy is shown as
    the decoder draws it: with the survey's seeing, and without noise. A run that was stopped goes on with the same
    command.

    \b
    morph sample models:/morph@sdss -n 200 --given "redshift=0.1..0.2, mag_r=18" --noise --seed 1 --to sampled
    morph sample models:/morph@sdss -n 200 --uniform redshift=0.05..0.25 --to even --sheet even.png
    """
    from morph.given import Given
    from morph.simulation.contact_sheet import check_sheet
    from morph.simulation.sampling.draw import Request
    from morph.simulation.sampling.files import sample_dataset
    from morph.simulation.sampling.sheet import write_sample_sheet
    from morph.surveys import get_survey

    if sheet:
        check_sheet(sheet)
    asked = Given.parse(given), Given.parse(uniform, "--uniform")
    request = Request(get_survey(survey).name, *asked, observed=noise, size=stamp_size, decoder=decoder)
    made = sample_dataset(model, path, number, request, seed, like)
    if sheet:
        write_sample_sheet(path, sheet, like)
    before = f", {made.resumed:,} of them drawn before" if made.resumed else ""
    click.echo(f"{path}: {made.rows:,} sampled {survey} galaxies{before}.")
    if asked[0] or asked[1]:
        click.echo(f"Effective sample size {made.effective_size:,.0f} among {made.population}.")
