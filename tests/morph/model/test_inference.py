import numpy as np
import pytest

from morph.decision_tree import ANSWERS, TREE
from morph.errors import InputError
from morph.model.inference import infer
from morph.votes import empty_votes, set_votes


@pytest.fixture(scope="module")
def given(galaxies) -> dict[str, np.ndarray]:
    return {
        "image": galaxies(3, seed=4),
        "votes": np.stack([set_votes(empty_votes(), {"bar_no": 3.0 + i}) for i in range(3)]),
        "photometry": np.array([[17.6, 16.9, 16.5], [18.6, 17.9, 17.5], [16.6, 16.2, 16.0]]),
        "radius": np.array([3.0, 2.0, 5.0]),
        "redshift": np.array([0.1, 0.2, 0.05]),
    }


@pytest.mark.parametrize("name", ["image", "votes", "photometry", "radius", "redshift"])
def test_each_modality_alone_infers_all_the_others(classifier, given, name):
    found = infer(classifier, {name: given[name]}, draws=8)
    assert found.redshift.shape == found.radius.shape == (3, 8)
    assert found.photometry.shape == (3, 8, 3)
    assert found.image().shape == (3, classifier.size, classifier.size, 3)
    assert (found.redshift > 0).all()
    assert np.isfinite(found.photometry).all()
    shares = found.concentration / (found.concentration.sum(axis=1, keepdims=True))
    assert shares.shape == (3, len(ANSWERS))
    assert (found.concentration > 0).all()


def test_the_image_alone_gives_the_embedding(classifier, given):
    embedding = classifier.answer(given["image"])["embedding"]
    np.testing.assert_allclose(infer(classifier, {"image": given["image"]}).mean, embedding, rtol=1e-3, atol=1e-5)


def test_every_modality_makes_the_posterior_narrower(classifier, given):
    some: dict[str, np.ndarray] = {}
    wide = np.ones((3, classifier.embedding_size))
    for name, values in given.items():
        some[name] = values
        variance = infer(classifier, some).variance
        assert (variance < wide).all(), name
        wide = variance


def test_a_galaxy_of_which_nothing_is_known_has_the_prior(classifier, given):
    redshift = given["redshift"].copy()
    redshift[1] = np.nan
    image = given["image"].copy()
    image[1] = np.nan
    found = infer(classifier, {"redshift": redshift, "image": image})
    np.testing.assert_array_equal(found.mean[1], 0)
    np.testing.assert_allclose(found.variance[1], 1)
    assert (found.variance[[0, 2]] < 1).all()


def test_a_galaxy_of_which_nothing_is_given_is_drawn_from_a_fitted_prior_and_no_other_is(classifier):
    before = classifier.prior.get_weights()
    size = classifier.embedding_size
    classifier.prior.whiten(np.full(size, 3.0), 0.01 * np.eye(size), np.ones(16))
    try:
        found = infer(classifier, {"redshift": np.array([0.1, np.nan])}, draws=64)
        z = found._sampled(lambda z, given: z)
        image = found.image()
    finally:
        classifier.prior.set_weights(before)
    assert z[1].mean() == pytest.approx(3, abs=0.01)
    assert z[1].std() == pytest.approx(0.1, abs=0.01)
    assert abs(z[0].mean()) < 1
    np.testing.assert_allclose(image[1], classifier.decoder(z[1].mean(axis=0)[None])[0], atol=1e-4)


def test_the_same_seed_draws_the_same(classifier, given):
    one, same, other = (infer(classifier, {"radius": given["radius"]}, 8, seed).redshift for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_the_votes_inferred_are_spread_as_the_draws_are(classifier, given):
    """The variance of a Dirichlet with the inferred concentrations is that of the draws', question by question."""
    found = infer(classifier, {"votes": given["votes"]}, draws=64)
    each = found._sampled(lambda z, given: classifier.experts.votes_from(z))
    for part in TREE.slices.values():
        a, drawn = found.concentration[:, part], each[..., part]
        total, totals = a.sum(axis=1, keepdims=True), drawn.sum(axis=2, keepdims=True)
        mean, fractions = a / total, drawn / totals
        wanted = (fractions * (1 - fractions) / (totals + 1)).mean(axis=1) + fractions.var(axis=1)
        np.testing.assert_allclose(mean, fractions.mean(axis=1), rtol=1e-3)
        variance = (mean * (1 - mean) / (total + 1)).sum(axis=1)
        np.testing.assert_allclose(variance, wanted.sum(axis=1), rtol=1e-2)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "Nothing is given"),
        ({"colour": np.zeros(3)}, "'colour' is not a modality"),
        ({"radius": np.ones(3), "redshift": np.ones(2)}, "give the same galaxies to each"),
    ],
)
def test_what_cannot_be_inferred_from(classifier, wrong, says):
    with pytest.raises(InputError, match=says):
        infer(classifier, wrong)
