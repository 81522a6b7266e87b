"""The messages of the service that finds similar galaxies, and tables as columns of such a message.

``similar.proto`` declares them; `serving.protocol.messages` says how they are compiled.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import Message

from serving.protocol.messages import descriptor_of, message_class

SimilarRequest = message_class("morph.SimilarRequest")
SimilarResponse = message_class("morph.SimilarResponse")
Example = message_class("morph.Example")

_FILE = descriptor_of("morph.SimilarRequest").file
#: The service's full name, and its method's.
SERVICE = _FILE.services_by_name["Similar"].full_name
SEARCH = f"/{SERVICE}/{_FILE.services_by_name['Similar'].methods_by_name['Search'].name}"

#: How many galaxies are found where a request does not say it, and the most that one request may ask for.
FOUND, MOST_FOUND = 100, 10_000

#: The most examples of one request, and the most characters of its filter.
MOST_EXAMPLES, LONGEST_FILTER = 1_000, 4_000

#: Kind of an array -> the field of a column that holds its values. Whole numbers have no sign for unknown: where one
#: is, a column is sent as doubles.
_FIELDS = {"f": "doubles", "i": "integers", "u": "integers", "b": "integers", "U": "texts", "O": "texts"}


def write_columns(columns: Mapping[str, np.ndarray], into: Message) -> None:
    """Write arrays, [n] each, as the columns of a SimilarResponse. Truth becomes 0 and 1; None in a text, empty.

    >>> response = SimilarResponse()
    >>> write_columns({"id": np.array(["a", "b"]), "ra": np.array([1.5, np.nan])}, response)
    >>> read_columns(response)
    {'id': array(['a', 'b'], dtype='<U1'), 'ra': array([1.5, nan])}
    """
    for name, values in columns.items():
        column = into.columns.add(name=name)
        field = "floats" if values.dtype == np.float32 else _FIELDS[values.dtype.kind]
        plain = [text or "" for text in values] if field == "texts" else values.tolist()
        if field == "integers":
            plain = list(map(int, plain))
        getattr(column, field).SetInParent()
        getattr(column, field).values.extend(plain)


def read_columns(response: Message) -> dict[str, np.ndarray]:
    """The columns of a SimilarResponse as arrays, [n] each: float64, float32, int64 or text. ValueError where they do
    not make a table."""
    kinds: dict[str, Any] = {"doubles": "float64", "floats": "float32", "integers": "int64", "texts": str}
    columns = {}
    for column in response.columns:
        field = column.WhichOneof("values")
        if field is None:
            raise ValueError(f"its column '{column.name}' has no values")
        columns[column.name] = np.array(getattr(column, field).values, dtype=kinds[field])
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError("its columns are not equally long")
    return columns


def write_vectors(vectors: Iterable[np.ndarray], into: Message) -> None:
    """Write vectors, [d] each, as those of a SimilarResponse."""
    for vector in vectors:
        into.vectors.add().values.extend(vector.tolist())


def read_vectors(response: Message) -> np.ndarray:
    """The vectors of a SimilarResponse: float32 [n, d]. ValueError where they are not equally long."""
    return np.array([list(vector.values) for vector in response.vectors], dtype="float32")
