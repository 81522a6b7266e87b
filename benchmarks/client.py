"""What the thin client costs: to import, to install, to run; beside the official client where there is one.

    python benchmarks/client.py [--galaxies 10000] [--rounds 3]

Measured are the seconds and megabytes of `serving.client` and of `tensorflow-serving-api`, the memory of a process
that streams galaxies to a real server, and the rates of the client that waits, the client that awaits, and whole
arrays at once, timed in turns. Ends by itself in a few minutes, with status 1 where something is worse than promised.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
from packaging.requirements import Requirement

from serving.client import AsyncMorphClient, MorphClient

#: What is promised: seconds, megabytes, megabytes.
IMPORT, INSTALLED, GROWTH = 0.5, 120.0, 32.0

MODULES = {"serving.client": "morph-client", "tensorflow_serving.apis.predict_pb2": "tensorflow-serving-api"}
#: What `pip install morph-client` brings (serving/client_package/pyproject.toml), besides 0.2 MB of its own.
THIN = ("numpy", "grpcio", "protobuf")

EXPORT = """
import sys
from morph.model.classifier import Classifier
from serving.savedmodel.export import export_model
export_model(Classifier(), sys.argv[1])
"""


def import_seconds(module: str, attempts: int = 3) -> float:
    """The least time that a fresh process spends on one import."""
    program = f"import time; start = time.process_time(); import {module}; print(time.process_time() - start)"
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(attempts)
    ]
    return min(float(run.stdout.split()[-1]) for run in runs)


def installed_megabytes(*names: str) -> float:
    """The size of distributions and of everything that they require, as they are installed here."""
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        found = metadata.distribution(name)
        wanted = (Requirement(each) for each in found.requires or [])
        waiting += [each.name for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})]
    files = (found for name in seen for found in metadata.distribution(name).files or [])
    paths = (found.locate() for found in files)
    return sum(os.stat(path).st_size for path in paths if os.path.isfile(path)) / 1e6


def resident_megabytes() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def stamps(count: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    for _ in range(count):
        yield random.normal(1, 1, (64, 64, 3)).astype("float32")


def memory_growth(address: str, galaxies: int) -> float:
    """Megabytes by which this process grows after the first fifth of a stream."""
    sizes = []
    with MorphClient(address) as client:
        for number, _ in enumerate(client.stream(stamps(galaxies), ["anomaly_score"])):
            if number % 128 == 0:
                sizes.append(resident_megabytes())
    fifth = len(sizes) // 5
    return max(sizes[fifth:]) - max(sizes[: fifth + 1])


def rates(address: str, galaxies: int, rounds: int) -> dict[str, float]:
    """Galaxies per second of each way to ask, the median of its ratios to whole arrays, by name."""
    images = list(stamps(galaxies))
    whole = np.stack(images)

    async def awaited() -> None:
        async with AsyncMorphClient(address) as client:
            async for _ in client.stream(images):
                pass

    def timed(function) -> float:
        start = time.perf_counter()
        function()
        return galaxies / (time.perf_counter() - start)

    with MorphClient(address) as client:
        ways = {
            "whole arrays": lambda: client.classify(whole),
            "stream, waiting": lambda: [None for _ in client.stream(images)],
            "stream, awaiting": lambda: asyncio.run(awaited()),
        }
        client.classify(whole[:128])
        found = [{name: timed(way) for name, way in ways.items()} for _ in range(rounds)]
    print(f"  whole arrays          {median(each['whole arrays'] for each in found):6.0f} galaxies/s")
    return {name: median(each[name] / each["whole arrays"] for each in found) for name in ways}


@click.command()
@click.option("--galaxies", default=10_000, show_default=True, help="How many are streamed.")
@click.option("--rounds", default=3, show_default=True, help="How often the rates are timed.")
def main(galaxies: int, rounds: int) -> None:
    """Measure, print, and say whether all that is promised holds."""
    seconds = {module: import_seconds(module) for module in MODULES}
    megabytes = {
        "serving.client": installed_megabytes(*THIN),
        "tensorflow_serving.apis.predict_pb2": installed_megabytes("tensorflow-serving-api"),
    }
    for module, name in MODULES.items():
        print(f"  {name:22s} import {seconds[module]:5.2f} s, installed {megabytes[module]:6.0f} MB")
    ours, theirs = MODULES
    print(
        f"  the thin one: 1/{seconds[theirs] / seconds[ours]:.0f} of the import, "
        f"1/{megabytes[theirs] / megabytes[ours]:.0f} of the size"
    )
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", EXPORT, folder], check=True, stderr=subprocess.DEVNULL)
        command = [sys.executable, "-m", "morph", "serve", folder, "--embedded", "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout
            address = server.stdout.readline().split()[-1]
            growth = memory_growth(address, galaxies)
            print(
                f"  {galaxies:,} galaxies streamed: memory grew by {growth:.1f} MB ({galaxies * 0.049:.0f} MB went by)"
            )
            for name, ratio in rates(address, max(galaxies // 10, 256), rounds).items():
                print(f"  {name:22s}ratio {ratio:.2f}")
        finally:
            server.terminate()
            server.wait()
    promises = {
        f"import under {IMPORT} s": seconds[ours] < IMPORT,
        f"installed under {INSTALLED:g} MB": megabytes[ours] < INSTALLED,
        f"memory flat within {GROWTH:g} MB": growth < GROWTH,
    }
    for promise, kept in promises.items():
        print(f"  {'kept  ' if kept else 'BROKEN'} {promise}")
    sys.exit(0 if all(promises.values()) else 1)


if __name__ == "__main__":
    main()
