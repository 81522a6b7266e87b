"""Galaxies into messages and answers back to galaxies: what belongs to whom, whatever the sizes of both."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from serving.client.images import SIGNATURES
from serving.client.reply import Reply


@dataclass(frozen=True)
class Chunk:
    """The images of one message, all for one signature."""

    signature: str
    rows: np.ndarray


@dataclass
class Item:
    """What the caller gave at once: how many rows were made of it, and what their files were called."""

    rows: int = 0
    blank: bool = False
    whole: bool = False
    ids: list[str] = field(default_factory=list)
    flags: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, rows: int, name: str = "", flags: tuple[str, ...] = ()) -> None:
        self.rows += rows
        self.ids += [name] * rows
        self.flags += [flags] * rows


class Flow:
    """Packs items into messages as large as allowed, and unpacks the replies, both in order.

    Parameters
    ----------
    most : how many images like a given one go into a message, from now on.
    signature : where all images go; by their kind if not given.
    """

    def __init__(self, most: Callable[[np.ndarray], int], signature: str | None = None):
        self._most, self._signature = most, signature
        self._message, self._filled = np.empty(0), 0
        self._items: deque[Item] = deque()
        self._replies: deque[Reply] = deque()
        self._answered = 0

    def put(self, images: Iterable, blank: Callable[[], np.ndarray]) -> Iterator[Chunk]:
        """Take one item, as `Images.read` gives it, and give the messages that are full by now.

        An item without galaxies sends one blank, because servers refuse empty batches and the answer needs its
        shapes; `blank` makes it where the item does not even tell the shape of a galaxy.
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
        item.whole = True

    def rest(self) -> Iterator[Chunk]:
        """The last message, which is not full."""
        if self._filled:
            yield self._packet()

    def take(self, reply: Reply) -> None:
        """The reply to the next message."""
        self._replies.append(reply)
        self._answered += len(reply)

    def finished(self) -> Iterator[tuple[Item, Reply]]:
        """The items that are answered whole by now. ServerError when the parts of one have different outputs."""
        while self._items and self._items[0].whole and self._items[0].rows <= self._answered:
            item = self._items.popleft()
            reply = self._cut(item.rows)
            yield item, reply.rows(0, 0) if item.blank else reply

    def _pack(self, rows: np.ndarray) -> Iterator[Chunk]:
        if self._filled and (self._message.dtype, self._message.shape[1:]) != (rows.dtype, rows.shape[1:]):
            yield self._packet()
        while len(rows):
            if not self._filled:
                self._message = np.empty((self._most(rows[0]), *rows.shape[1:]), rows.dtype)
            # Copied at once: a caller may fill the same array with the next galaxy.
            taken = rows[: len(self._message) - self._filled]
            self._message[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            rows = rows[len(taken) :]
            if self._filled == len(self._message):
                yield self._packet()

    def _packet(self) -> Chunk:
        rows, self._filled = self._message[: self._filled], 0
        return Chunk(self._signature or SIGNATURES[rows.dtype], rows)

    def _cut(self, rows: int) -> Reply:
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
