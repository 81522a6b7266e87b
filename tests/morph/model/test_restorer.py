"""The restorer: arithmetic of point-spread functions, what stays of the data, and widths that pixels do not bear."""

import galsim
import numpy as np
import pytest
from keras import ops
from scipy.ndimage import gaussian_filter

from morph.model.residual import FLUX_SCALE, structure, white_power
from morph.model.restoration import (
    GENTLE,
    STRONG,
    blurring,
    both_filtered,
    filtered,
    gaussian,
    moffat,
    moffat_radius,
    moffat_transfer,
    ratio,
    smooth,
    transform,
)
from morph.model.restored_stamps import noise_of_differences, restore_stamps
from morph.model.restorer import Restorer, draw_errors, fill
from morph.model.store import SHIPPED_RESTORER

SIZE = 64


@pytest.fixture(scope="module")
def restorer():
    """The one that ships."""
    made = Restorer()
    made.read(SHIPPED_RESTORER)
    return made


def observed(signal: float, count: int = 4, fwhm: float = 3.6, sharp: float | None = None, seed: int = 0):
    """Disks as `fwhm` blurs them, with unit noise and a signal to noise: images, and without noise as `sharp` does."""
    random = np.random.default_rng(seed)
    kernels = [galsim.Moffat(beta=3.0, fwhm=fwhm), galsim.Gaussian(fwhm=sharp or fwhm)]
    kernels = kernels if sharp else kernels[:1] * 2
    drawn = []
    for _ in range(count):
        disk = galsim.Exponential(half_light_radius=random.uniform(3, 7)).shear(q=0.6, beta=30 * galsim.degrees)
        drawn.append(
            [
                galsim.Convolve(disk, kernel).drawImage(nx=SIZE, ny=SIZE, scale=1.0, method="no_pixel").array
                for kernel in kernels
            ]
        )
    drawn = np.array(drawn, dtype=float)
    drawn *= (signal / np.sqrt((drawn[:, 0] ** 2).sum(axis=(1, 2))))[:, None, None, None]
    return drawn[:, 0] + random.standard_normal(drawn[:, 0].shape), drawn[:, 1], drawn[:, 0]


def as_stamps(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., None], 3, axis=-1).astype("float32")


def restored(restorer, image: np.ndarray, psf=np.nan, target=np.nan) -> dict[str, np.ndarray]:
    """The middle band of `restore_stamps`."""
    widths = (np.full(len(image), width, "float32") for width in (psf, target))
    found = restore_stamps(restorer, as_stamps(image), *widths)
    return {name: ops.convert_to_numpy(values) for name, values in found.items()}


@pytest.mark.parametrize("beta", [2.5, 3.0, 4.5])
def test_the_transfer_function_is_galsims(beta):
    frequency = np.linspace(0, 0.5, 6)
    profile = galsim.Moffat(beta=beta, fwhm=3.6)
    expected = [profile.kValue(2 * np.pi * f, 0).real for f in frequency]
    found = moffat_transfer(2 * np.pi * frequency * moffat_radius(3.6, beta), beta)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_table_gives_the_transfer_function():
    frequency = np.fft.fftfreq(SIZE)
    exact = moffat_transfer(2 * np.pi * np.abs(frequency) * moffat_radius(3.6))
    np.testing.assert_allclose(ops.convert_to_numpy(moffat(np.float32([3.6]), (SIZE, SIZE)))[0, 0], exact, atol=1e-4)
    assert moffat_transfer(np.array([0.0])) == 1


def test_sharpening_brings_an_image_to_the_targets_resolution():
    blurred, sharp, _ = observed(1e5, sharp=2.4)
    psf, target = (
        kernel(np.full(4, width, "float32"), (SIZE, SIZE)) for kernel, width in ((moffat, 3.6), (gaussian, 2.4))
    )
    given = psf, ops.zeros_like(psf)
    spectrum = transform(ops.convert_to_tensor(blurred.astype("float32")))
    gentle, strong = both_filtered(spectrum, ratio(given, target, GENTLE), ratio(given, target, STRONG))
    peak = sharp.max()
    assert np.abs(ops.convert_to_numpy(strong) - sharp).max() < 0.08 * peak
    assert np.abs(ops.convert_to_numpy(gentle) - sharp).max() < np.abs(blurred - sharp).max()
    back = filtered(transform(ops.convert_to_tensor(sharp.astype("float32"))), blurring(given, target))
    assert np.abs(ops.convert_to_numpy(back) - blurred).max() < 0.01 * peak + 5


