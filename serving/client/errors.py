"""A server's errors in one sentence for a person, and which of them are worth another attempt."""

import random
import re
from dataclasses import dataclass
from typing import Any

import grpc

from morph.errors import InputError

#: How servers report that a request is too large: more galaxies than they take (TensorFlow Serving, then the embedded
#: server), or more bytes than their gRPC takes.
_TOO_MANY = re.compile(r"larger than maximum input batch size (\d+)|a request holds between 1 and (\d+)")
_TOO_LONG = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")


class ServerError(InputError):
    """The server did not answer, or answered with an error; the message explains which.

    `status` is gRPC's name for it: UNAVAILABLE, INVALID_ARGUMENT, NOT_FOUND, DEADLINE_EXCEEDED, ... An answer that
    cannot be read has the status INTERNAL. `details` is the server's own text.
    """

    def __init__(self, message: str, status: str, details: str = ""):
        super().__init__(message)
        self.status, self.details = status, details

    def __reduce__(self) -> tuple[Any, ...]:
        return ServerError, (str(self), self.status, self.details)


@dataclass(frozen=True)
class Retries:
    """How often a message is sent again, and after which pause.

    Only UNAVAILABLE and RESOURCE_EXHAUSTED are worth another attempt: the server is not there, or overloaded. Before
    attempt k the client waits a random time up to ``first * 2**k`` seconds, at most `longest` (exponential backoff
    with full jitter: clients that were refused together do not come back together). No attempt goes beyond the
    message's deadline.

    gRPC's own retry policy allows five attempts at most, and none for messages larger than its buffer.

    Attributes
    ----------
    absent : further attempts when no server answers.
    busy : further attempts when the server's queue is full; None for as many as the deadline allows.
    first, longest : seconds.
    """

    absent: int = 3
    busy: int | None = None
    first: float = 0.1
    longest: float = 2.0

    @classmethod
    def of(cls, number: "int | Retries") -> "Retries":
        """`number` further attempts, whatever the reason; or a `Retries` as it is."""
        return number if isinstance(number, Retries) else cls(absent=number, busy=number)

    def pause(self, error: grpc.RpcError, attempts: int) -> float | None:
        """Seconds to wait after so many further `attempts`; None when there is to be no other."""
        if is_busy(error):
            most = self.busy
        elif error.code() is grpc.StatusCode.UNAVAILABLE:
            most = self.absent
        else:
            return None
        if most is not None and attempts >= most:
            return None
        return random.uniform(0, min(self.longest, self.first * 2 ** min(attempts, 30)))


def is_busy(error: grpc.RpcError) -> bool:
    """Whether the server refused because it is overloaded; TensorFlow Serving reports that as UNAVAILABLE."""
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


def explain(error: grpc.RpcError, address: str, model: str, timeout: float, *, tls: bool = False) -> ServerError:
    """gRPC's error as one sentence with a remedy.

    Parameters
    ----------
    error : as gRPC raised it.
    address, model : of the request; `model` may name the version too.
    timeout : seconds that the request was given.
    tls : whether it was sent over TLS.

    Returns
    -------
    The error to raise, with gRPC's status and the server's text.
    """
    status, details = error.code().name, error.details() or ""
    short = _short(details)
    sentences = {
        "UNAVAILABLE": f"No server answers at {address}; start one with `morph serve DIR`.",
        "DEADLINE_EXCEEDED": f"The server at {address} did not answer within {timeout:g} s; try again later.",
        "NOT_FOUND": f"The server at {address} has no model {model} ({short}).",
        "UNIMPLEMENTED": f"The program at {address} is not a model server; start one with `morph serve DIR`.",
        "UNAUTHENTICATED": f"The server at {address} does not let you in ({short}); give the token that it expects.",
        "INVALID_ARGUMENT": details,
    }
    sentences["PERMISSION_DENIED"] = sentences["UNAUTHENTICATED"]
    if is_busy(error):
        sentence = f"The server at {address} is overloaded; send less at once, or try again later."
    elif status == "UNAVAILABLE" and details.startswith("The server is "):  # starting or stopping
        sentence = f"{short} ({address}); try again later."
    elif status == "UNAVAILABLE" and tls:
        sentence = f"No server answers at {address} over TLS ({short}); compare its certificates and yours."
    else:
        sentence = sentences.get(status) or f"The server at {address} failed with {status}: {short}"
    return ServerError(sentence, status, details)


def explain_search(error: grpc.RpcError, address: str, timeout: float, *, tls: bool = False) -> ServerError:
    """As `explain`, of a server that finds similar galaxies: what it refuses, it explains itself.

    Parameters
    ----------
    error, address, timeout, tls : as there.

    Returns
    -------
    The error to raise.
    """
    status, details = error.code().name, error.details() or ""
    if status in ("NOT_FOUND", "FAILED_PRECONDITION") and details:
        return ServerError(details, status, details)
    found = explain(error, address, "", timeout, tls=tls)
    sentence = str(found).replace("is not a model server", "does not search an index")
    return ServerError(sentence.replace("morph serve DIR", "morph explore INDEX"), status, details)


def unreadable(address: str, reason: object) -> ServerError:
    """The answer of the server at `address` makes no sense, for this reason."""
    return ServerError(
        f"The server at {address} gave an answer that cannot be read ({_short(str(reason))}).", "INTERNAL"
    )


def changed() -> ServerError:
    """Galaxies that belong together were answered by different models."""
    return ServerError("The server changed to a model with other outputs between two messages; ask again.", "ABORTED")


def _short(text: str) -> str:
    """The first line of a server's text, which may be a whole report."""
    return (text.strip().splitlines() or ["no reason given"])[0][:300].rstrip(".")
