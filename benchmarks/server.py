"""What the embedded server costs: its throughput and latency beside those of the same model in one process.

    python benchmarks/server.py [--model DIR] [--seconds 5] [--rounds 3] [--clients 1 --clients 64 ...]
    python benchmarks/server.py --peer NAME=HOST:PORT      # any other server of the same model over gRPC

Closed loops over real gRPC from this machine's own cores: so many clients, each of which waits for its answer
before it sends again. The load generator, the server and the measure (the exported model called with batches of
128) are processes of their own, and everything is timed in turns. Ends by itself.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import grpc
import numpy as np

from serving.protocol.messages import PredictRequest, to_tensor

#: Clients and galaxies a request, for the table.
LOADS = ((64, 1), (8, 128), (1, 1))

EXPORT = """
import sys
from morph.model.classifier import Classifier
from serving.savedmodel.export import export_model
export_model(Classifier(), sys.argv[1])
"""

#: Reads lines with a batch size and seconds; answers with galaxies per second, and seconds per call.
IN_PROCESS = """
import sys, time
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
run = model.signatures["serving_default"]
images = np.random.default_rng(0).normal(1, 1, (128, 64, 64, 3)).astype("float32")
print("ready", flush=True)
for line in sys.stdin:
    size, seconds = int(line.split()[0]), float(line.split()[1])
    some, waits = images[:size], []
    {key: tensor.numpy() for key, tensor in run(image=tf.constant(some)).items()}
    start = time.perf_counter()
    while (begun := time.perf_counter()) - start < seconds:
        {key: tensor.numpy() for key, tensor in run(image=tf.constant(some)).items()}
        waits.append(time.perf_counter() - begun)
    print(size * len(waits) / (time.perf_counter() - start), sorted(waits)[len(waits) // 2], flush=True)
"""


async def load(address: str, clients: int, galaxies: int, seconds: float) -> dict:
    """What `clients` get who send `galaxies` at a time: `rate` in galaxies per second, `p50`, `p99` in seconds."""
    request = PredictRequest()
    request.model_spec.name = "morph"
    images = np.random.default_rng(0).normal(1, 1, (galaxies, 64, 64, 3)).astype("float32")
    to_tensor(images, request.inputs["image"])
    # Made once: the cores are shared, and what the clients spend the server lacks.
    message = request.SerializeToString()
    options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        return await closed_loops(lambda: predict(message), clients, galaxies, seconds)


async def closed_loops(send: Callable[[], Awaitable], clients: int, galaxies: int, seconds: float) -> dict:
    """What `load` says of `clients` of whom each calls `send` again and again."""
    waits: list[float] = []
    await asyncio.gather(*(send() for _ in range(clients)))
    start = time.perf_counter()

    async def client() -> None:
        while (sent := time.perf_counter()) - start < seconds:
            await send()
            waits.append(time.perf_counter() - sent)

    await asyncio.gather(*(client() for _ in range(clients)))
    spent = time.perf_counter() - start
    p50, p99 = np.percentile(waits, [50, 99])
    return {"rate": galaxies * len(waits) / spent, "p50": p50, "p99": p99}


class Child:
    """A process that answers lines with lines."""

    def __init__(self, *command: str, said: str):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([sys.executable, *command], text=True, **pipes)
        self.first = self._process.stdout.readline()
        if said not in self.first:
            raise SystemExit(f"{command[-1]} did not start: {self.first}")

    @property
    def address(self) -> str:
        """Where a server that was started says that it serves."""
        return self.first.split()[-1]

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: str) -> str:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> str:
        """The next line that it prints."""
        return self._process.stdout.readline()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait()


def listen() -> None:
    """The load generator: reads lines with address, clients, galaxies and seconds; answers what `load` says."""
    print("ready", flush=True)
    for line in sys.stdin:
        address, clients, galaxies, seconds = line.split()
        print(json.dumps(asyncio.run(load(address, int(clients), int(galaxies), float(seconds)))), flush=True)


@click.command()
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="Exported model; untrained if not given.")
@click.option("--seconds", default=5.0, show_default=True, help="Length of each timing.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--clients", multiple=True, type=int, help="Concurrent clients that send single galaxies; repeat.")
@click.option("--peer", "peers", multiple=True, metavar="NAME=HOST:PORT", help="Another server of the model; repeat.")
@click.option("--listen", "generator", is_flag=True, hidden=True)
def main(model: Path, seconds: float, rounds: int, clients: tuple[int, ...], peers: tuple[str, ...], generator: bool):
    """Print a table of throughputs and latencies, as shares of the model's own in one process."""
    if generator:
        listen()
        return
    loads = tuple((count, 1) for count in clients) or LOADS
    with ExitStack() as stack:
        if model is None:
            model = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            subprocess.run([sys.executable, "-c", EXPORT, model], check=True, stderr=subprocess.DEVNULL)
        version = max((model / "morph").glob("[0-9]*"), key=lambda folder: int(folder.name))
        serve = ("-m", "morph", "serve", str(model), "--embedded", "--port", "0")
        server = stack.enter_context(Child(*serve, said="Serving"))
        alone = stack.enter_context(Child("-c", IN_PROCESS, str(version), said="ready"))
        generator = stack.enter_context(Child(__file__, "--listen", said="ready"))
        sides = {"morph": server.address, **dict(peer.split("=", 1) for peer in peers)}
        measured = [_round(sides, loads, alone, generator, seconds) for _ in range(rounds)]
    _print(sides, loads, measured, seconds)


def _round(sides: dict[str, str], loads, alone: Child, generator: Child, seconds: float) -> dict:
    """One timing of everything: {"full", "single"} in process and {(side, load)} over gRPC."""
    found: dict = {"full": float(alone.ask(f"128 {seconds}").split()[0])}
    for what in loads:
        for side, address in sides.items():
            found[side, what] = json.loads(generator.ask(f"{address} {what[0]} {what[1]} {seconds}"))
    found["single"] = float(alone.ask(f"1 {seconds}").split()[1])
    return found


def _print(sides, loads, measured: list[dict], seconds: float) -> None:
    full, single = (median(each[key] for each in measured) for key in ("full", "single"))
    print(f"{os.cpu_count()} cores, medians of {len(measured)} rounds of {seconds:g} s in turns")
    print(f"  in one process: {full:.0f} galaxies/s in batches of 128, {1000 * single:.2f} ms for one galaxy")
    print("  server   clients  galaxies each  galaxies/s  share of in-process  p50 ms  p99 ms  p99/p50  over one ms")
    for count, galaxies in loads:
        for side in sides:
            seen = [each[side, (count, galaxies)] for each in measured]
            share = median(each["rate"] / other["full"] for each, other in zip(seen, measured, strict=True))
            rate, p50, p99 = (median(each[key] for each in seen) for key in ("rate", "p50", "p99"))
            over = f"{1000 * (p50 - single):10.2f}" if (count, galaxies) == (1, 1) else ""
            print(
                f"  {side:8} {count:7d} {galaxies:14d} {rate:11.0f} {share:20.2f} {1000 * p50:7.1f} {1000 * p99:7.1f}"
                f" {p99 / p50:8.2f} {over}"
            )


if __name__ == "__main__":
    main()
