"""Restoring files and datasets: units, places and restarts, point-spread functions of every form, and refusals."""

import json

import galsim
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image

from morph.analysis.restoring import planes_file, run
from morph.analysis.restoring.files import Problem
from morph.analysis.restoring.images import CORE, ImageRestorer, mirrored, noise_level
from morph.analysis.restoring.psf import PointSpread, full_width, of_band, read_psf, transfer_of
from morph.analysis.restoring.sources import Ellipticities
from morph.dataset import Galaxies
from morph.errors import InputError
from morph.model.store import load_model
from morph.registry import SHIPPED_NAME
from morph.simulation.sample import simulate_galaxies

SCALE = 0.263


@pytest.fixture(scope="module")
def model():
    return load_model(SHIPPED_NAME)


@pytest.fixture(scope="module")
def restorer(model):
    return model.restorer


@pytest.fixture(autouse=True)
def loaded_once(model, monkeypatch):
    """The commands of these tests share one model, which is compiled once."""
    monkeypatch.setattr(run, "load_model", lambda name: model)


def field(shape=(220, 300), seed=0, noise=3.0) -> tuple[np.ndarray, np.ndarray]:
    """Galaxies on a bright sky, counts: with noise, and without."""
    random = np.random.default_rng(seed)
    y, x = np.indices(shape)
    truth = np.full(shape, 1000.0)
    for _ in range(12):
        at = random.uniform(10, np.array(shape) - 10)
        truth += random.uniform(30, 200) * np.exp(-np.hypot(y - at[0], 1.4 * (x - at[1])) / random.uniform(3, 5))
    return truth + noise * random.standard_normal(shape), truth


