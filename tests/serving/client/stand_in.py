"""A small gRPC server that a test commands: it speaks the contract's messages, without a model behind them."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np

from serving.protocol import messages

DESCRIPTION = {
    "name": "morph",
    "version": 3,
    "survey": "des",
    "size": 8,
    "bands": ["g", "r", "z"],
    "questions": [{"name": "bar", "answers": ["yes", "no"]}, {"name": "merging", "answers": ["none", "merger", "?"]}],
    "anomaly_threshold": 0.01,
}
WIDTH = 5


class StandIn(grpc.GenericRpcHandler):
    """Answers every galaxy with its own first pixel, so that a test sees whose answer it got.

    `before` is called with each predict request and the call's context before it is answered, and may abort it.
    `asked` are the (signature, rows) of the requests that came, `most` how many were under way at once.
    """

    def __init__(self, before: Callable = lambda request, context: None, credentials=None, **options):
        self.before, self.asked, self.metadata, self.most, self._now = before, [], [], 0, 0
        self._lock = threading.Lock()
        self.description = DESCRIPTION
        self._server = grpc.server(
            ThreadPoolExecutor(16),
            handlers=[self],
            options=[(f"grpc.{name}", value) for name, value in options.items()],
        )
        if credentials:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"localhost:{self.port}"

    def __enter__(self) -> "StandIn":
        self._server.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.stop(None).wait()

    def service(self, details):
        self.metadata.append(dict(details.invocation_metadata))
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, content: bytes, context) -> bytes:
        request = messages.PredictRequest.FromString(content)
        signature = request.model_spec.signature_name
        rows = messages.from_tensor(next(iter(request.inputs.values())))
        with self._lock:
            self.asked.append((signature, len(rows)))
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            if signature != "describe":
                self.before(request, context)
        finally:
            with self._lock:
                self._now -= 1
        return self.response(request, rows).SerializeToString()

    def response(self, request, rows):
        response = messages.PredictResponse(model_spec={"name": "morph"})
        response.model_spec.version.value = self.description["version"]
        if request.model_spec.signature_name == "describe":
            outputs = {"description": np.array([json.dumps(self.description)])}
        else:
            pixel = rows[:, 0, 0, 0].astype("float32")
            outputs = {
                "probabilities": np.repeat(pixel[:, None], WIDTH, axis=1),
                "embedding": np.repeat(pixel[:, None], 7, axis=1),
                "anomaly": pixel > 1e6,
                "reconstruction": rows.astype("float32"),
            }
        for name in request.output_filter or ("probabilities", "embedding", "anomaly"):
            messages.to_tensor(outputs[name], response.outputs[name])
        return response


def numbered(count: int, first: int = 0, dtype="float32", size: int = 8) -> np.ndarray:
    """Stamps whose every pixel is their own number."""
    numbers = np.arange(first, first + count).astype(dtype)
    return np.broadcast_to(numbers[:, None, None, None], (count, size, size, 3)).copy()
