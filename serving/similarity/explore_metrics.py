"""Metrics of `morph explore` for Prometheus."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from serving.savedmodel.servable import StatusError

#: Upper ends of the histogram's bins, seconds.
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

# A further series per histogram, of no use here.
disable_created_metrics()


class Metrics:
    """Counts requests.

    Parameters
    ----------
    galaxies : how many the index holds now.
    """

    def __init__(self, galaxies: Callable[[], int]):
        self.registry = CollectorRegistry()
        labels = ("entrypoint", "status")
        self._requests = Counter(
            "morph_similar_requests", "Searches by entrypoint and status.", labels, registry=self.registry
        )
        self._seconds = Histogram(
            "morph_similar_seconds",
            "Time of an answered search, its image's pass through the network included.",
            labels[:1],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._now = Gauge("morph_similar_under_way", "Searches under way.", registry=self.registry)
        size = Gauge("morph_index_galaxies", "Galaxies in the index.", registry=self.registry)
        size.set_function(galaxies)

    @contextmanager
    def measure(self, entrypoint: str) -> Iterator[None]:
        """Count a search by GRPC or REST, with the status at its end."""
        begun, status = time.perf_counter(), "OK"
        self._now.inc()
        try:
            yield
            self._seconds.labels(entrypoint).observe(time.perf_counter() - begun)
        except StatusError as refusal:
            status = refusal.status
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except Exception:
            status = "INTERNAL"
            raise
        finally:
            self._now.dec()
            self._requests.labels(entrypoint, status).inc()

    def page(self) -> bytes:
        """All metrics, in Prometheus's format."""
        return generate_latest(self.registry)
