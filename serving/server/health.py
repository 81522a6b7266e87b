"""gRPC's health protocol: that the server lives, and what of it is ready."""

import asyncio

from grpc_health.v1 import health, health_pb2

from serving.server.models import Models
from serving.server.services import MODEL, PREDICTION

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _Servicer(health.aio.HealthServicer):
    """The protocol's own, whose watchers can be let go: a server that stops would wait for them all of its grace."""

    def __init__(self):
        super().__init__()
        self._watches: set[asyncio.Task] = set()
        self._let_go = False

    async def Watch(self, request, context) -> None:
        """Tell a service's state, and each other one that it gets, until the watcher goes or is let go."""
        if self._let_go:
            return
        watch = asyncio.create_task(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await asyncio.wait([watch])
        finally:
            self._watches.discard(watch)
            watch.cancel()

    def let_go(self) -> None:
        """End every watch, now and from now on."""
        self._let_go = True
        for watch in self._watches:
            watch.cancel()


class Health:
    """Says what is alive and what is ready, under these names:

    - "" is alive from the moment that the server listens: a model that loads slowly is no reason to start again;
    - PredictionService and ModelService, by their full names, are ready when every model has a version that answers;
    - a model's own name ("morph") is ready when that model has one.

    `servicer` is what a gRPC server is given.
    """

    def __init__(self, models: Models):
        self.servicer = _Servicer()
        self._models = models
        self._told: set[str] = set()
        self._telling: set[asyncio.Task] = set()

    async def tell(self) -> None:
        """Say how things stand now, to those who ask and to those who watch."""
        ready = is_ready(self._models)
        states = {"": True, PREDICTION: ready, MODEL: ready}
        states |= {name: bool(self._models.loaded(name)) for name in self._models.names}
        states |= dict.fromkeys(self._told - states.keys(), False)
        self._told |= states.keys()
        for name, good in states.items():
            await self.servicer.set(name, _SERVING if good else _NOT_SERVING)

    def changed(self) -> None:
        """A version has come or gone: tell it, as soon as the event loop has time."""
        task = asyncio.get_running_loop().create_task(self.tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def stop(self) -> None:
        """Nothing is ready any more, whatever happens to the models from now on."""
        await self.servicer.enter_graceful_shutdown()


def is_ready(models: Models) -> bool:
    """Whether there are models, each with a version that answers."""
    return bool(models.names) and models.ready
