"""The exported model: its contract, its operations, and what it answers."""

import json
import re

import numpy as np

from morph.errors import InputError, first_line
from serving.deploy import stock
from serving.deploy.checks import Skipped, check
from serving.deploy.deployment import Deployment

#: What is served for every galaxy: output -> dtype, and its lengths after the first; "answers", "embedding" and
#: "similarity" stand for what the model's description says, "size" for the side of the image.
ANSWER: dict[str, tuple[str, tuple]] = {
    "probabilities": ("float32", ("answers",)),
    "concentration": ("float32", ("answers",)),
    "embedding": ("float32", ("embedding",)),
    "similarity": ("float32", ("similarity",)),
    "reconstruction_error": ("float32", ()),
    "anomaly_score": ("float32", ()),
    "anomaly": ("bool", ()),
}

#: Signature -> its inputs and outputs. A model may have more of either.
CONTRACT: dict[str, tuple[dict, dict]] = {
    "serving_default": ({"image": ("float32", ("size", "size", 3))}, ANSWER),
    "composite": ({"image": ("uint8", ("size", "size", 3))}, ANSWER),
    "reconstruct": ({"image": ("float32", ("size", "size", 3))}, {"reconstruction": ("float32", ("size", "size", 3))}),
    "restore": (
        {"image": ("float32", ("size", "size", 3)), "psf_fwhm": ("float32", ()), "target_fwhm": ("float32", ())},
        {
            **dict.fromkeys(("restored", "sigma", "prior_fraction"), ("float32", ("size", "size", 3))),
            "shape_error": ("float32", (3,)),
            "chi_square": ("float32", ()),
        },
    ),
    "describe": ({"query": ("string", ())}, {"description": ("string", ())}),
}


@check("loads")
def loads(deployment: Deployment) -> str:
    import tensorflow as tf

    signatures = len(deployment.loaded.signatures)
    return f"version {deployment.version.name} with {signatures} signatures, by TensorFlow {tf.__version__}"


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
    lengths = {"size": about["size"], "answers": _answers(about)}
    lengths |= {name: about.get(f"{name}_size") for name in ("embedding", "similarity")}
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


#: The largest message that TensorFlow Serving takes: it sets gRPC's limit to the largest int32.
LARGEST_MESSAGE = 2**31 - 1


#: Warm-up records that TensorFlow Serving replays at most.
MOST_RECORDS = 1000


_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 1e3, "M": 1e6, "G": 1e9, "m": 2**20, "g": 2**30, "": 1}


@check("warm-up")
def warm_up(deployment: Deployment) -> str:
    from serving.savedmodel.export import WARMED_BY_ONE

    seen: dict[str, set[int]] = {}
    requests = _warmup_requests(deployment)
    for number, request in enumerate(requests, 1):
        name, signature = request.model_spec.name, request.model_spec.signature_name
        if name != deployment.name or signature not in deployment.signatures:
            raise InputError(f"Warm-up record {number} is for {name}/{signature}, which is not served; export again.")
        inputs = _arrays(request)
        try:
            outputs = deployment.run(signature, inputs)
        except (ValueError, KeyError) as error:
            raise InputError(f"Warm-up record {number} ({signature}) fails: {error}.") from None
        rows = len(next(iter(inputs.values())))
        if any(len(array) != rows for array in outputs.values()):
            raise InputError(
                f"Warm-up record {number} ({signature}): {rows} rows of input give another number of output."
            )
        seen.setdefault(signature, set()).add(rows)
    largest = deployment.batching.max_batch_size.value
    for signature in sorted(images(deployment).keys() - WARMED_BY_ONE):
        if largest not in seen.get(signature, ()):
            raise InputError(
                f"The warm-up has no batch of max_batch_size ({largest}) for '{signature}', so that the first user "
                f"waits for it; export again, or change batching_parameters.txt."
            )
    return f"{len(requests)} records replayed"


