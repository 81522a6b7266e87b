"""The embedded server answers as TensorFlow Serving does, over real gRPC."""

import gc
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from morph.errors import InputError
from serving.client import CHANNEL_OPTIONS, MorphClient
from serving.protocol.configuration import BatchingParameters
from serving.savedmodel.export import SCORE_TOLERANCE
from serving.server.models import Spec
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.address) as opened:
        yield opened


def official(channel):
    """The official prediction stub."""
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def stub(channel):
    return official(channel)


def predict_request(image=None, signature="", model="morph", name="image", **options):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest(**options)
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if image is not None:
        request.inputs[name].CopyFrom(tf.make_tensor_proto(image))
    return request


def error_of(call, *arguments) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    return caught.value.code().name, caught.value.details()


def test_the_official_client_gets_the_keras_models_numbers(stub, classifier, flux, composites):
    import tensorflow as tf

    for signature, images in (("serving_default", flux), ("", flux), ("composite", composites)):
        response = stub.Predict(predict_request(images, signature))
        expected = classifier.answer(images)
        assert set(response.outputs) == set(expected)
        for key in ("probabilities", "concentration", "embedding", "reconstruction_error"):
            np.testing.assert_allclose(tf.make_ndarray(response.outputs[key]), expected[key], rtol=1e-5, atol=1e-5)
        score = tf.make_ndarray(response.outputs["anomaly_score"])
        np.testing.assert_allclose(score, expected["anomaly_score"], atol=SCORE_TOLERANCE)
        spec = response.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("morph", 3, signature or "serving_default")


def test_numbers_are_sent_one_by_one_or_as_bytes(stub, model_dir, flux):
    import tensorflow as tf

    from serving.server.embedded import Server

    with Server(model_dir, tensor_content=True) as other, grpc.insecure_channel(other.address) as opened:
        by_content = official(opened).Predict(predict_request(flux)).outputs
    by_value = stub.Predict(predict_request(flux)).outputs
    for name, field in (("probabilities", "float_val"), ("anomaly", "bool_val")):
        assert by_value[name].tensor_content == b""
        assert len(getattr(by_value[name], field)) == np.prod(tf.make_ndarray(by_value[name]).shape)
        assert by_content[name].tensor_content
        assert not getattr(by_content[name], field)
        np.testing.assert_allclose(
            tf.make_ndarray(by_value[name]).astype(float), tf.make_ndarray(by_content[name]).astype(float), atol=1e-5
        )


def test_the_official_client_gets_the_description(stub):
    import tensorflow as tf

    response = stub.Predict(predict_request(["?", "?"], "describe", name="query"))
    answers = tf.make_ndarray(response.outputs["description"])
    assert answers.shape == (2,)
    assert json.loads(answers[1])["survey"] == "des"


def test_the_output_filter_sends_only_what_is_asked_for(stub, flux):
    response = stub.Predict(predict_request(flux, output_filter=["anomaly", "probabilities"]))
    assert set(response.outputs) == {"anomaly", "probabilities"}


def test_a_stamp_without_any_data_is_answered_with_numbers(stub):
    import tensorflow as tf

    response = stub.Predict(predict_request(np.full((1, 64, 64, 3), np.nan, "float32")))
    for tensor in response.outputs.values():
        assert np.isfinite(tf.make_ndarray(tensor).astype(float)).all()


ZEROS = np.zeros((1, 64, 64, 3), "float32")


