"""morph serve."""

from pathlib import Path
from typing import Any

import click


@click.command("serve")
@click.argument("folder", metavar="[DIR]", required=False)
@click.option(
    "--models-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="models.config of TensorFlow Serving, with models, versions and labels, instead of DIR; it may change.",
)
@click.option("--port", default=8500, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--name", default="morph", show_default=True, help="Name by which clients ask for the model.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 for every one. TensorFlow Serving's program always takes every one.",
)
@click.option(
    "--batching",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Batching parameters of TensorFlow Serving.  [default: batching_parameters.txt beside the model]",
)
@click.option(
    "--poll",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Seconds between two searches for new versions; TensorFlow Serving's program takes whole ones.",
)
@click.option(
    "--max-message-mb",
    default=64,
    show_default=True,
    type=click.IntRange(1, 2047),
    help="Larger requests are refused. A galaxy of 64 pixels is 0.05 MB, a full batch of them 6.3 MB.",
)
@click.option(
    "--rest-port",
    type=click.IntRange(0, 65535),
    help="Port for REST and for Prometheus; 0 takes a free one.  [default: 8501, or a free one where --port is 0]",
)
@click.option("--no-rest", is_flag=True, help="Answer over gRPC alone.")
@click.option(
    "--monitoring",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="monitoring.config of TensorFlow Serving, with the path for Prometheus.  [default: the one beside the model]",
)
@click.option(
    "--ssl-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="SSLConfig of TensorFlow Serving, with the server's key and certificates: serve over TLS, or mutual TLS.",
)
@click.option(
    "--enable_serialization_as_tensor_content",
    "--tensor-content",
    "tensor_content",
    is_flag=True,
    help="Send the numbers of answers as bytes (tensor_content) instead of one by one (float_val).",
)
@click.option(
    "--admin",
    is_flag=True,
    help="Let every client change what is served (HandleReloadConfigRequest).  [embedded server only]",
)
@click.option("--embedded", is_flag=True, help="Use the embedded server even where TensorFlow Serving is installed.")
def command(
    folder: str | None,
    name: str,
    port: int,
    models_config: Path | None,
    batching: Path | None,
    ssl_config: Path | None,
    rest_port: int | None,
    no_rest: bool,
    embedded: bool,
    **options: Any,
) -> None:
    """Serve the exported model in DIR over gRPC and REST, until Ctrl-C.

    DIR is the folder given to `morph export`, the model's folder in it, or one version; the highest version is
    served unless you name one, and a higher one as soon as it is there. Where tensorflow_model_server is installed
    it does the serving, and otherwise a server inside morph, with the same services and the same batching parameters
    (batching_parameters.txt).

    \b
        morph serve models --port 8500
        morph serve --models-config models/models.config
        morph classify galaxy.jpg --server 127.0.0.1:8500
        curl http://127.0.0.1:8501/v1/models/morph
    """
    from morph.console import import_quietly
    from serving.protocol.configuration import BatchingParameters
    from serving.server import stock
    from serving.server.configuration import Tls

    # Before TensorFlow is loaded, so that wrong files are reported at once.
    _check_models(folder, name, models_config)
    parameters = BatchingParameters.read(batching) if batching else None
    tls = Tls.read(ssl_config) if ssl_config else None
    if rest_port is None:
        rest_port = 8501 if port else 0
    options |= {"models_config": models_config, "rest_port": None if no_rest else rest_port}
    if stock.installed() and not embedded:
        del options["host"], options["admin"]
        stock.serve(folder, name, port, batching=batching, ssl_config=ssl_config, **options)
    else:
        server = import_quietly("serving.server.embedded")
        server.serve(folder, name, port, batching=parameters, tls=tls, **options)


def _check_models(folder: str | None, name: str, models_config: Path | None) -> None:
    """InputError unless there is exactly one source of models."""
    from morph.errors import InputError
    from serving.savedmodel.servable import locate

    if folder and models_config:
        raise InputError("Give a folder or --models-config, not both: the file contains the folders of its models.")
    if folder:
        locate(folder, name)
    elif not models_config:
        raise InputError("There is nothing to serve; give the folder of a model, or --models-config FILE.")
