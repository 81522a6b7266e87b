"""What the stock server is: its version, the operations that it knows, and the metrics that it counts."""

from functools import cache
from pathlib import Path

#: The release of TensorFlow Serving that the deployment files name.
VERSION = "2.19.1"

#: The newest graph that its runtime was made for, `TF_GRAPH_DEF_VERSION` in tensorflow/core/public/version.h.
#: A graph may ask for a runtime at least so new (`min_consumer`).
GRAPH_VERSION = 2129

_OPERATIONS = Path(__file__).parent / "operations.txt"

#: Operations that are registered in every TensorFlow and call Python, which the server does not have.
NEED_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})

#: Prometheus's name of a metric -> its kind. Sources: `tensorflow_serving/servables/tensorflow/util.cc`,
#: `tensorflow_serving/batching/batching_session.cc`, `tensorflow/cc/saved_model/{loader,metrics}.cc`, and
#: `tensorflow_serving/util/prometheus_exporter.cc` for how names and kinds are written.
METRICS = {
    ":tensorflow:serving:request_count": "counter",
    ":tensorflow:serving:request_latency": "histogram",
    ":tensorflow:serving:runtime_latency": "histogram",
    ":tensorflow:serving:batching_session:queuing_latency": "histogram",
    ":tensorflow:serving:batching_session:input_batch_size": "histogram",
    ":tensorflow:serving:batching_session:processed_batch_size": "histogram",
    ":tensorflow:serving:batching_session:padding_size": "histogram",
    ":tensorflow:cc:saved_model:load_attempt_count": "counter",
    ":tensorflow:cc:saved_model:load_latency": "counter",
    ":tensorflow:serving:model_warmup_latency": "histogram",
}

#: What Prometheus itself and NVIDIA's exporter add.
OTHER_METRICS = frozenset({"up", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"})


def series() -> frozenset[str]:
    """Every name that a query may ask for: a histogram is three series."""
    parts = {"counter": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return OTHER_METRICS | {name + part for name, kind in METRICS.items() for part in parts[kind]}


@cache
def operations() -> dict[str, frozenset[str]]:
    """Operation -> its attributes, of the stock server. The file says how it was made."""
    lines = (line.split() for line in _OPERATIONS.read_text().splitlines() if not line.startswith("#"))
    return {name: frozenset(attributes) for name, *attributes in lines}
