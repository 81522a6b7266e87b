"""`morph compress`: galaxies as codes of a few dozen bytes."""

from pathlib import Path

import click

from morph.registry import SHIPPED_NAME


@click.command("compress")
@click.argument("dataset")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The file of codes (.parquet).")
@click.option(
    "--numbers",
    type=click.IntRange(1, 200),
    default=200,
    show_default=True,
    help="How many numbers each code holds; the first ones matter most.",
)
@click.option(
    "--bits",
    type=click.IntRange(2, 16),
    default=2,
    show_default=True,
    help="How many bits each number has on average. They all have one step, the finest that fits.",
)
@click.option(
    "--model", default=SHIPPED_NAME, show_default=True, help="The model whose components are used; it reads them too."
)
def command(dataset: str, to: Path, numbers: int, bits: int, model: str) -> None:
    """Compress the galaxies of DATASET to codes of NUMBERS x BITS / 8 bytes and 14 bytes of side numbers: sky in each
    band, brightness scale, size of the pixels, and the step of the numbers.

    A code holds the image that the model sees, without its noise, in the units of the input. The file keeps what else
    the dataset contains: ids, coordinates, votes and measured properties.

    \b
    morph compress sample --to codes.parquet
    morph compress sample --numbers 50 --bits 8 --to codes.parquet
    """
    if to.suffix != ".parquet":
        raise click.UsageError(f"--to {to} should end in .parquet, for instance {to.name or 'codes'}.parquet.")
    from morph.model.code_files import SIDE_BYTES, compress

    count, header = compress(dataset, to, model, numbers, bits)
    each = to.stat().st_size / count
    click.echo(
        f"{to}: {count:,} galaxies in {header.bytes} bytes each, {SIDE_BYTES} of them side numbers; with ids, votes "
        f"and properties the file takes {each:,.0f} bytes a galaxy."
    )
