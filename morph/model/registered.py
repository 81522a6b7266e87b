"""What a registered model is to MLflow: a loader and something that predicts.

A registered model carries a copy of this package, so that it answers where morph is not installed. Every registered
version names this module, so that it cannot move without taking them along.
"""

import numpy as np


class RegisteredClassifier:
    """A classifier behind MLflow's general interface: flux in, the exported model's outputs out."""

    def __init__(self, path: str):
        from morph.model.store import load_model

        self.classifier = load_model(path)

    def predict(self, model_input: dict[str, np.ndarray], params: dict | None = None) -> dict[str, np.ndarray]:
        """`model_input` is {"image": float32 [n, size, size, 3]}, nanomaggies per pixel in g, r, i."""
        return self.classifier.answer(np.asarray(model_input["image"], dtype="float32"))


def _load_pyfunc(path: str) -> RegisteredClassifier:
    """MLflow calls the loader by this name."""
    return RegisteredClassifier(path)