@pytest.mark.parametrize(
    ("request_of", "status", "sentence"),
    [
        (
            lambda: predict_request(ZEROS[:, :32, :32]),
            "INVALID_ARGUMENT",
            "image has shape (1, 32, 32, 3) float32; signature 'serving_default' takes (n, 64, 64, 3) float32.",
        ),
        (
            lambda: predict_request(ZEROS.astype("uint8")),
            "INVALID_ARGUMENT",
            "image has shape (1, 64, 64, 3) uint8; signature 'serving_default' takes (n, 64, 64, 3) float32.",
        ),
        (
            lambda: predict_request(ZEROS[0]),
            "INVALID_ARGUMENT",
            "image has shape (64, 64, 3) float32; signature 'serving_default' takes (n, 64, 64, 3) float32.",
        ),
        (
            lambda: predict_request("?", "describe", name="query"),
            "INVALID_ARGUMENT",
            "query has shape () string; signature 'describe' takes (n,) string.",
        ),
        (lambda: predict_request(ZEROS[:0]), "INVALID_ARGUMENT", "image holds no rows; a request holds at least 1."),
        (
            lambda: predict_request(np.repeat(ZEROS, 129, 0)),
            "INVALID_ARGUMENT",
            "Task size 129 is larger than maximum input batch size 128",
        ),
        (lambda: predict_request(), "INVALID_ARGUMENT", "Sent extra: {}. Missing but required: {image}."),
        (
            lambda: predict_request(ZEROS, name="picture"),
            "INVALID_ARGUMENT",
            "Sent extra: {picture}. Missing but required: {image}.",
        ),
        (
            lambda: predict_request(ZEROS, output_filter=["class"]),
            "INVALID_ARGUMENT",
            "alias not found in signature: class Outputs",
        ),
        (
            lambda: predict_request(ZEROS, output_filter=["anomaly", "anomaly"]),
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: anomaly",
        ),
        (lambda: predict_request(ZEROS, model=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            lambda: predict_request(ZEROS, "predict"),
            "FAILED_PRECONDITION",
            'Serving signature key "predict" not found',
        ),
        (lambda: predict_request(ZEROS, model="other"), "NOT_FOUND", "Servable not found for request: Latest(other)"),
        (
            lambda: predict_request(
                ZEROS, model_spec={"name": "morph", "version": {"value": 4}, "signature_name": "composite"}
            ),
            "NOT_FOUND",
            "Servable not found for request: Specific(morph, 4)",
        ),
        (
            lambda: predict_request(ZEROS, model_spec={"name": "morph", "version_label": "stable"}),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: stable",
        ),
    ],
)
def test_a_wrong_request_gets_one_sentence(stub, request_of, status, sentence):
    code, details = error_of(stub.Predict, request_of())
    assert code == status
    assert sentence in details


def test_a_tensor_that_claims_more_than_it_holds_is_refused(stub):
    request = predict_request(ZEROS)
    request.inputs["image"].tensor_content = b"short"
    assert error_of(stub.Predict, request) == (
        "INVALID_ARGUMENT",
        "tensor parsing error: image (a tensor of shape (1, 64, 64, 3) has 5 bytes of content)",
    )


def test_the_metadata_are_the_signatures(stub):
    from tensorflow_serving.apis import get_model_metadata_pb2

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "morph"
    response = stub.GetModelMetadata(request)
    assert response.model_spec.version.value == 3
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    named = {"serving_default", "composite", "reconstruct", "sample", "restore", "describe", "reference_sample"}
    assert set(signatures.signature_def) == named | {"__saved_model_init_op"}
    shape = signatures.signature_def["composite"].inputs["image"].tensor_shape
    assert [dim.size for dim in shape.dim] == [-1, 64, 64, 3]
    del request.metadata_field[:]
    assert error_of(stub.GetModelMetadata, request)[0] == "INVALID_ARGUMENT"


def test_the_model_status_is_reported(channel):
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "morph"
    (status,) = stub.GetModelStatus(request).model_version_status
    assert (status.version, status.state) == (3, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    request.model_spec.version.value = 9
    assert error_of(stub.GetModelStatus, request) == ("NOT_FOUND", "Could not find version 9 of model morph")
    request.model_spec.name = "other"
    request.model_spec.ClearField("version")
    assert error_of(stub.GetModelStatus, request) == ("NOT_FOUND", "Could not find any versions of model other")


def test_a_signature_of_another_method_is_refused_in_tensorflow_servings_words(stub):
    from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

    was = "Was: tensorflow/serving/predict"
    spec = {"name": "morph"}
    classify, regress = "tensorflow/serving/classify", "tensorflow/serving/regress"
    assert error_of(stub.Classify, classification_pb2.ClassificationRequest(model_spec=spec)) == (
        "INVALID_ARGUMENT",
        f"Expected classification signature method_name to be {classify}. {was}",
    )
    assert error_of(stub.Regress, regression_pb2.RegressionRequest(model_spec=spec)) == (
        "INVALID_ARGUMENT",
        f"Expected regression signature method_name to be {regress}. {was}",
    )
    request = inference_pb2.MultiInferenceRequest(tasks=[{"model_spec": spec, "method_name": regress}])
    assert (
        error_of(stub.MultiInference, request)[1]
        == error_of(stub.Regress, regression_pb2.RegressionRequest(model_spec=spec))[1]
    )
    request.tasks[0].method_name = "tensorflow/serving/predict"
    assert error_of(stub.MultiInference, request)[0] == "UNIMPLEMENTED"
    missing = classification_pb2.ClassificationRequest(model_spec={"name": "morph", "signature_name": "sort"})
    assert error_of(stub.Classify, missing)[1] == "No signature was found with the name: sort"
    assert error_of(stub.Classify, classification_pb2.ClassificationRequest())[1] == "Missing ModelSpec"


def test_health_and_reflection(channel):
    names = {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"}
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", *names):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert error_of(stub.Check, health_pb2.HealthCheckRequest(service="other"))[0] == "NOT_FOUND"
    database = ProtoReflectionDescriptorDatabase(channel)
    assert names | {"grpc.health.v1.Health"} <= set(database.get_services())
    assert database.FindFileContainingSymbol("tensorflow.serving.PredictionService").service


def test_concurrent_requests_are_merged_and_keep_their_own_answers(server, classifier, flux, monkeypatch):
    from serving.savedmodel.servable import Signature

    passes, run = [], Signature.run_together

    def remembering(self, parts, padding=0):
        passes.append(sum(len(next(iter(part.values()))) for part in parts))
        return run(self, parts, padding)

    # The batchers took their methods when the server started, so a server of its own is asked.
    monkeypatch.setattr(Signature, "run_together", remembering)
    from serving.server.embedded import Server

    expected = classifier.answer(flux)["probabilities"]
    patient = BatchingParameters(batch_timeout_micros=50_000)
    with Server(server.location.folder, batching=patient) as own, MorphClient(own.address) as client:
        client.describe()
        passes.clear()
        with ThreadPoolExecutor(24) as pool:
            results = pool.map(lambda i: client.classify(flux[i : i + 1], ["probabilities"]), np.arange(48) % 6)
            for i, result in enumerate(results):
                np.testing.assert_allclose(result["probabilities"][0], expected[i % 6], rtol=1e-5, atol=1e-5)
    assert sum(passes) == 48
    assert len(passes) < 24


def test_a_full_queue_refuses_and_a_patient_client_gets_through(model_dir, flux):
    from serving.server.embedded import Server

    tight = BatchingParameters(max_batch_size=1, max_enqueued_batches=1, batch_timeout_micros=0)
    with Server(model_dir, batching=tight) as small, MorphClient(small.address, timeout=30) as client:
        client.describe()
        with grpc.insecure_channel(small.address) as channel:
            calls = [official(channel).Predict.future(predict_request(flux[:1])) for _ in range(12)]
            codes = [call.code().name for call in calls]
        assert "RESOURCE_EXHAUSTED" in codes
        assert "OK" in codes
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: client.classify(flux[:1])["anomaly"], range(12)))
        assert len(answers) == 12


def test_stopping_finishes_what_is_under_way(model_dir, flux):
    from serving.server.embedded import Server

    server = Server(model_dir)
    server.start()
    images = np.repeat(flux, 20, axis=0)
    with MorphClient(server.address) as client:
        client.classify(images[:1])
        channel = grpc.insecure_channel(server.address, CHANNEL_OPTIONS)
        health = health_pb2_grpc.HealthStub(channel)
        states = health.Watch(health_pb2.HealthCheckRequest())
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        version = server.models.find(Spec("morph"))
        call = official(channel).Predict.future(predict_request(images, output_filter=["anomaly"]))
        # A request is under way once it has arrived, which takes a busy machine a while.
        wait_until(lambda: version.requests or call.done(), pause=0.001)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert call.result().outputs["anomaly"].tensor_shape.dim[0].size == 120
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
        states.cancel()
        stopping.join()
        channel.close()
        with pytest.raises(InputError, match="No server answers at"):
            client.classify(images[:1])


def test_no_request_waits_while_what_was_loaded_is_searched_for_garbage(model_dir):
    from serving.server.embedded import Server

    with Server(model_dir):
        # What is frozen is not among the objects that are searched.
        assert gc.get_freeze_count() > len(gc.get_objects())
    assert gc.get_freeze_count() == 0


def test_a_taken_port_is_bad_input(server):
    from serving.server.embedded import Server

    with pytest.raises(InputError, match=f"Port {server.port} of 127.0.0.1 is not free"):
        Server(server.location.base_path, port=server.port).start()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_the_event_loop_is_uvloops(model_dir):
    import uvloop

    from serving.server.embedded import Server

    with Server(model_dir) as server:
        assert isinstance(server._loop, uvloop.Loop)
