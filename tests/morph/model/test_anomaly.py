import numpy as np
import pytest
from keras import ops

from morph.model.anomaly import (
    ALL_BANDS,
    BAND_SETS,
    EDGES,
    FEWEST,
    MOST_KINDS,
    RANGES,
    Anomaly,
    band_set,
    bands_of,
    range_of,
)
from morph.model.classifier import Classifier
from morph.model.store import load_model
from morph.registry import SHIPPED

SIZE = 6


def toy(count: int, seed: int, signal: float = 100.0) -> np.ndarray:
    """Correlated features with heavy tails, of galaxies with one signal to noise."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(SIZE, SIZE))
    features = random.standard_t(5, size=(count, SIZE)) @ mixing + 3
    return np.column_stack([features, np.full(count, signal)]).astype("float32")


def p_values(layer: Anomaly, anomaly_features, kind: str = "flux", bands: int = ALL_BANDS) -> np.ndarray:
    shown = np.full(len(anomaly_features), bands, "int32")
    return ops.convert_to_numpy(
        layer(ops.convert_to_tensor(anomaly_features), ops.convert_to_tensor(shown), kind=kind)
    )


def injected(count: int, seed: int) -> np.ndarray:
    """Evidence moved a little along the direction in which normal galaxies vary least: far from none of them."""
    normal = toy(4000, seed=0)[:, :-1]
    _, _, directions = np.linalg.svd(normal - 3, full_matrices=False)
    moved = toy(count, seed)
    moved[:, :-1] += 4 * (normal @ directions[-1]).std() * directions[-1]
    return moved


@pytest.fixture(scope="module")
def trained() -> Anomaly:
    layer = Anomaly(SIZE)
    layer.fit(toy(2000, seed=0), injected(2000, seed=5), np.zeros(2000))
    layer.calibrate({"flux": toy(2000, seed=6)})
    return layer


@pytest.mark.parametrize(("threshold", "spread"), [(0.01, 0.005), (0.05, 0.012)])
def test_a_flag_at_some_percent_flags_so_many_normal_galaxies(trained, threshold, spread):
    p = p_values(trained, toy(20_000, seed=1))
    assert np.mean(p < threshold) == pytest.approx(threshold, abs=spread)


@pytest.mark.parametrize("threshold", [0.01, 0.05])
def test_the_rate_is_exact_over_draws_of_a_small_reference(trained, threshold):
    layer = Anomaly(SIZE)
    layer.set_weights(trained.get_weights())
    rates = []
    for seed in range(60):
        layer.calibrate({"flux": toy(199, seed=100 + seed)})
        rates.append(np.mean(p_values(layer, toy(1000, seed=1000 + seed)) < threshold))
    # Of 200 exchangeable galaxies, p < 1 % takes p = 1/200, so 0.5 %; p < 5 % takes p up to 9/200.
    exact = (np.ceil(threshold * 200) - 1) / 200
    error = np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) == pytest.approx(exact, abs=4 * error)


def test_what_was_injected_is_found_and_so_is_what_was_not(trained):
    assert np.mean(p_values(trained, injected(500, seed=2)) < 0.05) > 0.5
    anomalous = toy(500, seed=2)
    anomalous[0] += 40
    assert np.argmin(p_values(trained, anomalous)) == 0


def test_further_from_normal_is_never_less_anomalous():
    layer = Anomaly(SIZE)
    layer.fit(toy(2000, seed=0), toy(0, seed=0), np.zeros(0))
    layer.calibrate({"flux": toy(2000, seed=6)})
    direction = toy(1, seed=3) - 3
    further = 3 + direction * np.geomspace(0.1, 1e6, 40)[:, None].astype("float32")
    p = p_values(layer, further)
    assert (np.diff(p) <= 1e-6).all()
    assert 0 < p[-1] < 0.002, "never zero"


def test_p_values_go_on_beyond_the_reference(trained):
    direction = toy(1, seed=3) - 3
    anomaly_features = 3 + direction * np.geomspace(1, 1e4, 400)[:, None].astype("float32")
    p = p_values(trained, anomaly_features)
    statistic = trained.statistic(anomaly_features)
    top = np.sort(ops.convert_to_numpy(trained.joint)[0, -1, ALL_BANDS])[-2]
    beyond = np.sort(p[statistic > top])[::-1]
    assert len(beyond) > 200
    assert beyond[0] <= 1 / 1025
    assert np.mean(np.diff(beyond) < 0) > 0.98, "few are tied"
    assert (np.diff(p[np.argsort(statistic)]) <= 0).all(), "the most anomalous keep their order"


def test_the_extrapolated_tail_is_right():
    """With a reference of a few hundred, how often do thousands of others fall below p that it cannot resolve?"""
    rates = []
    for seed in range(20):
        layer = Anomaly(SIZE)
        layer.fit(toy(2000, seed=0), toy(0, seed=0), np.zeros(0))
        layer.calibrate({"flux": toy(250, seed=200 + seed)})
        rates.append(np.mean(p_values(layer, toy(20_000, seed=300 + seed)) < 0.001))
    assert 0.0003 < np.mean(rates) < 0.003


def test_numbers_that_are_none_are_anomalous(trained):
    anomaly_features = toy(3, seed=4)
    anomaly_features[0, 0], anomaly_features[1, 1], anomaly_features[2, 2] = np.nan, np.inf, -np.inf
    p = p_values(trained, anomaly_features)
    assert (p > 0).all()
    assert (p < 0.01).all()


def test_each_kind_of_image_has_its_own_reference(trained):
    layer = Anomaly(SIZE)
    layer.set_weights(trained.get_weights())
    noisier = 3 + 2 * (toy(2000, seed=7) - 3)
    layer.calibrate({"flux": toy(2000, seed=6), "composite": noisier})
    again = 3 + 2 * (toy(5000, seed=8) - 3)
    assert np.mean(p_values(layer, again, "composite") < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(p_values(layer, again, "flux") < 0.05) > 0.15
    np.testing.assert_array_equal(p_values(trained, again, "composite"), p_values(trained, again, "flux"))


def test_before_it_was_trained_nothing_is_anomalous():
    assert not Anomaly(SIZE).fitted
    np.testing.assert_array_equal(p_values(Anomaly(SIZE), toy(5, seed=5)), 1)


def test_kinds_may_take_any_places(trained):
    layer = Anomaly(SIZE)
    layer.fit(toy(2000, seed=0), injected(2000, seed=5), np.full(2000, MOST_KINDS - 1))
    layer.calibrate({"flux": toy(300, seed=6)})
    assert np.mean(p_values(layer, injected(300, seed=2)) < 0.05) > 0.5


def test_every_set_of_bands_has_a_place_of_its_own():
    every = [bands_of(place) for place in range(BAND_SETS)]
    np.testing.assert_array_equal(ops.convert_to_numpy(band_set(np.array(every))), np.arange(BAND_SETS))
    assert bands_of(ALL_BANDS).all()
    assert bands_of(1).tolist() == [False, True, False]
    assert ops.convert_to_numpy(band_set(np.zeros((1, 3), bool))).tolist() == [0]


def test_each_set_of_bands_is_compared_with_its_own_galaxies(trained):
    """Evidence of fewer bands lies elsewhere: anomalous among that of all bands, and normal among its own."""
    layer = Anomaly(SIZE)
    layer.set_weights(trained.get_weights())
    elsewhere = [20 - 3 * toy(count, seed) for count, seed in ((2000, 10), (2000, 11), (5000, 12))]
    assert np.mean(p_values(layer, elsewhere[2], bands=1) < 0.01) > 0.9
    before = p_values(layer, toy(500, seed=1))
    layer.fit(elsewhere[0], elsewhere[0][:0], np.zeros(0), bands=1)
    layer.calibrate({"flux": elsewhere[1]}, bands=1)
    assert np.mean(p_values(layer, elsewhere[2], bands=1) < 0.01) == pytest.approx(0.01, abs=0.005)
    assert np.mean(p_values(layer, toy(500, seed=1), bands=1) < 0.01) > 0.5
    np.testing.assert_array_equal(p_values(layer, toy(500, seed=1)), before)


def test_galaxies_with_different_bands_may_stand_in_one_batch(trained):
    layer = Anomaly(SIZE)
    layer.set_weights(trained.get_weights())
    layer.fit(20 - 3 * toy(2000, seed=10), toy(0, seed=0), np.zeros(0), bands=1)
    layer.calibrate({"flux": 20 - 3 * toy(2000, seed=11)}, bands=1)
    anomaly_features, bands = toy(BAND_SETS, seed=1), np.arange(BAND_SETS, dtype="int32")
    mixed = ops.convert_to_numpy(layer(ops.convert_to_tensor(anomaly_features), ops.convert_to_tensor(bands)))
    alone = [p_values(layer, anomaly_features[place : place + 1], bands=place)[0] for place in bands]
    np.testing.assert_allclose(mixed, alone, rtol=1e-5)


def test_a_kind_of_image_that_is_not_given_keeps_its_reference(trained):
    layer = Anomaly(SIZE)
    layer.set_weights(trained.get_weights())
    before = p_values(layer, toy(200, seed=1), "composite")
    layer.calibrate({"flux": 3 + 2 * (toy(2000, seed=7) - 3)})
    assert np.mean(p_values(layer, toy(200, seed=1)) > before) > 0.9
    np.testing.assert_array_equal(p_values(layer, toy(200, seed=1), "composite"), before)


def stored(layer: Anomaly) -> dict[str, np.ndarray]:
    """What a file would hold."""
    store: dict[str, np.ndarray] = {}
    layer.save_own_variables(store)
    return {name: ops.convert_to_numpy(value) for name, value in store.items()}


@pytest.mark.parametrize("before", ["ranges", "sets of bands"])
def test_a_file_from_before_there_were_ranges_or_sets_of_bands_serves_for_each(trained, before):
    old = {}
    for (name, value), weight in zip(stored(trained).items(), trained.weights, strict=True):
        first = 1 if weight is trained.joint else 0
        if weight.shape[first] == RANGES:
            value = value.take(-1, first)
        old[name] = value.take(ALL_BANDS, first) if before == "sets of bands" else value
    layer = Anomaly(SIZE)
    layer.load_own_variables(old)
    expected = p_values(trained, toy(20, seed=1))
    for signal in (1.0, *EDGES):
        for bands in range(BAND_SETS):
            found = p_values(layer, toy(20, seed=1, signal=signal), bands=bands)
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def faint(count: int, seed: int) -> np.ndarray:
    """Galaxies of low signal to noise, whose features lie elsewhere and scatter more."""
    features = toy(count, seed, signal=4.0)
    features[:, :-1] = 30 + 4 * (features[:, :-1] - 3)
    return features


def test_each_range_of_signal_to_noise_is_compared_with_its_own_galaxies(trained):
    assert np.mean(p_values(trained, faint(2000, seed=2)) < 0.01) > 0.9
    layer = Anomaly(SIZE)
    both = np.concatenate([toy(2000, seed=0), faint(500, seed=1)])
    layer.fit(both, injected(2000, seed=5), np.zeros(2000))
    layer.calibrate({"flux": np.concatenate([toy(2000, seed=6), faint(1000, seed=7)])})
    for galaxies in (toy(5000, seed=8), faint(5000, seed=9)):
        assert np.mean(p_values(layer, galaxies) < 0.01) == pytest.approx(0.01, abs=0.005)
    assert np.mean(p_values(layer, injected(500, seed=2)) < 0.05) > 0.5
    # Between the two, the nearest range answers; beyond them, the outer ones.
    for signal, like in ((1.0, 4.0), (1e6, 100.0), (7.5, 4.0), (30.0, 100.0)):
        np.testing.assert_array_equal(
            p_values(layer, toy(50, seed=3, signal=signal)), p_values(layer, toy(50, seed=3, signal=like))
        )


def test_a_range_with_few_galaxies_takes_the_nearest_reference(trained):
    layer = Anomaly(SIZE)
    layer.set_weights(trained.get_weights())
    layer.calibrate({"flux": np.concatenate([toy(300, seed=6), faint(FEWEST - 1, seed=7)])})
    expected = p_values(layer, toy(50, seed=3))
    np.testing.assert_array_equal(p_values(layer, toy(50, seed=3, signal=4.0)), expected)


def test_the_signal_to_noise_is_that_of_the_image(classifier: Classifier, galaxies):
    """Central brightness over the noise of a pixel; a band without data, another unit and a sky change nothing."""
    stamps = galaxies(60, seed=5)
    bright = classifier.anomaly_features(stamps)[:, -1]
    offset = np.arange(64) - 31.5
    disc = np.hypot(offset[:, None], offset) < 6
    expected = stamps[:, disc].mean(axis=(1, 2)) / 0.02
    assert np.median(bright / expected) == pytest.approx(1, abs=0.1)
    noisy = stamps + np.random.default_rng(1).normal(0, 0.2, stamps.shape).astype("float32")
    assert np.median(classifier.anomaly_features(noisy)[:, -1] / bright) == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(classifier.anomaly_features(7 * stamps + 3)[:, -1], bright, rtol=1e-2)
    stamps[..., 0] = np.nan
    fewer = classifier.anomaly_features(stamps)[:, -1]
    assert np.median(fewer / bright) == pytest.approx(1, abs=0.4)
    assert (range_of(np.array([[0.0, edge] for edge in (1.0, *EDGES)])) == np.arange(RANGES)).all()


def test_weights_of_another_version_are_reported_and_left_out(trained):
    same, other = Anomaly(SIZE), Anomaly(SIZE + 1)
    same.load_own_variables(stored(trained))
    anomaly_features = toy(20, seed=1)
    np.testing.assert_array_equal(p_values(same, anomaly_features), p_values(trained, anomaly_features))
    with pytest.warns(UserWarning, match="another version of morph"):
        other.load_own_variables(stored(trained))
    assert not other.fitted


def test_a_galaxy_without_data_is_anomalous_and_one_without_a_band_is_judged(classifier: Classifier, galaxies):
    images = galaxies(40, seed=5)
    images[0] = np.nan
    images[1, :, :, 0] = np.nan
    answers = classifier.answer(images)
    assert answers["anomaly_score"][0] == 0
    assert np.isfinite(classifier.anomaly_features(images)).all()
    assert 0 < answers["anomaly_score"][1] < np.median(answers["anomaly_score"][2:])
    assert np.median(answers["anomaly_score"][2:]) > 0.3


@pytest.mark.parametrize("kind", ["flux", "composite"])
def test_the_evidence_that_is_learned_from_is_what_the_score_judges(kind):
    model = load_model(SHIPPED)
    random = np.random.default_rng(0)
    images = random.normal(1, 1, (6, model.size, model.size, 3)).astype("float32")
    if kind == "composite":
        images = random.integers(0, 256, images.shape, dtype="uint8")
    expected = model.answer(images)["anomaly_score"]
    np.testing.assert_allclose(p_values(model.anomaly, model.anomaly_features(images), kind), expected, atol=4 / 1024)
