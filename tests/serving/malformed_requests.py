"""Requests that no honest client sends: for the tests, and by the thousand for the soak."""

import numpy as np
from hypothesis import strategies as st

from serving.protocol.messages import PredictRequest, to_tensor

SIGNATURES = ("", "serving_default", "composite", "reconstruct", "sample", "describe", "reference_sample", "nonsense")


def honest(signature: str = "serving_default", rows: int = 1, size: int = 64) -> bytes:
    """A request for `rows` galaxies."""
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "morph", signature
    dtype = "uint8" if signature == "composite" else "float32"
    image = np.ones((rows, size, size, 3), dtype)
    to_tensor(image, request.inputs["image"])
    return request.SerializeToString()


_numbers = st.integers(-(2**63), 2**63 - 1)
_lengths = st.lists(st.one_of(st.integers(-2, 130), st.sampled_from([3, 64]), _numbers), max_size=6)
_names = st.one_of(st.sampled_from(["image", "query", "", "probabilities"]), st.text(max_size=8))


@st.composite
def _tensors(draw) -> bytes:
    """A TensorProto whose type, shape and content need not belong together, serialised."""
    from serving.protocol.messages import TensorProto

    tensor = TensorProto(dtype=draw(st.integers(0, 30)))
    for length in draw(_lengths):
        tensor.tensor_shape.dim.add(size=length)
    tensor.tensor_shape.unknown_rank = draw(st.booleans())
    kind = draw(st.sampled_from(["content", "floats", "ints", "strings", "none"]))
    if kind == "content":
        tensor.tensor_content = draw(st.one_of(st.binary(max_size=64), st.just(bytes(64 * 64 * 3 * 4))))
    elif kind == "floats":
        tensor.float_val.extend(draw(st.lists(st.floats(width=32), max_size=4)))
    elif kind == "ints":
        tensor.int_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)))
    elif kind == "strings":
        tensor.string_val.extend(draw(st.lists(st.binary(max_size=8), max_size=4)))
    return tensor.SerializeToString()


@st.composite
def _well_formed(draw) -> bytes:
    """A PredictRequest that is one, with anything in it."""
    request = PredictRequest()
    if draw(st.integers(0, 9)):
        request.model_spec.name = draw(st.one_of(st.just("morph"), st.text(max_size=5)))
        request.model_spec.signature_name = draw(st.sampled_from(SIGNATURES))
    choice = draw(st.sampled_from(["none", "none", "version", "label"]))
    if choice == "version":
        request.model_spec.version.value = draw(_numbers)
    elif choice == "label":
        request.model_spec.version_label = draw(st.text(max_size=5))
    for name in draw(st.lists(_names, max_size=2, unique=True)):
        request.inputs[name].ParseFromString(draw(_tensors()))
    request.output_filter.extend(draw(st.lists(_names, max_size=2)))
    return request.SerializeToString()


@st.composite
def _damaged(draw) -> bytes:
    """An honest request with some bytes changed, cut off or put in."""
    content = bytearray(honest(draw(st.sampled_from(SIGNATURES[1:4]))))
    for _ in range(draw(st.integers(1, 4))):
        # Most of a request is pixels; what is interesting stands in front.
        place = draw(st.one_of(st.integers(0, 80), st.integers(0, len(content) - 1)))
        content[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(content[: draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])


def malformed_requests() -> st.SearchStrategy[bytes]:
    """Serialised requests: random bytes, damaged ones, and whole ones with anything in them."""
    return st.one_of(st.binary(max_size=200), _damaged(), _well_formed())