def test_smoothing_keeps_the_flux_and_a_constant():
    image = np.zeros((1, 24, 40), "float32")
    image[0, 2, 38] = 1
    smoothed = ops.convert_to_numpy(smooth(image, 3.0))
    assert smoothed.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(smooth(np.ones_like(image), 30.0)), 1, rtol=1e-5)


def test_white_noise_has_the_power_that_is_expected_of_it():
    noise = np.random.default_rng(0).standard_normal((20, SIZE, SIZE)).astype("float32")
    part = noise - ops.convert_to_numpy(smooth(noise, 0.8))
    assert part.var() == pytest.approx(white_power(0), rel=0.05)
    found, variance, _ = structure(noise, np.ones_like(noise))
    assert float(np.std(ops.convert_to_numpy(found))) < 0.08
    assert ops.convert_to_numpy(variance).min() > 0.5 / (4 * np.pi * FLUX_SCALE**2)


def test_the_power_of_correlated_noise_is_measured():
    white = np.random.default_rng(0).standard_normal((20, SIZE, SIZE)).astype("float32")
    correlated = gaussian_filter(white, (0, 0.45, 0.45), mode="wrap")
    white, correlated = (
        ops.convert_to_numpy(structure(each / each.std(), np.ones_like(each))[2]) for each in (white, correlated)
    )
    assert white.shape == (20, 1, 1)
    assert 1 <= white.mean() < 1.15
    # At the lowest frequencies it is 1.82.
    assert 1.6 < correlated.mean() < 1.95


def test_uncertainties_grow_with_the_correlation_of_the_noise(restorer):
    image, truth, _ = observed(60, count=6)
    correlated = gaussian_filter(image - truth, (0, 0.6, 0.6), mode="wrap")
    correlated = truth + correlated / correlated.std()
    white, found = (restored(restorer, each, 3.6)["sigma"][..., 1] for each in (image, correlated))
    assert 1.15 < np.median(found) / np.median(white) < 2


def test_a_structure_far_above_the_noise_stays():
    random = np.random.default_rng(1)
    y, x = np.indices((SIZE, SIZE)) - 32
    trail = 12 * np.exp(-0.5 * ((x - 0.4 * y) / 1.5) ** 2)
    residual = (trail + random.standard_normal((SIZE, SIZE)))[None].astype("float32")
    found = ops.convert_to_numpy(structure(residual, np.ones_like(residual))[0])[0]
    on = trail > 1
    assert found[on].sum() == pytest.approx(trail[on].sum(), rel=0.1)


def test_the_noise_of_a_stamp_is_that_of_the_sky_beside_its_galaxy():
    stamps = 0.7 * as_stamps(observed(100, count=6)[0])
    stamps[1, :20], stamps[2, ..., 1] = np.nan, np.nan
    found = ops.convert_to_numpy(noise_of_differences(stamps))
    assert found[2, 1] == 0
    found[2, 1] = 0.7
    np.testing.assert_allclose(found, 0.7, rtol=0.12)


def test_missing_pixels_are_the_mean_of_those_around_them():
    data, valid = np.full((1, 24, 24), 3.0, "float32"), np.ones((1, 24, 24), "float32")
    data[0, 10:13, 10], valid[0, 10:13, 10] = 99, 0
    np.testing.assert_allclose(ops.convert_to_numpy(fill(data, valid)), 3, rtol=1e-5)


