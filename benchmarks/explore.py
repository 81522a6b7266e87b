"""How long an image takes to its similar galaxies, over the wire: one pass through the network and a search.

    python benchmarks/explore.py [--index galaxies.index --server HOST:PORT] [--images 40]

Without an index, one of simulated galaxies is made by the shipped model. One client asks the idle servers, one request
after the other, in turns: one plain classification at the model server; the same image as an array and as a PNG file
to `morph explore` over gRPC, and the PNG over REST; and a search by a galaxy's id, which needs no network. Prints
medians and 95th percentiles in ms, and the ratios to the classification. Ends by itself, with status 1 where an image
takes longer than promised.
"""

import http.client
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
from PIL import Image

from morph.stamps.stretch import to_pictures
from serving.client import MorphClient

#: Milliseconds from an image to its hits on an idle server.
PROMISED = 100.0

MODEL = "models:/morph@sdss"


@contextmanager
def running(*arguments: str) -> Iterator[str]:
    """A server of morph as a process of its own; yields the last word of its first line, the address."""
    command = [sys.executable, "-m", "morph", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout
        lines = [server.stdout.readline().split()[-1]]
        if arguments[0] == "explore":
            lines.append(server.stdout.readline().split()[-1])
        yield " ".join(lines)
    finally:
        server.terminate()
        server.wait()


def make(folder: Path) -> tuple[str, str]:
    """An index of simulated galaxies, and the exported model: their folders."""
    steps = [
        ("simulate", "galaxies", "--survey", "sdss", "--number", "2000", "--seed", "1", "--to", f"{folder}/sample"),
        ("index", f"{folder}/sample", "--model", MODEL, "--to", f"{folder}/galaxies.index"),
        ("export", MODEL, "--to", f"{folder}/served"),
    ]
    for step in steps:
        subprocess.run([sys.executable, "-m", "morph", *step], check=True, stdout=subprocess.DEVNULL)
    return f"{folder}/galaxies.index", f"{folder}/served"


def galaxies(count: int, size: int) -> list[np.ndarray]:
    """Exponential disks on noisy sky: uint8 [size, size, 3]."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    stamps = []
    for _ in range(count):
        profile = np.exp(-np.hypot(x, y / random.uniform(0.3, 1)) / 6)[..., None] * np.array([0.6, 1.0, 1.3])
        stamps.append(profile + random.normal(0.02, 0.02, profile.shape))
    return list(to_pictures(np.array(stamps, dtype="float32")))


def as_png(stamp: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(stamp).save(file, "PNG")
    return file.getvalue()


def timed(ways: dict[str, Callable[[int], object]], rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds of each way, [rounds], taken in turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        ways[name](0)
    for number in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way(number)
            found[name].append(1000 * (time.perf_counter() - begun))
    return {name: np.array(each) for name, each in found.items()}


@click.command()
@click.option("--index", help="An index; one of simulated galaxies is made if not given.")
@click.option("--server", help="HOST:PORT of the server of its model.")
@click.option("--images", default=40, show_default=True, help="How many images are sent each way.")
def main(index: str | None, server: str | None, images: int) -> None:
    """Measure, print, and say whether an image takes as long as promised."""
    with ExitStack() as stack:
        if index is None or server is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            index, served = make(folder)
            server = stack.enter_context(running("serve", served, "--embedded", "--port", "0", "--no-rest"))
        addresses = stack.enter_context(running("explore", index, "--server", server, "--port", "0")).split()
        url, address = urlsplit(addresses[0]), addresses[1]
        model = stack.enter_context(MorphClient(server))
        client = stack.enter_context(MorphClient(address))
        stamps = galaxies(images, model.describe()["size"])
        files = [as_png(stamp) for stamp in stamps]
        paths = [Path(stack.enter_context(tempfile.NamedTemporaryFile(suffix=".png")).name) for _ in files]
        for path, content in zip(paths, files, strict=True):
            path.write_bytes(content)
        connection = http.client.HTTPConnection(url.hostname or "", url.port)
        known = client.similar(stamps[0], n=1)["id"][0]

        def rest(number: int) -> None:
            connection.request("POST", "/v1/similar?n=60", files[number], {"Content-Type": "image/png"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()

        ways: dict[str, Callable[[int], object]] = {
            "classify": lambda k: model.classify(stamps[k], ["similarity"]),
            "similar, array, gRPC": lambda k: client.similar(stamps[k], n=60),
            "similar, PNG, gRPC": lambda k: client.similar(paths[k], n=60),
            "similar, PNG, REST": rest,
            "similar, id, gRPC": lambda k: client.similar(like=known, n=60),
        }
        found = timed(ways, images)
    alone = found["classify"]
    print(f"{'':22} {'median ms':>10} {'95 %':>8} {'ratio':>7}")
    for name, each in found.items():
        ratio = np.median(each / alone)
        print(f"{name:22} {np.median(each):10.1f} {np.percentile(each, 95):8.1f} {ratio:7.2f}")
    slowest = max(float(np.median(found[name])) for name in ways if "PNG" in name or "array" in name)
    kept = slowest <= PROMISED
    print(f"{'kept  ' if kept else 'BROKEN'} an image in, 60 galaxies out within {PROMISED:g} ms: {slowest:.1f} ms")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
