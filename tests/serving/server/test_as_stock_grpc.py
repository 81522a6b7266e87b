"""The embedded server over gRPC beside TensorFlow Serving 2.19.1: what its source says that each call is answered.

Sources: `model_servers/{grpc_status_util,server_core,get_model_status_impl}.cc`,
`servables/tensorflow/{predict_util,multi_inference,classifier}.cc`, and TensorFlow's `subgraph.cc`.
"""

import grpc
import pytest

from tests.serving.server.small_models import small_request

INIT = "__saved_model_init_op"


def _predict(change=None, **spec):
    request = small_request(**spec)
    if change:
        change(request)
    return request


def _double(request):
    request.inputs["y"].CopyFrom(request.inputs["x"])


def _none(request):
    del request.inputs["x"]


def _filter(*names):
    return lambda request: request.output_filter.extend(names)


def _none_and_filtered(request):
    _none(request)
    request.output_filter.append("no")


def _renamed_and_filtered(request):
    request.inputs["y"].CopyFrom(request.inputs["x"])
    del request.inputs["x"]
    request.output_filter.append("no")


#: The request of Predict, the code, the sentence.
PREDICT = [
    (lambda: _predict(version=9), "NOT_FOUND", "Servable not found for request: Specific(small, 9)"),
    (lambda: _predict(name="other"), "NOT_FOUND", "Servable not found for request: Latest(other)"),
    (lambda: _predict(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    (lambda: _predict(version_label="no"), "INVALID_ARGUMENT", "Unrecognized servable version label: no"),
    (lambda: _predict(signature_name="no"), "FAILED_PRECONDITION", 'Serving signature key "no" not found.'),
    (lambda: _predict(lambda request: request.ClearField("model_spec")), "INVALID_ARGUMENT", "Missing ModelSpec"),
    (
        lambda: _predict(_double),
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({x,y}) != len({x}). Sent extra: {y}. Missing but required: {}.",
    ),
    (
        lambda: _predict(_none),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    ),
    (
        lambda: _predict(_filter("no")),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: no Outputs expected to be in the set {sum}.",
    ),
    (lambda: _predict(_filter("sum", "sum")), "INVALID_ARGUMENT", "duplicate output tensor alias: sum"),
    (
        lambda: _predict(_filter("sum", "no", "sum")),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: no",
    ),
    # The inputs are looked at first.
    (lambda: _predict(_renamed_and_filtered), "INVALID_ARGUMENT", "input size does not match signature: 1!=1"),
    (
        lambda: _predict(signature_name=INIT),
        "INVALID_ARGUMENT",
        "input size does not match signature: 1!=0 len({x}) != len({}). Sent extra: {x}. Missing but required: {}.",
    ),
    (
        lambda: _predict(_none, signature_name=INIT),
        "INVALID_ARGUMENT",
        "Tried to fetch data for 'NoOp', which produces no output.  To run to a node but not fetch any data, pass "
        "'NoOp' as an argument to the 'target_node_names' argument of the Session::Run API.",
    ),
    (
        lambda: _predict(_none_and_filtered, signature_name=INIT),
        "INVALID_ARGUMENT",
        f"output tensor alias not found in signature: no Outputs expected to be in the set {{{INIT}}}.",
    ),
    # A sentence has 1,024 bytes at most.
    (
        lambda: _predict(name="a" * 2000),
        "NOT_FOUND",
        ("Servable not found for request: Latest(" + "a" * 2000)[:1024] + "...TRUNCATED",
    ),
    (
        lambda: _predict(signature_name="a" * 999),
        "FAILED_PRECONDITION",
        f'Serving signature key "{"a" * 999}" n'[:1024],
    ),
]


@pytest.mark.parametrize(("request_of", "code", "sentence"), PREDICT)
def test_predict(asked, request_of, code, sentence):
    with pytest.raises(grpc.RpcError) as problem:
        asked._predict(request_of().SerializeToString())
    assert problem.value.code().name == code
    assert problem.value.details().startswith(sentence)
    assert len(problem.value.details()) <= 1024 + len("...TRUNCATED")


CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"

#: Call; model, signature, method; the code, the sentence.
OTHERS = [
    (
        "Classify",
        "small",
        "",
        "",
        "INVALID_ARGUMENT",
        f"Expected classification signature method_name to be {CLASSIFY}",
    ),
    ("Classify", "small", "no", "", "INVALID_ARGUMENT", "No signature was found with the name: no"),
    ("Classify", "other", "no", "", "NOT_FOUND", "Servable not found for request: Latest(other)"),
    ("Regress", "small", "", "", "INVALID_ARGUMENT", f"Expected regression signature method_name to be {REGRESS}"),
    ("Regress", "", "", "", "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ("MultiInference", None, "", "", "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ("MultiInference", "", "", CLASSIFY, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ("MultiInference", "other", "no", "no", "NOT_FOUND", "Servable not found for request: Latest(other)"),
    ("MultiInference", "small", "no", "no", "INVALID_ARGUMENT", "Requested signature not found in model graph: no"),
    (
        "Classify",
        "small",
        INIT,
        "",
        "INVALID_ARGUMENT",
        f"Expected classification signature method_name to be {CLASSIFY}",
    ),
    ("MultiInference", "small", INIT, REGRESS, "INVALID_ARGUMENT", "Expected regression signature method_name to be"),
    ("MultiInference", "small", "", "no", "UNIMPLEMENTED", "Unsupported signature method_name: no"),
    ("MultiInference", "small", "", CLASSIFY, "INVALID_ARGUMENT", "Expected classification signature method_name"),
    ("MultiInference", "small", "", REGRESS, "INVALID_ARGUMENT", "Expected regression signature method_name"),
    ("GetModelMetadata", "other", "", "signature_def", "NOT_FOUND", "Servable not found for request: Latest(other)"),
    ("GetModelMetadata", "small", "", "x", "INVALID_ARGUMENT", "Metadata field x is not supported"),
    ("GetModelMetadata", "small", "", "", "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one"),
    ("GetModelStatus", "other", "", "", "NOT_FOUND", "Could not find any versions of model other"),
    ("GetModelStatus", "", "", "", "NOT_FOUND", "Could not find any versions of model "),
]


@pytest.mark.parametrize(("call", "model", "signature", "method", "code", "sentence"), OTHERS)
def test_other_calls(asked, call, model, signature, method, code, sentence):
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        regression_pb2,
    )

    request = {
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "MultiInference": inference_pb2.MultiInferenceRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
        "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    }[call]()
    if call == "MultiInference":
        if model is not None:
            task = request.tasks.add(method_name=method)
            task.model_spec.name, task.model_spec.signature_name = model, signature
    else:
        request.model_spec.name, request.model_spec.signature_name = model, signature
    if call == "GetModelMetadata" and method:
        request.metadata_field.append(method)
    with pytest.raises(grpc.RpcError) as problem:
        getattr(asked.models if call == "GetModelStatus" else asked.stub, call)(request)
    assert problem.value.code().name == code
    assert problem.value.details().startswith(sentence)
