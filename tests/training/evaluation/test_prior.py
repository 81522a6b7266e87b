"""The figures of a latent prior on galaxies, and its contact sheet."""

import numpy as np
import pytest

from morph.errors import InputError
from training.evaluation.prior import check_prior, contact_sheet, measure_posteriors, measure_prior
from training.fitting.posteriors import Posteriors


@pytest.fixture
def with_prior(classifier, sample):
    """The untrained classifier with the Gaussian of its own embeddings as its prior."""
    before = classifier.prior.get_weights()
    draws = Posteriors.of(classifier, sample, (0,)).draw(np.random.default_rng(0), draws=20).reshape(-1, 64)
    classifier.prior.whiten(draws.mean(axis=0), np.cov(draws.T), np.ones(16))
    yield classifier
    classifier.prior.set_weights(before)


def test_a_gaussian_flow_is_as_good_as_the_gaussian_and_every_figure_has_a_name(with_prior, sample):
    posteriors = Posteriors.of(with_prior, sample, (0,))
    found = measure_posteriors(with_prior, posteriors, posteriors)
    flat = found.flat()
    priors = ("flow", "flow-survey", "gaussian", "normal")
    assert {f"prior/{kind}/{name}" for kind in ("auc", "log-density") for name in priors} <= flat.keys()
    assert flat["prior/log-density/flow"].value == pytest.approx(flat["prior/log-density/gaussian"].value, rel=1e-3)
    assert flat["prior/log-density/flow"].value >= flat["prior/log-density/normal"].value
    assert flat["prior/distance-ratio"].value == pytest.approx(1, abs=0.1), "the same galaxies on both sides"
    assert "48 galaxies" in found.lines()[0]


def test_too_few_galaxies_and_a_model_without_a_prior_are_refused(classifier, with_prior, sample):
    with pytest.raises(InputError, match="on 48 galaxies; give 100 or more"):
        measure_prior(with_prior, [sample])
    classifier.prior.is_fitted.assign(0.0)
    with pytest.raises(InputError, match="no latent prior; train it again"):
        check_prior(classifier, sample)


def test_the_contact_sheet_shows_as_many_draws_as_reconstructions(with_prior, sample):
    sheet = contact_sheet(with_prior, sample, rows=1)
    shown = [axis for axis in sheet.axes if axis.images]
    assert len(shown) == 16
    assert len({axis.images[0].get_array().tobytes() for axis in shown}) == 16
