"""The embedded server: TensorFlow Serving's protocol in Python, for laptops, tests and sites without its program.

It answers what `tensorflow_model_server` answers: PredictionService, ModelService, gRPC health and reflection; it
batches by the same parameters and keeps versions by the same rules. One event loop receives and answers, and the
network runs in threads of its own, so that requests arrive while it computes.
"""

import asyncio
import contextlib
import gc
import logging
import time
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from morph.errors import InputError
from morph.signals import until_stopped
from serving.protocol.configuration import BatchingParameters
from serving.savedmodel.servable import StatusError, configuration_file, locate
from serving.server.batcher import Threads
from serving.server.configuration import ModelConfig, Tls, read_config
from serving.server.metrics import Metrics, page_path
from serving.server.models import Models
from serving.server.rest import start_rest
from serving.server.running import (
    GRACE,
    MAX_MESSAGE_MB,
    BackgroundServer,
    add_port,
    grpc_options,
    local_address,
)
from serving.server.services import MODEL, PREDICTION, Health, add_services
from serving.server.version_manager import VersionManager

log = logging.getLogger("morph.serving")

#: When the server stops, new requests are refused until none has come for `QUIET` seconds, and at most for
#: `LONGEST_FAREWELL`; those under way then get `GRACE`.
QUIET, LONGEST_FAREWELL = 0.1, 2.0

#: Seconds between two polls of the models' folders, TensorFlow Serving's default.
POLL = 1.0


