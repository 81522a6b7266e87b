"""Metrics of the embedded server for Prometheus: those of TensorFlow Serving, and further ones of its own."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from serving.protocol.configuration import read_configuration
from serving.server.models import Models, RequestRecord

#: Where TensorFlow Serving has its metrics unless monitoring.config sets another path.
PATH = "/monitoring/prometheus/metrics"

_TF = ":tensorflow:serving:"
_SESSION = f"{_TF}batching_session:"
_LOADER = ":tensorflow:cc:saved_model:"

#: Name -> description. Names that start with a colon are TensorFlow Serving's, with its labels and units
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
    f"{_LOADER}load_attempt_count": "Attempts to load a SavedModel, by status.",
    "morph_requests": "Requests by version, signature, entrypoint (GRPC, REST) and status.",
    "morph_galaxies": "Rows answered: galaxies, and the queries that `describe` gets.",
    "morph_queue_seconds": "Time of a request in the queue.",
    "morph_compute_seconds": "Time of a request in the network.",
    "morph_queue_galaxies": "Galaxies in the queue.",
    "morph_version_available": "1 for each version that answers requests.",
}

#: The label of TensorFlow Serving's batching metrics.
_POOL = ("thread_pool_name",)
_POOL_NAME = ("model_server_batch_threads",)
_VERSION = ("model", "version", "signature")


def _powers(scale: float, factor: float, count: int) -> tuple[float, ...]:
    return tuple(float(f"{scale * factor**power:.6g}") for power in range(count))


#: Upper ends of the histograms' bins. The first two are TensorFlow Serving's.
_LATENCY = _powers(10, 1.8, 33)
_QUEUING = _powers(100, 1.2, 52)
_SECONDS = _powers(1e-4, 2, 20)
_SIZES = _powers(1, 2, 14)

# A further series per histogram, of no use here.
disable_created_metrics()


class _Count(Gauge):
    """A counter under its own name: the library's appends `_total`, which TensorFlow Serving does not."""

    _type = "unknown"


class Metrics:
    """Counts requests, batches and loaded versions; `observe` is one of the `Models`' observers."""

    def __init__(self, models: Models):
        self._models = models
        self.registry = CollectorRegistry()
        self._requests = self._count(f"{_TF}request_count", "model_name", "status")
        self._latency = self._histogram(f"{_TF}request_latency", _LATENCY, "model_name", "API", "entrypoint")
        self._runtime = self._histogram(f"{_TF}runtime_latency", _LATENCY, "model_name", "API", "runtime")
        self._queuing = self._histogram(f"{_SESSION}queuing_latency", _QUEUING, *_POOL)
        self._runs = self._count(f"{_SESSION}wrapped_run_count")
        self._batch = self._histogram(f"{_SESSION}input_batch_size", _SIZES, *_POOL)
        self._processed = self._histogram(f"{_SESSION}processed_batch_size", _SIZES, *_POOL)
        self._padding = self._histogram(f"{_SESSION}padding_size", _SIZES, *_POOL)
        self._loads = self._count(f"{_LOADER}load_attempt_count", "model_path", "status")
        self._detail = self._count("morph_requests", *_VERSION, "entrypoint", "status")
        self._galaxies = self._count("morph_galaxies", *_VERSION)
        self._queue = self._histogram("morph_queue_seconds", _SECONDS, *_VERSION)
        self._compute = self._histogram("morph_compute_seconds", _SECONDS, *_VERSION)
        self.registry.register(self)

    def _count(self, name: str, *labels: str) -> _Count:
        return _Count(name, METRICS[name], labels, registry=self.registry)

    def _histogram(self, name: str, bins: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, METRICS[name], labels, registry=self.registry, buckets=bins)

    def observe(self, seen: RequestRecord) -> None:
        """Count a request."""
        answered = seen.status == "OK"
        # A name that is not a model's is the caller's invention, and must not fill the memory with labels.
        model = seen.model if seen.version is not None or seen.model in self._models.names else ""
        self._requests.labels(model, seen.status).inc()
        which = (model, "" if seen.version is None else str(seen.version), seen.signature if answered else "")
        self._detail.labels(*which, seen.entrypoint, seen.status).inc()
        if answered:
            api = "Predict" if seen.entrypoint == "GRPC" else "predict"
            self._latency.labels(model, api, seen.entrypoint).observe(seen.total * 1e6)
            # TensorFlow Serving measures around the session that batches: the queue is in it.
            self._runtime.labels(model, "Predict", "TF1").observe((seen.queue + seen.compute) * 1e6)
            self._queuing.labels(*_POOL_NAME).observe(seen.queue * 1e6)
            self._queue.labels(*which).observe(seen.queue)
            self._compute.labels(*which).observe(seen.compute)
            self._galaxies.labels(*which).inc(seen.rows)

    def observe_batch(self, rows: int, padding: int) -> None:
        """Count one pass through the network, of so many galaxies and rows of padding."""
        self._runs.inc()
        self._batch.labels(*_POOL_NAME).observe(rows)
        self._processed.labels(*_POOL_NAME).observe(rows + padding)
        self._padding.labels(*_POOL_NAME).observe(padding)

    def observe_load(self, folder: Path, loaded: bool) -> None:
        """Count an attempt to load a version."""
        self._loads.labels(str(folder), "success" if loaded else "fail").inc()

    def page(self) -> bytes:
        """All metrics, in Prometheus's format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """The metrics that are not counted but read when Prometheus asks; the registry calls this."""
        queued = _gauge("morph_queue_galaxies", _VERSION)
        available = _gauge("morph_version_available", _VERSION[:2])
        for name in self._models.names:
            for version in self._models.loaded(name):
                available.add_metric((name, str(version.number)), 1)
                for signature, batcher in version.batchers.items():
                    queued.add_metric((name, str(version.number), signature), batcher.rows)
        yield queued
        yield available


def _gauge(name: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, METRICS[name], labels=labels)


def page_path(file: str | Path) -> str | None:
    """The path of the metrics in a file of TensorFlow Serving's format (MonitoringConfig); None where it disables
    them. InputError where the file cannot be read."""
    config = read_configuration(file, "MonitoringConfig").prometheus_config
    return (config.path or PATH) if config.enable else None
