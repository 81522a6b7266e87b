"""The messages are TensorFlow Serving's, byte for byte, and live beside the official ones."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from serving.protocol import messages

DTYPES = ("float32", "uint8", "int64", "bool")
SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
NUMBERS = st.sampled_from(DTYPES).flatmap(lambda dtype: arrays_of.arrays(dtype, SHAPES))
TEXT = arrays_of.arrays("object", SHAPES, elements=st.binary(max_size=8), fill=st.nothing())


@pytest.fixture(scope="module")
def official():
    """The official request and its tensors, which bring TensorFlow."""
    import tensorflow as tf
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2  # noqa: F401  (both register their messages)

    return tf, predict_pb2


@settings(deadline=None, max_examples=60)
@given(array=NUMBERS | TEXT)
def test_a_tensor_survives_the_way_to_tensorflow_and_back(official, array):
    tf, predict_pb2 = official
    request = messages.PredictRequest(output_filter=["a", "b"])
    request.model_spec.name, request.model_spec.signature_name = "morph", "composite"
    request.model_spec.version.value = 7
    messages.to_tensor(array, request.inputs["image"])
    theirs = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs.inputs["image"]), array)
    assert (theirs.model_spec.name, theirs.model_spec.version.value) == ("morph", 7)
    assert theirs.SerializeToString(deterministic=True) == request.SerializeToString(deterministic=True)
    back = messages.PredictRequest.FromString(theirs.SerializeToString())
    result = messages.from_tensor(back.inputs["image"])
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


@settings(deadline=None, max_examples=60)
@given(array=NUMBERS | TEXT)
def test_what_tensorflow_writes_is_read(official, array):
    tf, _ = official
    dtype = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    proto = tf.make_tensor_proto(array, dtype=dtype, shape=array.shape)
    mine = messages.TensorProto.FromString(proto.SerializeToString())
    np.testing.assert_array_equal(messages.from_tensor(mine), array)


@pytest.mark.parametrize("dtype", [*DTYPES, "object"])
@pytest.mark.parametrize("given_values", [0, 1, 2, 6])
def test_the_last_value_fills_what_is_missing(official, dtype, given_values):
    tf, _ = official
    field = messages._KINDS[np.dtype(dtype)][1]
    values = [b"a", b"b", b"c", b"d", b"e", b"f"] if dtype == "object" else [1, 0, 1, 1, 0, 1]
    proto = messages.TensorProto(dtype=messages._KINDS[np.dtype(dtype)][0])
    for length in (2, 3):
        proto.tensor_shape.dim.add(size=length)
    getattr(proto, field).extend(values[:given_values])
    # Read by TensorFlow's runtime, as a server does.
    theirs = tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype)).numpy()
    np.testing.assert_array_equal(messages.from_tensor(proto), theirs)


def test_an_answer_of_the_official_classes_is_read_and_unknown_fields_pass(official):
    _, predict_pb2 = official
    request = predict_pb2.PredictRequest(client_id=b"somebody")
    request.predict_streamed_options.SetInParent()
    mine = messages.PredictRequest.FromString(request.SerializeToString())
    assert mine.SerializeToString() == request.SerializeToString()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tensor: setattr(tensor, "tensor_content", b"12345"), "5 bytes"),
        (lambda tensor: setattr(tensor, "dtype", 19), "type 19"),
        (lambda tensor: setattr(tensor.tensor_shape, "unknown_rank", True), "needs a shape"),
        (lambda tensor: setattr(tensor.tensor_shape.dim[0], "size", -1), "needs a shape"),
        (lambda tensor: (tensor.ClearField("tensor_content"), tensor.float_val.extend([1.0] * 5)), "5 values"),
    ],
)
def test_a_damaged_tensor_is_a_value_error(change, problem):
    tensor = messages.to_tensor(np.ones(4, "float32"))
    change(tensor)
    with pytest.raises(ValueError, match=problem):
        messages.from_tensor(tensor)


def test_a_value_too_large_for_its_type_is_a_value_error():
    tensor = messages.TensorProto(dtype=4, int_val=[256])
    tensor.tensor_shape.dim.add(size=2)
    with pytest.raises(ValueError, match="does not fit"):
        messages.from_tensor(tensor)


def test_nothing_is_converted_silently():
    with pytest.raises(TypeError, match="float64"):
        messages.to_tensor(np.ones(3))


@pytest.mark.parametrize("name", ["TensorProto", "PredictRequest", "PredictResponse", "GetModelMetadataResponse"])
def test_fields_are_those_of_the_official_messages(official, name):
    from google.protobuf import descriptor_pool

    ours = getattr(messages, name).DESCRIPTOR
    theirs = descriptor_pool.Default().FindMessageTypeByName(ours.full_name)
    for field in ours.fields:
        same = theirs.fields_by_name[field.name]
        assert (field.number, field.type) == (same.number, same.type), field.full_name


def test_the_compiled_descriptors_are_those_of_the_proto_files():
    folder = Path(messages.__file__).parent
    for file in ("tensorflow", "serving"):
        package = {"tensorflow": "tensorflow", "serving": "tensorflow.serving"}[file]
        declared = re.findall(r"(\w+) = (\d+);", (folder / f"{file}.proto").read_text())
        compiled = messages._POOL.FindFileByName(f"{file}.proto")
        assert compiled.package == package
        assert sorted(declared) == sorted(_numbers(compiled.message_types_by_name, compiled.enum_types_by_name))


def _numbers(kinds, enums) -> list[tuple[str, str]]:
    found = [(value.name, str(value.number)) for enum in enums.values() for value in enum.values]
    for kind in kinds.values():
        if not kind.GetOptions().map_entry:
            found += [(field.name, str(field.number)) for field in kind.fields]
            found += _numbers(kind.nested_types_by_name, kind.enum_types_by_name)
    return found


@pytest.mark.parametrize("as_content", [False, True])
def test_a_response_is_read_by_the_official_classes(official, as_content):
    tf, predict_pb2 = official
    random = np.random.default_rng(0)
    outputs = {
        "embedding": random.normal(size=(3, 500)).astype("float32"),
        "empty": np.zeros((0, 4), "float32"),
        "anomaly": np.array([True, False, True]),
        "description": np.array([b"a", b"b"], object),
    }
    written = messages.predict_response("morph", 7, "serving_default", outputs, as_content).SerializeToString()
    theirs = predict_pb2.PredictResponse.FromString(written)
    spec = theirs.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("morph", 7, "serving_default")
    assert set(theirs.outputs) == set(outputs)
    for name, array in outputs.items():
        np.testing.assert_array_equal(tf.make_ndarray(theirs.outputs[name]), array)
    assert bool(theirs.outputs["embedding"].tensor_content) == as_content
