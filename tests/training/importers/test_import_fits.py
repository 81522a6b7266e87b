"""`morph import` of FITS cutouts, cubes and tiles, as a user types it."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from morph.dataset import Galaxies
from morph.decision_tree import VOTE_COLUMNS

#: Counts of one nanomaggy at zero point 30.
COUNTS = 1000.0
FLUX = {"g": 20.0, "r": 40.0, "i": 60.0}
PLACES = {"a": (60.0, 60.0), "b": (150.0, 90.0), "c": (100.0, 160.0)}


def counts(flux: float, size: int = 80, centres=((39.5, 39.5),), sigma: float = 3.0, seed: int = 0) -> np.ndarray:
    """Round Gaussian galaxies of `flux` nanomaggies each: float32 [size, size]."""
    y, x = np.mgrid[:size, :size]
    image = np.random.default_rng(seed).normal(0, 1, (size, size))
    for x0, y0 in centres:
        profile = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        image += COUNTS * flux * profile
    return image.astype("float32")


def sky(size: int) -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [59.09, -52.811]
    wcs.wcs.crpix = [(size + 1) / 2] * 2
    wcs.wcs.cd = np.diag([-0.263 / 3600, 0.263 / 3600])
    return wcs.to_header()


@pytest.fixture
def cutouts(tmp_path):
    """A folder of two galaxies, one file a band."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for name in ("north", "south"):
        for band, flux in FLUX.items():
            header = sky(80) + fits.Header({"MAGZERO": 30.0, "BAND": band})
            fits.PrimaryHDU(counts(flux), header).writeto(folder / f"{name}_{band}.fits")
    return folder


@pytest.fixture
def tile(tmp_path):
    """A tile with three galaxies, and their ra and dec."""
    folder = tmp_path / "tile"
    folder.mkdir()
    for band, flux in FLUX.items():
        header = sky(220) + fits.Header({"MAGZERO": 30.0})
        image = counts(flux, 220, PLACES.values(), seed=ord(band))
        fits.PrimaryHDU(image, header).writeto(folder / f"DES0356-5248_{band}.fits")
    ra, dec = WCS(sky(220)).wcs_pix2world(*np.transpose(list(PLACES.values())), 0)
    return folder, dict(zip(PLACES, zip(ra, dec, strict=True), strict=True))


def test_cutouts_keep_their_flux(morph, cutouts, tmp_path):
    status, _, error = morph("import", cutouts, "--survey", "des", "--to", tmp_path / "set")
    assert (status, error) == (0, "")
    galaxies = Galaxies.open(tmp_path / "set")
    assert (galaxies.kind, galaxies.ids.tolist()) == ("flux", ["north", "south"])
    np.testing.assert_allclose(galaxies.images[0].sum(axis=(0, 1)), list(FLUX.values()), rtol=0.03)
    np.testing.assert_allclose(galaxies.ra, 59.09, atol=1e-5)
    # Half of a round Gaussian's light lies within 1.177 sigma.
    np.testing.assert_allclose(galaxies.properties["radius"], 1.177 * 3 * 0.263, rtol=0.1)
    np.testing.assert_allclose(galaxies.properties["mag_r"], 22.5 - 2.5 * np.log10(40), atol=0.1)


def test_wider_stamps_keep_the_scale_and_have_no_data_outside_the_image(morph, cutouts, tile, write, tmp_path):
    folder, places = tile
    rows = [f"{name},{ra},{dec},2.0" for name, (ra, dec) in places.items()]
    catalogue = write("galaxies.csv", "id,ra,dec,radius", *rows)
    for name, images in (("cutouts", (cutouts,)), ("tile", (folder, "--catalog", catalogue))):
        sets = {}
        for size in (96, 160):
            words = ("--survey", "des", "--stamp-size", size, "--to", tmp_path / f"{name}{size}")
            assert morph("import", *images, *words)[0] == 0
            sets[size] = Galaxies.open(tmp_path / f"{name}{size}")
        assert sets[160].size == 160
        scales = [galaxies.properties["pixel_scale"] for galaxies in sets.values()]
        np.testing.assert_allclose(scales[0], scales[1])
        middle = sets[160].images[:, 32:128, 32:128]
        np.testing.assert_allclose(middle, sets[96].images, rtol=1e-4, atol=1e-4)
    assert np.isfinite(sets[96].images).all()


