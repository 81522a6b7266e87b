"""Similar galaxies: the request to a server of `morph explore` from what a caller gives, and its answer."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import Message

from morph.errors import InputError
from serving.client.answers import Columns
from serving.client.images import batch, pixels
from serving.protocol import messages
from serving.protocol.similar import MOST_FOUND, SimilarRequest, read_columns, read_vectors

if TYPE_CHECKING:
    from serving.client.pictures import FitsLayout


class Hits(Columns):
    """The galaxies that were found, best first: a dict of columns, [n] each.

    >>> hits = Hits({"id": np.array(["a"]), "similarity": np.array([0.98])}, "morph", "3", np.eye(1, 50))
    >>> hits["id"].tolist(), hits.model_version
    (['a'], '3')

    Attributes
    ----------
    model, model_version : of the index.
    vectors : float32 [k, d], the similarity vectors of the examples as they were used, first those that are alike.
    notes : what people should know of the examples, such as that an image may not show a galaxy; a sentence each.
    """

    def __init__(
        self,
        columns: dict[str, np.ndarray],
        model: str,
        model_version: str,
        vectors: np.ndarray,
        notes: Iterable[str] = (),
    ):
        super().__init__(columns)
        self.model, self.model_version, self.vectors, self.notes = model, model_version, vectors, tuple(notes)

    @classmethod
    def of(cls, response: Message) -> "Hits":
        """The galaxies in a response. ValueError where it does not make a table."""
        columns, vectors = read_columns(response), read_vectors(response)
        return cls(columns, response.model, response.model_version, vectors, response.notes)


def similar_request(
    image: Any = None,
    like: str | Iterable[str] = (),
    unlike: "str | Iterable[str] | np.ndarray" = (),
    position: Sequence | None = None,
    vectors: Any = None,
    weights: Sequence[float] | None = None,
    where: str = "",
    cone: tuple[float, float, float] | None = None,
    n: int = 100,
    columns: Iterable[str] = (),
    layout: "FitsLayout | None" = None,
) -> Message:
    """The request for what `MorphClient.similar` takes.

    Parameters
    ----------
    image, like, unlike, position, vectors, weights, where, cone, n, columns, layout : as there.

    Returns
    -------
    A SimilarRequest.

    Raises
    ------
    InputError : there is no example, an image cannot be read, or numbers are impossible.
    """
    if not 1 <= n <= MOST_FOUND:
        raise InputError(f"Between 1 and {MOST_FOUND:,} galaxies can be found at once; n is {n}.")
    request = SimilarRequest(where=where or "", n=n, columns=list(columns))
    for each in _images(image):
        _add_image(request.like.add(), each, layout)
    for name in several(like):
        request.like.add(id=name)
    for ra, dec in np.atleast_2d(np.array([] if position is None else position, dtype=float)).reshape(-1, 2):
        request.like.add(position={"ra": ra, "dec": dec})
    _add_vectors(request.like, vectors)
    if isinstance(unlike, np.ndarray):
        _add_vectors(request.unlike, unlike)
    else:
        for name in several(unlike):
            request.unlike.add(id=name)
    if not request.like:
        raise InputError("There is nothing to search by; give an image, the id of a galaxy, a position or vectors.")
    if weights is not None:
        if len(weights) != len(request.like) or not all(np.isfinite(w) and w > 0 for w in weights):
            raise InputError(f"Weights are positive numbers, one for each of the {len(request.like)} examples.")
        for example, weight in zip(request.like, weights, strict=True):
            example.weight = weight
    if cone is not None:
        request.cone.ra, request.cone.dec, request.cone.radius = map(float, cone)
    return request


def several(names: str | Iterable[str]) -> list[str]:
    """Names as a list, where one may be given alone."""
    return [names] if isinstance(names, str) else [str(name) for name in names]


def _images(image: Any) -> list[Any]:
    """Each galaxy's image, or its files."""
    if image is None:
        return []
    if isinstance(image, list):
        return [each for one in image for each in _images(one)]
    if isinstance(image, (str, os.PathLike, tuple)):
        return [image]
    return list(batch(pixels(image)))


def _add_image(example: Message, image: Any, layout: "FitsLayout | None") -> None:
    if isinstance(image, np.ndarray):
        messages.to_tensor(image, example.image)
        return
    for path in map(Path, image if isinstance(image, tuple) else (image,)):
        try:
            example.files.files.add(name=path.name, content=path.read_bytes())
        except OSError as error:
            raise InputError(f"The image '{path}' cannot be read ({error.strerror}).") from None
    for name in ("survey", "bands", "zero_point", "unit"):
        value = getattr(layout, name, None)
        setattr(example.files, name, "" if value is None else str(value))


def _add_vectors(examples: Any, vectors: Any) -> None:
    if vectors is None:
        return
    for vector in np.atleast_2d(np.asarray(vectors, dtype="float32")):
        examples.add().vector.values.extend(vector.tolist())
