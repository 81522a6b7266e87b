"""One small real model, exported and served once for all tests of serving, and two small tiles."""

from pathlib import Path

import numpy as np
import pytest

SIZE = 64


def galaxies(count: int, seed: int = 0) -> np.ndarray:
    """Exponential disks of many brightnesses and shapes on noisy sky: float32 [n, 64, 64, 3], nanomaggies."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    angle, axis_ratio = random.uniform(0, np.pi, count), random.uniform(0.3, 1, count)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along, across = x * cos + y * sin, (y * cos - x * sin) / axis_ratio[:, None, None]
    profile = np.exp(-np.hypot(along, across) / 6.5)[..., None] * np.array([0.6, 1.0, 1.3])
    brightness = 10 ** random.uniform(-1, 2, (count, 1, 1, 1))
    return (brightness * profile + random.normal(0.02, 0.02, profile.shape)).astype("float32")


@pytest.fixture(scope="session")
def flux() -> np.ndarray:
    """Six galaxies as flux; one lacks pixels and one lacks a band."""
    stamps = galaxies(6)
    stamps[1, :20, :, :] = np.nan
    stamps[2, ..., 2] = np.nan
    return stamps


@pytest.fixture(scope="session")
def composites() -> np.ndarray:
    """Six galaxies as colour pictures, uint8."""
    from morph.stamps.stretch import to_composite, white_level

    return np.stack([to_composite(image, white_level(image)) for image in galaxies(6)])


@pytest.fixture(scope="session")
def classifier():
    """An untrained `Classifier` that knows what is normal among `galaxies`, in all bands and without the last,
    remembers some of them, has N(0, 1) for its latent prior of SDSS and DES, and draws detail of some kind."""
    import keras

    from morph.domain_shift.sample import Sample
    from morph.model.anomaly import bands_of
    from morph.model.classifier import Classifier
    from morph.model.conditions import trained_surveys
    from morph.stamps.image_statistics import measure

    keras.utils.set_random_seed(1)
    model = Classifier(survey="des")
    model.prior.whiten(np.zeros(64), np.eye(64), trained_surveys(np.array([0.0, 1.0])))
    model.detail.last[0].assign(0.1 * keras.random.normal(model.detail.last[0].shape, seed=1))
    model.detail.is_fitted.assign(1.0)
    normal = model.anomaly_features(galaxies(200, seed=1))
    model.anomaly.fit(normal[::2], normal[:0], np.zeros(0))
    model.anomaly.calibrate({"flux": normal[1::2]})
    fewer = model.anomaly_features(np.where(bands_of(2), galaxies(200, seed=1), np.float32(np.nan)))
    model.anomaly.fit(fewer[::2], fewer[:0], np.zeros(0), bands=2)
    model.anomaly.calibrate({"flux": fewer[1::2]}, bands=2)
    stamps = galaxies(200, seed=1)
    seen, given = measure(stamps, 0.4), model.answer(stamps)
    model.reference_sample.keep(
        Sample.of(given["embedding"], given["probabilities"], seen, "sdss", flux=True, simulated=True)
    )
    return model


@pytest.fixture(scope="session")
def model_dir(classifier, tmp_path_factory) -> Path:
    """A folder with `classifier` exported as version 3 of `morph`."""
    from serving.savedmodel.export import export_model

    folder = tmp_path_factory.mktemp("models")
    export_model(classifier, folder, version=3, run="run-of-the-tests")
    return folder


@pytest.fixture(scope="session")
def server(model_dir):
    """The embedded server on `model_dir`, ready; `server.address` is where it listens."""
    from serving.server.embedded import Server

    with Server(model_dir, rest_port=0) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    from serving.client import MorphClient

    with MorphClient(server.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def weights(classifier, tmp_path_factory) -> Path:
    """The file of `classifier`."""
    path = tmp_path_factory.mktemp("weights") / "model.keras"
    classifier.save(path)
    return path


@pytest.fixture(scope="session")
def tiles(tmp_path_factory):
    """Two simulated tiles of 256 px with 8 and 6 galaxies in their catalogues."""
    from morph.simulation.tile import simulate_tile

    folder = tmp_path_factory.mktemp("tiles")
    return [
        simulate_tile(folder / name, 256, galaxies=count, seed=count, name=name, progress=False)
        for name, count in (("DES0356-5248", 8), ("DES0400-5248", 6))
    ]


@pytest.fixture(scope="session")
def tiles_folder(tiles) -> Path:
    return tiles[0].paths[0].parents[1]