class Server(BackgroundServer):
    """Serves exported models until it is stopped.

    >>> with Server("models") as server:  # doctest: +SKIP
    ...     client = MorphClient(server.address)

    Parameters
    ----------
    model_dir : the folder that holds the model's folder, that folder, or one version in it; None where
        `models_config` is given.
    name : the name by which requests ask for the model.
    port : 0 takes a free one.
    host : the address to listen on; 0.0.0.0 for every one of the machine.
    batching : parameters; those of `batching_parameters.txt` beside the model's folder if not given.
    models_config : a file in TensorFlow Serving's format, with models, versions and labels; read again when it
        changes.
    poll : seconds between two polls of the folders and of that file.
    max_message_mb : larger requests are refused.
    rest_port : for REST and Prometheus; 0 takes a free one, and None is for neither.
    monitoring : a file in TensorFlow Serving's format with the path of the metrics; the `monitoring.config` beside the
        models if not given.
    tls : key and certificates for both ports; no TLS if not given.
    tensor_content : send the numbers of answers in `tensor_content`, as TensorFlow Serving does with
        `--enable_serialization_as_tensor_content`, instead of in `float_val` and so on.
    admin : let clients change what is served (HandleReloadConfigRequest).
    """

    def __init__(
        self,
        model_dir: str | Path | None,
        name: str = "morph",
        port: int = 0,
        host: str = "127.0.0.1",
        batching: BatchingParameters | None = None,
        *,
        models_config: str | Path | None = None,
        poll: float = POLL,
        max_message_mb: float = MAX_MESSAGE_MB,
        rest_port: int | None = None,
        monitoring: str | Path | None = None,
        tls: Tls | None = None,
        tensor_content: bool = False,
        admin: bool = False,
    ):
        self._models_config = Path(models_config) if models_config else None
        if self._models_config:
            # First, so that no change is missed while the first versions load.
            self._followed = _changed(self._models_config)
            self._configs = read_config(self._models_config)
            beside = self._models_config.parent
        elif model_dir is None:
            raise InputError("There is nothing to serve; give a folder with a model, or a models.config.")
        else:
            self.location = locate(model_dir, name)
            self._configs = [ModelConfig.of(self.location, name)]
            beside = self.location.base_path.parent
        super().__init__(host, port, tls)
        self.poll = poll
        self.batching = batching or BatchingParameters.read(configuration_file(beside, "batching_parameters.txt"))
        self.rest_port = rest_port
        self._as_content, self._admin = tensor_content, admin
        self._page = page_path(monitoring or configuration_file(beside, "monitoring.config"))
        self._options = grpc_options(max_message_mb)
        self.models = Models()

    @property
    def rest_address(self) -> str | None:
        """The URL below which REST answers on this machine; None where it does not."""
        scheme = "https" if self._tls else "http"
        return None if self.rest_port is None else f"{scheme}://{local_address(self.host, self.rest_port)}"

    async def _serve(self) -> None:
        self.models.starting = True
        server = grpc.aio.server(options=self._options)
        threads = Threads(self.batching)
        healths, metrics = Health(self.models), Metrics(self.models)
        manager = VersionManager(self.models, threads, self._configs, healths.changed, metrics.observe_load)
        health_pb2_grpc.add_HealthServicer_to_server(healths.servicer, server)
        add_services(server, self.models, manager, as_content=self._as_content, admin=self._admin)
        reflection.enable_server_reflection((PREDICTION, MODEL, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        await healths.update()
        self.port = add_port(server, self.host, self.port, self._tls, "--port")
        rest = None
        if self.rest_port is not None:
            rest = await start_rest(
                self.models, self.host, self.rest_port, metrics=metrics, monitoring=self._page, tls=self._tls
            )
            self.rest_port = rest.port
            self.models.observers.append(metrics.observe)
            threads.observers.append(metrics.observe_batch)
        await server.start()
        watching = []
        try:
            await manager.poll(at_once=self.models.names)
            self._require_ready()
            self.models.starting = False
            await healths.update()
            watching = [asyncio.create_task(manager.watch(self.poll))]
            if self._models_config:
                watching.append(asyncio.create_task(self._follow_config(manager, self._models_config)))
            # A garbage collection of everything loaded would delay every request by a third of a second now and then.
            gc.freeze()
            self._ready.set()
            await self._stopping.wait()
            await healths.stop()
            await self._refuse_late_requests()
        finally:
            for task in watching:
                task.cancel()
            healths.servicer.end_watches()
            await asyncio.gather(server.stop(GRACE), *([rest.close()] if rest else []))
            await manager.close()
            await asyncio.to_thread(threads.close)

    async def _refuse_late_requests(self) -> None:
        """Refuse requests, because the server is stopping, until no more come.

        Otherwise gRPC would drop, without an answer, requests that have arrived and not yet been read.
        """
        self.models.refused, before = 0, -1
        end = time.monotonic() + LONGEST_FAREWELL
        while self.models.refused != before and time.monotonic() < end:
            before = self.models.refused
            await asyncio.sleep(QUIET)

    def _require_ready(self) -> None:
        """InputError where a model has no version that answers."""
        for config in self._configs:
            if self.models.loaded(config.name):
                continue
            found = [status for status in self.models.states(config.name) if status.sentence]
            if found:
                raise InputError(found[0].sentence)
            raise InputError(
                f"Model {config.name} has no version to serve in '{config.base_path}'; "
                "export one there, or correct its base_path."
            )

    async def _follow_config(self, manager: VersionManager, path: Path) -> None:
        """Follow changes of the file of models, without end. As in TensorFlow Serving, a label of a version yet to
        come is moved when that version is there."""
        logged = ""
        while True:
            await asyncio.sleep(self.poll)
            now = _changed(path)
            if now in (self._followed, None):
                continue
            try:
                await manager.replace(read_config(path))
                logged = ""
            except (InputError, StatusError, OSError) as error:
                if str(error) != logged:
                    logged = str(error)
                    log.error("The new models.config is not followed: %s", logged)
                if isinstance(error, StatusError) and error.status == "FAILED_PRECONDITION":
                    continue
            self._followed = now


def _changed(path: Path) -> int | None:
    """The time of a file's last change; None where there is no file."""
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return None


def serve(
    model_dir: str | Path | None, name: str = "morph", port: int = 8500, host: str = "127.0.0.1", **options
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests under way and return.

    When the models answer, standard output gets one line with the address, and one with that of REST.

    Parameters
    ----------
    model_dir, name, port, host, **options : as for `Server`.

    Raises
    ------
    InputError : as for `Server` and `Server.start`.
    """
    logging.basicConfig(format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    with until_stopped() as stopped, Server(model_dir, name, port, host, **options) as server:
        served = [
            f"{model} version {', '.join(str(version.number) for version in server.models.loaded(model))}"
            for model in server.models.names
        ]
        # The list of models may be empty: HandleReloadConfigRequest, or a change of the file, adds some.
        print(f"Serving {' and '.join(served) or 'no model yet'} on {server.address}", flush=True)
        if server.rest_address:
            print("/".join([f"REST on {server.rest_address}/v1/models", *server.models.names[:1]]), flush=True)
        stopped.wait()
