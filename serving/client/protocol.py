"""What client and server say to each other, apart from how it is sent.

Each talk is a generator that yields what to send (`Send`) and is given the bytes of the answer, or has gRPC's error
thrown into it; it returns what the caller wanted. The two clients differ only in how they carry a talk out: one
waits, the other awaits. Retries, deadlines, messages that turn out too large, and answers that make no sense are
dealt with here, once.
"""

import json
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message

from morph.errors import InputError
from serving.client.answers import PER_ANSWER, Answers
from serving.client.chunks import Chunk, Item
from serving.client.connection import Connection
from serving.client.errors import ServerError, changed, explained, most_rows, unreadable
from serving.client.reply import NOT_TOLD, Reply
from serving.client.retries import Retries
from serving.protocol import messages
from serving.protocol.outputs import OUTPUTS

if TYPE_CHECKING:
    from morph.domain_shift.sample import Sample

#: Galaxies in one message. The server's `max_batch_size` must not be smaller (deploy/batching_parameters.txt).
BATCH_SIZE = 128

#: Bytes of images in one message: stamps of 64 pixels reach `BATCH_SIZE` first, ten times larger ones do not.
MESSAGE_BYTES = 32 << 20

PREDICT = "/tensorflow.serving.PredictionService/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

#: How servers say that a model has no signature of some name.
NO_SIGNATURE = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND")


@dataclass(frozen=True)
class Send:
    """Send `request` to the `method` after `pause` seconds, and wait no longer than `timeout` for the answer."""

    method: str
    request: bytes = field(repr=False)
    timeout: float
    pause: float = 0.0


T = TypeVar("T")
Talk = Generator[Send, bytes, T]


