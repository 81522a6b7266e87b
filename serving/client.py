"""The thin client: galaxies in, answers out, over gRPC; numpy, grpcio and protobuf are all it needs.

>>> with MorphClient("127.0.0.1:8500") as client:  # doctest: +SKIP
...     answers = client.classify(images)
...     client.named(answers["probabilities"])[0]["smooth-or-featured"]
{'smooth': 0.81, 'featured-or-disk': 0.17, 'artifact': 0.02}

It speaks to TensorFlow Serving and to the server that `morph serve` embeds, and cannot tell them apart.
"""

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import grpc
import numpy as np
from google.protobuf.message import Message

from morph.errors import BadInput
from serving import messages

if TYPE_CHECKING:
    from morph.shift.sample import Sample

#: Galaxies in one message. The server's `max_batch_size` must not be smaller (deploy/batching_parameters.txt).
BATCH_SIZE = 128

#: Messages on their way at once: the server has the next batch while it computes this one.
IN_FLIGHT = 4

#: gRPC stops at 4 MiB unless told otherwise; a batch of stamps is 6 MiB.
CHANNEL_OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))

#: The signature that reads each kind of image.
SIGNATURES = {np.dtype("uint8"): "composite", np.dtype("float32"): "serving_default"}

#: How servers say that a model has no signature of some name.
NO_SIGNATURE = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND")


class ServerError(BadInput):
    """The server did not answer, or answered with an error; the message says which.

    `status` is gRPC's name for it: UNAVAILABLE, INVALID_ARGUMENT, NOT_FOUND, DEADLINE_EXCEEDED, ...
    """

    def __init__(self, message: str, status: str):
        super().__init__(message)
        self.status = status


