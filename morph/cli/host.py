"""`morph host`: which galaxy a transient belongs to."""

from pathlib import Path

import click

from morph.analysis.hosts import FARTHEST


@click.command(name="host")
@click.argument("events")
@click.argument("galaxies")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The table: .parquet, .fits or .csv.")
@click.option("--survey", default="unknown", help="Of GALAXIES, if their sizes are in pixels: sdss, des, lsst, ...")
@click.option("--search", default=60.0, show_default=True, help="Arcsec around an event in which galaxies are read.")
@click.option(
    "--farthest", default=FARTHEST, show_default=True, help="Directional light radii beyond which none is a host."
)
@click.option(
    "--hostless", default=0.05, show_default=True, help="Share of events whose host is not among the galaxies."
)
def command(
    events: str, galaxies: str, to: Path, survey: str, search: float, farthest: float, hostless: float
) -> None:
    """Find the hosts of EVENTS among GALAXIES: tables with positions, of any format that `morph score` reads.

    Candidates are ranked by their distance in directional light radii, and have the probability that they are the
    host. GALAXIES have a half-light radius; with ellipticity and position_angle, as scores have them, their shape
    counts, and with magnitudes their brightness.

    \b
        morph host transients.csv scores --to hosts.parquet
    """
    from morph.analysis.hosts import rank_hosts, read_places
    from morph.atomic import atomic
    from morph.catalogs.table_files import check_table, write_table
    from morph.console import counted

    check_table(to)
    found = read_places(events, sizes=False)
    among = read_places(galaxies, sizes=True, survey=survey)
    hosts = rank_hosts(found, among, search, farthest, hostless)
    with atomic(to) as building:
        write_table(hosts, building)
    for note in dict.fromkeys([*found.notes, *among.notes]):
        click.echo(note)
    best = hosts.filter((hosts["rank"].to_numpy() == 1) & (hosts["p_host"].to_numpy() > 0.5))
    click.echo(
        f"{to}: {counted(len(found), 'event')}, {counted(len(best), 'of them has', 'of them have')} a host with a "
        "probability above one half."
    )
