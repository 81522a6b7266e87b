"""`morph compare`: models side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from training.experiments.comparison import Comparison
    from training.experiments.promotion import Promotion


@click.command(name="compare")
@click.argument("names", nargs=-1, metavar="[RUN|MODEL]...")
@click.option("--experiment", metavar="NAME", help="Look for runs in this MLflow experiment only.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the differences (png, pdf, svg).")
@click.option(
    "--promote",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Give the alias to the registered version that leads, or to the one of this NAME. Refused where it is worse "
    "than the present holder beyond the noise; where the two cannot be told apart, only a NAME decides.",
)
@click.option("--alias", default="champion", show_default=True, help="The alias that --promote gives.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def command(
    names: tuple[str, ...],
    experiment: str | None,
    plot: Path | None,
    promote: str | None,
    alias: str,
    as_json: bool,
) -> None:
    """Put models side by side and say which differences exceed the noise.

    Name runs of `morph evaluate`, or registered versions (models:/morph/3, models:/morph@champion), which stand for
    all their evaluations. Each set of galaxies that several were evaluated on is compared by itself; without a name,
    the newest runs on the same galaxies are. A difference counts when the 95 % interval of a paired bootstrap over
    the galaxies leaves out zero.

    \b
    morph compare direct finetuned --plot difference.png
    morph compare models:/morph@champion models:/morph/4 --promote
    """
    import json

    from morph.errors import InputError
    from training.experiments import promotion as champion
    from training.experiments import registry
    from training.experiments import run_selection as contestants
    from training.experiments.comparison import compare_all
    from training.experiments.preflight import check_alias

    if plot is not None:
        _check_plot(plot)
    if promote is not None:
        check_alias(alias)
    found = contestants.find(names or ((promote,) if promote else ()), experiment)
    if promote and not any(champion.is_named(run, promote) for run in found):
        found += contestants.find((promote,), experiment)
    if promote is not None:
        found = contestants.with_version(found, registry.holder(alias))
    comparisons = compare_all(found)
    promotion, refusal = None, None
    if promote is not None:
        try:
            promotion = champion.promote(comparisons, promote, alias)
        except InputError as error:
            refusal = error
    if plot is not None:
        _draw(comparisons, plot)
    if as_json:
        click.echo(json.dumps(_document(comparisons, promotion, refusal)))
    else:
        _print(comparisons, promotion)
        if plot is not None:
            click.echo(f"Drew {plot}.")
    if refusal is not None:
        raise refusal


def _check_plot(plot: Path) -> None:
    """Say at once that a picture cannot be written."""
    from morph.errors import InputError

    if plot.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"--plot {plot} should end in .png, .pdf or .svg.")
    if not plot.absolute().parent.is_dir():
        raise InputError(f"There is no folder '{plot.parent}' to draw {plot.name} into.")


def _draw(comparisons: "list[Comparison]", plot: Path) -> None:
    from morph.atomic import atomic
    from morph.errors import InputError
    from training.experiments.comparison_plots import differences

    several = [comparison for comparison in comparisons if len(comparison.runs) > 1]
    if not several:
        raise InputError("One model has no differences to draw; name two or more.")
    with atomic(plot) as building:
        differences(several).savefig(building, dpi=150)


def _document(
    comparisons: "list[Comparison]", promotion: "Promotion | None", refusal: Exception | None
) -> dict[str, object]:
    from dataclasses import asdict

    from training.experiments.comparison import differing_params

    runs = [run for comparison in comparisons for run in comparison.runs]
    told = {run.contestant or run.id: run for run in runs}
    return {
        "comparisons": [comparison.as_json() for comparison in comparisons],
        "parameters": {
            name: dict(zip((run.name for run in told.values()), values, strict=True))
            for name, values in differing_params(list(told.values())).items()
        },
        "promotion": asdict(promotion) if promotion else None,
        "refusal": str(refusal) if refusal else None,
    }


def _print(comparisons: "list[Comparison]", promotion: "Promotion | None") -> None:
    from rich.console import Console

    from training.experiments.comparison_tables import (
        LEGEND,
        comparison_table,
        difference_lines,
        lineage_lines,
        params_table,
    )
    from training.metrics.categories import left_out

    console = Console(highlight=False)
    runs = [run for comparison in comparisons for run in comparison.runs]
    table = params_table(runs)
    if table is not None:
        console.print(table)
        console.print()
    for line in lineage_lines(runs):
        console.print(line, markup=False)
        console.print()
    for comparison in comparisons:
        console.print(f"{comparison.title}: {len(comparison.shared):,} galaxies", markup=False, style="bold")
        console.print(comparison_table(comparison))
        if len(comparison.runs) > 1:
            console.print(LEGEND)
        if len(comparison.runs) > 2:
            for line in difference_lines(comparison):
                console.print(line, markup=False)
        console.print(comparison.conclusion(), markup=False)
        if note := left_out(comparison.runs[0].evaluation.votes):
            console.print(note, markup=False)
        console.print()
    if promotion is not None:
        console.print(promotion.reason, markup=False)
        console.print(f"models:/morph@{promotion.alias} is now version {promotion.version}.", markup=False)
