"""Fitting the latent prior and the decoders of measurements to posteriors whose truth is known."""

import numpy as np
import pytest
from keras import ops

from morph.model.conditions import CONDITIONS, SURVEY, encode_conditions
from morph.model.experts import MODALITIES, log_density
from morph.model.measurements import Measurements
from morph.model.prior import Prior
from training.evaluation.prior import distance_ratio, only, separability
from training.fitting.fit import fit_last
from training.fitting.measurements import fit_decoders
from training.fitting.posteriors import Posteriors, turned
from training.fitting.prior import Draws, answered, fit_flow, masked


def world(n: int, seed: int) -> Posteriors:
    """Galaxies in two dimensions: z0 is +2 in DES and -2 in SDSS, z1 = z0^2 / 2 but for a scatter of 0.3. The redshift
    is half of the radius and a third of z1 (all standardised), and no other modality says anything about z."""
    random = np.random.default_rng(seed)
    survey = random.integers(2, size=n)
    z0 = np.where(survey == 1, 2, -2) + random.normal(0, 0.5, n)
    z1 = z0**2 / 2 - 2 + random.normal(0, 0.3, n)
    # With the experts' precision of 400, N(0, 1) moves the mean by a factor of 400 / 401.
    mean = np.stack([z0, z1], axis=1) * 401 / 400
    images = np.stack([mean, np.full_like(mean, -np.log(400))], axis=1)[:, None].astype("float32")
    radius = random.normal(size=n)
    values = np.full((n, 5), np.nan, "float32")
    values[:, 3], values[:, 4] = radius, 0.5 * radius + z1 / 3 + random.normal(0, 0.1, n)
    conditions = encode_conditions(n, surveys=np.array(["sdss", "des"])[survey], kind="flux")
    others = np.zeros((n, len(MODALITIES) - 1, 2, 2), "float32")
    present = np.tile(np.array([name in ("image", "radius", "redshift") for name in MODALITIES]), (n, 1))
    return Posteriors(images, others, present, values, conditions)


def without_experts(posteriors: Posteriors) -> Posteriors:
    """The same with the image alone as an expert of z."""
    return Posteriors(
        posteriors.images,
        posteriors.others,
        posteriors.present & (np.array(MODALITIES) == "image"),
        posteriors.measurements,
        posteriors.conditions,
    )


@pytest.fixture(scope="module")
def fitted() -> tuple[Prior, list[float]]:
    prior = Prior(latent=2, couplings=4, width=24)
    train, held_out = without_experts(world(2000, 1)), without_experts(world(400, 2))
    return prior, fit_flow(prior, train, held_out, epochs=60, seed=0, rate=1e-2)


def drawn(prior: Prior, n: int, **known) -> np.ndarray:
    noise = np.random.default_rng(5).standard_normal((n, 2)).astype("float32")
    return ops.convert_to_numpy(prior.sample(noise, np.repeat(encode_conditions(1, **known), n, axis=0)))


def test_draws_follow_the_galaxies_and_their_known_properties(fitted):
    prior, history = fitted
    assert prior.fitted
    assert max(history) > history[0]
    for survey, middle in (("des", 2), ("sdss", -2)):
        z = drawn(prior, 500, surveys=[survey])
        assert z[:, 0].mean() == pytest.approx(middle, abs=0.15)
        assert z[:, 0].std() == pytest.approx(0.5, abs=0.12)
        assert np.std(z[:, 1] - z[:, 0] ** 2 / 2) < 0.55, "the banana, of which a Gaussian's scatter is 1"
    either = drawn(prior, 500)[:, 0] > 0
    assert either.mean() == pytest.approx(0.5, abs=0.12)


def test_a_fresh_classifier_hardly_separates_the_draws_from_the_galaxies(fitted):
    real = without_experts(world(500, 3))
    z = real.draw(np.random.default_rng(1))[:, 0]
    noise = np.random.default_rng(2).standard_normal(z.shape).astype("float32")
    flow = ops.convert_to_numpy(fitted[0].sample(noise, only(real.conditions, "survey")))
    assert separability(z, flow).value < 0.65
    assert separability(z, noise).value > 0.8


def test_the_same_seed_fits_the_same_prior():
    def weights(seed: int) -> np.ndarray:
        prior = Prior(latent=2, couplings=2, width=4)
        fit_flow(prior, world(600, 1), world(100, 2), epochs=1, seed=seed)
        return np.concatenate([np.ravel(weight) for weight in prior.get_weights()])

    one, same, other = weights(1), weights(1), weights(2)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_conditions_are_set_free_at_random_and_never_made_up():
    conditions = np.arange(len(CONDITIONS), dtype="float32") + np.zeros((3000, 1), "float32")
    found = masked(conditions, np.random.default_rng(0))
    free = np.isnan(found)
    np.testing.assert_array_equal(found[~free], conditions[~free])
    assert free.all(axis=1).mean() == pytest.approx(1 / 6, abs=0.05)
    assert (~free).all(axis=1).mean() == pytest.approx(1 / 3, abs=0.05)
    # Of the magnitudes, sometimes one alone.
    magnitudes = [CONDITIONS.index(name) for name in ("mag_g", "mag_r", "mag_i")]
    assert 0.02 < ((~free[:, magnitudes]).sum(axis=1) == 1).mean() < 0.2


