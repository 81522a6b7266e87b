"""Galaxies per second of an exported model by the size of its batches, and what surveys cost at the best of them.

    python benchmarks/sizing.py [MODEL] [--write]

The model runs in TensorFlow's C++ session, without a server, on all cores; sizes are timed in turns, so that
whatever else the machine does falls on all of them. `--write` puts the result into docs/explanation/performance.md.
Ends by itself in about two minutes.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from serving.deploy.deployment import Deployment
from serving.protocol.messages import PredictRequest, to_tensor

SIZES = (1, 8, 32, 64, 128, 256)
ROUNDS = 7
#: Per hour, of two such cores in a cloud: an assumption, for the arithmetic's sake.
PRICE = 0.10

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- made by benchmarks/sizing.py -->\n", "<!-- end -->\n"

EXPORT = """
import sys
from morph.model.store import load_model
from serving.savedmodel.export import export_model
export_model(load_model(sys.argv[2]), sys.argv[1])
"""


def flops(deployment: Deployment) -> float:
    """Multiplications and additions for one galaxy, as TensorFlow's profiler counts them."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = tf.saved_model.load(str(deployment.version))
    size = deployment.signatures["serving_default"].inputs["image"].tensor_shape.dim[1].size
    one = tf.function(lambda image: model.signatures["serving_default"](image=image))
    graph = convert_variables_to_constants_v2(one.get_concrete_function(tf.TensorSpec((1, size, size, 3)))).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    with redirect_stdout(io.StringIO()):
        return tf.compat.v1.profiler.profile(graph, options={**options, "output": "none"}).total_float_ops


def rates(deployment: Deployment) -> dict[int, float]:
    """Size of a batch -> galaxies per second, the median of `ROUNDS`."""
    lengths = [dim.size for dim in deployment.signatures["serving_default"].inputs["image"].tensor_shape.dim[1:]]
    images = np.random.default_rng(0).normal(1, 1, (max(SIZES), *lengths)).astype("float32")
    found: dict[int, list[float]] = {size: [] for size in SIZES}
    for turn in range(ROUNDS + 1):
        for size in SIZES:
            start, galaxies = time.perf_counter(), 0
            while galaxies < max(SIZES):
                deployment.run("serving_default", {"image": images[:size]})
                galaxies += size
            # The first turn warms up.
            if turn:
                found[size].append(galaxies / (time.perf_counter() - start))
    return {size: median(each) for size, each in found.items()}


def message_bytes(deployment: Deployment) -> int:
    """A galaxy's share of a request."""
    lengths = [dim.size for dim in deployment.signatures["serving_default"].inputs["image"].tensor_shape.dim[1:]]
    request = PredictRequest()
    to_tensor(np.zeros((128, *lengths), "float32"), request.inputs["image"])
    return len(request.SerializeToString()) // 128


def size(*arguments: str) -> list[str]:
    """A `morph deploy size` as it is typed, and what it prints."""
    command = [sys.executable, "-m", "morph", "deploy", "size", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return ["```text", f"$ morph deploy size {' '.join(arguments)}", output.rstrip(), "```"]


def report(deployment: Deployment) -> str:
    """What the page says, with this machine's figures."""
    measured, operations, each = rates(deployment), flops(deployment), message_bytes(deployment)
    best = max(measured.values())
    line = 10e9 / 8 / each
    return "\n".join(
        [
            f"Measured on {os.cpu_count()} CPU cores, medians of {ROUNDS}, whole answers, no server:",
            "",
            "| galaxies in a pass | galaxies/s | ms a pass |",
            "|---:|---:|---:|",
            *(f"| {count} | {rate:,.0f} | {1000 * count / rate:,.1f} |" for count, rate in measured.items()),
            "",
            f"One galaxy is {operations / 1e6:,.0f} million multiplications and additions (TensorFlow's profiler) and "
            f"{each / 1000:.1f} kB of a message. What follows from the best "
            f"rate, if such a machine costs {PRICE:.2f} an hour (an assumption):",
            "",
            *size("--rate", f"{best:.0f}", "--price", f"{PRICE:.2f}"),
            "",
            f"Calculated and **not measured**: a line of 10 Gbit/s carries {line:,.0f} galaxies/s as flux, "
            "and four times as many as composites. The network needs "
            f"{line * operations / 1e12:.1f} TFLOP/s for the former, less than the float32 peak of a data centre's "
            "smaller GPUs (NVIDIA gives 8.1 for the T4, 19.5 for the A100). If the GPU keeps up with the line, and a "
            "server costs 1.00 an hour:",
            "",
            *size("--rate", f"{line:.0f}", "--price", "1.00", "--servers", "4"),
            "",
        ]
    )


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--write"]
    with tempfile.TemporaryDirectory() as folder:
        export = [sys.executable, "-c", EXPORT, folder, *(words or ["models:/morph@sdss"])]
        subprocess.run(export, check=True, stderr=subprocess.DEVNULL)
        text = report(Deployment(Path(folder)))
    print(text)
    if "--write" in sys.argv:
        page = PAGE.read_text()
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        PAGE.write_text(before + BEGIN + text + END + after)


if __name__ == "__main__":
    main()
