"""What a server that does not answer, or refuses, says to a person."""

import re
from typing import Any

import grpc

from morph.errors import InputError
from serving.client.connection import Connection

#: How servers say that a request is too large: more galaxies than they take (TensorFlow Serving's words, and those of
#: the embedded server), or more bytes than their gRPC takes.
_TOO_MANY = re.compile(r"larger than maximum input batch size (\d+)|a request holds between 1 and (\d+)")
_TOO_LONG = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")


class ServerError(InputError):
    """The server did not answer, or answered with an error; the message says which.

    `status` is gRPC's name for it: UNAVAILABLE, INVALID_ARGUMENT, NOT_FOUND, DEADLINE_EXCEEDED, ... An answer that
    cannot be read has the status INTERNAL. `details` are the server's own words.
    """

    def __init__(self, message: str, status: str, details: str = ""):
        super().__init__(message)
        self.status, self.details = status, details

    def __reduce__(self) -> tuple[Any, ...]:
        return ServerError, (str(self), self.status, self.details)


def is_busy(error: grpc.RpcError) -> bool:
    """Whether the server refused because of all that it has to do; TensorFlow Serving says so as UNAVAILABLE."""
    status, details = error.code().name, error.details() or ""
    if status == "RESOURCE_EXHAUSTED":
        return not _TOO_LONG.search(details)
    return status == "UNAVAILABLE" and "queue" in details


def most_rows(error: ServerError, rows: int) -> int | None:
    """How many of the `rows` of a refused message the server would take; None when that was not the reason."""
    most = None
    if found := _TOO_MANY.search(error.details):
        most = int(found[1] or found[2])
    elif found := _TOO_LONG.search(error.details):
        sent, allowed = int(found[1]), int(found[2])
        most = rows * allowed // max(sent, 1)
    return most if most is not None and 1 <= most < rows else None


def explained(error: grpc.RpcError, connection: Connection, model: str, chosen: str, timeout: float) -> ServerError:
    """A sentence for gRPC's error. `chosen` names the version that was asked for, "" if none was."""
    status, details, address = error.code().name, error.details() or "", connection.address
    if is_busy(error):
        sentence = f"The server at {address} has too much to do; send less at once, or try again later."
    elif status == "UNAVAILABLE" and details.startswith("The server is "):  # starting or stopping
        sentence = f"{_short(details)} ({address}); try again later."
    elif status == "UNAVAILABLE" and connection.tls:
        sentence = f"No server answers at {address} over TLS ({_short(details)}); compare its certificates and yours."
    elif status == "UNAVAILABLE":
        sentence = f"No server answers at {address}; start one with `morph serve DIR`."
    elif status == "DEADLINE_EXCEEDED":
        sentence = f"The server at {address} did not answer within {timeout:g} s; try again later."
    elif status == "NOT_FOUND":
        sentence = f"The server at {address} has no model '{model}'{chosen} ({_short(details)})."
    elif status == "UNIMPLEMENTED":
        sentence = f"What listens at {address} is no model server; start one with `morph serve DIR`."
    elif status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        sentence = f"The server at {address} does not let you in ({_short(details)}); give the token that it wants."
    elif status == "INVALID_ARGUMENT" and details:
        sentence = details
    else:
        sentence = f"The server at {address} failed with {status}: {_short(details)}"
    return ServerError(sentence, status, details)


def unreadable(connection: Connection, what: object) -> ServerError:
    """The answer makes no sense; `what` says why."""
    sentence = f"The server at {connection.address} gave an answer that cannot be read ({_short(str(what))})."
    return ServerError(sentence, "INTERNAL")


def changed() -> ServerError:
    """Galaxies that belong together were answered by models that do not."""
    return ServerError("The server changed to a model with other outputs between two messages; ask again.", "ABORTED")


def _short(text: str) -> str:
    """The first line of a server's words, which may be a whole report."""
    return (text.strip().splitlines() or ["no reason given"])[0][:300].rstrip(".")
