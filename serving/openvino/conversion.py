"""Conversion of a model to OpenVINO: its parts, made from the Keras layers, and how far the answers may differ."""

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

#: The parts in the order of computation; `serving.openvino.model` sets the precision of each.
PARTS = ("preprocessing", "network", "answers", "decoder", "anomaly")
ABOUT = "about.json"


def convert(classifier, folder: Path) -> None:
    """Write every part of a `Classifier` into `folder` as OpenVINO reads it, and the model's description."""
    import openvino
    import tensorflow as tf

    for name, (function, shapes) in _parts(classifier).items():
        specs = [tf.TensorSpec((None, *shape), tf.float32, name=key) for key, shape in shapes.items()]
        graph = tf.function(function).get_concrete_function(*specs)
        model = openvino.convert_model(graph)
        openvino.save_model(_handed_over(model), folder / f"{name}.xml", compress_to_fp16=False)
    sample = classifier.reference_sample.sample
    about = {"description": classifier.describe(), "reference_sample": None if sample is None else sample.to_text()}
    (folder / ABOUT).write_text(json.dumps(about))


def _parts(classifier) -> dict[str, tuple[Callable, dict[str, tuple[int, ...]]]]:
    """Each part as a function of tensors, and the shapes of those (without the rows) by name.

    Together they are `Classifier.from_flux`, except for the statistics of the border, which are read from sorted
    pixels: OpenVINO sorts so slowly that NumPy does it beforehand.
    """
    import keras
    from keras import layers

    encoder = classifier.encoder
    # The stem and the first residual block, and all that follows up to the pooled features.
    add = next(i for i, layer in enumerate(encoder.layers) if isinstance(layer, layers.Add))
    between, features = encoder.layers[add + 1].output, encoder.get_layer("features").output
    first, rest = keras.Model(encoder.input, between), keras.Model(between, features)
    posterior = keras.Model(features, {name: encoder.output[name] for name in ("mean", "log_variance")})
    decoder = _without_upsampling(classifier.decoder)

    def preprocessing(image, sky, noise):
        seen = classifier.preprocessing.stretch(image, sky, noise)
        inner = first(seen["image"], training=False)
        return {"stretched": seen["image"], "sigma": seen["sigma"], "valid": seen["valid"], "first": inner}

    def network(first):
        return {"features": rest(first, training=False)}

    def answers(features):
        embedding = classifier.embed(posterior(features, training=False))
        similarity = classifier.similarity(features, embedding)
        return {"embedding": embedding, "similarity": similarity, **classifier.vote_outputs(features, embedding)}

    def reconstructing(embedding):
        return {"reconstruction": decoder(embedding, training=False)}

    def anomaly(stretched, sigma, valid, reconstruction, features):
        inputs = {"image": stretched, "sigma": sigma, "valid": valid}
        return classifier.anomaly_outputs(inputs, reconstruction, features)

    stamp, band = (classifier.size, classifier.size, 3), (1, 1, 3)
    given = dict.fromkeys(("stretched", "sigma", "valid", "reconstruction"), stamp)
    return {
        "preprocessing": (preprocessing, {"image": stamp, "sky": band, "noise": band}),
        "network": (network, {"first": between.shape[1:]}),
        "answers": (answers, {"features": features.shape[1:]}),
        "decoder": (reconstructing, {"embedding": (classifier.latent,)}),
        "anomaly": (anomaly, {**given, "features": features.shape[1:]}),
    }


def _handed_over(model):
    """The model with what the first block hands over in bfloat16, as the next reads it: as float32 it would be brought
    into another order of pixels and back, which takes longer than a convolution."""
    from openvino import Type
    from openvino.preprocess import PrePostProcessor

    names = [output.get_names() for output in model.outputs]
    steps = PrePostProcessor(model)
    for tensors, info in ((model.inputs, steps.input), (model.outputs, steps.output)):
        if any("first" in tensor.get_names() for tensor in tensors):
            info("first").tensor().set_element_type(Type.bf16)
    handed = steps.build()
    # What is converted at the end has lost its name.
    for output, name in zip(handed.outputs, names, strict=True):
        output.set_names(name)
    return handed


def _without_upsampling(decoder):
    """The same decoder with each pair of nearest-neighbour upsampling and 3 x 3 convolution made one transposed
    convolution of 4 x 4 with stride 2, which multiplies less than half as often.

    With w the convolution's weights along one axis, x[i] reaches the pixels 2 i - 1 to 2 i + 2 with weights
    w[2], w[1] + w[2], w[0] + w[1] and w[0].
    """
    import keras
    import numpy as np
    from keras import layers

    spread = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype="float32")
    x = given = keras.Input(decoder.input.shape[1:])
    doubled = False
    for layer in decoder.layers[1:]:
        if isinstance(layer, layers.UpSampling2D):
            doubled = True
        elif doubled:
            kernel = np.einsum("ai,bj,ijcd->abdc", spread, spread, layer.get_weights()[0])
            transposed = layers.Conv2DTranspose(layer.filters, 4, strides=2, padding="same", use_bias=False)
            x, doubled = transposed(x), False
            transposed.set_weights([kernel])
        else:
            x = layer(x)
    return keras.Model(given, x)


@dataclass(frozen=True)
class Parity:
    """The largest differences between two sets of answers for the same galaxies.

    Attributes
    ----------
    probability : between probabilities, down the tree or not.
    embedding : between coordinates of the embedding, which scatter by about one half.
    similarity : between the directions of similarity vectors, as one minus their cosine.
    error : between reconstruction errors, relative to the larger.
    flags : share of galaxies that only one of them flags as anomalies.
    """

    probability: float
    embedding: float
    similarity: float
    error: float
    flags: float

    @classmethod
    def of(cls, answers: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> "Parity":
        """Compare two sets of answers (as `Classifier.from_flux` names them)."""

        def largest(name: str) -> float:
            return float(np.max(np.abs(answers[name] - others[name])))

        errors = answers["reconstruction_error"], others["reconstruction_error"]
        return cls(
            probability=max(largest("probabilities"), largest("tree_probabilities")),
            embedding=largest("embedding"),
            similarity=float(np.max(1 - np.sum(answers["similarity"] * others["similarity"], axis=-1))),
            error=float(np.max(np.abs(errors[0] - errors[1]) / np.maximum(np.maximum(*errors), 1e-6))),
            flags=float(np.mean(answers["anomaly"] != others["anomaly"])),
        )

    def within(self, limits: "Parity") -> bool:
        """Whether no difference is larger than `limits`, and none is NaN."""
        return all(value <= limit for value, limit in zip(astuple(self), astuple(limits), strict=True))

    def __str__(self) -> str:
        return (
            f"probabilities differ by at most {self.probability:.4f}, embeddings by {self.embedding:.3f}, "
            f"cosines of similarity vectors by {self.similarity:.4f}, "
            f"reconstruction errors by {100 * self.error:.1f} %, {100 * self.flags:.2f} % of the flags differ"
        )


#: How far the fast path's answers may be from TensorFlow's.
LIMITS = Parity(probability=0.01, embedding=0.05, similarity=0.01, error=0.1, flags=0.001)
