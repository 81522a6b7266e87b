"""What Prometheus learns of the embedded server: TensorFlow Serving's metrics, and what it has none for.

A request costs a few additions in the event loop; everything else happens when Prometheus asks.
"""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from serving.protocol import protos
from serving.server.models import Models, Observation

#: Where TensorFlow Serving has its metrics unless monitoring.config says otherwise.
PATH = "/monitoring/prometheus/metrics"

_TF = ":tensorflow:serving:"
_SESSION = f"{_TF}batching_session:"
_LOADER = ":tensorflow:cc:saved_model:"

#: Name -> what it counts. Those that start with a colon are TensorFlow Serving's, with its labels and units
#: (microseconds); the others are this server's (seconds), by model, version and signature.
METRICS = {
    f"{_TF}request_count": "The total number of requests.",
    f"{_TF}request_latency": "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
    f"{_TF}runtime_latency": "Distribution of wall time (in microseconds) for Tensorflow runtime.",
    f"{_SESSION}queuing_latency": "Distribution of wall time spent (in microseconds) in queuing",
    f"{_SESSION}wrapped_run_count": "Total count of run calls on the wrapped session",
    f"{_SESSION}input_batch_size": "Galaxies in a batch, without its padding.",
    f"{_SESSION}processed_batch_size": "Galaxies in a batch, with its padding.",
    f"{_SESSION}padding_size": "Rows of padding in a batch.",
    f"{_LOADER}load_attempt_count": "The number of times a SavedModel was loaded, or was not (status).",
    "morph_requests": "Requests by version, signature, entrypoint (GRPC, REST) and status.",
    "morph_galaxies": "Rows answered: galaxies, and the questions that `describe` gets.",
    "morph_queue_seconds": "Time of a request in the queue.",
    "morph_compute_seconds": "Time of a request in the network.",
    "morph_queue_galaxies": "Galaxies that wait in the queue.",
    "morph_version_available": "1 for each version that answers requests.",
}

#: The label that TensorFlow Serving's batching metrics have.
_POOL = ("thread_pool_name",)
_POOL_NAME = ("model_server_batch_threads",)
_VERSION = ("model", "version", "signature")


def _powers(scale: float, factor: float, count: int) -> tuple[float, ...]:
    return tuple(scale * factor**power for power in range(count))


#: Upper ends of the histograms' bins. The first two are TensorFlow Serving's.
_LATENCY = _powers(10, 1.8, 33)
_QUEUING = _powers(100, 1.2, 52)
_SECONDS = _powers(1e-4, 2, 20)
_SIZES = _powers(1, 2, 14)


@dataclass(slots=True)
class _Histogram:
    """Counts per bin, and the sum. A value lies in the first bin whose upper end is not below it."""

    ends: tuple[float, ...]
    sum: float = 0.0
    counts: list[int] = field(init=False)

    def __post_init__(self):
        self.counts = [0] * (len(self.ends) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.ends, value)] += 1
        self.sum += value


@dataclass(slots=True)
class _Family:
    """One metric: its value for each combination of labels; a histogram where it has `ends`."""

    name: str
    labels: tuple[str, ...]
    ends: tuple[float, ...] = ()
    values: dict = field(default_factory=dict)

    def add(self, labels: tuple[str, ...], value: float = 1.0) -> None:
        if not self.ends:
            self.values[labels] = self.values.get(labels, 0.0) + value
            return
        if labels not in self.values:
            self.values[labels] = _Histogram(self.ends)
        self.values[labels].add(value)

    def metric(self) -> Metric:
        # The library puts _total behind a counter's name, and TensorFlow Serving does not.
        metric = Metric(self.name, METRICS[self.name], "histogram" if self.ends else "unknown")
        for values, value in self.values.items():
            labels = dict(zip(self.labels, values, strict=True))
            if not self.ends:
                metric.add_sample(self.name, labels, value)
                continue
            total = 0
            for end, count in zip((*value.ends, "+Inf"), value.counts, strict=True):
                total += count
                text = end if isinstance(end, str) else f"{end:.6g}"
                metric.add_sample(f"{self.name}_bucket", {**labels, "le": text}, total)
            metric.add_sample(f"{self.name}_sum", labels, value.sum)
            metric.add_sample(f"{self.name}_count", labels, total)
        return metric


