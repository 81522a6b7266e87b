"""The REST port: TensorFlow Serving's HTTP interface, its page for Prometheus, and probes of health.

Paths, answers, errors and their HTTP codes are TensorFlow Serving's (`g3doc/api_rest.md`,
`model_servers/http_rest_api_util.cc`, `http_server.cc`); `/healthz/live` and `/healthz/ready` are this server's own.
"""

import asyncio
import gzip
import json
import logging
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import unquote

from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, regression_pb2

from morph.errors import InputError
from serving.savedmodel.servable import StatusError
from serving.server.bodies import Limits, TooLarge, Unpacking, count
from serving.server.health import is_ready
from serving.server.json_messages import read_document, read_request, signature_of, write_answer
from serving.server.metrics import Metrics
from serving.server.models import Models, Spec
from serving.server.services import PredictionService, signatures_of, status_of
from serving.server.tls import Tls

log = logging.getLogger("morph.serving")

_MODEL = r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_POST = re.compile(_MODEL + ":(classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(_MODEL + "(?:/(metadata))?", re.IGNORECASE)

#: gRPC's statuses as HTTP's, where they are not 500.
_CODES = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}

#: The largest body, and the most that all bodies together may hold before more are turned away; bytes.
MAX_BODY, MAX_BODIES = 64 << 20, 256 << 20

#: Seconds for a connection's next request to come, header and all; for its body to arrive; for it to be answered, as
#: TensorFlow Serving has it; for its answer to be fetched.
IDLE, ARRIVING, ANSWERING, FETCHING = 75.0, 60.0, 30.0, 60.0

#: Seconds that requests under way get to finish when the server stops.
GRACE = 30.0

#: Bytes from which on a body is worth a thread, and an answer is worth compressing; and from which on it waits for
#: others of its size, and not they for it.
_LARGE, _HUGE = 1 << 14, 1 << 21


