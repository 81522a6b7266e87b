"""One FITS file: what is read, and what is said of a file that cannot be."""

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.fits.planes import Planes, split_name
from morph.fits.zero_points import ZeroPoint
from tests.morph.drawn_tiles import COUNTS, NOISE, SIZE, counts_of, write_band

#: The zero point of drawn tiles.
AB30 = ZeroPoint(30.0, "test")


@pytest.mark.parametrize(
    ("file", "name", "band"),
    [
        ("DES0356-5248_r4163p01_g.fits.fz", "DES0356-5248_r4163p01", "g"),
        ("DESJ035621.6-524840.0_Y.fits", "DESJ035621.6-524840.0", "Y"),
        ("i.fits", "", "i"),
        ("galaxy-z.fits.gz", "galaxy", "z"),
        ("DES0356-5248_catalogue.fits", "DES0356-5248_catalogue", None),
        ("NGC1365_big.fits", "NGC1365_big", None),
    ],
)
def test_the_band_is_the_end_of_the_name(file, name, band):
    assert split_name(f"/some/where/{file}") == (name, band)


def test_flux_is_in_nanomaggies_and_nan_where_bad(tmp_path):
    mask, weight = np.zeros((SIZE, SIZE)), np.full((SIZE, SIZE), 0.2, "float32")
    mask[10, 20] = 1
    mask[11, 20] = 2
    weight[30, 40] = 0
    planes = Planes.open(write_band(tmp_path, "r", mask=mask, weight=weight))
    flux, saturated = planes.read(planes.zero_point())
    assert flux.dtype == np.float32
    assert list(zip(*np.nonzero(np.isnan(flux)), strict=True)) == [(10, 20), (11, 20), (30, 40)]
    assert np.argwhere(saturated).tolist() == [[11, 20]]
    good = np.isfinite(flux)
    np.testing.assert_allclose(flux[good] * COUNTS, counts_of("r")[good], rtol=1e-4, atol=1e-3)


def test_weights_are_inverse_variances_of_the_flux(tmp_path):
    planes = Planes.open(write_band(tmp_path, "i"))
    flux, _ = planes.read(AB30)
    weight = planes.weight(AB30)
    corner = (flux * np.sqrt(weight))[190:, 190:]
    assert corner.std() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("options", [{"packed": True}, {"extnames": False}])
def test_packed_and_unnamed_planes_are_read_as_the_plain_ones(tmp_path, options):
    mask = np.zeros((SIZE, SIZE))
    mask[5, 6] = 32
    planes = Planes.open(write_band(tmp_path, "g", mask=mask, **options))
    plain = Planes.open(write_band(tmp_path, "g", name="plain", mask=mask))
    flux, expected = planes.read(AB30)[0], plain.read(AB30)[0]
    assert np.isnan(flux).sum() == np.isnan(expected).sum() == 1
    # fpack rounds floats to a sixteenth of the noise.
    np.testing.assert_allclose(flux, expected, atol=NOISE["g"] / COUNTS / 8)
    assert planes.weight(AB30).shape == (SIZE, SIZE)


def test_planes_of_other_surveys_are_not_taken_for_des_masks(tmp_path):
    """Rubin's MASK marks detected pixels too: nonzero is not bad there."""
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(counts_of("g")[:20, :20], name="IMAGE")]
    hdus.append(fits.ImageHDU(np.full((20, 20), 32, "i4"), name="MASK"))
    fits.HDUList(hdus).writeto(tmp_path / "coadd.fits")
    planes = Planes.open(tmp_path / "coadd.fits")
    assert np.isfinite(planes.read(ZeroPoint(22.5, "test"))[0]).all()


@pytest.mark.parametrize(
    ("header", "zero_point"),
    [({"MAGZERO": 31.0}, 31.0), ({"BUNIT": "nanomaggy"}, 22.5), ({"BUNIT": "nJy"}, 31.4), ({"FLUXMAG0": 1e12}, 30.0)],
)
def test_zero_point_from_header_or_unit(tmp_path, header, zero_point):
    header = {"MAGZERO": None, **header}
    planes = Planes.open(write_band(tmp_path, "r", **header))
    assert planes.zero_point().magnitude == pytest.approx(zero_point, abs=1e-3)


@pytest.mark.parametrize(
    ("header", "band"), [({"BAND": "i"}, "i"), ({"BAND": None, "FILTER": "r DECam SDSS c0002 6415.0 1480.0"}, "r")]
)
def test_band_from_the_header_where_the_name_has_none(tmp_path, header, band):
    path = write_band(tmp_path, "r", **header)
    assert Planes.open(path.rename(tmp_path / "image.fits")).band == band


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match="No file exists"):
        Planes.open(tmp_path / "nothing_g.fits")


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"\xff\xd8\xff\xe0 a picture"])
def test_a_file_that_is_not_fits_is_refused(tmp_path, content):
    path = tmp_path / "image_g.fits"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a FITS file"):
        Planes.open(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.98])
def test_a_truncated_file_is_refused(tmp_path, packed, kept):
    path = write_band(tmp_path, "g", packed=packed)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"cut short|damaged"):
        Planes.open(path).read(AB30)


def test_a_truncated_gzip_file_is_refused(tmp_path):
    import gzip

    path = tmp_path / "tile_g.fits.gz"
    path.write_bytes(gzip.compress(write_band(tmp_path, "g").read_bytes())[:50_000])
    with pytest.raises(InputError, match=r"cut short|damaged"):
        Planes.open(path).read(AB30)


def test_a_file_without_an_image_is_refused(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("RA", "D", array=np.zeros(3))])
    table.writeto(tmp_path / "catalogue.fits")
    with pytest.raises(InputError, match="holds no image"):
        Planes.open(tmp_path / "catalogue.fits")
