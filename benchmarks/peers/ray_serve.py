"""The exported model behind Ray Serve: `python ray_serve.py VERSION_FOLDER PORT [proxy]`, this project on PYTHONPATH.

With `proxy` requests come through Ray's proxy, as in its guide to gRPC; otherwise the replica takes them itself. Says
where it serves when it does, and stops when its standard input ends.
"""

import asyncio
import os
import sys
import tempfile

# Ray reads these where it is imported, here and in the processes that it starts.
os.environ.update(
    {}
    if sys.argv[3:]
    else {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": sys.argv[2]},
    RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S="120",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_AUTH_MODE="disabled",
)

import numpy as np
import ray
from ray import serve
from ray.serve.config import gRPCOptions
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

SERVICE = "tensorflow_serving.apis.prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server"
WAIT = 0.01


@serve.deployment(
    num_replicas=1,
    max_ongoing_requests=1024,
    ray_actor_options={"num_cpus": os.cpu_count()},
    graceful_shutdown_timeout_s=1,
)
class Morph:
    """One replica, with the whole machine to itself."""

    def __init__(self, folder: str):
        from benchmarks.peers.saved_model import Network

        self._network = Network(folder)

    @serve.batch(max_batch_size=128, batch_wait_timeout_s=WAIT)
    async def _together(self, images: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """The answers to single galaxies, each (1, 64, 64, 3)."""
        outputs = await asyncio.to_thread(self._network, np.concatenate(images))
        return [{name: array[row : row + 1] for name, array in outputs.items()} for row in range(len(images))]

    async def Predict(self, request: PredictRequest) -> PredictResponse:
        """TensorFlow Serving's call."""
        from serving.protocol.messages import from_tensor, to_tensor

        response = PredictResponse()
        for name, array in (await self._together(from_tensor(request.inputs["image"]))).items():
            to_tensor(array, response.outputs[name])
        return response


def main(folder: str, port: str, proxy: str = "") -> None:
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as home:
        ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, _temp_dir=home)
        # Ray starts a proxy in any case; where nobody asks it, the port is the replica's.
        grpc = gRPCOptions(port=int(port) + (not proxy), grpc_servicer_functions=[SERVICE])
        serve.start(proxy_location="HeadOnly", grpc_options=grpc)
        serve.run(Morph.bind(folder))
        print(f"Serving at 127.0.0.1:{port}", flush=True)
        sys.stdin.read()
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