def test_one_answer_or_question_alone_is_asked_of_a_galaxy_of_which_all_is_known():
    known = ~np.isnan(masked(np.ones((3000, len(CONDITIONS)), "float32"), np.random.default_rng(0)))
    survey = CONDITIONS.index("survey")
    asked, observed = known[:, :survey], known[:, survey:].all(axis=1)
    single = observed & (asked.sum(axis=1) == 1)
    # Half of a sixth of the rows; by chance there would be next to none.
    assert single.mean() > 0.06
    assert not asked[single][:, [name.startswith("votes_") for name in CONDITIONS[:survey]]].any()
    bars = np.array([name.startswith("bar_") or name == "votes_bar" for name in CONDITIONS[:survey]])
    assert (observed & (asked == bars).all(axis=1)).any()


def test_galaxies_without_votes_are_asked_for_by_what_the_model_answers(classifier, sample):
    some = np.arange(len(sample)) % 2 == 0
    galaxies = sample.with_votes(np.where(some[:, None], sample.votes, np.nan), "")
    given, plain = answered(classifier, galaxies, (0,)), Posteriors.of(classifier, galaxies, (0,))
    smooth = [
        CONDITIONS.index(f"smooth-or-featured_{answer}") for answer in ("smooth", "featured-or-disk", "artifact")
    ]
    probabilities = classifier.answer(galaxies.images)["probabilities"][~some]
    np.testing.assert_allclose(given.conditions[~some][:, smooth], probabilities[:, smooth], atol=1e-4)
    np.testing.assert_array_equal(given.conditions[some], plain.conditions[some])
    # What the image says counts once.
    np.testing.assert_array_equal(given.present, plain.present)
    np.testing.assert_array_equal(given.others, plain.others)


def test_batches_are_other_draws_each_epoch():
    batches = Draws(world(600, 1), seed=1, batch=64)
    first = batches[0][0]["z"]
    np.testing.assert_array_equal(batches[0][0]["z"], first)
    batches.on_epoch_end()
    assert (batches[0][0]["z"] != first).any()


def test_the_redshift_is_read_from_z_and_from_the_radius():
    decoders = Measurements(latent=2, width=32)
    history = fit_decoders(decoders, world(2500, 1), world(400, 2), seed=0)
    assert decoders.fitted
    assert max(history) > history[0]
    test = world(300, 3)
    image = np.tile(np.array(MODALITIES) == "image", (len(test), 1))
    z = test.draw(np.random.default_rng(0), given=image)[:, 0]
    truth = test.measurements[:, 4:]
    with_radius = np.where(np.arange(5) == 3, test.measurements, np.nan).astype("float32")
    densities = [
        ops.convert_to_numpy(log_density(decoders(z, given, test.conditions[:, SURVEY])["redshift"], truth)).mean()
        for given in (with_radius, np.full_like(with_radius, np.nan))
    ]
    # Entropies of Gaussians of 0.1 and, where the radius is unknown, of hypot(0.1, 0.5).
    assert densities[0] == pytest.approx(-np.log(0.1) - 1.42, abs=0.25)
    assert densities[1] == pytest.approx(-np.log(0.51) - 1.42, abs=0.25)


def test_memorised_draws_lie_nearer_to_the_training_galaxies():
    random = np.random.default_rng(0)
    train, held_out, fresh = random.normal(size=(3, 300, 8))
    assert distance_ratio(fresh, train, held_out).value == pytest.approx(1, abs=0.08)
    assert distance_ratio(train + 0.1 * fresh, train, held_out).value < 0.3


def test_an_image_turned_four_times_is_itself_and_every_view_another():
    image = np.random.default_rng(0).normal(size=(1, 4, 4, 3))
    assert len({turned(image, view).tobytes() for view in range(8)}) == 8
    np.testing.assert_array_equal(turned(turned(image, 2), 2), image)
    np.testing.assert_array_equal(turned(turned(image, 5), 5), image)


def test_too_few_galaxies_leave_both_as_they_are(classifier, sample):
    fit_last(classifier, [sample], [sample], seed=0)
    assert not classifier.prior.fitted
    assert not classifier.measurements.fitted
