"""Searches as the page, REST and gRPC ask for them: examples of any kind in, galaxies of the index out."""

import asyncio
import difflib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from google.protobuf.message import Message

from morph.errors import InputError
from serving.client import AsyncMorphClient, ServerError
from serving.client.pictures import FitsLayout, Picture
from serving.protocol.messages import from_tensor
from serving.protocol.similar import FOUND, LONGEST_FILTER, MOST_EXAMPLES, MOST_FOUND
from serving.savedmodel.servable import StatusError
from serving.similarity.index import Index, Place
from serving.similarity.places import place_at, place_of, without_folder
from serving.similarity.uploads import read_galaxy

log = logging.getLogger("morph.explore")

#: Seconds that a request may take; requests that may wait at once, and those among them with images.
ANSWERING, WAITING, IMAGES = 30.0, 64, 8

#: What the model answers for an image.
ANSWERS = ("similarity", "anomaly", "anomaly_score")

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """The galaxies that a search found, best first.

    Attributes
    ----------
    table : their rows.
    vectors : float32 [k, d], the similarity vectors of the examples, first those that are alike.
    stamps : those of the examples that came as images.
    notes : what people should know of these, a sentence each.
    """

    table: pa.Table
    vectors: np.ndarray
    stamps: list[np.ndarray] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class ModelServer:
    """The server whose model makes similarity vectors of images; its version is that of the index.

    Parameters
    ----------
    address : HOST:PORT.
    options : of `AsyncMorphClient`.
    """

    def __init__(self, address: str, **options: Any):
        self.address, self._options = address, options
        self._client: AsyncMorphClient | None = None
        self.size = 0

    async def open(self, index: Index) -> None:
        """Connect. InputError when no server answers, or its model is not that of the index."""
        await self.close()
        async with AsyncMorphClient(self.address, **self._options) as client:
            description = await client.describe()
        index.compatible_with(description)
        self.size = int(description["size"])
        # By version, so that a newer model that the server loads does not answer for the old one.
        version = {"version": int(description["version"])}
        self._client = AsyncMorphClient(self.address, **{**self._options, **version, "label": None})

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def answer(self, stamps: Sequence[np.ndarray], index: Index) -> dict[str, np.ndarray]:
        """`ANSWERS` for images, a row each. StatusError or InputError where there are none."""
        try:
            try:
                return await self._ask(stamps)
            except ServerError as error:
                if error.status != "NOT_FOUND":
                    raise
            # Another version answers there now, which may be the same model.
            await self.open(index)
            return await self._ask(stamps)
        except ServerError as error:
            if error.status == "INVALID_ARGUMENT":
                raise
            status = error.status if error.status in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED") else "UNAVAILABLE"
            raise StatusError(status, f"The server is without its model: {error}") from None

    async def _ask(self, stamps: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        assert self._client is not None
        return await self._client.classify(list(stamps), ANSWERS)


class Searches:
    """Answers requests of the service `Similar`, and finds galaxies to begin with.

    Parameters
    ----------
    index : the index.
    model : the server of its model, open; without one, images are refused.
    """

    def __init__(self, index: Index, model: ModelServer | None = None):
        self.index, self.model = index, model
        self.stopping = False
        self._waiting = 0
        self._searching = ThreadPoolExecutor(2, "morph-search")
        # An image may take seconds and half a gigabyte.
        self._reading = ThreadPoolExecutor(1, "morph-images")
        self._places = asyncio.Semaphore(IMAGES)

    def close(self) -> None:
        for threads in (self._searching, self._reading):
            threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def admitted(self, seconds: float = ANSWERING) -> AsyncIterator[None]:
        """The time of a request. Every error within becomes a StatusError; one that takes longer, or that comes while
        as many as can be are under way, is refused."""
        if self.stopping:
            raise StatusError("UNAVAILABLE", "The server is stopping.")
        if self._waiting >= WAITING:
            raise StatusError("RESOURCE_EXHAUSTED", "The server searches for many others; try again later.")
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise StatusError("DEADLINE_EXCEEDED", f"The search took longer than {seconds:.3g} s.") from None
        except InputError as error:
            raise StatusError("INVALID_ARGUMENT", without_folder(self.index, error)) from None
        except StatusError:
            raise
        except Exception:
            log.exception("A search failed")
            raise StatusError("INTERNAL", "The search failed; the server's log says why.") from None
        finally:
            self._waiting -= 1

    async def run(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a thread for searches; where the request ends before its turn, it is not called."""
        return await asyncio.get_running_loop().run_in_executor(self._searching, call, *arguments)

    # --- Similar galaxies -----------------------------------------------------------------------------------

    async def similar(self, request: Message, then: Callable[[Found], T]) -> T:
        """What `then` makes of the galaxies most like the examples of a SimilarRequest, in a thread for searches.
        StatusError or InputError where there are none."""
        index = self.index
        _check(request, index)
        images = await self._images([*request.like, *request.unlike])
        answers = {}
        if images and self.model is not None:
            answers = await self.model.answer([picture.image for picture in images.values()], index)
        # In one go: each change of thread costs a busy machine a while.
        return await self.run(lambda: then(_found(index, request, images, answers)))

    async def _images(self, examples: Sequence[Message]) -> dict[int, Picture]:
        """The images among the examples, by their numbers."""
        images: dict[int, Picture] = {}
        for number, example in enumerate(examples):
            kind = example.WhichOneof("galaxy")
            if kind in ("image", "files") and self.model is None:
                raise StatusError(
                    "FAILED_PRECONDITION", "Images need a model server; start `morph explore` with --server HOST:PORT."
                )
            if kind == "image":
                images[number] = Picture("image", _image(example, self.model.size if self.model else 0))
            elif kind == "files":
                images[number] = await self._read(example.files)
        return images

    async def _read(self, files: Message) -> Picture:
        if self._places.locked():
            raise StatusError("RESOURCE_EXHAUSTED", "The server reads many images already; try again later.")
        content = [(file.name, file.content) for file in files.files]
        layout = FitsLayout(*(getattr(files, name) or None for name in ("survey", "bands", "zero_point", "unit")))
        size = self.model.size if self.model else 0
        async with self._places:
            return await asyncio.get_running_loop().run_in_executor(self._reading, read_galaxy, content, size, layout)

    # --- Galaxies to begin with -----------------------------------------------------------------------------

    async def find(self, text: str) -> str:
        """The id of the galaxy that a person names: by its id, or by a position within a few arcsec."""
        position, index = _position(text), self.index
        if position is None:
            place = await self.run(place_of, index, text.strip())
        else:
            place = await self.run(place_at, index, *position)
        return str((await self.run(index.row, place))["id"])


def _check(request: Message, index: Index) -> None:
    if not request.like:
        raise InputError("A search needs at least one example: an image, an id, a position or a vector.")
    if len(request.like) + len(request.unlike) > MOST_EXAMPLES:
        raise InputError(f"A search takes at most {MOST_EXAMPLES:,} examples.")
    if request.n > MOST_FOUND:
        raise InputError(f"Between 1 and {MOST_FOUND:,} galaxies can be found at once; n is {request.n:,}.")
    check_filter(request.where)
    known = [*index.schema.names, "similarity"]
    for name in request.columns:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.5)
            raise InputError(f"The index has no column '{name[:80]}'; it has {', '.join(near or known[:12])}.")


def check_filter(text: str) -> None:
    """InputError for a filter that is too long to be read."""
    if len(text) > LONGEST_FILTER:
        raise InputError(f"A filter has at most {LONGEST_FILTER:,} characters; this one has {len(text):,}.")


def _image(example: Message, size: int) -> np.ndarray:
    """The stamp of an example. InputError where it is not one."""
    try:
        stamp = from_tensor(example.image)
    except ValueError as error:
        raise InputError(f"An image cannot be read: {error}.") from None
    if stamp.shape != (size, size, 3) or stamp.dtype not in ("float32", "uint8"):
        raise InputError(
            f"An image of shape {stamp.shape} ({stamp.dtype}) is not a stamp of the model, float32 or uint8 of shape "
            f"({size}, {size}, 3); send the file, which is cut to its galaxy."
        )
    return stamp


def _place(index: Index, example: Message) -> Place | None:
    """Where the galaxy of an example is in the index; None of a vector. StatusError where it is not there."""
    match example.WhichOneof("galaxy"):
        case "id":
            return place_of(index, example.id)
        case "position":
            return place_at(index, example.position.ra, example.position.dec)
        case "vector":
            return None
    raise InputError("An example is empty; give an image, an id, a position or a vector.")


def _vector(index: Index, example: Message, place: Place | None) -> np.ndarray:
    if place is not None:
        return index.vector(place)
    values = np.array(example.vector.values, dtype="float32")
    if values.shape != (index.dimension,):
        raise InputError(f"A vector has {len(values)} numbers; those of the index have {index.dimension}.")
    return values


def _found(index: Index, request: Message, images: dict[int, Picture], answers: dict[str, np.ndarray]) -> Found:
    """The galaxies most like the examples of a request, of which `images` have the model's `answers`."""
    vectors: list[np.ndarray] = []
    exclude: list[str | tuple[float, float]] = []
    of_images = iter(answers["similarity"] if images else ())
    for number, example in enumerate([*request.like, *request.unlike]):
        if number in images:
            vectors.append(next(of_images))
            if (position := images[number].position) is not None:
                exclude.append(position)
            continue
        place = _place(index, example)
        vectors.append(_vector(index, example, place))
        if place is not None:
            exclude.append(str(index.row(place)["id"]))
    like = len(request.like)
    table = index.search(
        np.array(vectors[:like]),
        request.n or FOUND,
        [example.weight or 1.0 for example in request.like],
        np.array(vectors[like:]) if len(vectors) > like else None,
        request.where.strip() or None,
        (request.cone.ra, request.cone.dec, request.cone.radius) if request.HasField("cone") else None,
        exclude,
        copies=not images,
    )
    notes = list(_notes(images.values(), answers)) if images else []
    return Found(table, np.array(vectors), [picture.image for picture in images.values()], notes)


def _notes(images: Iterable[Picture], answers: dict[str, np.ndarray]) -> Iterator[str]:
    """How images were read, and which may not show a galaxy."""
    for picture, odd, score in zip(images, answers["anomaly"], answers["anomaly_score"], strict=True):
        yield from picture.notes
        if odd:
            yield (
                f"'{picture.id}' is anomalous (p = {score:.2g}): it may not show a galaxy, and what is found may be "
                "alike in nothing that matters."
            )


def _position(text: str) -> tuple[float, float] | None:
    """Right ascension and declination, degrees, that a text gives in degrees or sexagesimal; None where it gives
    none."""
    parts = text.replace(",", " ").split()
    try:
        if len(parts) == 2:
            return float(parts[0]), float(parts[1])
    except ValueError:
        pass
    if not any(mark in text for mark in (":", "h")) or len(text) > 80:
        return None
    from astropy import units
    from astropy.coordinates import SkyCoord

    try:
        found = SkyCoord(text.replace(",", " "), unit=(units.hourangle, units.deg))
    except (ValueError, TypeError):
        return None
    return float(found.ra.deg), float(found.dec.deg)