class Rest:
    """The REST port of a server; `start_rest` makes one that listens.

    Attributes
    ----------
    port : on which it listens.
    """

    def __init__(self, models: Models, metrics: Metrics | None, monitoring: str | None):
        self._models, self._metrics, self._monitoring = models, metrics, monitoring
        self._prediction = PredictionService(models)
        # What is small waits for nothing that is large, and nobody for a body that may unpack into anything.
        self._threads = ThreadPoolExecutor(2, "morph-json")
        self._unpacking = ThreadPoolExecutor(1, "morph-unpacking")
        self._huge = ThreadPoolExecutor(max(1, min(2, (os.cpu_count() or 2) // 2)), "morph-large-json")
        self._bytes = 0
        server = web.Server(
            self._answer,
            # A client that goes away takes its request out of the queue.
            handler_cancellation=True,
            # The library does not always say that a body ends too early; then it would be waited for.
            auto_decompress=False,
            keepalive_timeout=IDLE,
            access_log=None,
            logger=_silent(),
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=GRACE)
        self.port = 0

    async def start(self, listening: socket.socket, tls: Tls | None) -> None:
        """Answer on a socket."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening, ssl_context=tls.for_http() if tls else None).start()
        self.port = listening.getsockname()[1]

    async def close(self) -> None:
        """Take no new requests, and finish those under way."""
        await self._runner.cleanup()
        for threads in (self._threads, self._unpacking, self._huge):
            threads.shutdown(wait=False)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request."""
        try:
            return await self._route(request)
        except StatusError as refusal:
            return _error(_CODES.get(refusal.status, 500), refusal.sentence)
        except Exception as error:
            log.exception("A request to %s could not be answered", request.path)
            return _error(500, str(error).strip() or type(error).__name__)

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        # As in TensorFlow Serving a query is a part of the path, and so of the model's name.
        path = request.rel_url.raw_path_qs
        if request.method == "GET" and path in ("/healthz/live", "/healthz/ready"):
            good = path == "/healthz/live" or is_ready(self._models)
            return web.Response(text="ok\n" if good else "no\n", status=200 if good else 503)
        if self._metrics and path == self._monitoring:
            return web.Response(body=self._metrics.page(), content_type="text/plain")
        if not path.lower().startswith("/v1/"):
            return _error(404, f"There is nothing at {path}")
        if request.method == "OPTIONS":
            # What a browser asks before it sends a request to another host; without CORS the answer allows nothing.
            return web.Response(status=200 if re.search("https?://", request.headers.get("Origin", "")) else 400)
        if request.method == "POST" and (found := _POST.fullmatch(path)) and found[1]:
            spec = _spec(found)
            # The path may be written in capitals; the method is compared as it is, after the version was read.
            if found[4] in ("classify", "regress", "predict"):
                return await self._ask(request, spec, found[4])
        elif request.method == "GET" and (found := _GET.fullmatch(path)):
            if not found[1]:
                raise StatusError("INVALID_ARGUMENT", "Missing model name in request.")
            spec = _spec(found)
            return _json(
                await self._metadata(spec) if found[4] == "metadata" else _plain(status_of(self._models, spec))
            )
        raise StatusError("INVALID_ARGUMENT", f"Malformed request: {request.method} {path}")

    async def _metadata(self, spec: Spec) -> dict:
        request = _fill(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]), spec)
        response = await self._prediction.metadata(request)
        signatures = _plain(signatures_of(self._models.find(spec)))
        return {"model_spec": _plain(response.model_spec), "metadata": {"signature_def": signatures}}

    async def _ask(self, request: web.BaseRequest, spec: Spec, method: str) -> web.StreamResponse:
        """A POST, from its first byte to the last of its answer."""
        held = 0
        try:
            pieces = []
            async with asyncio.timeout(ARRIVING):
                async for piece in request.content.iter_any():
                    held += len(piece)
                    self._bytes += len(piece)
                    self._must_fit(held)
                    pieces.append(piece)
            body = b"".join(pieces)
            del pieces
            encoding = request.headers.get("Content-Encoding") or "identity"
            if method != "predict":
                return await self._wrong_method(spec, body, encoding, method)
            answer, headers = await self._predict(spec, body, encoding), {}
            if len(answer) > _LARGE and _takes_gzip(request.headers.get("Accept-Encoding", "")):
                answer = await self._work(len(answer), gzip.compress, answer, 1)
                headers = {"Content-Encoding": "gzip"}
            return await self._send(
                request, web.Response(body=answer, headers=headers, content_type="application/json")
            )
        except TimeoutError:
            return _error(408, f"The request did not arrive within {ARRIVING:g} s")
        except TooLarge as refusal:
            return _error(413, refusal.sentence)
        finally:
            self._bytes -= held

    def _must_fit(self, size: int) -> None:
        """Refused, or TooLarge, where a body of that size, or all of them, hold more than they may."""
        if size > MAX_BODY:
            raise TooLarge(MAX_BODY)
        if self._bytes > MAX_BODIES:
            raise StatusError("RESOURCE_EXHAUSTED", "The server holds many large requests; try again later")

    async def _send(self, request: web.BaseRequest, response: web.Response) -> web.Response:
        """Send an answer here and now, so that one who does not fetch it is cut off and its memory freed."""
        try:
            async with asyncio.timeout(FETCHING):
                await response.prepare(request)
                await response.write_eof()
        except (TimeoutError, ConnectionResetError):
            if request.transport:
                request.transport.abort()
        return response

    @asynccontextmanager
    async def _unpacked(self, body: bytes, encoding: str, limits: Limits) -> AsyncIterator[bytes]:
        """A body as it was before its client compressed it, while it is used. Refused where it cannot be had, or holds
        more than any request needs."""
        held = 0
        try:
            if encoding.lower() == "identity":
                await self._work(len(body), count, body, limits)
            else:
                loop, unpacking = asyncio.get_running_loop(), Unpacking(body, encoding, limits)
                text = await loop.run_in_executor(self._unpacking, unpacking.go_on, _HUGE)
                while text is None:
                    text = await loop.run_in_executor(self._huge, unpacking.go_on, MAX_BODY)
                body, held = text, len(text)
                self._bytes += held
                self._must_fit(held)
            yield body
        finally:
            self._bytes -= held

    async def _predict(self, spec: Spec, body: bytes, encoding: str) -> bytes:
        """Predict: the body of a request, and that of its answer."""
        deadline = time.monotonic() + ANSWERING
        with self._models.under_way(spec, "REST") as request:
            servable = self._models.find(spec).servable
            limits = Limits.of(MAX_BODY, servable.signatures.values())

            def inputs_of(name: str):
                name = name or "serving_default"
                if name in servable.initializations:
                    raise StatusError("INVALID_ARGUMENT", f"Failed to get input map for signature: {name}")
                if name not in servable.signatures:
                    raise StatusError(
                        "INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def'
                    )
                return servable.signatures[name].inputs

            try:
                async with asyncio.timeout(ANSWERING), self._unpacked(body, encoding, limits) as body:
                    asked = await self._work(len(body), read_request, body, inputs_of)
            except TimeoutError:
                raise StatusError("DEADLINE_EXCEEDED", "Deadline Exceeded") from None
            request.spec = replace(spec, signature=asked.signature or "serving_default")
            _, names, part = await self._models.ask(request, lambda signature: asked.inputs, (), deadline)
            outputs = part.cut(names)
            return await self._work(sum(each.nbytes for each in outputs.values()), write_answer, outputs, asked.format)

    async def _wrong_method(self, spec: Spec, body: bytes, encoding: str, method: str) -> web.Response:
        """Classify and Regress: Refused, as no signature answers them; a wrong body is told first."""
        async with self._unpacked(body, encoding, Limits(MAX_BODY)) as body:
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
            message = await self._prediction.classify(_fill(classification_pb2.ClassificationRequest(), spec))
        else:
            message = await self._prediction.regress(_fill(regression_pb2.RegressionRequest(), spec))
        return _json(_plain(message))

    async def _work(self, size: int, call: Callable, *arguments):
        """Call something that takes long where there is much to do: then in a thread."""
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
    metrics, monitoring : what Prometheus gets, and at which path; neither where it gets nothing.
    tls : speaks TLS where given.

    Raises InputError when the port is taken.
    """
    try:
        listening = listen(host, port)
    except OSError:
        raise InputError(
            f"Port {port} of {host} cannot be had for REST; choose another with --rest-port, or 0 for a free one."
        ) from None
    rest = Rest(models, metrics, monitoring)
    await rest.start(listening, tls)
    return rest


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, on an IPv4 or IPv6 address. OSError where it cannot be had."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def _takes_gzip(accepted: str) -> bool:
    """Whether a client that sent this Accept-Encoding reads gzip; a weight of 0 means that it does not."""
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight)
    return False


def _silent() -> logging.Logger:
    """A logger that says nothing: the library gives each client's broken HTTP a page of the server's log."""
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
    """A request with the model that it means."""
    request.model_spec.name = spec.name
    request.model_spec.signature_name = spec.signature if spec.signature != "serving_default" else ""
    if spec.version is not None:
        request.model_spec.version.value = spec.version
    elif spec.label is not None:
        request.model_spec.version_label = spec.label
    return request


def _plain(message) -> dict:
    """A protobuf message as TensorFlow Serving writes it as JSON."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _json(content: dict, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(content, indent=1) + "\n", status=status, content_type="application/json")


def _error(status: int, sentence: str) -> web.Response:
    return _json({"error": sentence}, status)
