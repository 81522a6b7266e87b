"""Ellipticities of restored galaxies: those of the data are found, also beside neighbours and missing pixels."""

import galsim
import numpy as np
import pytest
from keras import ops

from morph.model.ellipticity import data_ellipticity
from morph.model.restoration import BETA, blurring, gaussian, logarithmic_slope, moffat
from training.evaluation.restoration import ellipticity

SIZE, SEEING, TARGET = 64, 3.6, 2.2
#: Signal to noise.
SIGNAL = 200.0


def drawn(shears, kernel) -> np.ndarray:
    """Disks of several shears, a little off the middle, as a kernel blurs them."""
    disk = galsim.Exponential(half_light_radius=4.0, flux=1000.0)
    images = [
        galsim.Convolve(disk.shear(g1=g1, g2=g2).shift(0.7, -0.4), kernel).drawImage(
            nx=SIZE, ny=SIZE, scale=1.0, method="no_pixel"
        )
        for g1, g2 in shears
    ]
    return np.stack([each.array for each in images]).astype("float32")


def fitted(image, data, sharp: bool, valid=None) -> dict[str, np.ndarray]:
    """What `data_ellipticity` makes of images and noise-free data in units of the noise."""
    n, shape = len(image), (SIZE, SIZE)
    psf = moffat(np.full(n, SEEING, "float32"), shape)
    blur = blurring((psf, ops.zeros_like(psf)), gaussian(np.full(n, TARGET, "float32"), shape))
    widths = np.float32([[SEEING, TARGET / SEEING if sharp else 1.0]] * n)
    blurred = data
    if image is not data:
        response = ops.convert_to_numpy(blur[0]) if sharp else 1.0
        blurred = np.fft.ifft2(np.fft.fft2(image) * response).real.astype("float32")
    valid = np.ones_like(data) if valid is None else valid
    found = data_ellipticity(image, valid * (data - blurred), valid, blur, widths, np.ones((n, 1, 1), "float32"))
    return {name: ops.convert_to_numpy(values) for name, values in found.items()}


SHEARS = [(0.0, 0.0), (0.08, 0.0), (0.0, -0.08), (0.15, 0.1)]


def kernels(sharp: bool):
    star = galsim.Moffat(beta=BETA, fwhm=SEEING)
    return star, galsim.Gaussian(fwhm=TARGET) if sharp else star


def scaled(image: np.ndarray, data: np.ndarray, signal: float = SIGNAL) -> tuple[np.ndarray, np.ndarray]:
    unit = np.float32(np.sqrt((data**2).sum(axis=(1, 2)).mean()) / signal)
    return image / unit, data / unit


@pytest.mark.parametrize("sharp", [False, True])
def test_a_galaxy_that_is_too_round_gets_the_ellipticity_of_its_data(sharp):
    star, kernel = kernels(sharp)
    image, data = scaled(drawn([(0, 0)] * 4, kernel), drawn(SHEARS, star))
    found = fitted(image, data, sharp)
    truth, before, after = (
        ellipticity(each) for each in (drawn(SHEARS, kernel), image, image + 0.87 * found["change"])
    )
    np.testing.assert_allclose(after, truth, atol=0.012)
    assert np.abs(truth - before).max() > 0.1
    # Neither flux nor what the data cannot see changes, and the error is that of the signal to noise.
    np.testing.assert_allclose(found["change"].sum(axis=(1, 2)), 0, atol=1e-3 * image[0].sum())
    assert ((found["error"] > 0.5 / SIGNAL) & (found["error"] < 8 / SIGNAL)).all()
    again = fitted(image + 0.87 * found["change"], data, sharp)
    assert np.abs(again["change"]).max() < 0.15 * np.abs(found["change"]).max()


def test_the_variance_is_that_of_the_noise_which_comes_with_the_shape():
    star, _ = kernels(False)
    image, data = scaled(drawn([(0.1, 0)] * 24, star), drawn([(0.1, 0)] * 24, star), 60)
    noise = np.random.default_rng(0).standard_normal(data.shape).astype("float32")
    found = fitted(image, data + noise, False)
    middle = (slice(None), slice(20, 44), slice(20, 44))
    np.testing.assert_allclose(found["change"][middle].var(), found["variance"][middle].mean(), rtol=0.3)


def test_where_noise_hides_the_shape_nothing_is_changed():
    star, _ = kernels(False)
    image, data = scaled(drawn([(0, 0)], star), drawn([(0.2, 0)], star), 3)
    empty = np.zeros_like(image)
    for each, seen in ((image, data), (empty, empty)):
        found = fitted(each, seen, False)
        assert np.isnan(found["error"]).all()
        assert np.abs(found["change"]).max() == np.abs(found["variance"]).max() == 0


def test_neighbours_and_missing_pixels_do_not_change_the_shape():
    star, _ = kernels(False)
    beside = np.roll(drawn([(0.2, 0)], star), (18, 20), axis=(1, 2))
    round_beside = np.roll(drawn([(0, 0)], star), (18, 20), axis=(1, 2))
    image, data = scaled(drawn([(0, 0)], star) + round_beside, drawn([(0.1, 0)], star) + beside)
    valid = np.ones_like(data)
    valid[0, 36:40, 24:28] = 0
    alone = fitted(*scaled(drawn([(0, 0)], star), drawn([(0.1, 0)], star)), False)
    found = fitted(image, np.where(valid > 0, data, 1e3), False, valid)
    middle = (0, slice(20, 44), slice(20, 44))
    difference = found["change"][middle] - alone["change"][middle]
    assert np.abs(difference).max() < 0.3 * np.abs(alone["change"]).max()


@pytest.mark.parametrize("sharp", [False, True])
def test_the_slope_is_that_of_the_transfer_function(sharp):
    widths = np.float32([[SEEING, TARGET / SEEING if sharp else 1.0], [0.0, 1.0]])
    kernel = gaussian if sharp else moffat
    width = TARGET if sharp else SEEING
    found = ops.convert_to_numpy(logarithmic_slope(widths, (SIZE, SIZE)))
    low, high = (
        np.log(ops.convert_to_numpy(kernel(np.float32([width * part]), (SIZE, SIZE)))[0, 0, 1:20])
        for part in (0.97, 1.03)
    )
    np.testing.assert_allclose(found[0, 0, 1:20], (high - low) / 0.06, rtol=0.03)
    assert (found[1] == 0).all()