def _warmup_requests(deployment: Deployment) -> list:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from serving.savedmodel.export import WARMUP

    path = deployment.version / WARMUP
    if not path.is_file():
        raise InputError(f"There is no warm-up ('{WARMUP}'); the first users wait for it. Export the model again.")
    try:
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
        logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    except (tf.errors.OpError, ValueError) as error:  # protobuf's DecodeError is a ValueError
        raise InputError(f"The warm-up cannot be read ({first_line(error)}); export again.") from None
    if len(logs) > MOST_RECORDS:
        raise InputError(f"The warm-up has {len(logs)} records; TensorFlow Serving replays {MOST_RECORDS} at most.")
    return [log.predict_log.request for log in logs]


def _arrays(request) -> dict[str, np.ndarray]:
    import tensorflow as tf

    return {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}


def images(deployment: Deployment) -> dict[str, int]:
    """Signature that takes images -> bytes of one image."""
    import tensorflow as tf

    found = {}
    for name, definition in deployment.signatures.items():
        if image := definition.inputs.get("image"):
            lengths = [dim.size for dim in image.tensor_shape.dim][1:]
            found[name] = int(np.prod(lengths)) * tf.as_dtype(image.dtype).size
    return found


@check("any number of galaxies")
def any_number(deployment: Deployment) -> str:
    for name, definition in deployment.signatures.items():
        for key, info in (*definition.inputs.items(), *definition.outputs.items()):
            if not info.tensor_shape.dim or info.tensor_shape.dim[0].size != -1:
                raise InputError(
                    f"Signature '{name}': '{key}' has a fixed number of rows, so requests cannot be merged."
                )
    return "every signature takes and gives n rows"


@check("message size")
def message_size(deployment: Deployment) -> str:
    largest = deployment.batching.max_batch_size.value
    bytes_each = max(images(deployment).values(), default=0)
    if largest * bytes_each > LARGEST_MESSAGE:
        most = LARGEST_MESSAGE // bytes_each
        raise InputError(f"A request of max_batch_size ({largest}) is larger than 2 GiB; the most is {most} galaxies.")
    return f"{largest} galaxies are {largest * bytes_each / 2**20:.1f} MiB"


@check("memory of the queue")
def memory_of_the_queue(deployment: Deployment) -> str:
    parameters = deployment.batching
    batches = parameters.max_enqueued_batches.value + max(parameters.num_batch_threads.value, 1)
    # At worst the queue is in memory twice: as messages and as tensors.
    needed = 2 * batches * parameters.max_batch_size.value * sum(images(deployment).values())
    said = f"full queues of every signature hold {needed / 2**30:.1f} GiB"
    for where, limit in _limits(deployment).items():
        if needed > limit / 2:
            raise InputError(
                f"{said.capitalize()}, more than half of the {limit / 2**30:.1f} GiB that {where} gives; "
                f"lower max_enqueued_batches."
            )
    return said


def _limits(deployment: Deployment) -> dict[str, float]:
    """File -> bytes of memory that it gives to the server."""
    found: dict[str, str] = {}
    if deployment.has("kustomization.yaml"):
        limits = deployment.container.get("resources", {}).get("limits", {})
        found[deployment.server.file] = str(limits.get("memory", ""))
    if deployment.has("compose.yaml"):
        service = deployment.mapping("compose.yaml").get("services", {}).get("serving", {})
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        found["compose.yaml"] = str(limits.get("memory", ""))
    if not found:
        raise Skipped("Without compose.yaml or kustomization.yaml the memory is unknown.")
    return {file: _bytes(text) for file, text in found.items() if text}


def _bytes(quantity: str) -> float:
    """`8Gi` of Kubernetes, `8g` of Compose."""
    match = re.fullmatch(r"([\d.]+)\s*([A-Za-z]*)", quantity)
    if not match or match[2].removesuffix("b") not in _UNITS:
        raise InputError(f"'{quantity}' is not an amount of memory; write it like 8Gi.")
    return float(match[1]) * _UNITS[match[2].removesuffix("b")]
