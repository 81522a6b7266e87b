"""The client that waits for its answers."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Generic

import grpc
import numpy as np

from serving.client.answers import Answers, named
from serving.client.base import IN_FLIGHT, Client, names, several
from serving.client.chunks import Chunk, Flow, Item
from serving.client.images import Images, is_ready
from serving.client.protocol import Send, T, Talk
from serving.client.reply import Reply

if TYPE_CHECKING:
    from morph.domain_shift.sample import Sample
    from serving.client.pictures import FitsLayout


class MorphClient(Client):
    """One server's model, for a program that waits for each answer; its parameters are those of `Client`.

    >>> with MorphClient("127.0.0.1:8500") as client:  # doctest: +SKIP
    ...     answers = client.classify(["a.png", "b_r.fits"])
    ...     answers.named()[0]["smooth-or-featured"]
    {'smooth': 0.81, 'featured-or-disk': 0.17, 'artifact': 0.02}
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._channel = self._connection.open()
        self._methods: dict[str, grpc.UnaryUnaryMultiCallable] = {}

    def __enter__(self) -> "MorphClient":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        self._channel.close()

    def available_versions(self) -> list[int]:
        """The versions of the model that answer requests now, highest last. ServerError as in `classify`."""
        return self._run(self._talks.available())

    def describe(self) -> dict[str, Any]:
        """What the server's model is: name, version, survey, size of its stamps, questions and answers in the
        order of `probabilities`, anomaly threshold. Asked once and kept. ServerError as in `classify`."""
        return self._run(self._talks.describe())

    def reference_sample(self) -> "Sample | None":
        """The model's reference sample of its training galaxies, for `morph.domain_shift`; None where it has none.

        Raises ServerError as `classify` does.
        """
        return self._run(self._talks.reference_sample())

    def classify(
        self, images: Any, outputs: Iterable[str] = (), *, layout: "FitsLayout | None" = None, cut: bool = False
    ) -> Answers:
        """Everything the model says about each galaxy.

        >>> client.classify(u.Quantity(stamps, "nJy"), ["probabilities"]).to_table()  # doctest: +SKIP
        >>> client.classify({"g": ccd_g, "r": ccd_r, "z": ccd_z}, cut=True)  # doctest: +SKIP

        Parameters
        ----------
        images : galaxies in any of these forms, or a list of them:

            - uint8 [n, size, size, 3], or one [size, size, 3]: composites, R, G, B;
            - any float of that shape: flux in nanomaggies per pixel, in the model's bands from blue to red, NaN where
              there is no data; an astropy `Quantity` in nanomaggies or any flux density (nJy, AB, erg/s/cm²/Hz); an
              astropy `NDData` or `CCDData` with or without unit, whose mask becomes NaN;
            - {band: [height, width]}: the same, one image a band; a band that is left out has no data;
            - the name of a JPEG, PNG or FITS file, of a folder or a glob: as `morph classify` reads them.
        outputs : which outputs to fetch, or the name of one; all if not given. A caller without use for the embedding
            saves most of the answer's size by not asking for it.
        layout : what the headers of FITS files leave out; the model's survey if not given.
        cut : arrays may have any size and are cut to their galaxy's own size, as files always are. Otherwise they
            have the size that `describe` tells.

        Returns
        -------
        `Answers`, a dict with ``probabilities``, ``tree_probabilities`` (multiplied down the decision tree: the
        probability that a volunteer who starts at the top gives the answer), ``concentration`` float32 [n, answers],
        ``embedding`` float32 [n, d], ``reconstruction_error``, ``anomaly_score`` float32 [n], ``anomaly`` bool [n].

        Raises InputError when `images` cannot be read, and ServerError when nobody answers, when the server refuses
        the request (its own sentence says why), when its answer makes no sense, or when the timeout passes.
        """
        (answers,) = self.stream([images], outputs, layout=layout, cut=cut)
        return answers

    def stream(
        self,
        galaxies: Iterable[Any],
        outputs: Iterable[str] = (),
        *,
        in_flight: int = IN_FLIGHT,
        layout: "FitsLayout | None" = None,
        cut: bool = False,
    ) -> Iterator[Answers]:
        """The answers to each of `galaxies`, in their order, as they come.

        >>> for name, answers in zip(names, client.stream(names, ["anomaly"])):  # doctest: +SKIP
        ...     print(name, answers["anomaly"][0])

        Every item is anything that `classify` takes: one galaxy or many. Items share messages; no more than
        `in_flight` messages are under way, and no more items are drawn than fill one more, so that memory stays flat
        however many there are. Raises as `classify`, InputError also for `in_flight` below 1.
        """
        for item, reply in self._flow(several(galaxies, in_flight), names(outputs), in_flight, layout, cut):
            yield self._run(self._talks.name(reply, item))

    def reconstruct(self, images: Any, *, layout: "FitsLayout | None" = None, cut: bool = False) -> np.ndarray:
        """The galaxies as the decoder sees them: float32 [n, size, size, 3] from flux, given as to `classify`, in
        nanomaggies per pixel. Raises as `classify`."""
        ((_, reply),) = self._flow([images], ("reconstruction",), IN_FLIGHT, layout, cut, "reconstruct")
        return reply.outputs["reconstruction"]

    def named(self, probabilities: np.ndarray) -> list[dict[str, dict[str, float]]]:
        """Rows of `probabilities` or `tree_probabilities` [n, answers] as {question: {answer: probability}}, one
        entry a galaxy, by the questions of `describe`."""
        return named(probabilities, self.describe())

    def _flow(
        self,
        items: Iterable[Any],
        wanted: tuple[str, ...],
        in_flight: int,
        layout: "FitsLayout | None",
        cut: bool,
        signature: str | None = None,
    ) -> Iterator[tuple[Item, Reply]]:
        """What is answered, item by item, with `in_flight` messages under way."""
        flow = Flow(self._talks.most, signature)
        chunks = self._packets(flow, items, layout, cut)
        first = list(islice(chunks, 2))
        if not first:
            return
        # Before the galaxies are: so the server cannot unload the version first whose names are wanted then.
        self.describe()
        if len(first) == 1:
            # gRPC needs threads for answers that nobody waits for yet, and twice the time.
            flow.take(self._run(self._talks.predict(first[0], wanted)))
            yield from flow.finished()
            return
        under_way: deque[_Exchange[Reply]] = deque()
        try:
            for chunk in chain(first, chunks):
                if len(under_way) == in_flight:
                    flow.take(under_way.popleft().result())
                under_way.append(_Exchange(self._talks.predict(chunk, wanted), self._send))
                yield from flow.finished()
            while under_way:
                flow.take(under_way.popleft().result())
                yield from flow.finished()
        finally:
            for exchange in under_way:
                exchange.cancel()

    def _packets(self, flow: Flow, items: Iterable[Any], layout: "FitsLayout | None", cut: bool) -> Iterator[Chunk]:
        for item in items:
            images = Images(None if is_ready(item, cut) else self.describe(), layout, cut)
            yield from flow.put(images.read(item), images.blank)
        yield from flow.rest()

    def _run(self, talk: Talk[T]) -> T:
        """Carry a talk out."""
        resume: Callable[[Any], Send] = talk.send
        answer: Any = None
        while True:
            try:
                message = resume(answer)
            except StopIteration as end:
                return end.value
            time.sleep(message.pause)
            try:
                answer = self._method(message.method)(message.request, message.timeout, self._connection.metadata)
                resume = talk.send
            except grpc.RpcError as error:
                answer, resume = error, talk.throw

    def _send(self, message: Send) -> grpc.Future:
        return self._method(message.method).future(message.request, message.timeout, self._connection.metadata)

    def _method(self, name: str) -> grpc.UnaryUnaryMultiCallable:
        self._must_be_open()
        if name not in self._methods:
            self._methods[name] = self._channel.unary_unary(name)
        return self._methods[name]


class _Exchange(Generic[T]):
    """A talk under way: its first message is sent at once, the rest of it takes place when its result is wanted."""

    def __init__(self, talk: Talk[T], send: Callable[[Send], grpc.Future]):
        self._talk, self._send = talk, send
        self._call: grpc.Future | None = None
        self._go_on(talk.send, None)

    def result(self) -> T:
        while self._call is not None:
            try:
                answer = self._call.result()
            except grpc.RpcError as error:
                self._go_on(self._talk.throw, error)
            else:
                self._go_on(self._talk.send, answer)
        return self._result

    def cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def _go_on(self, resume: Callable[[Any], Send], answer: Any) -> None:
        try:
            message = resume(answer)
        except StopIteration as end:
            self._call, self._result = None, end.value
        else:
            time.sleep(message.pause)
            self._call = self._send(message)
