"""Galaxies that the shipped model's latent prior draws."""

import re

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import kstest

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.given import Given
from morph.model.classifier import Classifier
from morph.model.conditions import CONDITIONS
from morph.model.experts import CENTRE, MEASUREMENTS, SPREAD
from morph.model.sampling import _magnitudes, check_survey, choose_decoder, draw_shares
from morph.model.store import load_model
from morph.registry import SHIPPED_NAME
from morph.simulation.sample import simulate_galaxies
from morph.simulation.sampling import draw, files
from morph.simulation.sampling.draw import ORIGIN, Request, Sampler
from morph.simulation.sampling.files import sample_dataset
from morph.simulation.sampling.population import Population
from morph.simulation.sampling.rendering import render, widen
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.photometry import fluxes_within
from morph.stamps.signal_to_noise import signal_to_noise
from morph.surveys import get_survey, magnitude

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shipped():
    return load_model(SHIPPED_NAME)


@pytest.fixture(scope="module")
def population(shipped):
    return Population.of_prior(shipped, "des", n=10_000)


@pytest.fixture
def sampler(shipped, population, monkeypatch):
    """A function from what is asked for to a sampler; the population is drawn once."""
    monkeypatch.setattr(Population, "of_prior", lambda *_: population)

    def make(given: str = "", uniform: str = "", **options) -> Sampler:
        request = Request("des", Given.parse(given), Given.parse(uniform, "--uniform"), **options)
        return Sampler(shipped, request)

    return make


def galaxies_of(table: pa.Table) -> Galaxies:
    return Galaxies.from_table(table, "sampled")


def test_samples_have_what_was_asked_for_and_say_so(sampler, shipped):
    table = sampler("mag_r=18, redshift=0.1..0.2, mag_g=18.9").batch(seed=3, number=0, n=24)
    galaxies = galaxies_of(table)
    redshift = galaxies.properties["redshift"]
    assert ((redshift >= 0.1) & (redshift <= 0.2)).all()
    assert len(np.unique(redshift)) == 24
    flux = [
        fluxes_within(stamp[..., band], 47.5, 47.5, NETWORK_SIZE / FIELD)[0]
        for stamp in galaxies.images
        for band in (0, 1)
    ]
    np.testing.assert_allclose(magnitude(2 * np.reshape(flux, (-1, 2))), [[18.9, 18.0]] * 24, atol=0.01)
    np.testing.assert_allclose(
        galaxies.properties["pixel_scale"], galaxies.properties["radius"] * FIELD / NETWORK_SIZE, rtol=1e-5
    )
    assert set(table["weights"].to_pylist()) == {shipped.digest}
    assert set(table["decoder"].to_pylist()) == {choose_decoder(shipped)}
    assert (table["simulated"].to_pylist(), table["seed"].to_pylist()) == ([True] * 24, [3] * 24)
    first = f"mag_r=18, redshift={redshift[0]:.6g}, mag_g=18.9"
    assert table["conditions"][0].as_py() == first
    assert np.nansum(galaxies.votes, axis=1).min() > 0
    assert np.isfinite(np.stack([galaxies.properties[name] for name in MEASUREMENTS])).all()


def test_both_decoders_draw_the_same_galaxies_of_a_seed(sampler, shipped):
    before = shipped.detail.get_weights()
    random = np.random.default_rng(0)
    shipped.detail.last[0].assign(0.1 * random.standard_normal(shipped.detail.last[0].shape))
    shipped.detail.is_fitted.assign(1.0)
    plain, detail, usual = (sampler("mag_r=18", decoder=each).batch(3, 0, 4) for each in ("plain", "detail", None))
    shipped.detail.set_weights(before)
    assert [set(table["decoder"].to_pylist()) for table in (plain, detail)] == [{"plain"}, {"detail"}]
    assert usual == detail
    assert not set(plain["id"].to_pylist()) & set(detail["id"].to_pylist())
    one, other = galaxies_of(plain), galaxies_of(detail)
    for name in MEASUREMENTS:
        np.testing.assert_array_equal(one.properties[name], other.properties[name])
    np.testing.assert_array_equal(one.votes, other.votes)
    assert np.abs(one.images - other.images).max() > 1e-3 * one.images.max()


