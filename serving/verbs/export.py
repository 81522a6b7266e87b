"""morph export."""

from pathlib import Path

import click


@click.command("export")
@click.argument("model")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for the exported model.")
@click.option("--version", type=click.IntRange(min=1), help="Version number; one more than the highest if not given.")
@click.option("--name", default="morph", show_default=True, help="Name under which it will be served.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16"]),
    default="float32",
    show_default=True,
    help="Of the convolutions. bfloat16 is faster on processors and GPUs that have it, and slower on others.",
)
def command(model: str, to: Path, version: int | None, name: str, precision: str) -> None:
    """Write MODEL as a SavedModel that TensorFlow Serving runs as it is.

    MODEL is a .keras file, a folder that holds one, or an MLflow URI such as models:/morph@champion;
    models:/morph@sdss always works. Beside the model come the files for its deployment.

    \b
        morph export models:/morph@champion --to models
        morph serve models
    """
    from morph.model.store import load_model
    from serving.export import export_model

    folder = export_model(load_model(model, precision), to, version, name)
    click.echo(f"Exported {model} to {folder}; serve it with `morph serve {to}`.")
