"""Galaxies per second of the exported model, beside the network of Domínguez Sánchez et al. (2018).

    python benchmarks/forward.py [MODEL] [float32|mixed_bfloat16]

Both run a batch of 128 through TensorFlow on all cores, in turns, so that whatever else the machine does falls
on both. MODEL is named as everywhere (a path or an MLflow URI); without it an untrained model is timed, which
takes the same time. Ends by itself in about a minute.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from morph.model.classifier import Classifier
from morph.model.store import load_model
from serving.savedmodel.export import export_model

BATCH = 128
ROUNDS = 9


def dominguez_sanchez_2018() -> keras.Model:
    """The network of Domínguez Sánchez et al. (2018), section 3: 2,602,849 weights, 69 x 69 px, one question."""
    return keras.Sequential(
        [
            keras.Input((69, 69, 3)),
            layers.Conv2D(32, 6, padding="same", activation="relu"),
            layers.Dropout(0.5),
            layers.Conv2D(64, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Conv2D(128, 2, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Conv2D(128, 3, padding="same", activation="relu"),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def saved_model(classifier: Classifier) -> Callable[[np.ndarray], object]:
    """The `serving_default` signature of the exported `classifier`."""
    with tempfile.TemporaryDirectory() as folder:
        exported = tf.saved_model.load(str(export_model(classifier, folder)))
    run = exported.signatures["serving_default"]
    # The signature holds its model only weakly.
    return lambda images, model=exported: run(image=tf.constant(images))["probabilities"].numpy()


def seconds(run: Callable[[np.ndarray], object], images: np.ndarray) -> float:
    start = time.perf_counter()
    run(images)
    return time.perf_counter() - start


def main() -> None:
    precision = sys.argv[2] if len(sys.argv) > 2 else "float32"
    classifier = load_model(sys.argv[1], precision) if len(sys.argv) > 1 else Classifier()
    random = np.random.default_rng(0)
    peer = dominguez_sanchez_2018()
    compiled = tf.function(lambda images: peer(images, training=False), reduce_retracing=True)
    ours, theirs = saved_model(classifier), lambda images: compiled(tf.constant(images)).numpy()
    galaxies = random.normal(1, 1, (BATCH, classifier.size, classifier.size, 3)).astype("float32")
    pictures = random.random((BATCH, 69, 69, 3), dtype="float32")
    for run, images in ((ours, galaxies), (theirs, pictures)) * 2:
        run(images)
    times = [(seconds(ours, galaxies), seconds(theirs, pictures)) for _ in range(ROUNDS)]
    ratios = sorted(other / own for own, other in times)
    print(f"batch {BATCH}, {os.cpu_count()} cores, {ROUNDS} rounds in turns, convolutions of morph in {precision}")
    print(f"  morph serving_default          {BATCH / median(own for own, _ in times):7.0f} galaxies/s")
    print(f"  Domínguez Sánchez et al. 2018  {BATCH / median(other for _, other in times):7.0f} galaxies/s")
    print(f"  ratio                          {median(ratios):7.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