def test_a_range_keeps_the_populations_proportions_and_uniform_does_not(sampler, population):
    random = np.random.default_rng(0)
    column = CONDITIONS.index("redshift")
    kept = sampler("redshift=0.05..0.35").conditions(4000, random)[:, column]
    inside = (population.columns["redshift"] > 0.05) & (population.columns["redshift"] < 0.35)
    assert np.median(kept) == pytest.approx(np.median(population.columns["redshift"][inside]), abs=0.01)
    even = sampler("mag_r=16..19", "redshift=0.05..0.35").conditions(4000, random)
    assert kstest((even[:, column] - 0.05) / 0.3, "uniform").pvalue > 0.01
    # A condition beside it follows the population at each of its values: nearer galaxies are brighter.
    bright = even[:, CONDITIONS.index("mag_r")]
    assert np.corrcoef(even[:, column], bright)[0, 1] > 0.2


def test_a_fainter_sample_has_a_lower_signal_to_noise(shipped):
    picture = np.exp(-np.hypot(*(np.mgrid[:64, :64] - 31.5)) / 6)[None, ..., None].repeat(3, -1).astype("float32")
    pictures, radius = np.repeat(picture, 2, axis=0), np.full(2, 2.0)
    magnitudes = np.array([[17.0, 17.0, 17.0], [19.5, 19.5, 19.5]])
    survey = get_survey("des")
    stamps = render(pictures, magnitudes, radius, survey, 96, np.random.default_rng(1))
    bright, faint = signal_to_noise(stamps, radius / survey.pixel_scale)
    # By 2.5 mag, or less where the light's own noise counts.
    assert 5 < bright / faint < 11
    clean = render(pictures, magnitudes, radius, survey, 96, None)
    np.testing.assert_allclose(clean[0], clean[1] * 10, rtol=1e-4)
    # The survey's pixels hold the same flux.
    assert stamps[0].sum() == pytest.approx(clean[0].sum(), rel=0.1)


def test_the_light_falls_off_beyond_the_picture():
    wide = widen(np.ones((1, 8, 8, 3), "float32"), 16)[0, :, :, 0]
    assert (wide[4:12, 4:12] == 1).all()
    assert wide[8, 3] == pytest.approx(np.exp(-0.25))
    assert (np.diff(wide[8, 12:]) < 0).all()


@pytest.mark.parametrize(
    ("given", "uniform", "said"),
    [
        ("mag_r=18, radius=20", "", "the nearest inside is 'mag_r="),
        ("mag_r=18, mag_g=17", "", "an effective sample size of 0.0"),
        ("", "redshift=0.1..3", "'redshift=0.1..3' is asked for evenly"),
    ],
)
def test_conditions_outside_the_population_are_refused_with_the_nearest_inside(sampler, given, uniform, said):
    with pytest.raises(InputError) as error:
        sampler(given, uniform)
    assert said in str(error.value)
    assert "effective sample size" in str(error.value)


def test_what_the_nearest_says_can_be_asked_for(sampler):
    with pytest.raises(InputError) as error:
        sampler("mag_r=18, radius=20")
    (nearest,) = re.findall("inside is '([^']*)'", str(error.value))
    assert sampler(nearest).effective_size >= 3


def test_the_same_property_is_not_given_twice_and_uniform_needs_a_range():
    with pytest.raises(InputError, match="both in --given and in --uniform"):
        Request("des", Given.parse("redshift=0.1"), Given.parse("redshift=0.1..0.2"))
    with pytest.raises(InputError, match="takes ranges"):
        Request("des", Given({}), Given.parse("redshift=0.1"))


def test_a_survey_that_the_prior_does_not_know_is_refused(shipped):
    with pytest.raises(InputError, match=r"has not been fitted on 'lsst'.*use sdss or des"):
        check_survey(shipped, "lsst")
    with pytest.raises(InputError, match="no latent prior"):
        check_survey(Classifier(), "des")


