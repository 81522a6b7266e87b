import numpy as np
import pytest
from keras import ops

from morph.model.preprocessing import Preprocessing


def normalised(images: np.ndarray) -> dict[str, np.ndarray]:
    return {name: ops.convert_to_numpy(value) for name, value in Preprocessing()(images).items()}


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_brightness_does_not_matter(galaxies, scale):
    images = galaxies(4)
    plain, scaled = normalised(images), normalised(images * np.float32(scale))
    np.testing.assert_allclose(scaled["image"], plain["image"], atol=1e-4)
    np.testing.assert_allclose(scaled["sigma"], plain["sigma"], rtol=1e-3)
    np.testing.assert_allclose(scaled["scale"], scale * plain["scale"], rtol=1e-4)


def test_the_sky_level_does_not_matter(galaxies):
    images = galaxies(4)
    sky = np.array([5.0, -2.0, 0.5], dtype="float32")
    lifted = normalised(images + sky)
    np.testing.assert_allclose(lifted["image"], normalised(images)["image"], atol=1e-4)
    np.testing.assert_allclose(lifted["sky"][:, 0, 0], np.tile(sky, (4, 1)), atol=0.02)


def test_the_galaxys_centre_comes_out_at_one(galaxies):
    image = normalised(galaxies(8))["image"]
    centre = image[:, 26:38, 26:38].mean(axis=(1, 2, 3))
    assert (centre > 0.7).all()
    assert (centre < 1.3).all()


def test_sigma_is_the_skys_noise_after_the_stretch(galaxies):
    result = normalised(galaxies(8))
    corner = result["image"][:, :8, :8].std(axis=(1, 2))
    np.testing.assert_allclose(corner, result["sigma"][:, :8, :8].mean(axis=(1, 2)), rtol=0.35)


def test_missing_pixels_leave_the_rest_as_it_was(galaxies):
    images = galaxies(3)
    holed = images.copy()
    holed[1, 40:50, 5:20, 0] = np.nan
    plain, result = normalised(images), normalised(holed)
    assert all(np.isfinite(values).all() for values in result.values())
    np.testing.assert_array_equal(result["image"][[0, 2]], plain["image"][[0, 2]])
    assert (result["valid"][1, 40:50, 5:20, 0] == 0).all()
    assert (result["image"][1, 40:50, 5:20, 0] == 0).all()
    seen = result["valid"][1] == 1
    np.testing.assert_allclose(result["image"][1][seen], plain["image"][1][seen], atol=0.02)


def test_a_missing_band_leaves_the_others(galaxies):
    images = galaxies(2)
    images[0, ..., 2] = np.nan
    result = normalised(images)
    assert all(np.isfinite(values).all() for values in result.values())
    assert (result["image"][0, ..., 2] == 0).all()
    assert result["image"][0, 28:36, 28:36, :2].mean() == pytest.approx(1, abs=0.4)


def test_nothing_at_all_stays_nothing():
    result = normalised(np.full((2, 64, 64, 3), [[[[np.nan]]], [[[0.0]]]], dtype="float32"))
    assert all(np.isfinite(values).all() for values in result.values())
    assert (result["image"] == 0).all()


def test_pure_noise_is_not_blown_up():
    noise = np.random.default_rng(0).normal(0, 1, (4, 64, 64, 3)).astype("float32")
    assert np.abs(normalised(noise)["image"]).mean() < 0.7


def test_restore_undoes_it(galaxies):
    images = galaxies(3) * np.float32(40) + np.float32(3)
    result = normalised(images)
    back = ops.convert_to_numpy(Preprocessing.restore(result["image"], result["sky"], result["scale"]))
    np.testing.assert_allclose(back, images, rtol=1e-3, atol=0.02)


def test_what_no_image_has_is_restored_to_something_finite():
    image = np.array([-1e4, -50.0, 0.0, 50.0, 1e4], "float32").reshape(1, 1, 5, 1)
    found = ops.convert_to_numpy(Preprocessing.restore(ops.convert_to_tensor(image), 0.0, 1.0)).ravel()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, -found[::-1])
    assert found[-1] == found[-2] > 1e5


def test_any_size_is_taken(galaxies):
    assert normalised(galaxies(1, size=96))["image"].shape == (1, 96, 96, 3)
