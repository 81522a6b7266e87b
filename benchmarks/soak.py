"""Long trouble for the embedded server; ends by itself, with a verdict for each part and status 1 where one failed.

    python benchmarks/soak.py [--model DIR] [--malformed 10000] [--requests 200000] [--switches 6] [PART ...]

Parts: `malformed` (requests that are none or wrong ones, between honest ones), `hour` (as many honest requests as an
hour would bring, memory watched), `switch` (versions change under load: no failed request, latency), `overload` (ten
times more than the server can do: quick refusals, memory bounded, full speed again), `stop` (SIGTERM under load: every
request taken in is answered). The server is a process of its own.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import grpc
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from serving.protocol.messages import GetModelStatusRequest, GetModelStatusResponse
from tests.serving.malformed_requests import honest, malformed_requests

METHOD = "/tensorflow.serving.PredictionService/Predict"
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))

EXPORT = """
import sys
from morph.model.classifier import Classifier
from serving.savedmodel.export import export_model
export_model(Classifier(), sys.argv[1])
"""


class Served:
    """A server process on a copy of the model, and what it takes of memory."""

    def __init__(self, model: Path):
        self._folder = tempfile.TemporaryDirectory()
        self.models = Path(self._folder.name)
        shutil.copytree(model, self.models, dirs_exist_ok=True)
        command = [sys.executable, "-m", "morph", "serve", str(self.models), "--embedded", "--port", "0", "--no-rest"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = self.process.stdout.readline().split()[-1]

    def memory(self) -> float:
        """MB that are resident now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()
        self._folder.cleanup()


class Load:
    """`clients` that send `content` over and over for as long as the block lasts; counts and times what comes back.
    The `impatient` ones do not wait for their last answer."""

    def __init__(self, address: str, clients: int, content: bytes, impatient: bool = False):
        self.outcomes: Counter = Counter()
        self.waits: list[tuple[float, float, str]] = []
        self._address, self._clients, self._content, self._impatient = address, clients, content, impatient
        self._done = False

    async def __aenter__(self) -> "Load":
        self._channel = grpc.aio.insecure_channel(self._address, options=OPTIONS)
        predict = self._channel.unary_unary(METHOD)
        self._tasks = [asyncio.create_task(self._client(predict)) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *_) -> None:
        self._done = True
        if self._impatient:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def _client(self, predict) -> None:
        while not self._done:
            begun = time.monotonic()
            try:
                await predict(self._content)
                status = "OK"
            except grpc.aio.AioRpcError as error:
                status = error.code().name
            self.outcomes[status] += 1
            self.waits.append((begun, time.monotonic() - begun, status))
            if status == "UNAVAILABLE":
                return

    def p99(self, since: float, until: float) -> float:
        """Seconds within which 99 % of the requests begun in between were answered."""
        found = [wait for begun, wait, status in self.waits if since <= begun < until and status == "OK"]
        return float(np.percentile(found, 99)) if found else float("nan")

    def rate(self, since: float, until: float) -> float:
        """Answers per second in between."""
        return sum(since <= begun + wait < until and s == "OK" for begun, wait, s in self.waits) / (until - since)


