"""`morph simulate`: labelled galaxies, a whole survey tile with its catalogue, or supernovae on hosts."""

from pathlib import Path
from typing import Any

import click

from morph.cli.options import range_of, stamp_size
from morph.console import counted


@click.group()
def command() -> None:
    """Simulate labelled galaxies, a whole survey tile with its catalogue, or supernovae on hosts.

    A seed always gives the same galaxies, on any machine and with any number of processes.
    """


@command.command("galaxies", short_help="Labelled galaxies, as a flux dataset.")
@click.option("--survey", default="sdss", show_default=True, help="The survey to simulate: sdss, des, decals or lsst.")
@click.option("--number", "-n", default=500, show_default=True, help="How many galaxies.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option(
    "--mix",
    default="survey",
    show_default=True,
    help="survey: in the proportions of Galaxy Zoo. balanced: rich in bars, rings, arms, edge-on disks and mergers.",
)
@click.option(
    "--population",
    help="The survey whose galaxies these are, if another. With the same seed, mix and population, two surveys "
    "observe the same galaxies under the same ids.",
)
@stamp_size
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1), help="Processes to use.")
@click.option("--to", "path", required=True, type=click.Path(path_type=Path), help="The dataset's folder.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Also write a picture of the first sixty, PNG.")
def galaxies(
    survey: str,
    number: int,
    seed: int,
    mix: str,
    population: str | None,
    stamp_size: int,
    processes: int,
    path: Path,
    sheet: Path | None,
) -> None:
    """Simulate galaxies with the votes that volunteers would give, as a flux dataset.

    \b
    morph simulate galaxies --survey des --number 500 --seed 1 --to sim-des --sheet sim-des.png
    morph simulate galaxies --survey sdss --population des --number 500 --seed 1 --to the-same-by-sdss
    """
    from morph.simulation.contact_sheet import check_sheet, write_sheet
    from morph.simulation.sample import simulate_galaxies

    if sheet:
        check_sheet(sheet)
    made = simulate_galaxies(path, number, survey, seed, processes, mix=mix, population=population, size=stamp_size)
    if sheet:
        write_sheet(made, sheet)
    asked = ", ".join(f"{question} {count}" for question, count in made.answered().items())
    click.echo(f"{path}: {len(made)} simulated {made.survey} galaxies; with votes on {asked}.")


@command.command("tile", short_help="One coadd tile with its catalogue.")
@click.option("--survey", default="des", show_default=True, help="The survey to simulate: des, sdss, decals or lsst.")
@click.option("--size", default=2000, show_default=True, help="Pixels on a side, 128 to 10000.")
@click.option("--galaxies", type=int, help="Galaxies in the catalogue; as many as the sky has if not given.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option("--name", default="DES0356-5248", show_default=True, help="The tile's name, which gives its centre.")
@click.option(
    "--haloes", is_flag=True, help="Ellipticals with diffuse haloes, whose truth is written, to test stacks."
)
@click.option("--to", "path", required=True, type=click.Path(path_type=Path), help="The folder to write into.")
def tile(survey: str, size: int, galaxies: int | None, seed: int, name: str, haloes: bool, path: Path) -> None:
    """Simulate one coadd tile in the files of the Dark Energy Survey: g, r, i with masks and weights.

    Its catalogue of galaxies stands beside it, the table of its stars (NAME_stars.fits; FLAGS is 4 where a star is
    saturated), and the votes on its galaxies, which no survey has. All files appear, or none. A tile
    of 10,000 pixels takes about 1.5 minutes on two cores, 1.3 GB of memory and 0.3 GB of disk.

    \b
    morph simulate tile --size 2000 --seed 1 --to tile/
    """
    from morph.simulation.tile import simulate_tile

    made = simulate_tile(path, size, survey, galaxies, seed, name, haloes=haloes)
    click.echo(
        f"{path}: {size} x {size} px in {len(made.paths)} bands, {made.galaxies} galaxies in {made.catalogue.name}, "
        f"their votes in {made.truth.name}."
    )


@command.command("supernovae", short_help="Supernovae on galaxies: template, search, difference and the truth.")
@click.argument("hosts", type=click.Path(path_type=Path))
@click.option("--type", "kind", default="mixed", show_default=True, help="ia, cc (core collapse) or mixed.")
@click.option("--trace", default="", help="light: all in r; blue: all in g.  [default: type Ia in r, others in g]")
@click.option("--number", "-n", type=int, help="How many scenes; hosts are used in turn.  [default: one a host]")
@click.option("--epochs", default=1, show_default=True, help="Search images of a scene.")
@click.option(
    "--survey", default="des", show_default=True, help="The survey that observes: des, sdss, decals or lsst."
)
@click.option("--magnitudes", help="The range of the peak in r, such as 18,24.  [default: by class and redshift]")
@click.option("--hostless", default=0.05, show_default=True, help="Share of scenes with a supernova and no galaxy.")
@click.option("--variables", default=0.1, show_default=True, help="Share with a variable nucleus.")
@click.option("--moving", default=0.05, show_default=True, help="Share with an asteroid.")
@click.option("--empty", default=0.1, show_default=True, help="Share with nothing.")
@click.option("--misregistration", default=0.0, show_default=True, help="Of the search image, pixels along each axis.")
@click.option("--size", default=64, show_default=True, help="Pixels on a side.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1), help="Processes to use.")
@click.option("--to", "path", required=True, type=click.Path(path_type=Path), help="The folder to write into.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Also write a picture of the first twelve, PNG.")
def supernovae(hosts: Path, magnitudes: str | None, path: Path, sheet: Path | None, **options: Any) -> None:
    """Put supernovae on the galaxies of a dataset of fluxes, and observe them before and after.

    A supernova's place is drawn from its host's light, on the nucleus too. Each row has the template, the search image
    and their difference (nanomaggies per pixel; units of the noise), and the truth.

    \b
    morph simulate supernovae sim-des --type mixed --epochs 3 --seed 1 --to supernovae --sheet supernovae.png
    """
    from morph.simulation.contact_sheet import check_sheet
    from morph.simulation.supernovae.sample import simulate_supernovae
    from morph.simulation.supernovae.scene import Plan
    from morph.simulation.supernovae.sheet import write_triplets

    if sheet:
        check_sheet(sheet)
    shares = {"hostless": "hostless", "variables": "variable", "moving": "moving", "empty": "none"}
    plan = Plan(
        supernovae=options.pop("kind"),
        shares={kind: options.pop(name) for name, kind in shares.items()},
        magnitudes=range_of(magnitudes, "--magnitudes") if magnitudes else None,
        **{name: options.pop(name) for name in ("trace", "epochs", "misregistration", "size")},
    )
    made = simulate_supernovae(hosts, path, plan, **options)
    if sheet:
        write_triplets(path, sheet)
    kinds = ", ".join(f"{kind} {count}" for kind, count in made.kinds.items())
    click.echo(f"{path}: {counted(made.rows, 'simulated epoch')} of {counted(made.scenes, 'scene')}; {kinds}.")
    for why, count in made.left_out.items():
        click.echo(f"{counted(count, 'galaxy', 'galaxies')} left out as hosts: {why}.")
