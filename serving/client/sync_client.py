"""The blocking client."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Generic

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


class MorphClient(Client):
    """One server's model, by calls that block until the answer is there; parameters as in `Client`.

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
        return self._run(self._protocol.available())

    def describe(self) -> dict[str, Any]:
        """The model's description: name, version, survey, size of its stamps, questions and answers in the order of
        `probabilities`, anomaly threshold. Asked once and kept. ServerError as in `classify`."""
        return self._run(self._protocol.describe())

    def reference_sample(self) -> "Sample | None":
        """The model's reference sample of its training galaxies, for `morph.domain_shift`; None where it has none.

        It needs the package morph-galaxies. Raises ServerError as `classify` does.
        """
        return self._run(self._protocol.reference_sample())

    def classify(
        self, images: Any, outputs: Iterable[str] = (), *, layout: "FitsLayout | None" = None, cut: bool = False
    ) -> Answers:
        """Every output of the model for each galaxy.

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
        outputs : which outputs to fetch, or the name of one; all if not given. Without the embedding most of the
            answer's size is saved.
        layout : what the headers of FITS files leave out, as a `FitsLayout`; the model's survey if not given.
        cut : cut arrays of any size to their galaxy's own size, as files always are. Otherwise arrays have the size
            that `describe` reports.

        Returns
        -------
        `Answers`, a dict with ``probabilities``, ``tree_probabilities`` (multiplied down the decision tree: the
        probability that a volunteer who starts at the top gives the answer), ``concentration`` float32 [n, answers],
        ``embedding`` float32 [n, d], ``reconstruction_error``, ``anomaly_score`` float32 [n], ``anomaly`` bool [n].

        Raises
        ------
        InputError : when `images` cannot be read.
        ServerError : when no server answers, when it refuses the request (the message is its own reason), when its
            answer makes no sense, or when the timeout passes.
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

        Parameters
        ----------
        galaxies : items, each of them anything that `classify` takes: one galaxy or many. Items share messages.
        outputs, layout, cut : as for `classify`.
        in_flight : how many messages may be under way at once. No more items are taken than fill one more message, so
            that memory stays flat however many there are.

        Yields
        ------
        `Answers` for each item.

        Raises
        ------
        InputError, ServerError : as `classify`; InputError also for `in_flight` below 1.
        """
        for item, reply in self._stream(require_several(galaxies, in_flight), names(outputs), in_flight, layout, cut):
            yield self._run(self._protocol.answers(reply, item))

    def reconstruct(self, images: Any, *, layout: "FitsLayout | None" = None, cut: bool = False) -> np.ndarray:
        """The galaxies' reconstructions by the decoder.

        Parameters
        ----------
        images, layout, cut : as for `classify`; flux only.

        Returns
        -------
        float32 [n, size, size, 3] in nanomaggies per pixel.

        Raises
        ------
        InputError, ServerError : as `classify`.
        """
        ((_, reply),) = self._stream([images], ("reconstruction",), IN_FLIGHT, layout, cut, "reconstruct")
        return reply.outputs["reconstruction"]

    def sample(
        self,
        n: int = 1,
        given: "str | Mapping | None" = None,
        *,
        survey: str | None = None,
        seed: int = 0,
        decoder: str | None = None,
    ) -> Columns:
        """Galaxies that the model's latent prior draws, without noise.

        They are simulated: the model invents what they show. `morph sample` also observes them as the survey does, and
        draws what is free from its population.

        >>> client.sample(16, "redshift=0.1..0.2, mag_r=18", seed=1)["image"].shape  # doctest: +SKIP
        (16, 64, 64, 3)

        Parameters
        ----------
        n : how many.
        given : what is asked of them: a text such as ``"mag_r=18, radius=3+-0.5, bar_strong=1"``, or
            {name: value or (low, high)} of mag_g, mag_r, mag_i, radius (arcsec), redshift and shares of votes. In a
            range values are evenly spread.
        survey : the survey whose galaxies they are; the model's if not given.
        seed : of the noise, which the client draws: the same one gives the same galaxies.
        decoder : what draws them: ``plain``, the likelihood decoder, or ``detail``, the detail decoder after it; by
            default detail, where the model has learned it.

        Returns
        -------
        A dict of columns: ``image`` float32 [n, size, size, 3] in nanomaggies per pixel, six half-light radii across,
        and ``mag_g``, ``mag_r``, ``mag_i``, ``radius``, ``redshift`` as they were asked for, NaN where free.

        Raises
        ------
        InputError : when the model cannot sample, or what is asked for cannot be read.
        ServerError : as `classify`.
        """
        return self._run(self._protocol.sample(n, given, survey, seed, decoder))

    def restore(
        self,
        images: Any,
        psf_fwhm: Any = None,
        target_fwhm: Any = None,
        *,
        layout: "FitsLayout | None" = None,
        cut: bool = False,
    ) -> dict[str, np.ndarray]:
        """The galaxies without noise, and with a narrower point-spread function where one is asked for.

        >>> client.restore(flux, psf_fwhm=3.6, target_fwhm=2.0)["restored"]  # doctest: +SKIP

        Parameters
        ----------
        images, layout, cut : as for `classify`; flux only.
        psf_fwhm : full width at half maximum of the images' point-spread function in their pixels: one number, or one
            for each image. It may be left out where nothing is sharpened.
        target_fwhm : that of the restored images', a Gaussian; left out, only the noise is taken away.

        Returns
        -------
        dict: ``restored`` (nanomaggies per pixel, NaN where there is no data), ``sigma`` (its uncertainty, infinite
        there) and ``prior_fraction`` (the share of a pixel's information that its data does not hold), float32
        [n, size, size, 3]; ``shape_error`` float32 [n, 3], the standard error of the shear of each band, NaN where
        noise hides the ellipticity and the galaxy is rounder than it is; ``chi_square`` float32 [n], reduced.

        Raises
        ------
        InputError, ServerError : as `classify`; InputError also for widths that the pixels do not bear, or of images
            that are files.
        """
        widths = Widths(psf_fwhm, target_fwhm)
        widths.require(is_ready(images, cut))
        ((_, reply),) = self._stream([images], RESTORED, IN_FLIGHT, layout, cut, "restore", widths)
        return reply.outputs

    def similar(
        self,
        image: Any = None,
        *,
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
    ) -> Hits:
        """The galaxies of an index that are most like one galaxy or several, from a server of `morph explore`.

        >>> client = MorphClient("localhost:8081")  # doctest: +SKIP
        >>> client.similar("galaxy.png", where="mag_r < 20", n=20)["id"]  # doctest: +SKIP
        >>> client.similar(like=["J0001", "J0002"], unlike="J0003").to_table()  # doctest: +SKIP

        Parameters
        ----------
        image : the name of a JPEG, PNG or FITS file, or a tuple of them with one file a band; an array as `classify`
            takes it, of the size that the model takes; or a list of these. The server reads and cuts files.
        like, unlike : ids of galaxies in the index; `unlike` may be vectors, float [m, d].
        position : ra, dec in degrees of a galaxy in the index, or several of them.
        vectors : similarity vectors, float [k, d] or [d].
        weights : one for each example: images, ids, positions and vectors, in this order.
        where : which galaxies may be found, such as ``mag_r < 20 and has_spiral_arms_yes > 0.5``.
        cone : ra, dec and radius in degrees, in which they may lie.
        n : how many to find, at most 10,000.
        columns : which columns to fetch; all if not given.
        layout : what the headers of FITS files leave out, as a `FitsLayout`.

        Returns
        -------
        `Hits`, a dict of columns, best first: ``id``, ``ra``, ``dec``, ``similarity`` (the cosine) and those of the
        index.

        Raises
        ------
        InputError : when there is no example, or an image cannot be read.
        ServerError : as `classify`; NOT_FOUND when the index has no such galaxy.
        """
        request = similar_request(image, like, unlike, position, vectors, weights, where, cone, n, columns, layout)
        return self._run(self._protocol.similar(request))

    def named(self, probabilities: np.ndarray) -> list[dict[str, dict[str, float]]]:
        """Rows of `probabilities` or `tree_probabilities` [n, answers] as {question: {answer: probability}}, one
        entry a galaxy, by the questions of `describe`."""
        return named(probabilities, self.describe())

    def _stream(
        self,
        items: Iterable[Any],
        outputs: tuple[str, ...],
        in_flight: int,
        layout: "FitsLayout | None",
        cut: bool,
        signature: str | None = None,
        others: Callable[[int, int], dict[str, np.ndarray]] | None = None,
    ) -> Iterator[tuple[Item, Reply]]:
        """Each item with its reply, with `in_flight` messages under way."""
        batching = Batching(self._protocol.capacity, signature, others)
        chunks = self._chunks(batching, items, layout, cut)
        first = list(islice(chunks, 2))
        if not first:
            return
        # First, while the version that will answer is loaded: its column names are needed later.
        self.describe()
        if len(first) == 1:
            # A call in the background costs gRPC another thread, and twice the time.
            batching.receive(self._run(self._protocol.predict(first[0], outputs)))
            yield from batching.finished()
            return
        pending: deque[_Pending[Reply]] = deque()
        try:
            for chunk in chain(first, chunks):
                if len(pending) == in_flight:
                    batching.receive(pending.popleft().result())
                pending.append(_Pending(self._protocol.predict(chunk, outputs), self._send))
                yield from batching.finished()
            while pending:
                batching.receive(pending.popleft().result())
                yield from batching.finished()
        finally:
            for exchange in pending:
                exchange.cancel()

    def _chunks(
        self, batching: Batching, items: Iterable[Any], layout: "FitsLayout | None", cut: bool
    ) -> Iterator[Chunk]:
        for item in items:
            images = Images(None if is_ready(item, cut) else self.describe(), layout, cut)
            yield from batching.add(images.read(item), images.blank)
        yield from batching.flush()

    def _run(self, exchange: Exchange[T]) -> T:
        """Send the messages of an exchange; returns its result."""
        running = Running(exchange)
        while message := running.message:
            time.sleep(message.pause)
            try:
                answer = self._method(message.method)(message.request, message.timeout, self._connection.metadata)
            except grpc.RpcError as error:
                running.failed(error)
            else:
                running.answered(answer)
        return running.result

    def _send(self, message: Send) -> grpc.Future:
        return self._method(message.method).future(message.request, message.timeout, self._connection.metadata)

    def _method(self, name: str) -> grpc.UnaryUnaryMultiCallable:
        self._require_open()
        if name not in self._methods:
            self._methods[name] = self._channel.unary_unary(name)
        return self._methods[name]


class _Pending(Generic[T]):
    """An exchange under way: its first message is sent at once, the others when the result is wanted."""

    def __init__(self, exchange: Exchange[T], send: Callable[[Send], grpc.Future]):
        self._running, self._send = Running(exchange), send
        self._call = self._next()

    def result(self) -> T:
        while self._call is not None:
            try:
                answer = self._call.result()
            except grpc.RpcError as error:
                self._running.failed(error)
            else:
                self._running.answered(answer)
            self._call = self._next()
        return self._running.result

    def cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def _next(self) -> grpc.Future | None:
        message = self._running.message
        if message is None:
            return None
        time.sleep(message.pause)
        return self._send(message)