def write(path, image: np.ndarray, **cards) -> None:
    """An image as a survey writes it, with coordinates and a unit."""
    header = fits.Header({"BUNIT": "electron", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    header.update(CRVAL1=30.0, CRVAL2=-20.0, CRPIX1=150.0, CRPIX2=110.0, CD1_1=-SCALE / 3600, CD2_2=SCALE / 3600)
    header.update(CD1_2=0.0, CD2_1=0.0, **cards)
    fits.writeto(path, image.astype("float32"), header)


@pytest.fixture
def image_file(tmp_path):
    image, truth = field()
    image[40:60, 100:104] = np.nan
    write(tmp_path / "field_r.fits", image, MAGZERO=30.0)
    return tmp_path / "field_r.fits", image, truth


def test_an_image_larger_than_a_block_is_restored_without_seams(restorer):
    image, truth = field((CORE + 60, CORE + 100))
    made = ImageRestorer(restorer).restore(image.astype("float32"))
    assert np.sqrt(((made.image - truth) ** 2).mean()) < 0.35 * 3.0
    assert made.image.sum() == pytest.approx(image.sum(), rel=1e-4)
    step = np.abs(np.diff(made.image - truth, axis=1))
    assert step[:, CORE - 1].mean() < 2 * np.median(step.mean(axis=0))
    assert made.chi_square == pytest.approx(1, abs=0.1)


def test_pixels_of_larger_noise_have_larger_uncertainties(restorer):
    image, _ = field((96, 96), noise=1.0)
    noise = np.ones((96, 96), "float32")
    noise[:, 48:] = 1.5
    made = ImageRestorer(restorer).restore(image.astype("float32"), noise)
    assert np.median(made.sigma[:, 48:]) > 1.3 * np.median(made.sigma[:, :48])


def test_the_sources_of_a_block_get_the_ellipticities_of_their_data():
    y, x = np.indices((256, 256), dtype="float32")
    places = np.array([[60, 200], [128, 128], [244, 30]])

    def galaxies(axis_ratio: float) -> np.ndarray:
        scale = 4 * np.sqrt([axis_ratio, 1 / axis_ratio])
        each = [40 * np.exp(-np.hypot((x - px) / scale[1], (y - py) / scale[0])) for px, py in places]
        return np.sum(each, axis=0).astype("float32")

    truth, rounder = galaxies(0.75), galaxies(1.0)
    planes = {"restored": rounder.copy(), "sigma": np.full_like(rounder, 0.1), "residual": truth - rounder}
    planes["restored"][100], planes["residual"][100] = np.nan, 0
    block = {**planes, "noise_power": np.ones((1, 1), "float32")}
    found = Ellipticities().take(block, None, np.float32([0, 1]))
    np.testing.assert_allclose(found[np.argsort(found[:, 1])], places[[2, 1, 0]], atol=1.5)
    for px, py in places:
        near = np.hypot(x - px, y - py) < 12
        near[100] = False
        error = [np.abs(each - truth)[near].sum() for each in (planes["restored"], block["restored"])]
        assert error[1] < 0.45 * error[0]
        assert (block["sigma"][near] > 0.1).mean() > 0.9
    assert np.isnan(block["restored"][100]).all()
    assert (block["residual"] ** 2).sum() < 0.25 * (planes["residual"] ** 2).sum()


def test_beyond_its_edge_a_block_is_its_mirror_image():
    block = np.full((8, 6), np.nan)
    block[3:6, 2:] = np.arange(12).reshape(3, 4)
    found = mirrored(block)
    np.testing.assert_array_equal(found[3:6, 2:], block[3:6, 2:])
    np.testing.assert_array_equal(found[2], found[3])
    np.testing.assert_array_equal(found[6], found[5])
    np.testing.assert_array_equal(found[:, 1], found[:, 2])


def test_the_noise_is_that_of_the_sky_among_galaxies():
    assert noise_level(field(noise=2.0)[0]) == pytest.approx(2.0, rel=0.1)


def test_a_file_keeps_its_units_and_coordinates(image_file, tmp_path, morph):
    path, image, truth = image_file
    status, said, _ = morph("restore", path, "--to", tmp_path / "out", "--draws", 2)
    assert (status, "reduced chi-square" in said) == (0, True)
    with fits.open(tmp_path / "out" / "field_r.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["RESTORED", "SIGMA", "PRIOR_FRACTION", "FLAGS", "DRAWS"]
        restored, sigma, prior, flags, draws = (hdu.data for hdu in hdus[1:])
        header = hdus["RESTORED"].header
    assert (header["BUNIT"], header["MAGZERO"], header["CRVAL1"]) == ("electron", 30.0, 30.0)
    missing = np.isnan(image)
    np.testing.assert_array_equal(np.isnan(restored), missing)
    np.testing.assert_array_equal(np.isinf(sigma), missing)
    np.testing.assert_array_equal(flags == Problem.NO_DATA, missing)
    assert (prior[missing] == 1).all()
    error = (restored - truth)[~missing]
    assert np.sqrt((error**2).mean()) < 0.4 * 3.0
    assert 0.5 < (np.abs(error) < sigma[~missing]).mean() < 0.9
    scatter = np.std(draws[0][~missing] - restored[~missing]) / np.sqrt((sigma[~missing] ** 2).mean())
    assert scatter == pytest.approx(1, abs=0.3)
    (row,) = pq.read_table(tmp_path / "out" / "restored.parquet").to_pylist()
    assert (row["band"], row["flags"]) == ("r", 0)
    assert f"{row['shaped']} sources with the data's ellipticity" in said
    assert 6 < row["shaped"] < 13
    assert row["flux_ratio"] == pytest.approx(1, abs=1e-3)


def test_a_command_goes_on_where_it_was_interrupted(image_file, tmp_path, morph, monkeypatch):
    path, _, _ = image_file
    assert morph("restore", path, "--to", tmp_path / "whole")[0] == 0
    written = planes_file.PlanesFile.write
    tops = []

    def interrupted(self, top, *arguments, **options):
        if tops and tops[-1] != "again":
            raise KeyboardInterrupt
        tops.append(top)
        written(self, top, *arguments, **options)

    monkeypatch.setattr(planes_file.PlanesFile, "write", interrupted)
    assert morph("restore", path, "--to", tmp_path / "out")[0] == 130
    assert not (tmp_path / "out" / "field_r.fits").exists()
    note = json.loads((tmp_path / "out" / ".field_r.fits.json").read_text())
    assert list(note["done"]) == ["0"]
    tops.append("again")
    assert morph("restore", path, "--to", tmp_path / "out")[0] == 0
    assert tops == [0, "again", CORE]
    one, other = (fits.getdata(tmp_path / name / "field_r.fits", "RESTORED") for name in ("whole", "out"))
    np.testing.assert_array_equal(one, other)
    assert not list((tmp_path / "out").glob(".field*"))
    tops.append("nothing left")
    assert morph("restore", path, "--to", tmp_path / "out")[0] == 0


def test_saturated_cores_are_flagged(tmp_path, morph):
    image, _ = field((160, 180))
    image[100:104, 150:154] = 60000
    write(tmp_path / "star_r.fits", image, MAGZERO=30.0, SATURATE=50000.0)
    status, said, _ = morph(
        "restore", tmp_path / "star_r.fits", "--psf", 0.95, "--target-fwhm", 0.6, "--to", tmp_path / "out"
    )
    assert (status, "saturated" in said) == (0, True)
    flags, sigma = (fits.getdata(tmp_path / "out" / "star_r.fits", name) for name in ("FLAGS", "SIGMA"))
    assert (flags[98:106, 148:156] & Problem.SATURATED).all()
    assert np.isinf(sigma[102, 152])
    assert flags[10, 10] == 0


def star(fwhm=3.6, size=41, sigma=0.0) -> np.ndarray:
    image = galsim.Moffat(beta=3.0, fwhm=fwhm).drawImage(nx=size, ny=size, scale=1.0, method="no_pixel").array
    return image.astype(float)


def test_an_image_of_a_star_is_the_same_as_its_width():
    kernel = star(size=81)
    transfer, width = PointSpread(image=kernel / kernel.sum()).at(0, 0, (64, 64))
    expected, _ = PointSpread(fwhm=3.6).at(0, 0, (64, 64))
    assert width == pytest.approx(3.6, rel=0.03)
    np.testing.assert_allclose(transfer, expected, atol=0.03)
    assert full_width(star(2.2)) == pytest.approx(2.2, rel=0.05)


def test_a_star_beside_the_middle_moves_nothing():
    middle, moved = transfer_of(star(), (64, 64)), transfer_of(np.roll(star(), (3, -2), (0, 1)), (64, 64))
    np.testing.assert_allclose(moved, middle, atol=0.01)


def test_a_model_of_psfex_depends_on_the_place(tmp_path):
    star_table(tmp_path / "field.psf")
    psf = read_psf(str(tmp_path / "field.psf"), SCALE)
    assert psf.varies
    assert psf.width(10, 0) == pytest.approx(3.0, rel=0.06)
    assert psf.width(290, 0) > psf.width(10, 0) + 0.3


def star_table(path) -> None:
    """A PSFEx model whose stars become wider along x."""
    narrow, wide = star(3.0, 25), star(4.0, 25)
    mask = np.stack([(narrow + wide) / 2, (wide - narrow) / 2])[None].astype("float32")
    column = fits.Column("PSF_MASK", format=f"{mask.size}E", dim="(25,25,2)", array=mask)
    table = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    table.header.update(POLNAXIS=2, POLGRP1=1, POLNAME1="X_IMAGE", POLZERO1=150.0, POLSCAL1=150.0, POLGRP2=1)
    table.header.update(POLNAME2="Y_IMAGE", POLZERO2=110.0, POLSCAL2=110.0, POLNGRP=1, POLDEG1=1, PSF_FWHM=3.5)
    table.header.update(PSF_SAMP=1.0, PSFNAXIS=3, PSFAXIS1=25, PSFAXIS2=25, PSFAXIS3=2, LOADED=9, ACCEPTED=9, CHI2=1.0)
    mask3 = np.stack([(narrow + wide) / 2, (wide - narrow) / 2, np.zeros((25, 25))])[None].astype("float32")
    column = fits.Column("PSF_MASK", format=f"{mask3.size}E", dim="(25,25,3)", array=mask3)
    made = fits.BinTableHDU.from_columns([column], header=table.header, name="PSF_DATA")
    made.header["PSFAXIS3"] = 3
    made.writeto(path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("-1", "full width at half maximum in arcsec"),
        ("missing.fits", "neither a width in arcsec nor a file"),
        ("g=1.1", "not band r"),
        ("coarse.fits", "has pixels of 0.5 arcsec and the image of 0.263"),
        ("bright.fits", "sums to 2 and not to 1"),
        ("hole.fits", "pixels without or below zero"),
        ("table.fits", "holds neither an image"),
    ],
)
def test_what_is_no_point_spread_function_is_refused(given, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kernel = star() / star().sum()
    fits.writeto("coarse.fits", kernel, fits.Header({"PIXSCALE": 0.5}))
    fits.writeto("bright.fits", 2 * kernel)
    kernel[3, 3] = np.nan
    fits.writeto("hole.fits", kernel)
    fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0])]).writeto("table.fits")
    with pytest.raises(InputError, match=sentence):
        read_psf(given, SCALE, "r")


