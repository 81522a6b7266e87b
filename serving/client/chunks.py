"""Galaxies into messages of bounded size, and their replies back into galaxies, both in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.client.errors import changed
from serving.client.images import SIGNATURES

#: The version of a reply that does not contain one.
NO_VERSION = -1


@dataclass(frozen=True)
class Chunk:
    """The images of one message, all for one signature, and other inputs of as many rows."""

    signature: str
    rows: np.ndarray
    others: dict[str, np.ndarray] = field(default_factory=dict)

    def part(self, start: int, stop: int) -> "Chunk":
        """Some of its rows."""
        others = {name: values[start:stop] for name, values in self.others.items()}
        return Chunk(self.signature, self.rows[start:stop], others)


@dataclass(frozen=True)
class Reply:
    """The outputs for some galaxies, and the version of the model (or `NO_VERSION`) for each row."""

    outputs: dict[str, np.ndarray]
    versions: np.ndarray

    def __len__(self) -> int:
        return len(self.versions)

    def rows(self, start: int, stop: int) -> "Reply":
        return Reply({name: array[start:stop] for name, array in self.outputs.items()}, self.versions[start:stop])

    @staticmethod
    def join(parts: Sequence["Reply"]) -> "Reply":
        """All rows in order. ServerError when the parts have different outputs."""
        if len(parts) == 1:
            return parts[0]
        kinds = [{name: (array.dtype, array.shape[1:]) for name, array in part.outputs.items()} for part in parts]
        if any(kind != kinds[0] for kind in kinds):
            raise changed()
        outputs = {name: np.concatenate([part.outputs[name] for part in parts]) for name in kinds[0]}
        return Reply(outputs, np.concatenate([part.versions for part in parts]))


@dataclass
class Item:
    """One item of the caller: the number of its galaxies, and for those from files their names and flags.

    `blank` is true for an item without galaxies, in whose place one empty image is sent; `complete` once every galaxy
    of the item is in a chunk.
    """

    rows: int = 0
    blank: bool = False
    complete: bool = False
    ids: list[str] = field(default_factory=list)
    flags: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, rows: int, name: str = "", flags: tuple[str, ...] = ()) -> None:
        """Count images that were read.

        Parameters
        ----------
        rows : how many.
        name : their id.
        flags : of each.
        """
        self.rows += rows
        self.ids += [name] * rows
        self.flags += [flags] * rows


class Batching:
    """Packs items into chunks as large as allowed, and splits the replies into those of each item.

    Parameters
    ----------
    capacity : the number of images like a given one that fit into a message, from now on.
    signature : the signature that takes all images; chosen by their type if not given.
    others : the other inputs of the images from one number to another, counted over all items.
    """

    def __init__(
        self,
        capacity: Callable[[np.ndarray], int],
        signature: str | None = None,
        others: Callable[[int, int], dict[str, np.ndarray]] | None = None,
    ):
        self._capacity, self._signature, self._others, self._sent = capacity, signature, others, 0
        self._buffer, self._filled = np.empty(0), 0
        self._items: deque[Item] = deque()
        self._replies: deque[Reply] = deque()
        self._answered = 0

    def add(self, images: Iterable, blank: Callable[[], np.ndarray]) -> Iterator[Chunk]:
        """Take one item, as `Images.read` gives it, and yield the chunks that are full by now.

        An item without galaxies sends one empty image, because servers refuse empty batches and the answer needs its
        shapes; `blank` makes it where the item has no shape either.
        """
        item = Item()
        self._items.append(item)
        empty = None
        for image in images:
            if isinstance(image, np.ndarray):
                rows, name, flags = image, "", ()
            else:
                rows, name, flags = image.image[None], image.id, image.flags
            if not len(rows):
                empty = rows
                continue
            item.add(len(rows), name, flags)
            yield from self._pack(rows)
        if not item.rows:
            item.blank = True
            item.rows = 1
            yield from self._pack(blank() if empty is None else np.zeros((1, *empty.shape[1:]), empty.dtype))
        item.complete = True

    def flush(self) -> Iterator[Chunk]:
        """The last chunk, which is not full."""
        if self._filled:
            yield self._chunk()

    def receive(self, reply: Reply) -> None:
        """Take the reply to the next chunk."""
        self._replies.append(reply)
        self._answered += len(reply)

    def finished(self) -> Iterator[tuple[Item, Reply]]:
        """The items whose galaxies are all answered. ServerError when the parts of one have different outputs."""
        while self._items and self._items[0].complete and self._items[0].rows <= self._answered:
            item = self._items.popleft()
            reply = self._take(item.rows)
            yield item, reply.rows(0, 0) if item.blank else reply

    def _pack(self, rows: np.ndarray) -> Iterator[Chunk]:
        if self._filled and (self._buffer.dtype, self._buffer.shape[1:]) != (rows.dtype, rows.shape[1:]):
            yield self._chunk()
        while len(rows):
            if not self._filled:
                self._buffer = np.empty((self._capacity(rows[0]), *rows.shape[1:]), rows.dtype)
            # Copied at once: a caller may fill the same array with the next galaxy.
            taken = rows[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            rows = rows[len(taken) :]
            if self._filled == len(self._buffer):
                yield self._chunk()

    def _chunk(self) -> Chunk:
        rows, self._filled = self._buffer[: self._filled], 0
        start, self._sent = self._sent, self._sent + len(rows)
        others = self._others(start, self._sent) if self._others else {}
        return Chunk(self._signature or SIGNATURES[rows.dtype], rows, others)

    def _take(self, rows: int) -> Reply:
        """The next `rows` rows of the replies."""
        self._answered -= rows
        parts = []
        while rows:
            reply = self._replies.popleft()
            parts.append(reply.rows(0, rows))
            if len(reply) > rows:
                self._replies.appendleft(reply.rows(rows, len(reply)))
            rows -= len(parts[-1])
        return Reply.join(parts)
