"""What both clients share: the exchanges of messages with a server, apart from how the messages are sent.

`MorphClient` runs exchanges by blocking calls, `AsyncMorphClient` on an event loop. Retries, deadlines, messages that
turn out too large, and answers that make no sense are handled here, once.
"""

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message

from morph.errors import InputError
from serving.client.answers import PER_ANSWER, Answers, Columns
from serving.client.chunks import NO_VERSION, Chunk, Item, Reply
from serving.client.connection import Connection
from serving.client.errors import (
    Retries,
    ServerError,
    changed,
    explain,
    explain_search,
    most_rows,
    unreadable,
)
from serving.client.exchange import Exchange, Send
from serving.client.samples import sample_inputs, samples
from serving.client.similar import Hits
from serving.protocol import OUTPUTS, messages
from serving.protocol.similar import SEARCH, SimilarResponse

if TYPE_CHECKING:
    from morph.domain_shift.sample import Sample

#: Galaxies in one message. The server's `max_batch_size` must not be smaller (deploy/batching_parameters.txt).
BATCH_SIZE = 128

#: Bytes of images in one message: stamps of 64 pixels reach `BATCH_SIZE` first, ten times larger ones do not.
MESSAGE_BYTES = 32 << 20

#: Requests sent before the first is answered: the server has the next batch while it computes this one.
IN_FLIGHT = 4

PREDICT = "/tensorflow.serving.PredictionService/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

#: Signatures that take no composites, and what they give.
NEED_FLUX = {"reconstruct": "A reconstruction", "restore": "Restoring"}

#: The statuses with which servers report that a model lacks a signature.
NO_SIGNATURE = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND")