def test_a_dataset_keeps_where_zero_points_come_from(morph, cutouts, tmp_path):
    _, output, _ = morph("import", cutouts, "--survey", "des", "--to", tmp_path / "set")
    galaxies = Galaxies.open(tmp_path / "set")
    (words,) = set(galaxies.zero_points)
    assert words == "g, r, i: 30.000 by header MAGZERO"
    assert galaxies.zero_point_lines() == [f"Zero points of 2 of them: {words}."]
    assert galaxies.zero_point_lines()[0] in output
    given = ("--zero-point", "27.5", "--to", tmp_path / "other")
    assert "27.500 by option --zero-point" in morph("import", cutouts, "--survey", "des", *given)[1]
    other = Galaxies.open(tmp_path / "other").select(np.array([0]))
    both = Galaxies.concatenate([galaxies.select(np.array([1])), other])
    both.write(tmp_path / "both")
    assert len(set(Galaxies.open(tmp_path / "both").zero_points)) == 2


def test_zero_point_given_overrules_the_header(morph, cutouts, tmp_path):
    morph("import", cutouts, "--survey", "des", "--zero-point", "27.5", "--to", tmp_path / "set")
    flux = Galaxies.open(tmp_path / "set").images[0].sum(axis=(0, 1))
    np.testing.assert_allclose(flux, [10 * value for value in FLUX.values()], rtol=0.03)


def test_labels_reach_cutouts_by_name(morph, cutouts, write, tmp_path):
    labels = write("labels.csv", "id,label", "south,merger", "north,elliptical")
    morph("import", cutouts, "--labels", labels, "--survey", "des", "--to", tmp_path / "set")
    galaxies = Galaxies.open(tmp_path / "set")
    merger = galaxies.votes[:, VOTE_COLUMNS.index("merging_merger")]
    assert dict(zip(galaxies.ids.tolist(), merger.tolist(), strict=True)) == {"north": 0, "south": 1}


def test_a_cube_of_galaxies_gives_one_each(morph, tmp_path):
    for band, flux in FLUX.items():
        cube = np.stack([counts(flux * (i + 1), seed=i) for i in range(3)])
        fits.PrimaryHDU(cube).writeto(tmp_path / f"{band}.fits")
    status, _, _ = morph(
        "import", tmp_path / "*.fits", "--survey", "des", "--zero-point", "30", "--to", tmp_path / "set"
    )
    assert status == 0
    totals = Galaxies.open(tmp_path / "set").images.sum(axis=(1, 2))
    np.testing.assert_allclose(totals, np.outer([1, 2, 3], list(FLUX.values())), rtol=0.03)


def test_a_cube_of_bands_is_read_by_its_letters(morph, tmp_path):
    fits.PrimaryHDU(np.stack([counts(flux) for flux in FLUX.values()])).writeto(tmp_path / "galaxy.fits")
    known = ("import", tmp_path / "galaxy.fits", "--survey", "des", "--zero-point", 30, "--to", tmp_path / "set")
    status, _, error = morph(*known)
    assert status == 2
    assert "--bands" in error
    status, _, _ = morph(*known, "--bands", "gri")
    np.testing.assert_allclose(Galaxies.open(tmp_path / "set").images[0].sum(axis=(0, 1)), [20, 40, 60], rtol=0.03)


def test_a_truncated_cutout_among_others_is_reported_and_left_out(morph, cutouts, tmp_path):
    path = cutouts / "north_r.fits"
    path.write_bytes(path.read_bytes()[:6000])
    status, output, _ = morph("import", cutouts, "--survey", "des", "--to", tmp_path / "set")
    assert status == 0
    assert "images that cannot be used (north" in output
    assert Galaxies.open(tmp_path / "set").ids.tolist() == ["south"]


def test_a_cutout_without_data_is_reported_and_left_out(morph, cutouts, tmp_path):
    for band in FLUX:
        fits.PrimaryHDU(np.full((80, 80), np.nan, "float32"), sky(80) + fits.Header({"MAGZERO": 30.0})).writeto(
            cutouts / f"north_{band}.fits", overwrite=True
        )
    _, output, _ = morph("import", cutouts, "--survey", "des", "--to", tmp_path / "set")
    assert "images without data at the galaxy (north)" in output
    assert Galaxies.open(tmp_path / "set").ids.tolist() == ["south"]


