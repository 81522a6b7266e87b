"""`morph decompress`: a dataset from codes."""

from pathlib import Path

import click


@click.command("decompress")
@click.argument("codes", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The dataset's folder.")
@click.option("--model", help="A model with the same components, by default the one that made the codes.")
def command(codes: Path, to: Path, model: str | None) -> None:
    """Write the galaxies of CODES, a file that `morph compress` made, as a dataset like any other.

    Images are those that the model saw, without the margin for training, in the units of the original; the dataset
    says that they are decoded, and by which model.

    \b
    morph decompress codes.parquet --to decoded
    """
    from morph.model.code_files import decompress

    count, header = decompress(codes, to, model)
    click.echo(f"{to}: {count:,} galaxies decoded from {header.bytes} bytes each.")
