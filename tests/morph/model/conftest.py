"""One untrained model that knows what is normal among drawn galaxies."""

import numpy as np
import pytest

SIZE = 64


def draw(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    """Exponential disks of many shapes on noisy sky: float32 [n, size, size, 3], nanomaggies."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    angle, axis_ratio = random.uniform(0, np.pi, (count, 1, 1)), random.uniform(0.3, 1, (count, 1, 1))
    along = x * np.cos(angle) + y * np.sin(angle)
    across = (y * np.cos(angle) - x * np.sin(angle)) / axis_ratio
    profile = np.exp(-np.hypot(along, across) / 6.5)[..., None] * np.array([0.6, 1.0, 1.3])
    return (profile + random.normal(0, 0.02, profile.shape)).astype("float32")


@pytest.fixture(scope="session")
def galaxies():
    """The function `draw`."""
    return draw


@pytest.fixture(scope="session")
def classifier():
    import keras

    from morph.model.classifier import Classifier

    keras.utils.set_random_seed(1)
    model = Classifier(survey="des", about={"made": "for a test"})
    normal = model.anomaly_features(draw(128, seed=1))
    model.anomaly.fit(normal[::2], normal[:0], np.zeros(0))
    model.anomaly.calibrate({"flux": normal[1::2]})
    return model