def test_a_missing_band_stays_unknown_and_is_reported(morph, cutouts, tmp_path):
    (cutouts / "north_g.fits").unlink()
    _, output, _ = morph("import", cutouts, "--survey", "des", "--to", tmp_path / "set")
    assert "1 of them lack a band" in output
    assert np.isnan(Galaxies.open(tmp_path / "set").images[0, ..., 0]).all()


def test_a_tile_gives_the_galaxies_of_its_catalogue(morph, tile, write, tmp_path):
    folder, places = tile
    rows = [f"{name},{ra},{dec},1.0,{'ring' if name == 'b' else 'no_ring'}" for name, (ra, dec) in places.items()]
    catalogue = write("galaxies.csv", "id,ra,dec,radius,label", *rows, "far,10.0,10.0,1.0,ring")
    known = ("--catalog", catalogue, "--labels", catalogue, "--survey", "des")
    status, output, _ = morph("import", folder, *known, "--to", tmp_path / "set")
    assert status == 0
    assert "galaxies that lie on none of the tiles (far)" in output
    galaxies = Galaxies.open(tmp_path / "set")
    assert sorted(galaxies.ids) == list(PLACES)
    ring = galaxies.votes[:, VOTE_COLUMNS.index("odd-feature_ring")]
    assert dict(zip(galaxies.ids.tolist(), ring.tolist(), strict=True)) == {"a": 0, "b": 1, "c": 0}
    for image in galaxies.images:
        np.testing.assert_allclose(image.sum(axis=(0, 1)), list(FLUX.values()), rtol=0.06)


def test_labels_reach_the_sources_of_a_tile_by_position(morph, tile, write, tmp_path):
    folder, places = tile
    rows = [f"{name},{ra},{dec},elliptical" for name, (ra, dec) in places.items()]
    labels = write("labels.csv", "objid,ra,dec,label", *rows)
    status, output, _ = morph(
        "import", folder, "--detect", "--labels", labels, "--survey", "des", "--to", tmp_path / "set"
    )
    assert status == 0
    assert "matched by position" in output
    galaxies = Galaxies.open(tmp_path / "set")
    assert sorted(galaxies.ids) == list(PLACES)
    assert galaxies.votes[:, VOTE_COLUMNS.index("smooth-or-featured_smooth")].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{tile}", "--catalog", "{folder}/far.csv"], "None of the 1 galaxies of the catalogue lies on any"),
        (["{tile}", "--catalog", "{folder}/none.csv"], "There is no catalogue at"),
        (["{tile}", "--catalog", "{folder}/far.csv", "--detect"], "not both"),
        (["{tile}", "--detect", "--pixel-scale", "0.2"], "--pixel-scale is for cutouts"),
        (["{folder}/words_g.fits"], "No galaxy can be imported"),
        (["{cutouts}", "{folder}/picture.png"], "import one kind at a time"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(morph, tile, cutouts, write, tmp_path, arguments, said):
    write("far.csv", "id,ra,dec,radius", "a,10.0,10.0,1.0")
    write("picture.png", "")
    write("words_g.fits", "this is no FITS file")
    filled = [argument.format(tile=tile[0], cutouts=cutouts, folder=tmp_path) for argument in arguments]
    status, output, error = morph("import", *filled, "--survey", "des", "--to", tmp_path / "set")
    assert (status, output) == (2, "")
    assert said in error
    assert error.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.name.strip(".").startswith("set")]


@pytest.mark.real
def test_the_real_cubes_are_forty_six_galaxies(morph, real_data, tmp_path):
    status, _, _ = morph(
        "import", real_data / "des-galaxies", "--survey", "des", "--zero-point", "30", "--to", tmp_path / "set"
    )
    assert status == 0
    galaxies = Galaxies.open(tmp_path / "set")
    assert len(galaxies) == 46
    assert np.isfinite(galaxies.images).all()
    assert (galaxies.properties["mag_g"] > galaxies.properties["mag_i"]).mean() > 0.9, "mostly red galaxies"
