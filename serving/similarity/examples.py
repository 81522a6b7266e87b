"""The examples of a search as people name them: an image, a galaxy's id or its position."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from morph.errors import InputError
from serving.client.pictures import FitsLayout, Picture, find_pictures, is_picture, read_pictures
from serving.similarity.index import Index

#: A position: right ascension and declination, degrees.
_POSITION = re.compile(r"\s*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*[, ]\s*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*")

#: Stamps to answers, ``similarity`` [n, d] and ``anomaly_score`` [n].
Answer = Callable[[np.ndarray], dict[str, np.ndarray]]

IMAGE, ID, POSITION = "image", "id", "position"


@dataclass(frozen=True)
class Example:
    """What a person names: a file, an id or a position, by its `kind`."""

    kind: str
    text: str

    @property
    def name(self) -> str:
        """Its name, of a file without the folder."""
        return Path(self.text).name if self.kind == IMAGE else self.text

    @classmethod
    def guess(cls, text: str) -> "Example":
        """What a text without more names: the image at that path if there is one, a position, or else an id."""
        if _POSITION.fullmatch(text):
            return cls(POSITION, text)
        path = Path(text)
        return cls(IMAGE if path.is_file() and is_picture(path) else ID, text)


@dataclass(frozen=True)
class Query:
    """Examples found.

    Attributes
    ----------
    like, unlike : their similarity vectors, [k, d] and [m, d].
    exclude : the galaxies among them, by id or position, which are no hits.
    pictures : those that came as images.
    notes : what people should know of them, a sentence each.
    """

    like: np.ndarray
    unlike: np.ndarray
    exclude: list[str | tuple[float, float]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@contextmanager
def local_model(name: str) -> Iterator[tuple[dict[str, Any], Answer]]:
    """The description of a local model, and the model."""
    from morph.model.store import load_model

    classifier = load_model(name)
    yield classifier.describe(), classifier.answer


@contextmanager
def served_model(address: str, options: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Answer]]:
    """The same of a model on a server; `options` are those of `MorphClient`."""
    from serving.client import MorphClient

    with MorphClient(address, **options) as client:
        yield client.describe(), lambda stamps: client.classify(stamps, ["similarity", "anomaly_score", "anomaly"])


def find_examples(
    index: Index,
    like: Sequence[Example],
    unlike: Sequence[Example],
    model: Callable[[], Any] | None = None,
    layout: FitsLayout | None = None,
) -> Query:
    """The vectors of examples.

    Parameters
    ----------
    index : in which ids and positions are looked up.
    like, unlike : the examples.
    model : opens the model that makes the vectors of images (`local_model`, `served_model`); it is not opened where
        no example is an image.
    layout : what the headers of FITS files leave out.

    Returns
    -------
    The query.

    Raises
    ------
    InputError : an example is not there, an image cannot be read or has no model, or the model is another than that of
        the index.
    """
    every = [*like, *unlike]
    images = [example.text for example in every if example.kind == IMAGE]
    if images and model is None:
        raise InputError(
            f"An image needs the model of the index, {index.header.model.full}, for its vector; name a server with it "
            "by --server, or the model itself by --model."
        )
    found = Query(np.empty((0, index.dimension)), np.empty((0, index.dimension)))
    known = [None if example.kind == IMAGE else _known(index, example, found) for example in every]
    of_images = iter(_of_images(index, images, model, layout or FitsLayout(), found) if images and model else ())
    vectors = np.array([next(of_images) if vector is None else vector for vector in known])
    return Query(vectors[: len(like)], vectors[len(like) :], found.exclude, found.pictures, found.notes)


def _known(index: Index, example: Example, found: Query) -> np.ndarray:
    """The vector of a galaxy of the index."""
    if example.kind == ID:
        id_ = example.text
    else:
        match = _POSITION.fullmatch(example.text)
        if match is None:
            raise InputError(f"'{example.text}' is not a position; write RA,DEC in degrees, such as 53.1,-27.8.")
        id_ = index.at(float(match[1]), float(match[2]))
        found.notes.append(f"The galaxy at {example.text} is {id_}.")
    found.exclude.append(id_)
    return index.vector_of(id_)


def _of_images(
    index: Index, names: Sequence[str], model: Callable[[], Any], layout: FitsLayout, found: Query
) -> Iterator[np.ndarray]:
    """The vectors of images, in their order."""
    # Before a model is loaded, so that a wrong name is reported at once.
    groups = [_files(name) for name in names]
    with model() as (description, answer):
        index.compatible_with(description)
        for name, files in zip(names, groups, strict=True):
            picture = _read(name, files, int(description["size"]), layout)
            answers = answer(picture.image[None])
            found.pictures.append(picture)
            if picture.position is not None:
                found.exclude.append(picture.position)
            if answers["anomaly"][0]:
                found.notes.append(
                    f"'{name}' is anomalous (p = {float(answers['anomaly_score'][0]):.2g}): it may not show a galaxy, "
                    "and what is found may be alike in nothing that matters."
                )
            yield answers["similarity"][0]


def _files(name: str) -> list[list[Path]]:
    """The files of an image, by galaxy."""
    groups, errors = find_pictures([name])
    if errors:
        raise errors[0]
    return groups


def _read(name: str, groups: Sequence[Sequence[Path]], size: int, layout: FitsLayout) -> Picture:
    """The one galaxy that an image's files show."""
    pictures = list(read_pictures(groups, size, layout))
    if len(pictures) != 1:
        raise InputError(f"'{name}' holds {len(pictures)} galaxies; name an image of one.")
    if isinstance(pictures[0], InputError):
        raise pictures[0]
    return pictures[0]
