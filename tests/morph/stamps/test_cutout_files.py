"""Single galaxies in FITS files: every layout gives the same stamp, and bad files give a reason."""

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.fits.zero_points import Calibration
from morph.sizes import STAMP_SIZE
from morph.stamps.cutout_files import read_cutouts
from morph.stamps.cutting import Flag
from morph.surveys import magnitude
from tests.morph.drawn_tiles import COLOUR, COUNTS, GALAXIES, HALF_LIGHT, SCALE, SIZE, counts_of, write_tile

_, _, SIGMA, FLUX = GALAXIES[0]
CENTRAL = GALAXIES[:1]


def planes(bands: str = "gri") -> np.ndarray:
    return np.stack([counts_of(band, CENTRAL) for band in bands])


def write(path, image, **header):
    hdu = fits.PrimaryHDU(image)
    hdu.header.update(header)
    hdu.writeto(path)
    return path


def test_one_file_a_band(tmp_path):
    files = write_tile(tmp_path, galaxies=CENTRAL, name="NGC1365")
    (cutout,) = read_cutouts(files[1])
    assert cutout.id == "NGC1365"
    assert (cutout.ra, cutout.dec) == pytest.approx((59.09, -52.811), abs=1e-6)
    assert cutout.pixel_scale == pytest.approx(SCALE, rel=1e-6)
    stamp = cutout.stamp()
    assert stamp.image.shape == (STAMP_SIZE, STAMP_SIZE, 3)
    assert stamp.flags == 0
    assert stamp.radius == pytest.approx(SIGMA * HALF_LIGHT * SCALE, rel=0.04)
    assert stamp.magnitudes == pytest.approx([magnitude(FLUX * COLOUR[band]) for band in "gri"], abs=0.05)
    np.testing.assert_allclose(stamp.image.sum(axis=(0, 1)), [FLUX * COLOUR[band] for band in "gri"], rtol=0.05)


def test_cubes_of_bands_named_by_the_header_or_the_caller(tmp_path):
    image = planes("irg")
    named = write(tmp_path / "named.fits", image, BANDS="irg", MAGZERO=30.0)
    numbered = write(tmp_path / "numbered.fits", image, BAND0="i", BAND1="r", BAND2="g", MAGZERO=30.0)
    plain = write(tmp_path / "plain.fits", image)
    expected = read_cutouts(named)[0].image
    np.testing.assert_allclose(expected, np.moveaxis(image[::-1], 0, -1) / COUNTS, rtol=1e-5)
    np.testing.assert_array_equal(read_cutouts(numbered)[0].image, expected)
    np.testing.assert_array_equal(read_cutouts(plain, bands="irg", calibration=Calibration(30.0))[0].image, expected)


def test_the_callers_zero_point_and_pixel_scale_come_first(tmp_path):
    path = write(tmp_path / "cube.fits", planes(), BANDS="gri", MAGZERO=30.0)
    (cutout,) = read_cutouts(path, calibration=Calibration(27.5), pixel_scale=0.5)
    assert cutout.pixel_scale == 0.5
    assert np.nanmax(cutout.image) == pytest.approx(10 * np.nanmax(read_cutouts(path)[0].image), rel=1e-5)


def test_a_legacy_survey_cube_has_z_where_sdss_has_i(tmp_path):
    path = write(tmp_path / "cutout.fits", planes("gri") / COUNTS, BANDS="grz", BUNIT="nanomaggy")
    image = read_cutouts(path, survey="decals")[0].image
    np.testing.assert_allclose(image[..., 2], counts_of("i", CENTRAL) / COUNTS, rtol=1e-5)
    assert np.isnan(read_cutouts(path, survey="des")[0].image[..., 2]).all()


def test_cubes_of_galaxies_in_one_band_each(tmp_path):
    for band in "gri":
        cube = np.stack([counts_of(band, [(SIZE / 2, SIZE / 2, sigma, 50.0)]) for sigma in (3, 5, 7)])
        write(tmp_path / f"{band}.fits", cube, MAGZERO=30.0)
    cutouts = read_cutouts(tmp_path)
    assert [cutout.id for cutout in cutouts] == [f"{tmp_path.name}-{i}" for i in range(3)]
    radii = [cutout.stamp().shape.radius for cutout in cutouts]
    assert radii == pytest.approx([3 * HALF_LIGHT, 5 * HALF_LIGHT, 7 * HALF_LIGHT], rel=0.05)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_an_empty_image_is_flagged_and_raises_nothing(tmp_path, value):
    path = write(tmp_path / "empty.fits", np.full((3, 60, 60), value, "f4"), BANDS="gri", MAGZERO=30.0)
    stamp = read_cutouts(path)[0].stamp()
    assert stamp.image.shape == (STAMP_SIZE, STAMP_SIZE, 3)
    assert not stamp.shape.found
    assert np.isnan(stamp.magnitudes).all()
    if np.isnan(value):
        assert stamp.flags & Flag.NO_DATA
        assert np.isnan(stamp.image).all()


def test_a_galaxy_larger_than_its_image_is_flagged_at_the_edge(tmp_path):
    half = SIZE // 2
    image = planes()[:, half - 18 : half + 19, half - 18 : half + 19]
    stamp = read_cutouts(write(tmp_path / "close.fits", image, BANDS="gri", MAGZERO=30.0))[0].stamp()
    assert stamp.flags & Flag.EDGE
    assert np.isnan(stamp.image[0, 0]).all()


def test_a_wrong_number_of_bands_is_refused(tmp_path):
    path = write(tmp_path / "cube.fits", np.zeros((5, 40, 40), "f4"))
    with pytest.raises(InputError, match="5 planes and 3 bands"):
        read_cutouts(path, bands="gri")
    with pytest.raises(InputError, match=r"is not known; set BAND .*--bands"):
        read_cutouts(path)


def test_no_band_of_the_survey_is_refused(tmp_path):
    path = write(tmp_path / "cube.fits", np.zeros((2, 40, 40), "f4"), BANDS="uY")
    with pytest.raises(InputError, match=r"has no image in g, r, i.*--bands"):
        read_cutouts(path)


def test_bands_of_different_shape_are_refused(tmp_path):
    write(tmp_path / "galaxy_g.fits", np.zeros((40, 40), "f4"), MAGZERO=30.0)
    write(tmp_path / "galaxy_r.fits", np.zeros((40, 44), "f4"), MAGZERO=30.0)
    with pytest.raises(InputError, match="different shapes"):
        read_cutouts(tmp_path)


def test_an_image_too_small_for_a_galaxy_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least 12 x 12"):
        read_cutouts(write(tmp_path / "dot_g.fits", np.zeros((8, 8), "f4"), MAGZERO=30.0))


@pytest.mark.real
def test_real_des_galaxies_are_found_and_measured(real_data):
    cutouts = read_cutouts(real_data / "des-galaxies", calibration=Calibration(30.0))
    assert len(cutouts) == 46
    stamps = [cutout.stamp() for cutout in cutouts]
    assert all(stamp.shape.found for stamp in stamps)
    assert not any(stamp.flags & (Flag.NO_DATA | Flag.MISSING_BAND | Flag.MASKED) for stamp in stamps)
    # Their catalogue holds red galaxies of 17 to 21 mag.
    g, r, i = np.array([stamp.magnitudes for stamp in stamps]).T
    assert ((r > 17) & (r < 21.5)).all()
    assert (g > r).all()
    assert (r > i).all()