class MorphClient:
    """One server's model.

    Parameters
    ----------
    address : ``host:port``.
    model : the name that the server gives the model.
    version : which version; the server's highest if not given.
    timeout : seconds that one message may take, its wait in the server's queue included.
    """

    def __init__(self, address: str, model: str = "morph", version: int | None = None, timeout: float = 60.0):
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise BadInput(f"'{address}' is no server's address; write HOST:PORT, for example 127.0.0.1:8500.")
        self.address, self.model, self.version, self.timeout = address, model, version, timeout
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._predict = self._method("PredictionService/Predict", messages.PredictResponse)
        self._status = self._method("ModelService/GetModelStatus", messages.GetModelStatusResponse)
        self._description: dict | None = None

    def __enter__(self) -> "MorphClient":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MorphClient('{self.address}', model='{self.model}')"

    def close(self) -> None:
        self._channel.close()

    def available_versions(self) -> list[int]:
        """The versions of the model that answer requests now, highest last. ServerError as in `classify`."""
        request = messages.GetModelStatusRequest()
        self._fill(request.model_spec)
        response = self._answer(_Call(self._status, request, self.timeout))
        return sorted(s.version for s in response.model_version_status if s.state == messages.AVAILABLE)

    def describe(self) -> dict:
        """What the server's model is: name, version, survey, size of its stamps, questions and answers in the
        order of `probabilities`, anomaly threshold. Asked once and kept. ServerError as in `classify`."""
        if self._description is None:
            outputs = self._run("describe", "query", np.array(["model"]), ["description"])
            self._description = json.loads(outputs["description"][0])
        return self._description

    def recall(self) -> "Sample | None":
        """What the model remembers of the galaxies that taught it, for `morph.shift`; None when that is nothing, as
        with every model that was exported before there was such a memory. ServerError as in `classify`."""
        try:
            outputs = self._run("recall", "query", np.array(["model"]), ["sample"])
        except ServerError as error:
            if error.status in NO_SIGNATURE:
                return None
            raise
        from morph.shift.sample import Sample

        text = outputs["sample"][0]
        return Sample.from_text(text) if text else None

    def classify(self, images: np.ndarray, outputs: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Everything the model says about each galaxy.

        Parameters
        ----------
        images : [n, size, size, 3], with the size that `describe` tells. uint8: composites, R, G, B. Any float:
            flux in nanomaggies per pixel, bands g, r, i (the model's `bands`), NaN where there is no data.
        outputs : which outputs to fetch; all if not given. A caller without use for the embedding saves most of
            the answer's size by not asking for it.

        Returns
        -------
        ``probabilities``, ``tree_probabilities`` (multiplied down the decision tree: the probability that a volunteer
        who starts at the top gives the answer), ``concentration`` float32 [n, answers], ``embedding`` float32 [n, d],
        ``reconstruction_error``, ``anomaly_score`` float32 [n], ``anomaly`` bool [n].

        Raises BadInput when `images` is no batch of images, and ServerError when nobody answers, when the
        server refuses the request (its own sentence says why) or when the timeout passes.
        """
        images = _batch(images)
        return self._run(SIGNATURES[images.dtype], "image", images, outputs)

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """The galaxies as the decoder sees them: float32 [n, size, size, 3] from flux of that shape, in
        nanomaggies per pixel. Raises as `classify`."""
        images = _batch(images)
        if images.dtype == np.uint8:
            raise BadInput("A reconstruction needs flux (float32), not a composite (uint8).")
        return self._run("reconstruct", "image", images, None)["reconstruction"]

    def named(self, probabilities: np.ndarray) -> list[dict[str, dict[str, float]]]:
        """Rows of `probabilities` or `tree_probabilities` [n, answers] as {question: {answer: probability}}, one
        entry a galaxy."""
        questions = self.describe()["questions"]
        rows = []
        for row in np.asarray(probabilities, dtype=float):
            values = iter(row.tolist())
            rows.append({q["name"]: {answer: next(values) for answer in q["answers"]} for q in questions})
        return rows

    def _run(
        self, signature: str, name: str, rows: np.ndarray, outputs: Iterable[str] | None
    ) -> dict[str, np.ndarray]:
        """Send `rows` through a signature, `BATCH_SIZE` a message, and join what comes back in order."""
        wanted = list(outputs or [])
        # Servers refuse empty batches; one blank galaxy brings the shapes of the empty answer.
        sent = rows if len(rows) else np.zeros((1, *rows.shape[1:]), rows.dtype)
        requests = (
            self._request(signature, name, sent[start : start + BATCH_SIZE], wanted)
            for start in range(0, len(sent), BATCH_SIZE)
        )
        parts = [
            {key: messages.from_tensor(tensor) for key, tensor in response.outputs.items()}
            for response in self._stream(requests)
        ]
        return {key: np.concatenate([part[key] for part in parts])[: len(rows)] for key in parts[0]}

    def _request(self, signature: str, name: str, rows: np.ndarray, outputs: list[str]) -> Message:
        request = messages.PredictRequest(output_filter=outputs)
        self._fill(request.model_spec, signature)
        messages.to_tensor(rows, request.inputs[name])
        return request

    def _stream(self, requests: Iterable[Message]) -> Iterator[Message]:
        """Answers in the order of `requests`, with `IN_FLIGHT` of them under way."""
        under_way: deque[_Call] = deque()
        try:
            for request in requests:
                under_way.append(_Call(self._predict, request, self.timeout))
                if len(under_way) == IN_FLIGHT:
                    yield self._answer(under_way.popleft())
            while under_way:
                yield self._answer(under_way.popleft())
        finally:
            for call in under_way:
                call.cancel()

    def _answer(self, call: "_Call") -> Message:
        try:
            return call.result()
        except grpc.RpcError as error:
            raise self._explained(error) from None

    def _explained(self, error: grpc.RpcError) -> ServerError:
        status = error.code().name
        if _queue_is_full(error):
            sentence = f"The server at {self.address} has too much to do; send less at once, or try again later."
        elif status == "UNAVAILABLE":
            sentence = f"No server answers at {self.address}; start one with `morph serve DIR`."
        elif status == "DEADLINE_EXCEEDED":
            sentence = f"The server at {self.address} did not answer within {self.timeout:g} s; try again later."
        elif status == "NOT_FOUND":
            version = "" if self.version is None else f" in version {self.version}"
            sentence = f"The server at {self.address} has no model '{self.model}'{version} ({error.details()})."
        elif status == "UNIMPLEMENTED":
            sentence = f"What listens at {self.address} is no model server; start one with `morph serve DIR`."
        elif status == "INVALID_ARGUMENT":
            sentence = error.details()
        else:
            sentence = f"The server at {self.address} failed: {error.details()}"
        return ServerError(sentence, status)

    def _fill(self, spec: Message, signature: str = "") -> None:
        spec.name, spec.signature_name = self.model, signature
        if self.version is not None:
            spec.version.value = self.version

    def _method(self, path: str, answer: type[Message]) -> grpc.UnaryUnaryMultiCallable:
        return self._channel.unary_unary(
            f"/tensorflow.serving.{path}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )


class _Call:
    """One request under way. While the server's queue is full it is sent again, until its time is up."""

    PAUSE = 0.05

    def __init__(self, method: grpc.UnaryUnaryMultiCallable, request: Message, timeout: float):
        self._method, self._request = method, request
        self._deadline = time.monotonic() + timeout
        self._future = method.future(request, timeout=timeout)

    def result(self) -> Message:
        """The answer; grpc.RpcError when there is none."""
        while True:
            try:
                return self._future.result()
            except grpc.RpcError as error:
                left = self._deadline - time.monotonic() - self.PAUSE
                if left <= 0 or not _queue_is_full(error):
                    raise
            time.sleep(self.PAUSE)
            self._future = self._method.future(self._request, timeout=left)

    def cancel(self) -> None:
        self._future.cancel()


def _queue_is_full(error: grpc.RpcError) -> bool:
    """Whether the server refused because it is busy; TensorFlow Serving says so as UNAVAILABLE."""
    status, details = error.code().name, error.details() or ""
    return status == "RESOURCE_EXHAUSTED" or (status == "UNAVAILABLE" and "queue" in details)


def _batch(images: np.ndarray) -> np.ndarray:
    """`images` as uint8 or float32 [n, height, width, 3]; BadInput when they are neither."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise BadInput(f"Images of shape {images.shape} are no batch; give an array of shape (n, size, size, 3).")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise BadInput(f"Images of {images.dtype} are neither composites (uint8) nor flux (float32).")
    return images.astype("float32", copy=False)
