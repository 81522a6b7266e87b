import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS
from morph.errors import InputError
from morph.simulation.sample import simulate_galaxies, simulate_galaxy
from morph.sizes import FIELD, NETWORK_SIZE, STAMP_SIZE
from morph.stamps.photometry import measure


def test_a_sample_is_a_flux_dataset_that_says_it_is_simulated(sample):
    assert len(sample) == 96
    assert (sample.kind, sample.size, sample.survey, sample.simulated) == ("flux", STAMP_SIZE, "sdss", True)
    assert sample.about["seed"] == 5
    assert np.isfinite(sample.images).all()
    assert np.isfinite(sample.votes[:, :3]).all()


def test_a_balanced_sample_asks_every_question(sample):
    assert all(count >= 6 for count in sample.answered().values())


def test_galaxies_do_not_depend_on_how_many_processes_make_them(sample, tmp_path, monkeypatch):
    monkeypatch.setattr("morph.simulation.sample.BATCH", 3)
    again = simulate_galaxies(tmp_path / "again", 12, "sdss", seed=5, processes=2, mix="balanced", progress=False)
    assert again.digest == sample.select(np.arange(12)).digest


def test_stamps_are_centred_and_scaled_to_the_galaxys_size(sample):
    fractions = sample.votes[:, ANSWERS.index("smooth-or-featured_artifact")] / sample.votes[:, :3].sum(axis=1)
    offsets, radii = [], []
    for stamp in sample.images[fractions < 0.3]:
        shape = measure(stamp.sum(axis=-1))
        offsets.append(np.hypot(shape.x - (STAMP_SIZE - 1) / 2, shape.y - (STAMP_SIZE - 1) / 2))
        radii.append(shape.radius)
    assert np.median(offsets) < 1.0
    assert np.median(radii) == pytest.approx(NETWORK_SIZE / FIELD, rel=0.1)


def test_a_wider_stamp_shows_galaxies_as_large_with_more_sky_around_them(sdss):
    for index in (1, 2):
        one, other = (simulate_galaxy(5, index, sdss, size=size) for size in (STAMP_SIZE, 160))
        assert other.scene == one.scene
        assert other.galaxy.image.shape == (160, 160, 3)
        assert np.isfinite(other.galaxy.image).all()
        scales = [each.galaxy.properties["pixel_scale"] for each in (one, other)]
        assert scales[1] == pytest.approx(scales[0], rel=0.15)
        radius = measure(other.galaxy.image.sum(axis=-1)).radius
        assert radius == pytest.approx(NETWORK_SIZE / FIELD, rel=0.15)


def test_the_light_of_a_stamp_is_that_of_its_magnitude(sample):
    smooth = sample.votes[:, ANSWERS.index("smooth-or-featured_smooth")] > 25
    measured = 22.5 - 2.5 * np.log10(sample.images[smooth][..., 1].sum(axis=(1, 2)))
    # Neighbours add light and the stamp's edge cuts some: half of the galaxies are within a fifth of a magnitude.
    assert np.median(np.abs(measured - sample.properties["mag_r"][smooth])) < 0.2


def test_properties_are_correlated_as_those_of_real_galaxies(sample):
    keep = sample.votes[:, ANSWERS.index("smooth-or-featured_artifact")] < 10
    table = {name: column[keep] for name, column in sample.properties.items()}
    assert np.corrcoef(table["mag_r"], table["redshift"])[0, 1] > 0.2
    assert np.corrcoef(table["redshift"], table["mag_g"] - table["mag_r"])[0, 1] > 0.2
    assert np.corrcoef(table["mag_r"], np.log(table["radius"]))[0, 1] < -0.3


def test_one_seed_shows_two_surveys_the_same_galaxies(sdss, des):
    for index in range(3):
        near, far = simulate_galaxy(2, index, sdss), simulate_galaxy(2, index, des, population=sdss)
        assert near.scene == far.scene
        assert near.galaxy.properties["mag_r"] == pytest.approx(far.galaxy.properties["mag_r"], abs=1e-3)
        assert (near.galaxy.survey, far.galaxy.survey) == ("sdss", "des")
        assert near.galaxy.id == far.galaxy.id == f"sim-sdss-2-00000{index}"
        assert (near.galaxy.ra, near.galaxy.dec) == (far.galaxy.ra, far.galaxy.dec)
        assert near.galaxy.properties["redshift"] == far.galaxy.properties["redshift"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "must be at least 1"),
        ({"n": 5, "survey": "2mass"}, "Unknown survey '2mass'"),
        ({"n": 5, "mix": "fair"}, "Unknown mix 'fair'"),
        ({"n": 5, "population": "2mass"}, "Unknown survey '2mass'"),
    ],
)
def test_a_mistake_is_reported_and_nothing_is_written(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        simulate_galaxies(tmp_path / "x", progress=False, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_a_dataset_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("keep me")
    with pytest.raises(InputError, match="not a galaxies dataset"):
        simulate_galaxies(tmp_path, 2, progress=False)
    assert (tmp_path / "notes.txt").read_text() == "keep me"


def test_an_older_sample_of_the_same_name_is_replaced(tmp_path):
    simulate_galaxies(tmp_path / "s", 3, seed=1, processes=1, progress=False)
    simulate_galaxies(tmp_path / "s", 2, seed=2, processes=1, progress=False)
    assert len(Galaxies.open(tmp_path / "s")) == 2
