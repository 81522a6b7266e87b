import numpy as np
import pytest

from morph.errors import InputError
from morph.surveys import SURVEYS, get_survey, magnitude


def test_unknown_survey_names_the_known_ones():
    with pytest.raises(InputError, match="Unknown survey 'hst'; use one of sdss, des, decals, lsst"):
        get_survey("hst")


def test_case_of_the_name_does_not_matter():
    assert get_survey("DES") is SURVEYS["des"]


def test_a_nanomaggy_has_the_zero_point_as_its_magnitude():
    assert magnitude(1.0) == pytest.approx(22.5, abs=1e-5)
    assert magnitude(100.0) == pytest.approx(17.5, abs=1e-5)


def test_magnitude_of_no_light_is_unknown():
    assert np.isnan(magnitude([0.0, -1.0])).all()


#: Of VIS, a pixel is too wide for a point source's sum over pixels to be the integral.
SAMPLED = {name: survey for name, survey in SURVEYS.items() if min(survey.seeing) > 2 * survey.pixel_scale}


@pytest.mark.parametrize("survey", SAMPLED.values(), ids=list(SAMPLED))
def test_noise_gives_a_point_source_at_the_depth_ten_sigma(survey):
    """Matched filter on a pixelised Gaussian: S/N = flux sqrt(sum psf^2) / noise."""
    y, x = np.mgrid[-40:41, -40:41]
    for channel in range(3):
        sigma = survey.seeing[channel] / 2.3548 / survey.pixel_scale
        psf = np.exp(-(x**2 + y**2) / (2 * sigma**2))
        psf /= psf.sum()
        flux = 10 ** ((22.5 - survey.depth[channel]) / 2.5)
        assert flux * np.sqrt((psf**2).sum()) / survey.noise()[channel] == pytest.approx(10, rel=0.02)
