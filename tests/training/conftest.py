"""A small world to train, track and compare in."""

import shutil

import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.decision_tree import ANSWERS, TREE
from morph.votes import empty_votes, set_votes, vote_counts


@pytest.fixture
def tracked(migrated, tmp_path, monkeypatch):
    """An empty MLflow database of its own, and a current directory."""
    import mlflow

    (tmp_path / "mlruns").mkdir()
    shutil.copy(migrated, tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    before = mlflow.get_tracking_uri()
    yield tmp_path
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="session")
def classifier():
    """An untrained classifier."""
    import keras

    from morph.model.classifier import Classifier

    keras.utils.set_random_seed(1)
    return Classifier()


@pytest.fixture
def uncompiled():
    """Few steps run sooner as they are than compiled."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Galaxies:
    """Forty-eight round and elongated blobs, with votes, called simulated."""
    path = tmp_path_factory.mktemp("data") / "blobs"
    random = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] - 47.5
    with GalaxiesWriter(path, "composite", about={"simulated": True}) as writer:
        for i in range(48):
            edge_on = i % 2
            r = np.hypot(x, y * (4 if edge_on else 1))
            light = 200 * np.exp(-r / 9)[..., None] * np.array([1, 0.8, 0.6]) + random.normal(8, 3, (96, 96, 3))
            featured: dict[str, float] = {"smooth-or-featured_featured-or-disk": 30, "smooth-or-featured_smooth": 10}
            votes: dict[str, float] = (
                featured | {"disk-edge-on_yes": 30}
                if edge_on
                else {"smooth-or-featured_smooth": 40, "how-rounded_round": 39, "how-rounded_in-between": 1}
            )
            image = np.clip(light, 0, 255).astype("uint8")
            writer.add(Galaxy(f"blob-{i:02d} <&>", "des", image, set_votes(empty_votes(), votes)))
    return Galaxies.open(path)


@pytest.fixture(scope="session")
def random_probabilities():
    """A function that draws probabilities, each question summing to one: n -> [n, answers]."""

    def draw(n: int, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        return np.concatenate([random.dirichlet(np.ones(len(q.answers)), n) for q in TREE], axis=1)

    return draw


@pytest.fixture(scope="session")
def probabilities_of():
    """A function that turns {answer: probability} of each galaxy into [n, answers]; questions left out are uniform."""

    def build(*galaxies: dict[str, float]) -> np.ndarray:
        rows = np.tile(np.concatenate([np.full(len(q.answers), 1 / len(q.answers)) for q in TREE]), (len(galaxies), 1))
        for row, known in zip(rows, galaxies, strict=True):
            for question in TREE:
                if any(column in known for column in question.columns):
                    row[TREE.slices[question.name]] = [known.get(column, 0.0) for column in question.columns]
        return rows

    return build


@pytest.fixture(scope="session")
def answers_for():
    """A function that makes up a classifier's answers, which name the volunteers' with the chance `skill`."""

    def make(galaxies: Galaxies, skill: float, seed: int = 0) -> dict[str, np.ndarray]:
        random = np.random.default_rng(seed)
        votes = vote_counts(galaxies.votes[:, : len(ANSWERS)])
        p = np.zeros_like(votes)
        for part in TREE.slices.values():
            k = part.stop - part.start
            truth = votes[:, part].argmax(axis=1)
            right = random.random(len(votes)) < skill
            guess = np.where(right, truth, (truth + random.integers(1, k, len(votes))) % k)
            p[:, part] = 0.3 / k
            p[np.arange(len(votes)), part.start + guess] += 0.7
        score = random.random(len(p)).astype("float32")
        return {
            "probabilities": p,
            "concentration": 20 * p,
            "reconstruction_error": 1 + score,
            "anomaly_score": score,
            "anomaly": score < 0.01,
        }

    return make


@pytest.fixture(scope="session")
def run_of(answers_for):
    """A function that makes an evaluated run of a given skill."""
    from training.evaluation.evaluate import record
    from training.experiments.comparison import Compared

    def make(name: str, galaxies: Galaxies, skill: float, seed: int = 0, **params) -> Compared:
        evaluation = record(answers_for(galaxies, skill, seed), galaxies, name, resamples=50)
        return Compared(f"id-{name}", name, {key: str(value) for key, value in params.items()}, {}, evaluation)

    return make