class Metrics:
    """Counts what the server does, and writes it down for Prometheus.

    `observe` is one of the `Models`' observers. All methods belong to the event loop.
    """

    def __init__(self, models: Models):
        self._models = models
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._requests = _Family(f"{_TF}request_count", ("model_name", "status"))
        self._latency = _Family(f"{_TF}request_latency", ("model_name", "API", "entrypoint"), _LATENCY)
        self._runtime = _Family(f"{_TF}runtime_latency", ("model_name", "API", "runtime"), _LATENCY)
        self._queuing = _Family(f"{_SESSION}queuing_latency", _POOL, _QUEUING)
        self._runs = _Family(f"{_SESSION}wrapped_run_count", ())
        self._batch = _Family(f"{_SESSION}input_batch_size", _POOL, _SIZES)
        self._processed = _Family(f"{_SESSION}processed_batch_size", _POOL, _SIZES)
        self._padding = _Family(f"{_SESSION}padding_size", _POOL, _SIZES)
        self._loads = _Family(f"{_LOADER}load_attempt_count", ("model_path", "status"))
        self._detail = _Family("morph_requests", (*_VERSION, "entrypoint", "status"))
        self._galaxies = _Family("morph_galaxies", _VERSION)
        self._queue = _Family("morph_queue_seconds", _VERSION, _SECONDS)
        self._compute = _Family("morph_compute_seconds", _VERSION, _SECONDS)
        self._families = [family for family in vars(self).values() if isinstance(family, _Family)]

    def observe(self, seen: Observation) -> None:
        """Count a request."""
        answered = seen.status == "OK"
        # Names that no model bears are a caller's invention, and must not fill the memory with labels.
        model = seen.model if seen.version is not None or seen.model in self._models.names else ""
        self._requests.add((model, seen.status))
        which = (model, "" if seen.version is None else str(seen.version), seen.signature if answered else "")
        self._detail.add((*which, seen.entrypoint, seen.status))
        if answered:
            api = "Predict" if seen.entrypoint == "GRPC" else "predict"
            self._latency.add((model, api, seen.entrypoint), seen.total * 1e6)
            # TensorFlow Serving measures around the session that batches: the queue is in it.
            self._runtime.add((model, "Predict", "TF1"), (seen.queue + seen.compute) * 1e6)
            self._queuing.add(_POOL_NAME, seen.queue * 1e6)
            self._queue.add(which, seen.queue)
            self._compute.add(which, seen.compute)
            self._galaxies.add(which, seen.rows)

    def observe_batch(self, rows: int, padding: int) -> None:
        """Count one pass through the network, of so many galaxies and rows of padding."""
        self._runs.add(())
        self._batch.add(_POOL_NAME, rows)
        self._processed.add(_POOL_NAME, rows + padding)
        self._padding.add(_POOL_NAME, padding)

    def observe_load(self, folder: Path, loaded: bool) -> None:
        """Count an attempt to load a version."""
        self._loads.add((str(folder), "success" if loaded else "fail"))

    def page(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` asks of a collector: every metric with its present values."""
        for family in self._families:
            yield family.metric()
        waiting, available = (
            _Family("morph_queue_galaxies", _VERSION),
            _Family("morph_version_available", _VERSION[:2]),
        )
        for name in self._models.names:
            for version in self._models.loaded(name):
                available.add((name, str(version.number)))
                for signature, batcher in version.batchers.items():
                    waiting.add((name, str(version.number), signature), batcher.rows)
        yield waiting.metric()
        yield available.metric()


def page_path(file: str | Path) -> str | None:
    """The path at which a file in TensorFlow Serving's format (MonitoringConfig) wants the metrics; None where it
    wants none. InputError where it cannot be read."""
    config = protos.read(file, "MonitoringConfig").prometheus_config
    return (config.path or PATH) if config.enable else None
