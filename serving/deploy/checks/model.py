"""The exported model: its contract, its operations, and what it answers without Python."""

import json

import numpy as np

from morph.errors import InputError
from serving.deploy import stock
from serving.deploy.checks import check
from serving.deploy.deployment import Deployment

#: What is served for every galaxy: output -> dtype, and its lengths after the first; "answers" and "embedding" stand
#: for what the model's description says, "size" for the side of the image.
ANSWER: dict[str, tuple[str, tuple]] = {
    "probabilities": ("float32", ("answers",)),
    "concentration": ("float32", ("answers",)),
    "embedding": ("float32", ("embedding",)),
    "reconstruction_error": ("float32", ()),
    "anomaly_score": ("float32", ()),
    "anomaly": ("bool", ()),
}

#: Signature -> its inputs and outputs. A model may have more of either.
CONTRACT: dict[str, tuple[dict, dict]] = {
    "serving_default": ({"image": ("float32", ("size", "size", 3))}, ANSWER),
    "composite": ({"image": ("uint8", ("size", "size", 3))}, ANSWER),
    "reconstruct": (
        {"image": ("float32", ("size", "size", 3))},
        {"reconstruction": ("float32", ("size", "size", 3))},
    ),
    "describe": ({"query": ("string", ())}, {"description": ("string", ())}),
}


@check("loads without Python")
def loads(deployment: Deployment) -> str:
    return f"version {deployment.version.name}, by the C library of TensorFlow {deployment.loaded.tensorflow}"


@check("description")
def description(deployment: Deployment) -> str:
    about = describe(deployment)
    if about["name"] != deployment.name:
        raise InputError(f"The model calls itself '{about['name']}' and is served as '{deployment.name}'.")
    if about["version"] != int(deployment.version.name):
        raise InputError(
            f"The model calls itself version {about['version']} and lies in '{deployment.version.name}/'."
        )
    return f"{about['survey']}, {about['size']} px, {_answers(about)} answers"


def describe(deployment: Deployment) -> dict:
    """What the signature `describe` says. InputError where it is missing or says something else than JSON."""
    if "describe" not in deployment.signatures:
        raise InputError("The model has no signature 'describe'; export it again.")
    try:
        text = deployment.run("describe", {"query": np.array([b""], object)})["description"][0]
        return json.loads(text)
    except (ValueError, KeyError) as error:
        raise InputError(f"The model does not describe itself ({error}); export it again.") from None


def _answers(about: dict) -> int:
    return sum(len(question["answers"]) for question in about["questions"])


@check("signatures")
def signatures(deployment: Deployment) -> str:
    about = describe(deployment)
    lengths = {"size": about["size"], "answers": _answers(about), "embedding": about["embedding_size"]}
    for name, (inputs, outputs) in CONTRACT.items():
        definition = deployment.signatures.get(name)
        if definition is None:
            raise InputError(
                f"The model has no signature '{name}'; it has {', '.join(sorted(deployment.signatures))}."
            )
        if extra := set(definition.inputs) - set(inputs):
            raise InputError(f"Signature '{name}' wants {', '.join(sorted(extra))}, which no client sends.")
        for wanted, given, what in ((inputs, definition.inputs, "input"), (outputs, definition.outputs, "output")):
            for key, (dtype, shape) in wanted.items():
                if key not in given:
                    raise InputError(f"Signature '{name}' has no {what} '{key}'; export the model again.")
                expected = _written(dtype, (-1, *(lengths.get(length, length) for length in shape)))
                found = _written(_dtype(given[key]), tuple(dim.size for dim in given[key].tensor_shape.dim))
                if found != expected:
                    raise InputError(f"Signature '{name}': {what} '{key}' is {found}; it must be {expected}.")
    return f"{', '.join(CONTRACT)}: as the contract says"


def _dtype(info) -> str:
    import tensorflow as tf

    return tf.as_dtype(info.dtype).name


def _written(dtype: str, shape: tuple) -> str:
    return f"{dtype} [{', '.join('n' if length < 0 else str(length) for length in shape)}]"


@check("operations")
def operations(deployment: Deployment) -> str:
    known = stock.operations()
    graph = deployment.graph.graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    functions = {function.signature.name for function in graph.library.function}
    used = {node.op for node in nodes} - functions
    if python := used & stock.NEED_PYTHON:
        raise InputError(
            f"The model calls Python ({', '.join(sorted(python))}), which TensorFlow Serving does not have."
        )
    if unknown := used - set(known):
        raise InputError(
            f"TensorFlow Serving {stock.VERSION} does not know {', '.join(sorted(unknown))}; "
            f"build these from other operations, or export with TensorFlow {stock.VERSION}."
        )
    for node in nodes:
        # Names that begin with an underscore are notes of the graph's maker.
        new = {key for key in node.attr if not key.startswith("_")} - known.get(node.op, frozenset(node.attr))
        if new:
            raise InputError(f"TensorFlow Serving {stock.VERSION} knows {node.op} without {', '.join(sorted(new))}.")
    return f"{len(used)} kinds, all known to TensorFlow Serving {stock.VERSION}"


@check("graph version")
def graph_version(deployment: Deployment) -> str:
    versions = deployment.graph.graph_def.versions
    if versions.min_consumer > stock.GRAPH_VERSION:
        raise InputError(
            f"The graph needs a runtime of version {versions.min_consumer}; TensorFlow Serving {stock.VERSION} is "
            f"{stock.GRAPH_VERSION}. Export with an older TensorFlow or serve with a newer image."
        )
    made = deployment.graph.meta_info_def.tensorflow_version
    return (
        f"made by TensorFlow {made}; a runtime from {versions.min_consumer} on will do, {stock.GRAPH_VERSION} is there"
    )
