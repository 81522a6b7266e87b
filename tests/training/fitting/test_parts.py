import keras
import numpy as np
import pytest

from training.fitting.parts import run_parts

NAMES = ("batch statistics", "latent prior", "calibration")


class Drawing(keras.Model):
    """A training with a generator of random numbers, and a classifier that each part adds draws to."""

    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(7)
        self.classifier = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(3, use_bias=False)])
        self.classifier.layers[-1].kernel.assign(np.zeros((3, 3)))

    def draw(self) -> None:
        kernel = self.classifier.layers[-1].kernel
        drawn = keras.random.normal((3, 3), seed=self.generator) + keras.random.normal((3, 3))
        kernel.assign(2 * kernel + drawn)


def run(folder=None, stop=None, training=None):
    """Run the three parts, up to one that is interrupted; returns the kernel and the parts that ran."""
    training, ran = training or Drawing(), []

    def announce(name):
        if name == stop:
            raise KeyboardInterrupt
        ran.append(name)

    try:
        run_parts(training, dict.fromkeys(NAMES, training.draw), 3, 5, folder, announce)
    except KeyboardInterrupt:
        assert stop
    return np.array(training.classifier.layers[-1].kernel), ran


@pytest.mark.parametrize("stop", NAMES)
def test_an_interrupted_run_goes_on_behind_the_last_part_and_ends_with_the_same_weights(tmp_path, stop):
    whole, _ = run()
    ran = run(tmp_path, stop)[1]
    resumed, rest = run(tmp_path)
    assert [*ran, *rest] == list(NAMES)
    np.testing.assert_array_equal(resumed, whole)
    assert [file.name for file in tmp_path.iterdir()] == ["after-calibration.weights.h5"]


def test_without_a_folder_every_part_runs_and_nothing_is_kept():
    kernel, ran = run()
    assert ran == list(NAMES)
    assert np.abs(kernel).sum() > 0
