"""What small compressed bodies that unpack into millions of values cost everybody else on the REST port.

    python benchmarks/bombs.py [--model DIR] [--rounds 5] [--seconds 2]

One client asks for one galaxy again and again, alone and while two others send such bodies back to back, or one a
second, in turns. Prints, for each kind of body, the median wait as a multiple of the one alone, and by how much the
server's memory grew. Ends by itself, with status 1 where a body costs more than it may.
"""

import gzip
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
from server import EXPORT, Child

#: How much longer an ordinary request may take, and by how many MB the server may grow.
LONGER, LARGER = 2.0, 200.0

PREDICT = "/v1/models/morph:predict"


def _repeated(before: bytes, value: bytes, times: int, after: bytes) -> bytes:
    return gzip.compress(before + b",".join([value] * times) + after)


#: Bodies of at most 200 kB.
BOMBS = {
    "1.5 million objects": _repeated(b'{"instances": [', b'{"b64": ""}', 1_500_000, b"]}"),
    "3 million objects": _repeated(b'{"instances": [', b'{"b64": ""}', 3_000_000, b"]}"),
    "1.5 million strings": _repeated(b'{"signature_name": "describe", "instances": [', b'""', 1_500_000, b"]}"),
    "8 million rows of a wrong number": _repeated(b'{"instances": [', b"[01]", 8_000_000, b"]}"),
    "30 million numbers": _repeated(b'{"instances": [[', b"0", 30_000_000, b"]]}"),
    "20 million empty lists": _repeated(b'{"instances": [', b"[]", 20_000_000, b"]}"),
    "one string of 60 MB": _repeated(b'{"instances": ["', b"x" * 60_000_000, 1, b'"]}'),
    "60 MB of blanks": _repeated(b'{"instances": [', b" " * 60_000_000, 1, b"1]}"),
    "a gigabyte": gzip.compress(bytes(1 << 30)),
}


def ask(connection: http.client.HTTPConnection, body: bytes, packed: bool) -> tuple[int, float]:
    """The status of a request's answer, and how long it took in seconds."""
    begun = time.perf_counter()
    connection.request("POST", PREDICT, body, {"Content-Encoding": "gzip"} if packed else {})
    response = connection.getresponse()
    response.read()
    return response.status, time.perf_counter() - begun


def send_bombs(port: int, body: bytes, every: float, seconds: float) -> set[int]:
    """The statuses of a body that is sent again and again, one answered before the next and at least `every` seconds
    apart."""
    connection, statuses = http.client.HTTPConnection("127.0.0.1", port, timeout=120), set()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        status, spent = ask(connection, body, True)
        statuses.add(status)
        time.sleep(max(0.0, min(every, seconds) - spent) if every else 0)
    connection.close()
    return statuses


def waits(connection: http.client.HTTPConnection, body: bytes, seconds: float) -> list[float]:
    """How long each of a client's requests takes, one after the other, for so many seconds."""
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        status, spent = ask(connection, body, False)
        assert status == 200, status
        found.append(spent)
    return found


def memory(pid: int, field: str) -> float:
    """MB that a process holds (`VmRSS`), or has held at most (`VmHWM`)."""
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{field}:")[1].split()[0]) / 1024


def measure(
    port: int, pid: int, body: bytes, bomb: bytes, every: float, rounds: int, seconds: float, senders: Executor
) -> dict:
    """The waits alone and beside two who send bombs, in turns: `alone` and `beside` in ms, `longer`, `larger` in MB,
    `statuses`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    waits(connection, body, 0.5)
    # The most that was held counts from here on.
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before, alone, beside, statuses = memory(pid, "VmRSS"), [], [], set()
    for _ in range(rounds):
        alone += waits(connection, body, seconds)
        sent = [senders.submit(send_bombs, port, bomb, every, seconds) for _ in range(2)]
        beside += waits(connection, body, seconds)
        statuses.update(*(each.result() for each in sent))
    connection.close()
    return {
        "alone": 1000 * median(alone),
        "beside": 1000 * median(beside),
        "longer": median(beside) / median(alone),
        "larger": memory(pid, "VmHWM") - before,
        "statuses": statuses,
    }


@click.command()
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="Exported model; untrained if not given.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Length of each timing.")
@click.option("--only", help="Only bodies whose description contains this.")
def main(model: Path, rounds: int, seconds: float, only: str):
    """Print a table of what each kind of body costs."""
    images = np.random.default_rng(0).normal(1, 1, (1, 64, 64, 3)).astype("float32")
    body = json.dumps({"instances": images.tolist()}).encode()
    failed = False
    with ExitStack() as stack:
        if model is None:
            model = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            subprocess.run([sys.executable, "-c", EXPORT, model], check=True, stderr=subprocess.DEVNULL)
        serve = ("-m", "morph", "serve", str(model), "--embedded", "--port", "0", "--rest-port", "0")
        server = stack.enter_context(Child(*serve, said="Serving"))
        # "REST on http://127.0.0.1:8501/v1/models/morph"
        port = urlsplit(server.read().split()[-1]).port
        senders = stack.enter_context(ProcessPoolExecutor(2))
        print(f"{'bodies':34} {'sent':14} alone ms  beside ms  longer  larger MB  answers")
        for what, bomb in BOMBS.items():
            if only and only not in what:
                continue
            for sent, every in (("one a second", 2.0), ("back to back", 0.0)):
                found = measure(port, server.pid, body, bomb, every, rounds, seconds, senders)
                failed |= found["longer"] > LONGER or found["larger"] > LARGER
                print(
                    f"{what:34} {sent:14} {found['alone']:8.1f} {found['beside']:10.1f} {found['longer']:7.2f} "
                    f"{found['larger']:10.0f}  {sorted(found['statuses'])}",
                    flush=True,
                )
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