class ClientProtocol:
    """The talks with one server about one model.

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

    def most(self, row: np.ndarray) -> int:
        """How many images like `row` go into one message."""
        return max(1, min(self.batch_size, self._most_bytes // max(row.nbytes, 1)))

    def predict(self, chunk: Chunk, wanted: Sequence[str]) -> Talk[Reply]:
        """The outputs for the images of a message. Where the server takes fewer at once, they go in parts, and the
        messages after them are smaller from the start."""
        rows = chunk.rows
        if chunk.signature == "reconstruct" and rows.dtype == np.uint8:
            raise InputError("A reconstruction needs flux (float32), not a composite (uint8).")
        request = messages.PredictRequest(output_filter=wanted)
        self._fill(request.model_spec, chunk.signature)
        messages.to_tensor(rows, request.inputs["image"])
        try:
            response = yield from self._ask(PREDICT, request, messages.PredictResponse)
        except ServerError as error:
            most = most_rows(error, len(rows))
            if most is None:
                raise
            self._remember(error, most, rows[0].nbytes)
            parts = []
            for start in range(0, len(rows), most):
                part = Chunk(chunk.signature, rows[start : start + most])
                parts.append((yield from self.predict(part, wanted)))
            return Reply.join(parts)
        return self._read(response, len(rows), wanted)

    def describe(self, version: int | None = None) -> Talk[dict[str, Any]]:
        """The model's own description, of the version that this client asks for or of a given one. Asked once."""
        if version not in self._described:
            reply, text = yield from self._ask_text("describe", "description", version)
            try:
                description = _description(json.loads(text))
            except (ValueError, RecursionError) as error:
                raise unreadable(self.connection, f"its description of the model: {error}") from None
            self._described[version] = self._described[int(reply.versions[0])] = description
        return self._described[version]

    def name(self, reply: Reply, item: Item) -> Talk[Answers]:
        """The reply to an item with the names that the versions which gave it have for its columns."""
        described = []
        for version in np.unique(reply.versions).tolist() or [NOT_TOLD]:
            described.append((yield from self.describe(None if version == NOT_TOLD else version)))
        questions = described[0]["questions"]
        if any(description["questions"] != questions for description in described):
            raise changed()
        answers = Answers(reply.outputs, described[0], reply.versions, item.ids, item.flags)
        if any(answers[output].shape[1:] != (answers.width,) for output in PER_ANSWER if output in answers):
            raise unreadable(self.connection, f"other than {answers.width} answers a galaxy")
        return answers

    def reference_sample(self) -> Talk["Sample | None"]:
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
            raise InputError("A reference sample is read by the whole of morph; install morph-galaxies.") from None
        return Sample.from_text(text)

    def available(self) -> Talk[list[int]]:
        """The versions that answer requests now, highest last."""
        request = messages.GetModelStatusRequest()
        self._fill(request.model_spec)
        response = yield from self._ask(STATUS, request, messages.GetModelStatusResponse)
        return sorted(s.version for s in response.model_version_status if s.state == messages.AVAILABLE)

    def _ask_text(self, signature: str, output: str, version: int | None = None) -> Talk[tuple[Reply, str]]:
        """The text that a signature answers whatever it is asked."""
        request = messages.PredictRequest(output_filter=[output])
        self._fill(request.model_spec, signature, version)
        messages.to_tensor(np.array(["model"]), request.inputs["query"])
        response = yield from self._ask(PREDICT, request, messages.PredictResponse)
        reply = self._read(response, 1, [output], text=True)
        try:
            return reply, reply.outputs[output].item().decode()
        except ValueError as error:  # not one text, or not UTF-8
            raise unreadable(self.connection, error) from None

    def _ask(self, method: str, request: Message, answer: type[Message]) -> Talk[Message]:
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
                    raise self._explained(error) from None
                pause, attempts = next_pause, attempts + 1
        try:
            return answer.FromString(received)
        except DecodeError as error:
            raise unreadable(self.connection, error) from None

    def _explained(self, error: grpc.RpcError) -> ServerError:
        chosen = f" labelled '{self.label}'" if self.label else ""
        chosen = chosen if self.version is None else f" in version {self.version}"
        return explained(error, self.connection, self.model, chosen, self.timeout)

    def _fill(self, spec: Message, signature: str = "", version: int | None = None) -> None:
        spec.name, spec.signature_name = self.model, signature
        version = self.version if version is None else version
        if version is not None:
            spec.version.value = version
        elif self.label is not None:
            spec.version_label = self.label

    def _remember(self, error: ServerError, most: int, row_bytes: int) -> None:
        """Make no message larger than the server takes again."""
        if error.status == "RESOURCE_EXHAUSTED":
            self._most_bytes = min(self._most_bytes, most * row_bytes)
        else:
            self.batch_size = min(self.batch_size, most)

    def _read(self, response: Message, rows: int, wanted: Sequence[str], text: bool = False) -> Reply:
        """The arrays of an answer, which must have a row for every row that was sent."""
        outputs = {}
        # Without a wish the order is that of a map on the wire: any.
        for name in wanted or sorted(response.outputs, key=_place):
            if name not in response.outputs:
                raise unreadable(self.connection, f"it lacks '{name}'")
            try:
                array = messages.from_tensor(response.outputs[name])
            except ValueError as error:
                raise unreadable(self.connection, error) from None
            if array.ndim == 0 or len(array) != rows or (array.dtype == object) != text:
                raise unreadable(self.connection, f"'{name}' is {array.dtype}{list(array.shape)} for {rows} galaxies")
            outputs[name] = array
        if not outputs:
            raise unreadable(self.connection, "it holds nothing")
        spec = response.model_spec
        return Reply(outputs, np.full(rows, spec.version.value if spec.HasField("version") else NOT_TOLD))


def _place(name: str) -> tuple[int, str]:
    return (OUTPUTS.index(name) if name in OUTPUTS else len(OUTPUTS), name)


def _description(found: Any) -> dict[str, Any]:
    """`found`, where it is the description of a model. ValueError where it is not."""
    kinds = {"name": str, "version": int, "survey": str, "size": int, "questions": list}
    if not isinstance(found, dict):
        raise ValueError("no object")
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