class ClientProtocol:
    """The exchanges with one server about one model.

    Parameters
    ----------
    version, label : which version answers; the server's highest if neither is given.
    timeout : seconds that one message may take, its retries included.
    batch_size : the most galaxies in a message.
    """

    def __init__(
        self,
        connection: Connection,
        model: str,
        version: int | None,
        label: str | None,
        timeout: float,
        retries: Retries,
        batch_size: int,
    ):
        if version is not None and label is not None:
            raise InputError("A version is chosen by its number or by its label, not by both.")
        if not timeout > 0:
            raise InputError(f"A message gets more than 0 seconds; the timeout is {timeout:g}.")
        if batch_size < 1:
            raise InputError(f"A message holds at least 1 galaxy; the batch size is {batch_size}.")
        self.connection, self.model, self.version, self.label = connection, model, version, label
        self.timeout, self.retries, self.batch_size = timeout, retries, batch_size
        self._most_bytes = MESSAGE_BYTES
        # By version; None is the one that this client asks for.
        self._described: dict[int | None, dict[str, Any]] = {}

    def capacity(self, row: np.ndarray) -> int:
        """How many images like `row` go into one message."""
        return max(1, min(self.batch_size, self._most_bytes // max(row.nbytes, 1)))

    def predict(self, chunk: Chunk, wanted: Sequence[str]) -> Exchange[Reply]:
        """The outputs for the images of a message. Where the server takes fewer at once, they go in parts, and the
        messages after them are smaller from the start."""
        rows = chunk.rows
        if chunk.signature in NEED_FLUX and rows.dtype == np.uint8:
            raise InputError(f"{NEED_FLUX[chunk.signature]} needs flux (float32), not a composite (uint8).")
        request = messages.PredictRequest(output_filter=wanted)
        self._fill(request.model_spec, chunk.signature)
        for name, values in {"image": rows, **chunk.others}.items():
            messages.to_tensor(values, request.inputs[name])
        try:
            response = yield from self._ask(PREDICT, request, messages.PredictResponse)
        except ServerError as error:
            most = most_rows(error, len(rows))
            if most is None:
                raise
            self._send_less(error, most, rows[0].nbytes)
            parts = []
            for start in range(0, len(rows), most):
                parts.append((yield from self.predict(chunk.part(start, start + most), wanted)))
            return Reply.join(parts)
        return self._read(response, len(rows), wanted)

    def describe(self, version: int | None = None) -> Exchange[dict[str, Any]]:
        """The model's own description, of the version that this client asks for or of a given one. Asked once."""
        if version not in self._described:
            reply, text = yield from self._ask_text("describe", "description", version)
            try:
                description = _description(json.loads(text))
            except (ValueError, RecursionError) as error:
                raise self._unreadable(f"its description of the model: {error}") from None
            self._described[version] = self._described[int(reply.versions[0])] = description
        return self._described[version]

    def answers(self, reply: Reply, item: Item) -> Exchange[Answers]:
        """The reply to an item, with the column names of the versions that gave it."""
        described = []
        for version in np.unique(reply.versions).tolist() or [NO_VERSION]:
            described.append((yield from self.describe(None if version == NO_VERSION else version)))
        questions = described[0]["questions"]
        if any(description["questions"] != questions for description in described):
            raise changed()
        answers = Answers(reply.outputs, described[0], reply.versions, item.ids, item.flags)
        if any(answers[output].shape[1:] != (answers.width,) for output in PER_ANSWER if output in answers):
            raise self._unreadable(f"other than {answers.width} answers a galaxy")
        return answers

    def reference_sample(self) -> Exchange["Sample | None"]:
        """The model's reference sample of its training galaxies; None where it has none."""
        try:
            _, text = yield from self._ask_text("reference_sample", "sample")
        except ServerError as error:
            if error.status in NO_SIGNATURE:
                return None
            raise
        if not text:
            return None
        try:
            from morph.domain_shift.sample import Sample
        except ModuleNotFoundError:
            raise InputError("A model's reference sample is read by the package morph-galaxies; install it.") from None
        return Sample.from_text(text)

    def similar(self, request: Message) -> Exchange[Hits]:
        """The galaxies of an index that are most like the examples of a SimilarRequest."""
        response = yield from self._ask(SEARCH, request, SimilarResponse)
        try:
            return Hits.of(response)
        except ValueError as error:
            raise self._unreadable(error) from None

    def sample(
        self, n: int, given: Any, survey: str | None, seed: int, decoder: str | None = None
    ) -> Exchange[Columns]:
        """Sampled galaxies, of which messages hold as many as images.

        Parameters
        ----------
        n, given, survey, seed, decoder : as for `MorphClient.sample`.
        """
        description = yield from self.describe()
        inputs = sample_inputs(description, n, given, survey, seed, decoder)
        images, start = [], 0
        while start < n:
            rows = {name: array[start : start + self.batch_size] for name, array in inputs.items()}
            reply = yield from self._sample(rows)
            images.append(reply.outputs["image"])
            start += len(reply)
        return samples(description, inputs, np.concatenate(images))

    def _sample(self, rows: dict[str, np.ndarray]) -> Exchange[Reply]:
        """The galaxies of one message; where the server takes fewer at once, the first of them."""
        count = len(rows["noise"])
        request = messages.PredictRequest(output_filter=["image"])
        self._fill(request.model_spec, "sample")
        for name, array in rows.items():
            messages.to_tensor(array, request.inputs[name])
        try:
            response = yield from self._ask(PREDICT, request, messages.PredictResponse)
        except ServerError as error:
            most = most_rows(error, count)
            if most is None:
                raise
            self.batch_size = min(self.batch_size, most)
            return (yield from self._sample({name: array[:most] for name, array in rows.items()}))
        return self._read(response, count, ["image"])

    def available(self) -> Exchange[list[int]]:
        """The versions that answer requests now, highest last."""
        request = messages.GetModelStatusRequest()
        self._fill(request.model_spec)
        response = yield from self._ask(STATUS, request, messages.GetModelStatusResponse)
        return sorted(s.version for s in response.model_version_status if s.state == messages.AVAILABLE)

    def _ask_text(self, signature: str, output: str, version: int | None = None) -> Exchange[tuple[Reply, str]]:
        """The text of a signature whose answer does not depend on the query."""
        request = messages.PredictRequest(output_filter=[output])
        self._fill(request.model_spec, signature, version)
        messages.to_tensor(np.array(["model"]), request.inputs["query"])
        response = yield from self._ask(PREDICT, request, messages.PredictResponse)
        reply = self._read(response, 1, [output], text=True)
        try:
            return reply, reply.outputs[output].item().decode()
        except ValueError as error:  # not one text, or not UTF-8
            raise self._unreadable(error) from None

    def _ask(self, method: str, request: Message, answer: type[Message]) -> Exchange[Message]:
        """One message and its answer, with as many attempts as the retries and the deadline allow."""
        content = request.SerializeToString()
        end = time.monotonic() + self.timeout
        pause, attempts = 0.0, 0
        while True:
            try:
                received = yield Send(method, content, end - time.monotonic() - pause, pause)
                break
            except grpc.RpcError as error:
                next_pause = self.retries.pause(error, attempts)
                if next_pause is None or time.monotonic() + next_pause >= end:
                    raise self._explained(error, method) from None
                pause, attempts = next_pause, attempts + 1
        try:
            return answer.FromString(received)
        except DecodeError as error:
            raise self._unreadable(error) from None

    def _explained(self, error: grpc.RpcError, method: str) -> ServerError:
        chosen = f" labelled '{self.label}'" if self.label else ""
        chosen = chosen if self.version is None else f" in version {self.version}"
        address, tls = self.connection.address, bool(self.connection.tls)
        if method == SEARCH:
            return explain_search(error, address, self.timeout, tls=tls)
        return explain(error, address, f"'{self.model}'{chosen}", self.timeout, tls=tls)

    def _unreadable(self, reason: object) -> ServerError:
        return unreadable(self.connection.address, reason)

    def _fill(self, spec: Message, signature: str = "", version: int | None = None) -> None:
        spec.name, spec.signature_name = self.model, signature
        version = self.version if version is None else version
        if version is not None:
            spec.version.value = version
        elif self.label is not None:
            spec.version_label = self.label

    def _send_less(self, error: ServerError, most: int, row_bytes: int) -> None:
        """Make no further message larger than the server takes."""
        if error.status == "RESOURCE_EXHAUSTED":
            self._most_bytes = min(self._most_bytes, most * row_bytes)
        else:
            self.batch_size = min(self.batch_size, most)

    def _read(self, response: Message, rows: int, wanted: Sequence[str], text: bool = False) -> Reply:
        """The arrays of an answer, which must have a row for every row that was sent."""
        outputs = {}
        # A map on the wire has no order.
        for name in wanted or sorted(response.outputs, key=_place):
            if name not in response.outputs:
                raise self._unreadable(f"it lacks '{name}'")
            try:
                array = messages.from_tensor(response.outputs[name])
            except ValueError as error:
                raise self._unreadable(error) from None
            if array.ndim == 0 or len(array) != rows or (array.dtype == object) != text:
                raise unreadable(
                    self.connection.address, f"'{name}' is {array.dtype}{list(array.shape)} for {rows} galaxies"
                )
            outputs[name] = array
        if not outputs:
            raise self._unreadable("it holds nothing")
        spec = response.model_spec
        return Reply(outputs, np.full(rows, spec.version.value if spec.HasField("version") else NO_VERSION))


def _place(name: str) -> tuple[int, str]:
    return (OUTPUTS.index(name) if name in OUTPUTS else len(OUTPUTS), name)


def _description(found: Any) -> dict[str, Any]:
    """`found`, if it is the description of a model; ValueError otherwise."""
    kinds = {"name": str, "version": int, "survey": str, "size": int, "questions": list}
    if not isinstance(found, dict):
        raise ValueError("not an object")
    for key, kind in kinds.items():
        if not isinstance(found.get(key), kind):
            raise ValueError(f"no '{key}'")
    for question in found["questions"]:
        named = isinstance(question, dict) and isinstance(question.get("name"), str)
        if not named or not isinstance(question.get("answers"), list):
            raise ValueError("a question without name or answers")
        if not all(isinstance(answer, str) for answer in question["answers"]):
            raise ValueError("an answer without a name")
    if not 1 <= found["size"] <= 1 << 14:
        raise ValueError(f"stamps of {found['size']} pixels")
    return found


class Client:
    """One server's model.

    Parameters
    ----------
    address : ``host:port``. Several IP addresses, separated by commas, are asked in turn; so are the machines behind
        one name (a headless Service of Kubernetes).
    model : the name that the server gives the model.
    version, label : which version, by its number or by a label such as ``stable``; the server's highest if neither is
        given.
    timeout : seconds that one message may take, its wait in the server's queue and its retries included.
    retries : how often a message is sent again when the server is not there (UNAVAILABLE) or is overloaded
        (RESOURCE_EXHAUSTED); no other error is worth another attempt. 0 for never; a `Retries` sets more.
    tls : use TLS. True trusts the root certificates that come with gRPC; a path is a PEM file of root
        certificates to trust instead.
    certificate : PEM files of the client's certificate and its key, for a server that asks for them (mutual TLS).
    token : sent with every request as ``authorization: Bearer TOKEN``; over TLS, unless `token_in_clear` allows it
        in clear, where anyone on the network can read it.
    batch_size : the most galaxies in a message; smaller ones follow where the server takes fewer.

    Raises
    ------
    InputError : when these contradict each other.
    """

    def __init__(
        self,
        address: str,
        model: str = "morph",
        version: int | None = None,
        timeout: float = 60.0,
        *,
        label: str | None = None,
        retries: int | Retries = Retries(),
        tls: bool | str | Path = False,
        certificate: tuple[str | Path, str | Path] | None = None,
        token: str | None = None,
        token_in_clear: bool = False,
        batch_size: int = BATCH_SIZE,
    ):
        self.address, self.model, self.version, self.label, self.timeout = address, model, version, label, timeout
        self._connection = Connection(address, tls, certificate, token, token_in_clear)
        self._protocol = ClientProtocol(
            self._connection, model, version, label, timeout, Retries.of(retries), batch_size
        )
        self._closed = False

    def _require_open(self) -> None:
        """InputError where the client was closed."""
        if self._closed:
            raise InputError(f"This client of {self.address} is closed; make a new one.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.address}', model='{self.model}')"


def names(outputs: Iterable[str]) -> tuple[str, ...]:
    """The names of outputs; a single one may be given as a string."""
    return (outputs,) if isinstance(outputs, str) else tuple(outputs)


def require_several(galaxies: Any, in_flight: int) -> Any:
    """`galaxies`, if `stream` can take them and `in_flight`; InputError otherwise."""
    if isinstance(galaxies, (str, os.PathLike)):
        raise InputError(f"`stream` takes several galaxies, one after the other; classify '{galaxies}' instead.")
    if in_flight < 1:
        raise InputError(f"in_flight must be at least 1; it is {in_flight}.")
    return galaxies
