"""gRPC services of the server: TensorFlow Serving's prediction and model services, and gRPC's health protocol."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import NoReturn

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2,
    prediction_service_pb2,
    regression_pb2,
)

from serving.protocol.messages import PredictRequest, predict_response
from serving.savedmodel.servable import Signature, StatusError
from serving.server.batcher import Threads
from serving.server.configuration import models_of
from serving.server.models import FULL, Models, Spec, Version
from serving.server.running import HealthServicer, cut
from serving.server.version_manager import VersionManager

PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name
MODEL = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name

_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


#: How many requests of Predict are received at once, and so how many messages are in memory besides the queue.
RECEIVED_AT_ONCE = 32

#: Seconds after which a request that is still being received no longer counts among them, so that slow connections do
#: not delay others; and after which it is refused. The former is enough for as many full batches on a busy machine:
#: with less, ever more would be received at once, and ever more slowly.
SLOW, ARRIVING = 1.0, 60.0


def add_services(
    server: grpc.aio.Server, models: Models, manager: VersionManager, *, as_content: bool = False, admin: bool = False
) -> None:
    """Add PredictionService and ModelService to a server.

    Parameters
    ----------
    server : the gRPC server.
    models, manager : the models that answer, and their version manager.
    as_content : send the numbers of answers in `tensor_content`.
    admin : let clients change which models are served.
    """
    prediction = PredictionService(models, manager.threads, as_content)
    model = ModelService(models, manager, admin)
    handlers = {
        # Taken as a stream of one request, which has the same bytes, it can be refused before it is received.
        "Predict": grpc.stream_unary_rpc_method_handler(prediction.predict),
        "GetModelMetadata": _handler(prediction.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        "Classify": _handler(prediction.classify, classification_pb2.ClassificationRequest),
        "Regress": _handler(prediction.regress, regression_pb2.RegressionRequest),
        "MultiInference": _handler(prediction.multi_inference, inference_pb2.MultiInferenceRequest),
    }
    server.add_registered_method_handlers(PREDICTION, handlers)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PREDICTION, handlers),))
    handlers = {
        "GetModelStatus": _handler(model.status, get_model_status_pb2.GetModelStatusRequest),
        "HandleReloadConfigRequest": _handler(model.reload, model_management_pb2.ReloadConfigRequest),
    }
    server.add_registered_method_handlers(MODEL, handlers)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(MODEL, handlers),))


def _handler(call: Callable, request_type) -> grpc.RpcMethodHandler:
    """A handler of messages: `call` gets a request and returns a response, or raises StatusError."""

    async def answer(content: bytes, context):
        try:
            return (await call(_parse(request_type, content))).SerializeToString()
        except StatusError as refusal:
            await context.abort(grpc.StatusCode[refusal.status], cut(refusal.sentence))

    return grpc.unary_unary_rpc_method_handler(answer)


def _parse(kind, content: bytes):
    try:
        return kind.FromString(content)
    except DecodeError:
        raise StatusError("INTERNAL", f"The request is not a {kind.DESCRIPTOR.full_name}.") from None


def spec_of(request) -> Spec:
    """The model of a request. StatusError where it has none."""
    if not request.HasField("model_spec"):
        raise StatusError("INVALID_ARGUMENT", "Missing ModelSpec")
    return _spec(request.model_spec)


def _spec(message) -> Spec:
    choice = message.WhichOneof("version_choice")
    return Spec(
        message.name,
        message.version.value if choice == "version" else None,
        message.version_label if choice == "version_label" else None,
        message.signature_name or "serving_default",
    )


class _Inputs:
    """The inputs of a request, read once, so that the message is freed."""

    def __init__(self, request):
        self._request = request

    def read(self, signature: Signature) -> dict[str, np.ndarray]:
        request, self._request = self._request, None
        return signature.read(request.inputs)


class PredictionService:
    """The calls for a model's answers."""

    def __init__(self, models: Models, threads: Threads | None = None, as_content: bool = False):
        self._models, self._threads, self._as_content = models, threads, as_content
        self._receiving = asyncio.Semaphore(RECEIVED_AT_ONCE)

    async def predict(self, _, context) -> bytes:
        """Predict. Its message is read and written here: it is most of a server's work besides the network's."""
        left = context.time_remaining()
        deadline = None if left is None else time.monotonic() + left
        try:
            # One that is refused unread is meant for the only model, where there is only one.
            with self._models.track(Spec(self._models.only)) as asked:
                request = await self._receive(context)
                asked.spec, asked.begun = spec_of(request), time.monotonic()
                wanted, inputs = tuple(request.output_filter), _Inputs(request)
                # Of what waits in the queue there is one copy, the arrays.
                del request
                version, names, part = await self._models.predict(asked, inputs.read, wanted, deadline)
        except StatusError as refusal:
            await context.abort(grpc.StatusCode[refusal.status], cut(refusal.sentence))
        outputs = part.cut(names)
        response = predict_response(version.name, version.number, asked.spec.signature, outputs, self._as_content)
        return response.SerializeToString()

    async def _receive(self, context):
        """The request, unless so much waits already that it would be refused anyway."""
        await self._receiving.acquire()
        with ExitStack() as place:
            place.callback(self._receiving.release)
            place.callback(asyncio.get_running_loop().call_later(SLOW, place.close).cancel)
            if self._threads and self._threads.full:
                raise StatusError("RESOURCE_EXHAUSTED", FULL)
            try:
                async with asyncio.timeout(ARRIVING):
                    content = await context.read()
            except TimeoutError:
                raise StatusError("DEADLINE_EXCEEDED", f"The request did not arrive within {ARRIVING:g} s") from None
        if content is grpc.aio.EOF:
            raise StatusError("INTERNAL", "The call brought no request.")
        return _parse(PredictRequest, content)

    async def metadata(self, request):
        """GetModelMetadata: the signatures."""
        spec = spec_of(request)
        if not request.metadata_field:
            raise StatusError("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise StatusError("INVALID_ARGUMENT", f"Metadata field {name} is not supported")
        version = self._models.find(spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = spec.name, version.number
        response.metadata["signature_def"].Pack(signatures_of(version))
        return response

    async def classify(self, request) -> NoReturn:
        """Classify, which no signature of the contract answers."""
        spec = spec_of(request)
        raise _wrong_method(self._models.find(spec), spec, "classification", _CLASSIFY)

    async def regress(self, request) -> NoReturn:
        """Regress, which no signature of the contract answers."""
        spec = spec_of(request)
        raise _wrong_method(self._models.find(spec), spec, "regression", _REGRESS)

    async def multi_inference(self, request):
        """MultiInference, which no signature of the contract answers."""
        task = request.tasks[0] if request.tasks else inference_pb2.InferenceTask()
        spec = _spec(task.model_spec)
        version = self._models.find(spec)
        if spec.signature not in version.servable.definitions:
            raise StatusError("INVALID_ARGUMENT", f"Requested signature not found in model graph: {spec.signature}")
        kinds = {_CLASSIFY: "classification", _REGRESS: "regression"}
        if task.method_name not in kinds:
            raise StatusError("UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}")
        raise _wrong_method(version, spec, kinds[task.method_name], task.method_name)


def signatures_of(version: Version) -> get_model_metadata_pb2.SignatureDefMap:
    """The signatures of a version, as GetModelMetadata sends them."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in version.servable.definitions.items():
        signatures.signature_def[name].CopyFrom(definition)
    return signatures


def status_of(models: Models, spec: Spec) -> get_model_status_pb2.GetModelStatusResponse:
    """The states of a model's versions, as GetModelStatus sends them. StatusError where there is no such model."""
    response = get_model_status_pb2.GetModelStatusResponse()
    states = get_model_status_pb2.ModelVersionStatus.State
    for status in models.status(spec):
        state = response.model_version_status.add(version=status.version, state=states.Value(status.state))
        state.status.error_code = grpc.StatusCode[status.status].value[0]
        state.status.error_message = status.sentence
        state.status.SetInParent()
    return response


def _wrong_method(version: Version, spec: Spec, kind: str, method: str) -> StatusError:
    """TensorFlow Serving's error where a signature is not of the method that is called."""
    definition = version.servable.definitions.get(spec.signature)
    if definition is None:
        return StatusError("INVALID_ARGUMENT", f"No signature was found with the name: {spec.signature}")
    was = definition.method_name
    if was == method:
        return StatusError("UNIMPLEMENTED", f"The embedded server answers Predict only, not signatures of {method}.")
    return StatusError("INVALID_ARGUMENT", f"Expected {kind} signature method_name to be {method}. Was: {was}")


class ModelService:
    """The calls about the models themselves."""

    def __init__(self, models: Models, manager: VersionManager, admin: bool):
        self._models, self._manager, self._admin = models, manager, admin

    async def status(self, request):
        """GetModelStatus."""
        return status_of(self._models, spec_of(request))

    async def reload(self, request):
        """HandleReloadConfigRequest: other models, versions or labels. Refused unless the server allows it: otherwise
        anyone who reaches the port could unload the model, or load a program of their own."""
        if not self._admin:
            raise StatusError(
                "PERMISSION_DENIED",
                "HandleReloadConfigRequest is off; start the server with --admin, or change its models.config.",
            )
        await self._manager.replace(models_of(request.config))
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response


_SERVING = health_pb2.HealthCheckResponse.SERVING


_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Reports what is alive and what is ready, under these names:

    - "" is alive from the moment that the server listens: a model that loads slowly is not a reason to restart it;
    - PredictionService and ModelService, by their full names, are ready when every model has a version that answers;
    - a model's own name ("morph") is ready when that model has one.

    `servicer` is what a gRPC server is given.
    """

    def __init__(self, models: Models):
        self.servicer = HealthServicer()
        self._models = models
        self._known: set[str] = set()
        self._updates: set[asyncio.Task] = set()

    async def update(self) -> None:
        """Report the present states, to checks and to watches."""
        ready = is_ready(self._models)
        states = {"": True, PREDICTION: ready, MODEL: ready}
        states |= {name: bool(self._models.loaded(name)) for name in self._models.names}
        states |= dict.fromkeys(self._known - states.keys(), False)
        self._known |= states.keys()
        for name, good in states.items():
            await self.servicer.set(name, _SERVING if good else _NOT_SERVING)

    def changed(self) -> None:
        """Report that a version was loaded or unloaded, as soon as the event loop has time."""
        task = asyncio.get_running_loop().create_task(self.update())
        self._updates.add(task)
        task.add_done_callback(self._updates.discard)

    async def stop(self) -> None:
        """Report everything as not ready from now on."""
        await self.servicer.enter_graceful_shutdown()


def is_ready(models: Models) -> bool:
    """Whether there are models, each with a version that answers."""
    return bool(models.names) and models.ready
