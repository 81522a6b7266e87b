"""The exported model behind BentoML: `python bentoml_service.py VERSION_FOLDER PORT`, with this project on PYTHONPATH.

A POST to /classify takes float32 pixels of galaxies (n, 64, 64, 3), little-endian and in C order, as its body, and
answers with all of the model's outputs, side by side as float32, for each. The script says where it serves when it
does, and stops when its standard input ends.
"""

import os
import subprocess
import sys
import time
import urllib.request

import bentoml
import numpy as np
from bentoml import IODescriptor
from pydantic import ConfigDict
from starlette.requests import Request
from starlette.responses import Response


class Pixels(IODescriptor):
    """Galaxies as raw bytes, which BentoML's own descriptions of an array do not take."""

    images: np.ndarray
    model_config = ConfigDict(arbitrary_types_allowed=True)

    @classmethod
    async def from_http_request(cls, request: Request, serde) -> "Pixels":
        pixels = np.frombuffer(await request.body(), "<f4")
        return cls.model_construct(images=pixels.reshape(-1, 64, 64, 3))


class Answers(IODescriptor):
    """Rows of numbers as raw bytes."""

    @classmethod
    async def to_http_response(cls, obj: np.ndarray, serde) -> Response:
        return Response(obj.tobytes(), media_type="application/octet-stream")


@bentoml.service(
    workers=1,
    threads=1,
    resources={"cpu": os.cpu_count()},
    traffic={"timeout": 60, "max_concurrency": 1024},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Morph:
    """One worker, with the whole machine to itself."""

    def __init__(self):
        from benchmarks.peers.saved_model import Network

        self._network = Network(os.environ["MORPH_VERSION"])

    @bentoml.api(batchable=True, max_batch_size=128, max_latency_ms=60000, input_spec=Pixels, output_spec=Answers)
    def classify(self, images: np.ndarray) -> np.ndarray:
        outputs = self._network(images)
        return np.concatenate([array.reshape(len(images), -1) for array in outputs.values()], 1, dtype="float32")


def main(folder: str, port: str) -> None:
    environment = {**os.environ, "MORPH_VERSION": folder, "BENTOML_DO_NOT_TRACK": "true"}
    serve = ("-m", "bentoml", "serve", "benchmarks.peers.bentoml_service:Morph", "--host", "127.0.0.1", "--port", port)
    # Its log belongs to the standard error: the standard output says one thing.
    server = subprocess.Popen([sys.executable, *serve], env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
            break
        except OSError:
            time.sleep(0.2)
    else:
        sys.exit("bentoml ended")
    print(f"Serving at http://127.0.0.1:{port}/classify", flush=True)
    sys.stdin.read()
    server.terminate()
    server.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
