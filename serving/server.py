"""The embedded server: TensorFlow Serving's gRPC services for one model, in Python.

It answers what `tensorflow_model_server` answers: PredictionService (Predict, GetModelMetadata), ModelService
(GetModelStatus), gRPC health and reflection; and it batches by the same parameters. One event loop receives
and answers, and the network runs in threads of its own, so that requests arrive while it computes.
"""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)

from morph.errors import BadInput
from serving.batching import Batcher, BatchingParameters, QueueFull
from serving.embedded.models import Models, Version
from serving.messages import to_tensor
from serving.servable import Refused, Servable, batching_file, locate
from serving.signals import until_stopped

PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name
MODEL = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name

#: Seconds that requests under way get to finish when the server stops.
GRACE = 30.0

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Otherwise a second server on the same port starts without a word and takes half of the requests.
    ("grpc.so_reuseport", 0),
)


class Server:
    """Serves the highest version of one exported model until it is stopped.

    >>> with Server("models") as server:  # doctest: +SKIP
    ...     client = MorphClient(server.address)

    Parameters
    ----------
    model_dir : the folder that holds the model's folder, that folder, or one version in it.
    name : the name by which requests ask for the model.
    port : 0 takes a free one.
    host : the address to listen on; 0.0.0.0 for every one of the machine.
    batching : parameters; those of `batching_parameters.txt` beside the model's folder if not given.
    """

    def __init__(
        self,
        model_dir: str | Path,
        name: str = "morph",
        port: int = 0,
        host: str = "127.0.0.1",
        batching: BatchingParameters | None = None,
    ):
        self.location = locate(model_dir, name)
        self.name, self.host, self.port = name, host, port
        self.batching = batching or BatchingParameters.read(batching_file(self.location))
        self.models = Models()
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """``host:port`` for a client on this machine."""
        return f"{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"

    def start(self) -> int:
        """Load, warm up and serve in a thread; returns the port when the model is ready.

        Raises BadInput when the port is taken or the model is damaged.
        """
        self._thread = threading.Thread(target=self._run, name="morph-server", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure:
            self._thread.join()
            raise self._failure
        return self.port

    def stop(self) -> None:
        """Refuse new requests, finish those under way, and end."""
        if self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # `start` raises it in the caller's thread
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = grpc.aio.server(options=_OPTIONS)
        healths = health.aio.HealthServicer()
        services = Services(self.name)
        health_pb2_grpc.add_HealthServicer_to_server(healths, server)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
        reflection.enable_server_reflection((PREDICTION, MODEL, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        await _report(healths, health_pb2.HealthCheckResponse.NOT_SERVING)
        _must_be_free(self.host, self.port)
        self.port = server.add_insecure_port(f"{self.host}:{self.port}")
        with ThreadPoolExecutor(self.batching.num_batch_threads, "morph-network") as executor:
            await server.start()
            try:
                servable = await self._loop.run_in_executor(executor, self._load)
                batchers = {
                    name: Batcher(signature.run, self.batching, executor)
                    for name, signature in servable.signatures.items()
                }
                services.open(servable, batchers)
                self.models.add(Version(self.name, servable.version, servable, batchers))
                await _report(healths, health_pb2.HealthCheckResponse.SERVING)
                self._ready.set()
                await self._stopping.wait()
                await healths.enter_graceful_shutdown()
            finally:
                await server.stop(GRACE)
            for batcher in batchers.values():
                await batcher.close()

    def _load(self) -> Servable:
        servable = Servable(self.location, self.batching.max_batch_size)
        servable.warm_up()
        return servable


def _must_be_free(host: str, port: int) -> None:
    """Raises BadInput where nobody can listen there; gRPC would say so in lines of its own."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError:
        raise BadInput(
            f"Port {port} of {host} cannot be had; choose another with --port, or 0 for a free one."
        ) from None


async def _report(healths, status) -> None:
    """Set the health of the server as a whole ("") and of each service."""
    for service in ("", PREDICTION, MODEL):
        await healths.set(service, status)


class Services(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """The answers to each call. Errors have TensorFlow Serving's status and, where its words serve, its words."""

    def __init__(self, name: str):
        self._name = name
        self._servable: Servable | None = None
        self._batchers: dict[str, Batcher] = {}

    def open(self, servable: Servable, batchers: dict[str, Batcher]) -> None:
        """The model is loaded and warm: answer from now on."""
        self._servable, self._batchers = servable, batchers

    async def Predict(self, request, context):
        try:
            servable = self._find(request.model_spec)
            key = request.model_spec.signature_name or "serving_default"
            if key not in servable.signatures:
                known = ", ".join(sorted(servable.signatures))
                raise Refused("FAILED_PRECONDITION", f'Serving signature key "{key}" not found; there are {known}.')
            signature = servable.signatures[key]
            wanted = signature.wanted(request.output_filter)
            inputs = signature.read(request.inputs)
            outputs = await self._batchers[key].submit(inputs)
        except Refused as refusal:
            await context.abort(grpc.StatusCode[refusal.status], refusal.sentence)
        except QueueFull:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "The server's queue is full; try again later.")
        response = predict_pb2.PredictResponse()
        self._sign(response.model_spec, servable, key)
        for name in wanted:
            to_tensor(outputs[name], response.outputs[name])
        return response

    async def GetModelMetadata(self, request, context):
        try:
            servable = self._find(request.model_spec)
            if list(request.metadata_field) != ["signature_def"]:
                raise Refused("INVALID_ARGUMENT", "The one metadata_field there is to ask for is 'signature_def'.")
        except Refused as refusal:
            await context.abort(grpc.StatusCode[refusal.status], refusal.sentence)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        self._sign(response.model_spec, servable)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response.metadata["signature_def"].Pack(signatures)
        return response

    async def GetModelStatus(self, request, context):
        spec = request.model_spec
        if spec.name != self._name:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        states = get_model_status_pb2.ModelVersionStatus.State
        if self._servable is None:
            response.model_version_status.add(state=states.LOADING)
            return response
        if spec.HasField("version") and spec.version.value != self._servable.version:
            sentence = f"Could not find version {spec.version.value} of model {spec.name}"
            await context.abort(grpc.StatusCode.NOT_FOUND, sentence)
        status = response.model_version_status.add(version=self._servable.version, state=states.AVAILABLE)
        status.status.SetInParent()
        return response

    def _find(self, spec) -> Servable:
        """The model that a request asks for; Refused when it is not this one, or not ready."""
        if spec.version_label:
            raise Refused("FAILED_PRECONDITION", f"Unrecognized servable version label: {spec.version_label}")
        servable = self._servable
        chosen = spec.HasField("version")
        if servable is None or spec.name != self._name or (chosen and spec.version.value != servable.version):
            asked = f"Specific({spec.name}, {spec.version.value})" if chosen else f"Latest({spec.name})"
            raise Refused("NOT_FOUND", f"Servable not found for request: {asked}")
        return servable

    def _sign(self, spec, servable: Servable, signature: str = "") -> None:
        """Say in an answer who gave it."""
        spec.name, spec.signature_name = self._name, signature
        spec.version.value = servable.version


def serve(model_dir: str | Path, name: str = "morph", port: int = 8500, host: str = "127.0.0.1") -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is under way and return. One line on standard output says
    when the model answers. Raises BadInput as `Server` does."""
    with until_stopped() as stopped, Server(model_dir, name, port, host) as server:
        print(f"Serving {name} version {server.location.version} on {server.address}", flush=True)
        stopped.wait()
