"""A server on a folder of small models, and what it says."""

import time
from pathlib import Path

import grpc

from serving.protocol.messages import PredictResponse, from_tensor
from tests.serving.server.small_models import small_request

POLL = 0.05


class Ask:
    """A server on a folder of small models, asked over gRPC."""

    def __init__(self, folder: Path, **options):
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        from serving.server.embedded import Server

        self.server = Server(None if "models_config" in options else folder, "small", poll=POLL, **options)
        self.server.start()
        self.channel = grpc.insecure_channel(self.server.address)
        self._predict = self.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def __enter__(self) -> "Ask":
        return self

    def __exit__(self, *_) -> None:
        self.channel.close()
        self.server.stop()

    def version(self, **spec) -> int:
        """The version that answers, whose number the answer must show too."""
        response = PredictResponse.FromString(self._predict(small_request(**spec).SerializeToString()))
        number = response.model_spec.version.value
        assert from_tensor(response.outputs["sum"]).tolist() == [2.0 + number]
        return number

    def states(self, name: str = "small") -> dict[int, str]:
        """Version -> state, and what went wrong."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        kinds = get_model_status_pb2.ModelVersionStatus.State
        found = self.models.GetModelStatus(request).model_version_status
        return {each.version: f"{kinds.Name(each.state)} {each.status.error_message}".strip() for each in found}

    def wait(self, until, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, self.states()
            time.sleep(0.01)
