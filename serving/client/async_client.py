"""The asyncio client: the methods of `MorphClient` for an event loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from serving.client.answers import Answers, Columns, named
from serving.client.chunks import Batching, Chunk, Item, Reply
from serving.client.exchange import Exchange, Running, Send, T
from serving.client.images import Images, is_ready
from serving.client.protocol import IN_FLIGHT, Client, names, require_several
from serving.client.restoring import RESTORED, Widths
from serving.client.similar import Hits, similar_request

if TYPE_CHECKING:
    from morph.domain_shift.sample import Sample
    from serving.client.pictures import FitsLayout


class AsyncMorphClient(Client):
    """`MorphClient` for an event loop: the same methods, awaited; parameters as in `Client`.

    It belongs to the event loop in which it is used first. Files are read in threads, so that they do not block it.

    >>> async with AsyncMorphClient("127.0.0.1:8500") as client:  # doctest: +SKIP
    ...     answers = await client.classify(images)
    ...     async for answers in client.stream(galaxies): ...
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> "AsyncMorphClient":
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()

    async def close(self) -> None:
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def available_versions(self) -> list[int]:
        """As `MorphClient.available_versions`."""
        return await self._run(self._protocol.available())

    async def describe(self) -> dict[str, Any]:
        """As `MorphClient.describe`."""
        return await self._run(self._protocol.describe())

    async def reference_sample(self) -> "Sample | None":
        """As `MorphClient.reference_sample`."""
        return await self._run(self._protocol.reference_sample())

    async def classify(
        self, images: Any, outputs: Iterable[str] = (), *, layout: "FitsLayout | None" = None, cut: bool = False
    ) -> Answers:
        """As `MorphClient.classify`.

        Parameters
        ----------
        images, outputs, layout, cut : as there.

        Returns
        -------
        `Answers` for all images.
        """
        (answers,) = [each async for each in self.stream([images], outputs, layout=layout, cut=cut)]
        return answers

    async def stream(
        self,
        galaxies: Iterable[Any] | AsyncIterable[Any],
        outputs: Iterable[str] = (),
        *,
        in_flight: int = IN_FLIGHT,
        layout: "FitsLayout | None" = None,
        cut: bool = False,
    ) -> AsyncIterator[Answers]:
        """As `MorphClient.stream`.

        Parameters
        ----------
        galaxies : an iterable or an asynchronous one.
        outputs, in_flight, layout, cut : as there.

        Yields
        ------
        `Answers` for each item.
        """
        items = require_several(galaxies, in_flight)
        async for item, reply in self._stream(items, names(outputs), in_flight, layout, cut):
            yield await self._run(self._protocol.answers(reply, item))

    async def reconstruct(self, images: Any, *, layout: "FitsLayout | None" = None, cut: bool = False) -> np.ndarray:
        """As `MorphClient.reconstruct`.

        Parameters
        ----------
        images, layout, cut : as there.

        Returns
        -------
        float32 [n, size, size, 3].
        """
        replies = self._stream([images], ("reconstruction",), IN_FLIGHT, layout, cut, "reconstruct")
        ((_, reply),) = [each async for each in replies]
        return reply.outputs["reconstruction"]

    async def sample(
        self,
        n: int = 1,
        given: "str | Mapping | None" = None,
        *,
        survey: str | None = None,
        seed: int = 0,
        decoder: str | None = None,
    ) -> Columns:
        """As `MorphClient.sample`.

        Parameters
        ----------
        n, given, survey, seed, decoder : as there.
        """
        return await self._run(self._protocol.sample(n, given, survey, seed, decoder))

    async def restore(
        self,
        images: Any,
        psf_fwhm: Any = None,
        target_fwhm: Any = None,
        *,
        layout: "FitsLayout | None" = None,
        cut: bool = False,
    ) -> dict[str, np.ndarray]:
        """As `MorphClient.restore`.

        Parameters
        ----------
        images, psf_fwhm, target_fwhm, layout, cut : as there.

        Returns
        -------
        dict of arrays.
        """
        widths = Widths(psf_fwhm, target_fwhm)
        widths.require(is_ready(images, cut))
        replies = self._stream([images], RESTORED, IN_FLIGHT, layout, cut, "restore", widths)
        ((_, reply),) = [each async for each in replies]
        return reply.outputs

    async def similar(self, image: Any = None, **options: Any) -> Hits:
        """As `MorphClient.similar`, with the same parameters."""
        return await self._run(self._protocol.similar(similar_request(image, **options)))

    async def named(self, probabilities: np.ndarray) -> list[dict[str, dict[str, float]]]:
        """As `MorphClient.named`."""
        return named(probabilities, await self.describe())

    async def _stream(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        outputs: tuple[str, ...],
        in_flight: int,
        layout: "FitsLayout | None",
        cut: bool,
        signature: str | None = None,
        others: Callable[[int, int], dict[str, np.ndarray]] | None = None,
    ) -> AsyncIterator[tuple[Item, Reply]]:
        batching = Batching(self._protocol.capacity, signature, others)
        pending: deque[asyncio.Task[Reply]] = deque()
        try:
            async for chunk in self._chunks(batching, items, layout, cut):
                await self.describe()
                if len(pending) == in_flight:
                    batching.receive(await pending.popleft())
                pending.append(asyncio.create_task(self._run(self._protocol.predict(chunk, outputs))))
                for finished in batching.finished():
                    yield finished
            while pending:
                batching.receive(await pending.popleft())
                for finished in batching.finished():
                    yield finished
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _chunks(
        self, batching: Batching, items: Iterable[Any] | AsyncIterable[Any], layout: "FitsLayout | None", cut: bool
    ) -> AsyncIterator[Chunk]:
        async for item in _each(items):
            if is_ready(item, cut):
                images = Images(None, layout, cut)
                for chunk in batching.add(images.read(item), images.blank):
                    yield chunk
            else:
                images = Images(await self.describe(), layout, cut)
                chunks = batching.add(images.read(item), images.blank)
                while full := await asyncio.to_thread(next, chunks, None):
                    yield full
        for chunk in batching.flush():
            yield chunk

    async def _run(self, exchange: Exchange[T]) -> T:
        """Send the messages of an exchange; returns its result."""
        running = Running(exchange)
        while message := running.message:
            await asyncio.sleep(message.pause)
            try:
                answer = await self._send(message)
            except grpc.RpcError as error:
                running.failed(error)
            else:
                running.answered(answer)
        return running.result

    def _send(self, message: Send) -> grpc.aio.UnaryUnaryCall:
        self._require_open()
        if self._channel is None:
            # Not before: a channel belongs to the event loop that runs when it is made.
            self._channel = self._connection.open(grpc.aio)
        method = self._channel.unary_unary(message.method)
        return method(message.request, timeout=message.timeout, metadata=self._connection.metadata)


async def _each(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
