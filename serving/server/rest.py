"""The REST port: TensorFlow Serving's HTTP interface, its page for Prometheus, and health probes.

Paths, answers, errors and their HTTP codes are TensorFlow Serving's (`g3doc/api_rest.md`,
`model_servers/http_rest_api_util.cc`, `http_server.cc`); `/healthz/live` and `/healthz/ready` are this server's own.
"""

import asyncio
import gzip
import logging
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NoReturn
from urllib.parse import unquote

from aiohttp import web
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, regression_pb2

from serving.savedmodel.servable import StatusError, TensorSpec
from serving.server.bodies import Decompression, Limits, TooLarge, count
from serving.server.configuration import Tls
from serving.server.json_format import (
    PredictBody,
    error_response,
    errors_as_json,
    json_response,
    message_to_json,
    read_document,
    read_request,
    signature_of,
    write_answer,
)
from serving.server.metrics import Metrics
from serving.server.models import Models, Spec, Version
from serving.server.running import GRACE, listen
from serving.server.services import PredictionService, is_ready, signatures_of, status_of

log = logging.getLogger("morph.serving")

_MODEL = r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_POST = re.compile(_MODEL + ":(classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(_MODEL + "(?:/(metadata))?", re.IGNORECASE)

#: The largest body, and the size of all bodies together from which on more are refused; bytes.
MAX_BODY, MAX_BODIES = 64 << 20, 256 << 20

#: Seconds for a connection's next request and its header to arrive; for its body to arrive; for its answer, as in
#: TensorFlow Serving; for the answer to be received.
IDLE, ARRIVING, ANSWERING, FETCHING = 75.0, 60.0, 30.0, 60.0

#: Bytes from which on a body is worth a thread, and an answer worth compressing; and from which on it has the threads
#: for large ones, so that smaller ones need not wait for it.
_LARGE, _HUGE = 1 << 14, 1 << 21


class Rest:
    """The REST port of a server; `start_rest` makes one that listens.

    Attributes
    ----------
    port : on which it listens.
    """

    def __init__(self, models: Models, metrics: Metrics | None, monitoring: str | None):
        self._models, self._metrics = models, metrics
        self._prediction = PredictionService(models)
        # Small bodies wait for no large one, and none for one that may decompress into anything.
        self._threads = ThreadPoolExecutor(2, "morph-json")
        self._decompressing = ThreadPoolExecutor(1, "morph-decompressing")
        self._huge = ThreadPoolExecutor(max(1, min(2, (os.cpu_count() or 2) // 2)), "morph-large-json")
        self._bytes = 0
        app = web.Application(middlewares=[errors_as_json])
        app.router.add_get("/healthz/{probe:live|ready}", self._health)
        if metrics and monitoring:
            app.router.add_get(monitoring, self._page)
        app.router.add_route("*", "/{path:.*}", self._api)
        self._runner = web.AppRunner(
            app,
            shutdown_timeout=GRACE,
            # A disconnected client's request leaves the queue.
            handler_cancellation=True,
            # The library does not always report that a body ends too early; then it would be waited for.
            auto_decompress=False,
            keepalive_timeout=IDLE,
            access_log=None,
            logger=_silent(),
        )
        self.port = 0

    async def start(self, listening: socket.socket, tls: Tls | None) -> None:
        """Answer on a socket."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening, ssl_context=tls.for_http() if tls else None).start()
        self.port = listening.getsockname()[1]

    async def close(self) -> None:
        """Take no new requests, and finish those under way."""
        await self._runner.cleanup()
        for threads in (self._threads, self._decompressing, self._huge):
            threads.shutdown(wait=False)

    async def _health(self, request: web.Request) -> web.Response:
        good = request.match_info["probe"] == "live" or is_ready(self._models)
        return web.Response(text="ok\n" if good else "no\n", status=200 if good else 503)

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.page() if self._metrics else b"", content_type="text/plain")

    async def _api(self, request: web.Request) -> web.StreamResponse:
        """TensorFlow Serving's paths, by its own expressions: they ignore case, and a query is a part of the path and
        so of the model's name."""
        path = request.rel_url.raw_path_qs
        if not path.lower().startswith("/v1/"):
            return error_response(404, f"There is nothing at {path}")
        if request.method == "OPTIONS":
            # A browser's preflight request; without CORS the answer allows nothing.
            return web.Response(status=200 if re.search("https?://", request.headers.get("Origin", "")) else 400)
        if request.method == "POST" and (found := _POST.fullmatch(path)) and found[1]:
            spec = _spec(found)
            # The path may be in capitals; the method is compared as it is, after the version was read.
            if found[4] in ("classify", "regress", "predict"):
                return await self._ask(request, spec, found[4])
        elif request.method == "GET" and (found := _GET.fullmatch(path)):
            if not found[1]:
                raise StatusError("INVALID_ARGUMENT", "Missing model name in request.")
            spec = _spec(found)
            if found[4] == "metadata":
                return json_response(await self._metadata(spec))
            return json_response(message_to_json(status_of(self._models, spec)))
        raise StatusError("INVALID_ARGUMENT", f"Malformed request: {request.method} {path}")

    async def _metadata(self, spec: Spec) -> dict:
        request = _fill(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]), spec)
        response = await self._prediction.metadata(request)
        signatures = message_to_json(signatures_of(self._models.find(spec)))
        return {"model_spec": message_to_json(response.model_spec), "metadata": {"signature_def": signatures}}

    async def _ask(self, request: web.Request, spec: Spec, method: str) -> web.StreamResponse:
        """A POST, from its first byte to the last of its answer."""
        held = 0
        try:
            pieces = []
            async with asyncio.timeout(ARRIVING):
                async for piece in request.content.iter_any():
                    held += len(piece)
                    self._bytes += len(piece)
                    self._require_room(held)
                    pieces.append(piece)
            body = b"".join(pieces)
            del pieces
            encoding = request.headers.get("Content-Encoding") or "identity"
            if method != "predict":
                await self._wrong_method(spec, body, encoding, method)
            answer, headers = await self._predict(spec, body, encoding), {}
            if len(answer) > _LARGE and _takes_gzip(request.headers.get("Accept-Encoding", "")):
                answer = await self._work(len(answer), gzip.compress, answer, 1)
                headers = {"Content-Encoding": "gzip"}
            return await self._send(
                request, web.Response(body=answer, headers=headers, content_type="application/json")
            )
        except TimeoutError:
            return error_response(408, f"The request did not arrive within {ARRIVING:g} s")
        except TooLarge as refusal:
            return error_response(413, refusal.sentence)
        finally:
            self._bytes -= held

    def _require_room(self, size: int) -> None:
        """TooLarge for a body of more bytes than allowed, StatusError where all bodies together have too many."""
        if size > MAX_BODY:
            raise TooLarge(MAX_BODY)
        if self._bytes > MAX_BODIES:
            raise StatusError("RESOURCE_EXHAUSTED", "The server holds many large requests; try again later")

    async def _send(self, request: web.Request, response: web.Response) -> web.Response:
        """Send an answer here, so that a client that does not receive it is disconnected and the memory freed."""
        try:
            async with asyncio.timeout(FETCHING):
                await response.prepare(request)
                await response.write_eof()
        except (TimeoutError, ConnectionResetError):
            if request.transport:
                request.transport.abort()
        return response

    @asynccontextmanager
    async def _decompressed(self, body: bytes, encoding: str, limits: Limits) -> AsyncIterator[bytes]:
        """A body without its compression, while it is used. StatusError where it is not compressed so, or has more
        than any request needs."""
        held = 0
        try:
            if encoding.lower() == "identity":
                await self._work(len(body), count, body, limits)
            else:
                loop, content = asyncio.get_running_loop(), Decompression(body, encoding, limits)
                text = await loop.run_in_executor(self._decompressing, content.advance, _HUGE)
                while text is None:
                    text = await loop.run_in_executor(self._huge, content.advance, MAX_BODY)
                body, held = text, len(text)
                self._bytes += held
                self._require_room(held)
            yield body
        finally:
            self._bytes -= held

    async def _predict(self, spec: Spec, body: bytes, encoding: str) -> bytes:
        """Predict: the body of a request, and that of its answer."""
        deadline = time.monotonic() + ANSWERING
        with self._models.track(spec, "REST") as request:
            try:
                async with asyncio.timeout(ANSWERING):
                    asked = await self._read(spec, body, encoding)
            except TimeoutError:
                raise StatusError("DEADLINE_EXCEEDED", "Deadline Exceeded") from None
            request.spec = replace(spec, signature=asked.signature or "serving_default")
            _, names, part = await self._models.predict(request, lambda signature: asked.inputs, (), deadline)
            outputs = part.cut(names)
            return await self._work(sum(each.nbytes for each in outputs.values()), write_answer, outputs, asked.format)

    async def _read(self, spec: Spec, body: bytes, encoding: str) -> PredictBody:
        """The request in a body. As in TensorFlow Serving invalid JSON is reported before an unknown model."""
        try:
            found: Version | StatusError = self._models.find(spec)
        except StatusError as unknown:
            found = unknown

        def inputs_of(name: str) -> Mapping[str, TensorSpec]:
            if isinstance(found, StatusError):
                raise found
            name, servable = name or "serving_default", found.servable
            if name in servable.initializations:
                raise StatusError("INVALID_ARGUMENT", f"Failed to get input map for signature: {name}")
            if name not in servable.signatures:
                raise StatusError("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def')
            return servable.signatures[name].inputs

        limits = Limits(MAX_BODY)
        if isinstance(found, Version):
            limits = Limits.of(MAX_BODY, found.servable.signatures.values())
        async with self._decompressed(body, encoding, limits) as content:
            return await self._work(len(content), lambda: read_request(read_document(content), inputs_of))

    async def _wrong_method(self, spec: Spec, body: bytes, encoding: str, method: str) -> NoReturn:
        """Classify and Regress: StatusError, as no signature answers them; a wrong body is reported first."""
        async with self._decompressed(body, encoding, Limits(MAX_BODY)) as body:
            document = await self._work(len(body), read_document, body)
        spec = replace(spec, signature=signature_of(document))
        examples = document.get("examples")
        if not isinstance(examples, list) or not examples:
            what = {
                "examples" not in document: "When method is classify, key 'examples' is expected and was not found",
                examples == []: "'examples' value is an empty array",
            }
            raise StatusError("INVALID_ARGUMENT", what.get(True, "Expecting 'examples' value to be an list/array"))
        if method == "classify":
            await self._prediction.classify(_fill(classification_pb2.ClassificationRequest(), spec))
        await self._prediction.regress(_fill(regression_pb2.RegressionRequest(), spec))

    async def _work(self, size: int, call: Callable, *arguments):
        """Call a function, in a thread where there is much to do."""
        if size < _LARGE:
            return call(*arguments)
        threads = self._threads if size < _HUGE else self._huge
        return await asyncio.get_running_loop().run_in_executor(threads, call, *arguments)


async def start_rest(
    models: Models,
    host: str,
    port: int,
    *,
    metrics: Metrics | None = None,
    monitoring: str | None = None,
    tls: Tls | None = None,
) -> Rest:
    """A REST port for `models` that answers from now on.

    Parameters
    ----------
    host, port : where to listen; port 0 takes a free one.
    metrics, monitoring : the metrics for Prometheus, and their path; without both there are none.
    tls : key and certificates; plain HTTP if not given.

    Returns
    -------
    The port, which answers until it is closed.

    Raises
    ------
    InputError : when the port is taken.
    """
    listening = listen(host, port, "--rest-port")
    rest = Rest(models, metrics, monitoring)
    await rest.start(listening, tls)
    return rest


def _takes_gzip(accepted: str) -> bool:
    """Whether this Accept-Encoding allows gzip; a weight of 0 does not."""
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight)
    return False


def _silent() -> logging.Logger:
    """A disabled logger: the library writes a page of log for each client's broken HTTP."""
    logger = logging.getLogger("morph.serving.http")
    logger.disabled = True
    return logger


def _spec(found: re.Match) -> Spec:
    """The model that a path names."""
    name, number, label = (unquote(part) if part else None for part in found.group(1, 2, 3))
    digits = number.lstrip("0") or "0" if number else ""
    version = int(digits) if digits and len(digits) < 20 else None
    if number and (version is None or version >= 1 << 63):
        raise StatusError("INVALID_ARGUMENT", f"Failed to convert version: {number} to numeric.")
    return Spec(name or "", version, label)


def _fill(request, spec: Spec):
    """The request with the model of `spec`."""
    request.model_spec.name = spec.name
    request.model_spec.signature_name = spec.signature if spec.signature != "serving_default" else ""
    if spec.version is not None:
        request.model_spec.version.value = spec.version
    elif spec.label is not None:
        request.model_spec.version_label = spec.label
    return request