def test_a_star_without_pixel_scale_is_reported(tmp_path):
    fits.writeto(tmp_path / "star.fits", star() / star().sum())
    assert "no pixel scale" in read_psf(str(tmp_path / "star.fits"), SCALE).note
    assert of_band("g=1.1,r=a.fits", "r") == "a.fits"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--target-fwhm", "0.6"], "give it with --psf"),
        (["--psf", "0.95", "--target-fwhm", "0.3"], "narrower than the pixels bear"),
        (["--psf", "0.95", "--target-fwhm", "1.2"], "is wider than the image's point-spread function"),
    ],
)
def test_targets_that_cannot_be_reached_are_refused(options, sentence, image_file, tmp_path, morph):
    status, _, said = morph("restore", image_file[0], *options, "--to", tmp_path / "out")
    assert (status, sentence in said, said.count("\n")) == (2, True, 1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    made = simulate_galaxies(folder / "set", 6, "des", seed=3, processes=1, progress=False)
    images = made.images.copy()
    images[1, :30], images[2] = np.nan, np.nan
    made.with_columns(image=images).write(folder / "holes")
    return folder / "holes"


def test_a_dataset_is_restored_with_its_rows(dataset, tmp_path, morph):
    status, said, _ = morph("restore", dataset, "--psf", "g=1.11,r=0.95,i=0.88", "--to", tmp_path / "out")
    assert (status, "6 galaxies" in said) == (0, True)
    before = Galaxies.open(dataset)
    made = {name: Galaxies.open(tmp_path / "out" / name) for name in ("restored", "sigma", "prior_fraction")}
    for galaxies in made.values():
        assert galaxies.ids.tolist() == before.ids.tolist()
        np.testing.assert_array_equal(galaxies.votes, before.votes)
    missing = np.isnan(before.images)
    np.testing.assert_array_equal(np.isnan(made["restored"].images), missing)
    np.testing.assert_array_equal(np.isinf(made["sigma"].images), missing)
    table = pq.read_table(tmp_path / "out" / "restored.parquet").to_pylist()
    assert [row["flags"] & Problem.NO_DATA for row in table] == [0, 0, 1, 0, 0, 0]
    assert all(abs(row["flux_ratio"] - 1) < 0.02 for k, row in enumerate(table) if k != 2)
    hidden = [np.isnan(np.array(row["shape_error"], dtype=float)).any() for row in table]
    flagged = [row["flags"] & Problem.ROUNDED > 0 for row in table]
    np.testing.assert_array_equal(flagged, hidden & ~missing.all(axis=(1, 2, 3)))
    assert not hidden[0]


def test_stamps_too_coarse_for_the_target_are_denoised_and_flagged(dataset, tmp_path, morph):
    assert morph("restore", dataset, "--psf", 1.1, "--target-fwhm", 0.6, "--to", tmp_path / "out")[0] == 0
    flags = np.array([row["flags"] for row in pq.read_table(tmp_path / "out" / "restored.parquet").to_pylist()])
    coarse = Galaxies.open(dataset).properties["pixel_scale"] * 1.84 > 0.6
    np.testing.assert_array_equal(flags & Problem.NOT_SHARPENED > 0, coarse)


def test_a_composite_is_denoised_and_never_sharpened(tmp_path, morph):
    picture = np.random.default_rng(0).integers(20, 40, (70, 90, 3), dtype="uint8")
    picture[20:40, 30:60] += 90
    Image.fromarray(picture).save(tmp_path / "galaxy.png")
    status, _, said = morph("restore", tmp_path / "galaxy.png", "--psf", 1.2, "--to", tmp_path / "out")
    assert (status, "stretched and of 8 bits" in said) == (2, True)
    assert morph("restore", tmp_path / "galaxy.png", "--to", tmp_path / "out")[0] == 0
    made = np.asarray(Image.open(tmp_path / "out" / "galaxy.png")).astype(float)
    assert made.shape == picture.shape
    assert made[:15].std() < 0.6 * picture[:15].std()