def malformed(model: Path, count: int) -> tuple[bool, str]:
    """Requests that are none or wrong ones."""
    from hypothesis import HealthCheck, Phase, given, settings

    statuses: Counter = Counter()
    with Served(model) as served, grpc.insecure_channel(served.address) as channel:
        predict = channel.unary_unary(METHOD)
        good = honest()

        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(content=malformed_requests())
        def send(content: bytes) -> None:
            try:
                predict(content, timeout=60)
                statuses["OK"] += 1
            except grpc.RpcError as error:
                statuses[error.code().name] += 1

        begun = served.memory()
        send()
        predict(good, timeout=60)
        grown = served.memory() - begun
        alive = served.process.poll() is None
    fine = alive and not statuses.keys() - {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL"}
    return fine and grown < 300, f"{statuses.total()} requests: {dict(statuses)}; memory grew by {grown:.0f} MB"


async def hour(model: Path, count: int) -> tuple[bool, str]:
    """Honest requests of 1 to 64 galaxies by a few clients, and some that go away."""
    with Served(model) as served:
        channel = grpc.aio.insecure_channel(served.address, options=OPTIONS)
        predict = channel.unary_unary(METHOD)
        contents = [honest("serving_default", rows) for rows in (1, 1, 1, 1, 2, 5, 17, 64)] + [honest("composite", 3)]
        outcomes: Counter = Counter()
        memory: list[float] = []

        async def client(seed: int) -> None:
            random = np.random.default_rng(seed)
            while outcomes.total() < count:
                impatient = random.random() < 0.02
                content = contents[random.integers(len(contents))]
                try:
                    await predict(content, timeout=0.02 if impatient else 60)
                    outcomes["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    outcomes[error.code().name] += 1
                if outcomes.total() % max(1, count // 20) == 0:
                    memory.append(served.memory())

        await asyncio.gather(*(client(seed) for seed in range(16)))
        await channel.close()
    early, late = np.median(memory[len(memory) // 4 : len(memory) // 2]), np.median(memory[-(len(memory) // 4) :])
    fine = not outcomes.keys() - {"OK", "DEADLINE_EXCEEDED"} and late - early < 0.05 * early
    return fine, f"{dict(outcomes)}; memory {early:.0f} MB in the second quarter, {late:.0f} MB in the last"


async def switch(model: Path, switches: int) -> tuple[bool, str]:
    """Versions change under a load of 32 clients with one galaxy each."""
    with Served(model) as served:
        base = served.models / "morph"
        newest = max(int(folder.name) for folder in base.iterdir())
        async with Load(served.address, 32, honest()) as load:
            await asyncio.sleep(8)
            begun = time.monotonic()
            before = load.p99(begun - 5, begun)
            ratios, memory = [], []
            for number in range(newest + 1, newest + 1 + switches):
                started = time.monotonic()
                shutil.copytree(base / str(number - 1), base / f".{number}")
                (base / f".{number}").rename(base / str(number))
                await _available(served.address, number)
                ended = time.monotonic()
                await asyncio.sleep(2)
                ratios.append(load.p99(started, ended) / before)
                memory.append(served.memory())
            outcomes = load.outcomes.copy()
    fine = set(outcomes) == {"OK"} and float(np.median(ratios)) <= 3
    return fine, (
        f"{dict(outcomes)}; p99 {1000 * before:.0f} ms before, {np.median(ratios):.1f} times that during a switch "
        f"(at most {max(ratios):.1f}); memory {memory[0]:.0f} MB after the first, {memory[-1]:.0f} MB after the last"
    )


async def _available(address: str, version: int) -> None:
    """Return when a version answers."""
    request = GetModelStatusRequest()
    request.model_spec.name = "morph"
    async with grpc.aio.insecure_channel(address) as channel:
        ask = channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")
        while True:
            response = GetModelStatusResponse.FromString(await ask(request.SerializeToString()))
            if any(each.version == version and each.state == 30 for each in response.model_version_status):
                return
            await asyncio.sleep(0.05)


async def overload(model: Path) -> tuple[bool, str]:
    """Ten times more galaxies than the queue holds, in messages of 128."""
    with Served(model) as served:
        async with Load(served.address, 64, honest()) as load:
            await asyncio.sleep(6)
            now = time.monotonic()
            before = load.rate(now - 4, now)
        calm = served.memory()
        # The queue that is configured holds 64 batches of 128.
        async with Load(served.address, 640, honest(rows=128), impatient=True) as load:
            peak = calm
            for _ in range(60):
                await asyncio.sleep(0.25)
                peak = max(peak, served.memory())
            refused = [wait for _, wait, status in load.waits if status == "RESOURCE_EXHAUSTED"]
            outcomes = load.outcomes.copy()
        await asyncio.sleep(5)
        async with Load(served.address, 64, honest()) as load:
            await asyncio.sleep(6)
            now = time.monotonic()
            after = load.rate(now - 4, now)
    quick = float(np.median(refused)) if refused else float("inf")
    fine = set(outcomes) <= {"OK", "RESOURCE_EXHAUSTED"} and quick < 5 and after > 0.8 * before
    return fine, (
        f"{dict(outcomes)}; half refused within {quick:.2f} s; memory {calm:.0f} MB, at most {peak:.0f} MB; "
        f"{before:.0f} galaxies/s before, {after:.0f} five seconds after"
    )


async def stop(model: Path) -> tuple[bool, str]:
    """SIGTERM under a load of 64 clients."""
    with Served(model) as served:
        async with Load(served.address, 64, honest()) as load:
            await asyncio.sleep(5)
            served.process.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(served.process.wait, 60)
    return set(load.outcomes) == {"OK", "UNAVAILABLE"} and status == 0, f"{dict(load.outcomes)}; exit status {status}"


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(["malformed", "hour", "switch", "overload", "stop"]))
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="Exported model; untrained if not given.")
@click.option("--malformed", "odd", default=10_000, show_default=True, help="Malformed requests.")
@click.option("--requests", default=200_000, show_default=True, help="Honest requests.")
@click.option("--switches", default=6, show_default=True)
def main(parts: tuple[str, ...], model: Path | None, odd: int, requests: int, switches: int) -> None:
    """Trouble the server, part by part."""
    jobs = {
        "malformed": lambda folder: malformed(folder, odd),
        "hour": lambda folder: asyncio.run(hour(folder, requests)),
        "switch": lambda folder: asyncio.run(switch(folder, switches)),
        "overload": lambda folder: asyncio.run(overload(folder)),
        "stop": lambda folder: asyncio.run(stop(folder)),
    }
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            model = Path(folder)
            subprocess.run([sys.executable, "-c", EXPORT, folder], check=True, stderr=subprocess.DEVNULL)
        for part in parts or jobs:
            begun = time.monotonic()
            fine, said = jobs[part](model)
            failed |= not fine
            print(f"{'passed' if fine else 'FAILED'}  {part:8} {said}  ({time.monotonic() - begun:.0f} s)", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
