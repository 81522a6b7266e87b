"""morph export."""

import click


@click.command("export")
@click.argument("model")
@click.option(
    "--to", required=True, metavar="DIR|URL", help="Folder for the exported model, or s3://, gs:// and the like."
)
@click.option("--version", type=click.IntRange(min=1), help="Version number; one more than the highest if not given.")
@click.option("--name", default="morph", show_default=True, help="Name under which it will be served.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16"]),
    default="float32",
    show_default=True,
    help="Of the convolutions. bfloat16 is faster on processors and GPUs that have it, and slower on others.",
)
def command(model: str, to: str, version: int | None, name: str, precision: str) -> None:
    """Write MODEL as a SavedModel that TensorFlow Serving runs as it is.

    MODEL is a .keras file, a folder that holds one, or an MLflow URI such as models:/morph@champion;
    models:/morph@sdss always works. Beside the model come the three configurations that every server reads;
    `morph deploy write` adds the files for Docker Compose or Kubernetes. A new version appears whole or not at all.

    \b
        morph export models:/morph@champion --to models
        morph export models:/morph@champion --to s3://bucket/models
        morph serve models
    """
    from morph.checks import check_folder
    from morph.model.store import load_model
    from serving.savedmodel.export import export_model
    from serving.savedmodel.remote import is_url, local

    if not is_url(to):
        check_folder(local(to))
    folder = export_model(load_model(model, precision), to, version, name)
    what_next = f"check it with `morph deploy check {to}`" if is_url(to) else f"serve it with `morph serve {to}`"
    click.echo(f"Exported {model} to {folder}; {what_next}.")
