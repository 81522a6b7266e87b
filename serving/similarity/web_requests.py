"""Requests for similar galaxies in an address, which is also the page's own, and in JSON."""

import base64
import binascii
import json

import numpy as np
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from multidict import MultiMapping

from morph.errors import InputError, first_line
from serving.protocol.similar import MOST_FOUND, SimilarRequest


def from_query(query: MultiMapping[str], dimension: int) -> Message:
    """The SimilarRequest in the query of an address, which is also the page's own: `like`, `unlike` and `vector` as
    often as there are examples, `where` as often as there are conditions, `cone`, `n`. InputError where it is none."""
    request = SimilarRequest(n=whole_number(query.get("n", "60"), "n", MOST_FOUND, 1))
    for name in query.getall("like", ()):
        request.like.add(id=name)
    for text in query.getall("vector", ()):
        request.like.add().vector.values.extend(_from_text(text, dimension))
    for name in query.getall("unlike", ()):
        request.unlike.add(id=name)
    conditions = [text.strip() for text in query.getall("where", ()) if text.strip()]
    request.where = conditions[0] if len(conditions) == 1 else " and ".join(f"({text})" for text in conditions)
    if query.get("cone"):
        try:
            request.cone.ra, request.cone.dec, request.cone.radius = map(float, query["cone"].split(","))
        except ValueError:
            raise InputError("A cone is RA,DEC,RADIUS in degrees, three numbers.") from None
    return request


def whole_number(text: str, name: str, most: int, least: int = 0) -> int:
    """A number in an address.

    Parameters
    ----------
    text : as it was sent.
    name : of the parameter.
    most, least : what it may be.

    Returns
    -------
    The number.

    Raises
    ------
    InputError : it is not such a number.

    Examples
    --------
    >>> whole_number("12", "n", 100)
    12
    """
    try:
        number = int(text[:20])
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise InputError(f"{name} is a whole number from {least} to {most:,}; it is '{text[:40]}'.")
    return number


def vector_to_text(vector: np.ndarray) -> str:
    """A vector for an address: base64 of its numbers in half precision."""
    return base64.urlsafe_b64encode(vector.astype("<f2").tobytes()).decode().rstrip("=")


def _from_text(text: str, dimension: int) -> list[float]:
    """The numbers that `vector_to_text` wrote. InputError where they are not those of a vector."""
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        vector = np.frombuffer(content, "<f2").astype("float32")
    except (ValueError, binascii.Error):
        vector = np.empty(0, "float32")
    if len(vector) != dimension or not np.isfinite(vector).all():
        raise InputError("The address holds a vector that is not whole; search by the image again.")
    return vector.tolist()


def from_json(body: bytes) -> Message:
    """The SimilarRequest in a document of protobuf's JSON. InputError where it is none."""
    try:
        return ParseDict(json.loads(body), SimilarRequest())
    except (ValueError, RecursionError, ParseError, AttributeError, TypeError) as error:
        raise InputError(f"The body is not a SimilarRequest in JSON: {first_line(error)}.") from None
