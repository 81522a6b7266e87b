"""Options of the verbs that ask a model server."""

from collections.abc import Callable
from typing import Any

import click

from morph.errors import InputError

FILE = click.Path(exists=True, dir_okay=False)

_MODEL = click.option("--model", default="morph", show_default=True, help="The model's name on the server.")

_OPTIONS = (
    click.option(
        "--timeout", default=60.0, show_default=True, help="Seconds that the server may take for one message."
    ),
    click.option("--tls", is_flag=True, help="Use TLS, with the root certificates of gRPC."),
    click.option("--ca", type=FILE, help="Use TLS, with the root certificates in this PEM file."),
    click.option("--certificate", type=FILE, help="This client's certificate (PEM), where the server asks for one."),
    click.option("--key", type=FILE, help="The certificate's private key (PEM)."),
    click.option(
        "--token", envvar="MORPH_TOKEN", metavar="TOKEN", help="Sent with every request, over TLS [from MORPH_TOKEN]."
    ),
    click.option(
        "--token-in-clear", is_flag=True, help="Send the token without TLS, where anyone on the network can read it."
    ),
)


def connection(command: Callable) -> Callable:
    """Add the options of a connection to a command, and the model's name; `client_options` reads them."""
    return _MODEL(transport(command))


def transport(command: Callable) -> Callable:
    """Add the options of a connection alone, for a command whose --model may be a local one."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def client_options(*, tls: bool, ca: str | None, certificate: str | None, key: str | None, **others: Any) -> dict:
    """The options of a `MorphClient` from those of a command. InputError where they contradict each other.

    Parameters
    ----------
    tls, ca, certificate, key : of `connection`.
    others : passed on as they are.
    """
    if bool(certificate) != bool(key):
        raise InputError("A client's certificate and its key belong together; give --certificate and --key.")
    pair = (certificate, key) if certificate and key else None
    return {"tls": ca or tls, "certificate": pair, **others}
