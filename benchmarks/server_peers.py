"""The embedded server beside Ray Serve and BentoML, all of them with the same SavedModel.

    python benchmarks/server_peers.py [--model DIR] --ray-python /tmp/ray/bin/python \\
        --bentoml-python /tmp/bentoml/bin/python

How the peers are set up, and what their Pythons need, stands in `benchmarks/peers/__init__.py`. In every round each
server is started, warmed up, timed and stopped before the next one is, for what an idle server does in the background
burdens whichever is timed beside it. So many clients, each of which sends a single galaxy and waits for its answer
before it sends again, on this machine's own cores. Ends by itself, on quiet cores in some six minutes; with status 1
where less is found than promised.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import aiohttp
import click
import numpy as np
from server import EXPORT, Child, closed_loops, load

PROJECT = Path(__file__).parents[1]
PEERS = {"ray": ["ray_serve.py"], "ray proxy": ["ray_serve.py", "proxy"], "bentoml": ["bentoml_service.py"]}
#: What `benchmarks/peers/saved_model.py` reads, which only the peers' Pythons can import.
DIVIDE = "MORPH_PEERS_DIVIDE"

#: How often a peer is started before it is given up.
ATTEMPTS = 3

#: What is promised: at least as many times the galaxies of a peer, for so many clients, else as many as it; and p99
#: over p50 at most. The 2.5 are of Ray as its guide to gRPC sets it up, behind its proxy; a replica that is asked
#: directly is quicker, and need only be outdone.
AHEAD = {("ray proxy", 64): 2.5}
P99_OVER_P50 = 1.5


async def load_http(url: str, clients: int, seconds: float) -> dict:
    """`load` for a server that takes float32 pixels as the body of a POST."""
    pixels = np.random.default_rng(0).normal(1, 1, (1, 64, 64, 3)).astype("<f4").tobytes()
    headers = {"Content-Type": "application/octet-stream"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send() -> None:
            async with session.post(url, data=pixels, headers=headers) as response:
                response.raise_for_status()
                await response.read()

        return await closed_loops(send, clients, 1, seconds)


def listen() -> None:
    """The load generator: reads lines with address, clients and seconds; answers what `load` says."""
    print("ready", flush=True)
    for line in sys.stdin:
        address, clients, seconds = line.split()
        if address.startswith("http"):
            found = load_http(address, int(clients), float(seconds))
        else:
            found = load(address, int(clients), 1, float(seconds))
        print(json.dumps(asyncio.run(found)), flush=True)


class Peer:
    """Another server, started with a Python of its own; it serves at `address` until its standard input ends."""

    def __init__(self, python: str, script: str, *options: str, version: Path):
        # Ray gives its parts some seconds to find each other, which is not always enough where its files are cold.
        for _ in range(ATTEMPTS):
            if address := self._start(python, script, options, version):
                self.address = address
                return
        raise SystemExit(f"{script} did not start; run benchmarks/peers/{script} alone to see why")

    def _start(self, python: str, script: str, options: tuple[str, ...], version: Path) -> str | None:
        """Where the server serves; None where it ended instead."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [python, PROJECT / "benchmarks" / "peers" / script, version, str(port), *options],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        said = next((line for line in self._process.stdout if line.startswith("Serving")), None)
        if said is None:
            self._process.wait()
        return said and said.split()[-1]

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def fresh(folder: Path | None, stack: ExitStack) -> Path:
    """The exported model in `folder`, or an untrained one: its weights do not matter to its speed."""
    if folder is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subprocess.run([sys.executable, "-c", EXPORT, folder], check=True, stderr=subprocess.DEVNULL)
    return folder


@click.command()
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="Exported model; untrained if not given.")
@click.option("--ray-python", "ray", help="A Python with Ray Serve.")
@click.option("--bentoml-python", "bentoml", help="A Python with BentoML.")
@click.option("--seconds", default=3.0, show_default=True, help="Length of each timing.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--clients", default=(1, 4, 16, 64, 256), multiple=True, show_default=True, help="Repeat for several.")
@click.option("--divide", is_flag=True, help="Let the peers, too, give every core a pass of its own.")
@click.option("--listen", "generator", is_flag=True, hidden=True)
def main(
    model, ray, bentoml, seconds: float, rounds: int, clients: tuple[int, ...], divide: bool, generator: bool
) -> None:
    """Print a table of throughputs and latencies, and how many times a peer's throughput morph has."""
    if generator:
        listen()
        return
    os.environ[DIVIDE] = "1" if divide else ""
    with ExitStack() as stack:
        model = fresh(model, stack)
        version = max((model / "morph").glob("[0-9]*"), key=lambda folder: int(folder.name)).resolve()
        serve = ("-m", "morph", "serve", str(model), "--embedded", "--port", "0")
        sides: dict[str, Callable[[], Child | Peer]] = {"morph": lambda: Child(*serve, said="Serving")}
        for name, python in {"ray": ray, "bentoml": bentoml}.items():
            if python and Path(python).exists():
                mine = [side for side in PEERS if side.startswith(name)]
                sides |= {side: partial(Peer, python, *PEERS[side], version=version) for side in mine}
            else:
                print(f"{name} is left out: name a Python that has it with --{name}-python")
        requests = stack.enter_context(Child(__file__, "--listen", said="ready"))
        measured: list[dict] = []
        for turn in range(rounds):
            names = list(sides)[turn % len(sides) :] + list(sides)[: turn % len(sides)]
            measured.append({})
            for name in names:
                measured[-1].update(_time(name, sides[name], clients, requests, seconds))
    print(f"{os.cpu_count()} cores, medians of {rounds} rounds of {seconds:g} s, each server alone, single galaxies")
    sys.exit(0 if _print(sides, clients, measured) else 1)


def _time(name: str, start: Callable[[], "Child | Peer"], clients, requests: Child, seconds: float) -> dict:
    """Start a server, time it with so many clients each, and stop it: {(name, clients): what `load` says}."""
    with start() as server:
        # BentoML learns from its first requests how long to wait for company.
        requests.ask(f"{server.address} 64 {seconds}")
        return {(name, count): json.loads(requests.ask(f"{server.address} {count} {seconds}")) for count in clients}


def _print(sides, clients, measured: list[dict]) -> bool:
    """The table; whether everything is as promised."""
    kept = True
    print("  server    clients  galaxies/s  morph has  p50 ms  p99 ms  p99/p50")
    for count in clients:
        for side in sides:
            seen = [each[side, count] for each in measured]
            rate, p50, p99 = (median(each[key] for each in seen) for key in ("rate", "p50", "p99"))
            times, verdict = "", ""
            if side != "morph":
                ahead = median(each["morph", count]["rate"] / each[side, count]["rate"] for each in measured)
                wanted = AHEAD.get((side, count), 1.0)
                times = f"{ahead:.2f} x"
                verdict = "" if ahead >= wanted else f"  less than {wanted:g} x"
            elif count == 64 and p99 > P99_OVER_P50 * p50:
                verdict = f"  more than {P99_OVER_P50:g}"
            kept = kept and not verdict
            print(
                f"  {side:9} {count:7d} {rate:11.0f} {times:>10} {1000 * p50:7.1f} {1000 * p99:7.1f} {p99 / p50:8.2f}"
                f"{verdict}"
            )
    return kept


if __name__ == "__main__":
    main()