def test_a_stopped_run_resumes_and_gives_the_same_galaxies(shipped, population, tmp_path, monkeypatch):
    monkeypatch.setattr(Population, "of_prior", lambda *_: population)
    monkeypatch.setattr(files, "load_model", lambda name: shipped)
    for module in (draw, files):
        monkeypatch.setattr(module, "BATCH", 4)
    request = Request("des", observed=True)
    whole = sample_dataset("shipped", tmp_path / "whole", 10, request, seed=2)
    assert (whole.rows, whole.resumed) == (10, 0)
    batch = Sampler.batch

    def stopping(self, seed, number, *arguments, **options):
        if number == 2:
            raise KeyboardInterrupt
        return batch(self, seed, number, *arguments, **options)

    monkeypatch.setattr(Sampler, "batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        sample_dataset("shipped", tmp_path / "set", 10, request, seed=2)
    assert not (tmp_path / "set").exists()
    with pytest.raises(InputError, match="8 galaxies of another request"):
        sample_dataset("shipped", tmp_path / "set", 10, request, seed=3)
    monkeypatch.setattr(Sampler, "batch", batch)
    assert sample_dataset("shipped", tmp_path / "set", 10, request, seed=2).resumed == 8
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    first, second = Galaxies.open(tmp_path / "whole"), Galaxies.open(tmp_path / "set")
    assert first.digest == second.digest
    assert len(set(second.ids)) == 10
    assert second.simulated
    assert second.about["weights"] == shipped.digest
    sample_dataset("shipped", tmp_path / "set", 3, Request("des"), seed=3)
    assert len(Galaxies.open(tmp_path / "set")) == 3


def test_samples_like_a_dataset_have_its_properties(shipped, population, tmp_path):
    real = simulate_galaxies(tmp_path / "real", 40, "des", seed=7, processes=1, progress=False)
    like = Population.of_dataset(tmp_path / "real")
    sampler = Sampler(shipped, Request("des", Given.parse("mag_r=18..20")), like)
    drawn = sampler.conditions(500, np.random.default_rng(0))
    bright = real.properties["mag_r"]
    chosen = (bright > 18) & (bright < 20)
    names = ["mag_r", "radius", "redshift"]
    for name in names:
        column = drawn[:, CONDITIONS.index(name)]
        assert np.median(column) == pytest.approx(np.median(real.properties[name][chosen]), rel=0.15), name
    # Colours are not blurred by the width of a magnitude's blur, and no galaxy repeats.
    red = [drawn[:, CONDITIONS.index(name)] for name in ("mag_r", "mag_i")]
    own = real.properties["mag_r"] - real.properties["mag_i"]
    assert (red[0] - red[1]).std() == pytest.approx(own[chosen].std(), rel=0.2)
    assert len(np.unique(red[0])) > 490
    assert np.isfinite(drawn[:, CONDITIONS.index("smooth-or-featured_smooth")]).all()
    assert sampler.effective_size == pytest.approx(chosen.sum())
    blank = real.with_columns(**{name: np.full(40, np.nan, "f4") for name in MEASUREMENTS})
    blank.with_votes(np.full_like(real.votes, np.nan)).write(tmp_path / "blank")
    with pytest.raises(InputError, match="have no magnitude, radius, redshift or votes"):
        Population.of_dataset(tmp_path / "blank")


def test_magnitudes_are_drawn_given_those_that_are_known():
    n = 20_000
    log_weight = np.log(np.tile([0.5, 0.5], (n, 1)))
    # Two populations, red and bright, blue and faint.
    mean = np.tile([[[17.0, 1.0, 0.4], [19.0, 0.4, 0.2]]], (n, 1, 1))
    standard = (mean - CENTRE[:3]) / SPREAD[:3]
    log_sigma = np.log(np.array([0.5, 0.05, 0.05]) / SPREAD[:3])
    sigma = np.tile(log_sigma, (n, 2, 1))
    known = np.full((n, 3), np.nan)
    known[:, 1] = 19.0
    random = np.random.default_rng(0)
    g, r, i = _magnitudes(log_weight, standard, sigma, known, random).T
    assert set(r) == {19.0}
    # Bright galaxies are 4 sigma away: all are blue.
    assert (np.median(g - r), np.median(r - i)) == pytest.approx((0.4, 0.2), abs=0.01)
    known[:] = np.nan
    known[:, 0] = 18.0
    g, r, i = _magnitudes(log_weight, standard, sigma, known, random).T
    assert (np.mean(g), np.std(g)) == pytest.approx((18.0, 0.0), abs=1e-3)
    red = g - r > 0.7
    # N(18; 18, 0.5) against N(18; 19.4, 0.5).
    assert red.mean() == pytest.approx(1 / (1 + np.exp(-0.5 * 1.4**2 / 0.2525)), abs=0.01)
    assert np.mean(r[red]) == pytest.approx(17.0, abs=0.01)


def test_given_shares_of_votes_are_kept_and_the_rest_is_shared(shipped):
    rows = Given.parse("bar_strong=0.6, has-spiral-arms_yes=1").rows(50, np.random.default_rng(0), CONDITIONS)
    shares = draw_shares(shipped, np.zeros((50, 64), "float32"), rows, np.random.default_rng(0))
    bar = shares[:, CONDITIONS.index("bar_strong") : CONDITIONS.index("bar_strong") + 3]
    np.testing.assert_allclose(bar[:, 0], 0.6, atol=1e-6)
    np.testing.assert_allclose(bar.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(shares[:, CONDITIONS.index("has-spiral-arms_yes")], 1)


def test_the_columns_of_the_origin_are_described():
    assert all(field.metadata[b"description"] for field in ORIGIN)
