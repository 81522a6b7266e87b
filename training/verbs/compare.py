"""`morph compare`: runs side by side."""

import click


@click.command(name="compare")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--experiment", metavar="NAME", help="Look for runs in this MLflow experiment only.")
@click.option(
    "--promote",
    metavar="ALIAS",
    help="Give this alias, for instance champion, to the registered model of the leading run. Choose on evaluations "
    "of the validation split.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def command(runs: tuple[str, ...], experiment: str | None, promote: str | None, as_json: bool) -> None:
    """Put RUNs side by side and say which differences exceed the noise.

    A RUN is a name or an id; without any, the newest that were evaluated on the same galaxies are taken. They are
    measured on the galaxies that all of them share, and a difference counts when the 95 % interval of a paired
    bootstrap over these galaxies leaves out zero.
    """
    import json

    from rich.console import Console

    from training.compare import compare, find
    from training.tables import comparison_table, difference_lines, params_table

    comparison = compare(find(runs, experiment))
    version = None
    if promote:
        from training import champion

        version = champion.promote(comparison, promote)
    if as_json:
        click.echo(json.dumps(comparison.as_json()))
        return
    console = Console(highlight=False)
    kind = "simulated " if comparison.simulated else ""
    console.print(f"{len(comparison.shared):,} {kind}galaxies that all {len(comparison.runs)} runs share.")
    for table in (params_table(comparison), comparison_table(comparison)):
        if table is not None:
            console.print()
            console.print(table)
    console.print()
    lines = difference_lines(comparison)
    if lines:
        console.print("Beyond the noise, by the 95 % interval of the paired difference:")
    elif len(comparison.runs) > 1:
        console.print("No difference exceeds the noise.")
    for line in lines:
        console.print(line, markup=False)
    console.print()
    console.print(comparison.conclusion(), markup=False)
    if version is not None:
        console.print(f"models:/morph@{promote} is now version {version}.", markup=False)
