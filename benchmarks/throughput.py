"""What the embedded server costs: its throughput as a share of the same model in one process.

    python benchmarks/throughput.py [MODEL]

Two loads over real gRPC, from this machine's own cores: 64 clients that send single galaxies, and 8 clients
that send 128 at a time, each waiting for its answer before it sends again. The measure is the exported model
called in a process of its own with batches of 128. Everything is timed in turns. Ends by itself in about a
minute.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np

from serving.client import CHANNEL_OPTIONS
from serving.messages import PredictRequest, to_tensor

SECONDS = 5.0
ROUNDS = 3
LOADS = ((64, 1), (8, 128))

EXPORT = """
import sys
from morph.model.classifier import Classifier
from morph.model.store import load_model
from serving.export import export_model
export_model(load_model(sys.argv[2]) if len(sys.argv) > 2 else Classifier(), sys.argv[1])
"""

#: Reads a line, calls the model for so many seconds, answers with galaxies per second.
IN_PROCESS = """
import sys, time
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
run = model.signatures["serving_default"]
images = np.random.default_rng(0).normal(1, 1, (128, 64, 64, 3)).astype("float32")
run(image=tf.constant(images))
print("ready", flush=True)
for line in sys.stdin:
    start, passes = time.perf_counter(), 0
    while time.perf_counter() - start < float(line):
        {key: tensor.numpy() for key, tensor in run(image=tf.constant(images)).items()}
        passes += 1
    print(128 * passes / (time.perf_counter() - start), flush=True)
"""


async def load(address: str, clients: int, galaxies: int) -> tuple[float, np.ndarray]:
    """Galaxies per second that `clients` get who send `galaxies` at a time, and the seconds each request took."""
    request = PredictRequest()
    request.model_spec.name = "morph"
    images = np.random.default_rng(0).normal(1, 1, (galaxies, 64, 64, 3)).astype("float32")
    to_tensor(images, request.inputs["image"])
    # Made once: the cores are shared, and what the clients spend the server lacks.
    message = request.SerializeToString()
    waits: list[float] = []
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        await asyncio.gather(*(predict(message) for _ in range(clients)))
        start = time.perf_counter()

        async def client() -> None:
            while (sent := time.perf_counter()) - start < SECONDS:
                await predict(message)
                waits.append(time.perf_counter() - sent)

        await asyncio.gather(*(client() for _ in range(clients)))
        spent = time.perf_counter() - start
    return galaxies * len(waits) / spent, np.array(waits)


def main() -> None:
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-c", EXPORT, folder, *sys.argv[1:]], check=True, stderr=subprocess.DEVNULL)
        version = Path(folder) / "morph" / "1"
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        server = subprocess.Popen([python, "-m", "morph", "serve", folder, "--embedded", "--port", "0"], **quiet)
        alone = subprocess.Popen([python, "-c", IN_PROCESS, version], stdin=subprocess.PIPE, **quiet)
        try:
            address = server.stdout.readline().split()[-1]
            alone.stdout.readline()
            measure(address, alone)
        finally:
            server.terminate()
            alone.stdin.close()
            server.wait()
            alone.wait()


def measure(address: str, alone: subprocess.Popen) -> None:
    rates: dict[tuple[int, int], list[float]] = {what: [] for what in LOADS}
    waits: dict[tuple[int, int], list[np.ndarray]] = {what: [] for what in LOADS}
    baselines = []
    for _ in range(ROUNDS):
        alone.stdin.write(f"{SECONDS}\n")
        alone.stdin.flush()
        baselines.append(float(alone.stdout.readline()))
        for what in LOADS:
            rate, wait = asyncio.run(load(address, *what))
            rates[what].append(rate)
            waits[what].append(wait)
    print(f"{os.cpu_count()} cores, medians of {ROUNDS} rounds of {SECONDS:g} s in turns")
    print(f"  in one process, batches of 128  {median(baselines):6.0f} galaxies/s")
    for (clients, galaxies), found in rates.items():
        ratio = median(rate / base for rate, base in zip(found, baselines, strict=True))
        p50, p99 = np.percentile(np.concatenate(waits[clients, galaxies]), [50, 99]) * 1000
        print(
            f"  {clients:2d} clients sending {galaxies:3d} each    {median(found):6.0f} galaxies/s, "
            f"ratio {ratio:.2f}, half within {p50:.0f} ms, 99 % within {p99:.0f} ms"
        )


if __name__ == "__main__":
    main()