@pytest.mark.parametrize(("sharp", "gain"), [(None, 12), (2.0, 8)])
def test_restoring_comes_nearer_to_the_truth_and_keeps_the_flux(restorer, sharp, gain):
    image, truth, _ = observed(60, sharp=sharp)
    found = restored(restorer, image, 3.6, sharp or np.nan)
    error = found["restored"][..., 1] - truth
    before = np.sqrt(((image - truth) ** 2).mean())
    assert 20 * np.log10(before / np.sqrt((error**2).mean())) > gain
    flux = [each.sum(axis=(1, 2)) for each in (found["restored"][..., 1], image)]
    # The noise of the sum is 64.
    np.testing.assert_allclose(*flux, atol=64)
    flux = [each[:, 12:-12, 12:-12].sum(axis=(1, 2)) for each in (found["restored"][..., 1], truth)]
    np.testing.assert_allclose(*flux, rtol=0.1)
    covered = (np.abs(error) < found["sigma"][..., 1]).mean()
    assert 0.55 < covered < 0.85
    assert (found["chi_square"] > 0.85).all()
    assert (found["chi_square"] < 1.15).all()


def test_the_data_says_more_of_bright_pixels_than_of_the_sky(restorer):
    image, _, truth = observed(200)
    fraction = restored(restorer, image)["prior_fraction"][..., 1]
    assert fraction.min() >= 0
    assert fraction.max() <= 1
    assert fraction[truth > 10].mean() < fraction[truth < 0.1].mean() - 0.02


def test_a_trail_that_no_training_set_holds_stays(restorer):
    image, _, _ = observed(100, count=1)
    y, x = np.indices((SIZE, SIZE))
    trail = 8 * np.exp(-0.5 * ((y - 12 - 0.1 * x) / 1.5) ** 2)
    with_trail, without = (restored(restorer, each)["restored"][..., 1] for each in (image + trail, image))
    on = trail > 0.5
    assert ((with_trail - without)[0][on]).sum() > 0.9 * trail[on].sum()


def test_where_there_is_no_data_nothing_is_restored(restorer):
    image, _, _ = observed(60)
    image[1, :20], image[2] = np.nan, np.nan
    found = restored(restorer, image, 3.6, 2.0)
    for name, value in (("restored", np.nan), ("sigma", np.inf), ("prior_fraction", 1)):
        np.testing.assert_array_equal(found[name][1, :20], value)
        np.testing.assert_array_equal(found[name][2], value)
    assert np.isfinite(found["restored"][1, 20:]).all()
    np.testing.assert_array_equal(np.isnan(found["chi_square"]), [False, False, True, False])


@pytest.mark.parametrize(
    ("psf", "target", "possible"),
    [
        (3.6, 1.5, False),
        (3.6, 4.0, False),
        (np.nan, 2.0, False),
        (3.6, 3.6, True),
        (3.6, np.nan, True),
        (np.nan, np.nan, True),
        (0.0, 0.0, True),
    ],
)
def test_widths_that_the_pixels_do_not_bear_give_nan(restorer, psf, target, possible):
    image, _, _ = observed(60, count=1)
    found = restored(restorer, image, psf, target)
    for values in found.values():
        assert np.isfinite(values).all() == possible
        assert np.isnan(values).all() != possible


def test_an_image_and_its_multiple_are_restored_alike(restorer):
    image, _, _ = observed(60, count=1)
    one, thousand = (restored(restorer, each)["restored"] for each in (image, 1000 * image))
    np.testing.assert_allclose(thousand, 1000 * one, rtol=2e-3, atol=20)


def test_drawn_errors_have_unit_variance_and_are_correlated(restorer):
    drawn = draw_errors(restorer, (96, 128), 3.6, np.random.default_rng(0))
    assert drawn.std() == pytest.approx(1, abs=1e-3)
    assert (drawn[:, 1:] * drawn[:, :-1]).mean() > 0.3


def test_the_weights_survive_a_file(restorer, tmp_path):
    restorer.write(tmp_path / "restorer.npz")
    again = Restorer()
    assert not again.fitted
    again.read(tmp_path / "restorer.npz")
    assert (again.fitted, again.digest) == (True, restorer.digest)
