"""morph index."""

from pathlib import Path

import click


@click.command("index")
@click.argument("scores", metavar="SCORES...", nargs=-1)
@click.option("--to", type=click.Path(path_type=Path), required=True, metavar="INDEX", help="The index's folder.")
@click.option("--model", metavar="MODEL", help="The model that makes the vectors of datasets.")
@click.option(
    "--codes",
    type=click.Choice(("sq8", "pq")),
    help="How lists hold a vector: 8 bits a number, 56 bytes a galaxy; or product codes, 33 bytes, which find less.  "
    "[default: sq8, or as the index has it]",
)
@click.option("--merge", is_flag=True, help="Join all shards into few, in the order of the sky: faster searches.")
def command(scores: tuple[str, ...], to: Path, model: str | None, codes: str | None, merge: bool) -> None:
    """Make an index for similarity search of SCORES, or add them to one.

    SCORES are folders or files that `morph score` wrote, HATS catalogues that it made of them, or datasets, for which
    --model makes the vectors. Each file becomes a shard. The same command adds what is new or has changed and reads
    nothing else, and resumes where it was stopped. All must be by one model, and one job at a time writes into an
    index. Galaxies without data have no vector and are left out.

    \b
        morph index scores --to galaxies.index
        morph index scores more-scores --to galaxies.index --merge
        morph index sample --model models:/morph@sdss --to sample.index
    """
    from morph.checks import check_folder
    from morph.console import Display
    from morph.signals import sigterm_interrupts
    from serving.similarity.build import build, describe
    from serving.similarity.sources import find_sources

    check_folder(to)
    sources = find_sources(scores, model)
    with sigterm_interrupts(), Display("Indexing", 1, timed=False, transient=True) as display:
        # One bar, which each step of the work fills.
        built = build(
            sources, to, codes, merge, lambda what, done, total: display.update(done / max(total, 1), what.lower())
        )
    for line in describe(built, to):
        click.echo(line)
