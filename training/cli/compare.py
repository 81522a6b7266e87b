"""`morph compare`: models side by side."""

from pathlib import Path

import click


@click.command(name="compare")
@click.argument("names", nargs=-1, metavar="[RUN|MODEL]...")
@click.option("--experiment", metavar="NAME", help="Look for runs in this MLflow experiment only.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the differences (png, pdf, svg).")
@click.option(
    "--promote",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Give the alias to the registered version that leads, or to the one of this NAME. Refused where it is "
    "significantly worse than the present holder; where the two do not differ significantly, only a NAME decides.",
)
@click.option("--alias", default="champion", show_default=True, help="The alias that --promote gives.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def command(
    names: tuple[str, ...], experiment: str | None, plot: Path | None, promote: str | None, alias: str, as_json: bool
) -> None:
    """Compare models, and mark the statistically significant differences.

    Name runs of `morph evaluate`, or registered versions (models:/morph/3, models:/morph@champion), which stand for
    all their evaluations. Each set of galaxies that several were evaluated on is compared by itself; without a name,
    the newest runs on the same galaxies are. A difference is significant when zero lies outside the 95 % interval of a
    paired bootstrap over the galaxies.

    \b
    morph compare direct finetuned --plot difference.png
    morph compare models:/morph@champion models:/morph/4 --promote
    """
    import json

    from training.experiments.registry import check_alias

    if plot is not None:
        _check_plot(plot)
    if promote is not None:
        check_alias(alias)
    from training.experiments.comparison_report import compare_models

    outcome = compare_models(names, experiment, promote, alias)
    if plot is not None:
        outcome.draw(plot)
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    else:
        outcome.print()
        if plot is not None:
            click.echo(f"Drew {plot}.")
    if outcome.refusal is not None:
        raise outcome.refusal


def _check_plot(plot: Path) -> None:
    """Report at once that a plot cannot be written."""
    from morph.errors import InputError

    if plot.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"--plot {plot} should end in .png, .pdf or .svg.")
    if not plot.absolute().parent.is_dir():
        raise InputError(f"The folder '{plot.parent}' for {plot.name} does not exist.")
