"""morph explore."""

from pathlib import Path
from typing import Any

import click

from serving.cli.connection import client_options, connection

PORT = click.IntRange(0, 65535)


@click.command("explore")
@click.argument("index", metavar="INDEX", type=click.Path(path_type=Path))
@click.option("--server", metavar="HOST:PORT", help="The model server, by which images are searched.")
@click.option("--port", default=8080, show_default=True, type=PORT, help="Of the page and REST; 0 takes a free one.")
@click.option(
    "--grpc-port", type=PORT, help="Of gRPC; 0 takes a free one.  [default: 8081, or a free one where --port is 0]"
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 for every one. Anyone who reaches it can search.",
)
@click.option(
    "--host-name",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which browsers reach this machine, besides localhost and IP addresses.",
)
@click.option(
    "--tiles",
    multiple=True,
    metavar="TILES",
    help="Tiles that the galaxies were scored on, a file, folder or glob in quotes: pictures are cut from them.",
)
@click.option(
    "--ssl-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="SSLConfig of TensorFlow Serving, with this server's key and certificates: serve over TLS, or mutual TLS.",
)
@connection
def command(
    index: Path,
    server: str | None,
    port: int,
    grpc_port: int | None,
    ssl_config: Path | None,
    host: str,
    hosts: tuple[str, ...],
    tiles: tuple[str, ...],
    **options: Any,
) -> None:
    """Explore the galaxies of INDEX on a page, until Ctrl-C.

    Drop an image, or name a galaxy by id or position, and see those most like it; tick several; filter by answers,
    magnitude and place; mark galaxies, and export them as a table, or as labels that `morph import` reads. The same
    search answers over REST (/v1/similar) and over gRPC (the service morph.Similar, `MorphClient.similar`).

    INDEX is the folder that `morph index` wrote; galaxies that it adds later appear by themselves.

    \b
        morph explore galaxies.index --server localhost:8500
        morph explore galaxies.index --server localhost:8500 --tiles 'tiles/*_r.fits.fz' --port 8080
        curl 'http://127.0.0.1:8080/v1/similar?like=DES0356-5248-17&n=10'
        curl --data-binary @galaxy.png -H 'Content-Type: image/png' 'http://127.0.0.1:8080/v1/similar?n=10'
    """
    from serving.server.configuration import Tls
    from serving.similarity.explore import serve

    if grpc_port is None:
        grpc_port = 8081 if port else 0
    tls = Tls.read(ssl_config) if ssl_config else None
    client = client_options(**options) if server else None
    serve(index, server, port, grpc_port, host=host, tiles=tiles, tls=tls, hosts=hosts, options=client)
