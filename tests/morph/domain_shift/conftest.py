"""Samples of galaxies, drawn."""

import numpy as np
import pytest

from morph.decision_tree import TREE
from morph.domain_shift.sample import Sample
from morph.stamps.image_statistics import NAMES

LATENT = 12


@pytest.fixture(scope="session")
def drawn():
    """A function that draws a sample whose embedding, pixels and confidence can be moved.

    A galaxy of confidence p is answered correctly with the chance p.
    """

    def draw(count: int, seed: int = 0, place=0.0, pixels: dict[str, float] | None = None, ease=1.5, **kind) -> Sample:
        random = np.random.default_rng(seed)
        statistics = random.normal(size=(count, len(NAMES)))
        for name, shift in (pixels or {}).items():
            statistics[:, NAMES.index(name)] += shift
        confidence = 1 / (1 + np.exp(-random.normal(ease, 1, (count, len(TREE)))))
        correct = random.random(confidence.shape) < confidence
        kind = {"flux": 1, "simulated": 0, "survey": 0, "origin": 0} | kind
        return Sample(
            random.normal(size=(count, LATENT)) + place,
            statistics,
            confidence,
            correct.astype(float),
            *(np.full(count, float(kind[name])) for name in ("flux", "simulated", "survey", "origin")),
        )

    return draw
