"""Whatever galaxies come in: the same numbers reach the model, and what cannot be read is one sentence."""

import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, NDData
from astropy.utils.masked import Masked

from morph.decision_tree import ANSWER_COLUMNS
from morph.errors import InputError
from serving.client import Answers, MorphClient
from serving.client.images import Images, batch, is_ready, pixels
from serving.client.pictures import FitsLayout

DESCRIPTION = {"size": 16, "survey": "des", "bands": ["g", "r", "z"]}


def read(galaxies, cut=False):
    """Everything as one array, and the names of what came from files."""
    parts = list(Images(DESCRIPTION, None, cut).read(galaxies))
    arrays = [part if isinstance(part, np.ndarray) else part.image[None] for part in parts]
    return np.concatenate(arrays), [getattr(part, "id", None) for part in parts]


@pytest.fixture
def stamps() -> np.ndarray:
    return np.random.default_rng(0).normal(1, 1, (4, 16, 16, 3)).astype("float32")


def test_arrays_lists_and_single_galaxies_are_the_same(stamps):
    for form in (stamps, list(stamps), [stamps[:1], stamps[1], list(stamps[2:])], (each for each in stamps)):
        np.testing.assert_array_equal(read(form)[0], stamps)
    np.testing.assert_array_equal(read(stamps.astype(">f8"))[0], stamps)
    assert read(stamps.astype(">f8"))[0].dtype == np.float32
    assert read((stamps * 10).clip(0).astype("uint8"))[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("unit", "nanomaggy"),
    [
        ("nmgy", 1),
        ("mgy", 1e9),
        ("nJy", 10 ** (-0.4 * (31.4 - 22.5))),
        ("uJy", 10 ** (-0.4 * (23.9 - 22.5))),
        ("nJy / pix", 10 ** (-0.4 * (31.4 - 22.5))),
        ("AB", 1e9),
        ("erg / (s cm2 Hz)", 10 ** (0.4 * (48.6 + 22.5))),
    ],
)
def test_flux_of_any_unit_arrives_in_nanomaggies(stamps, unit, nanomaggy):
    """By the zero points of the AB scale: 22.5 for nanomaggies, 31.4 for nJy, 23.9 for µJy, -48.6 in cgs."""
    quantity = u.Quantity(stamps.astype(float) / nanomaggy, unit)
    for form in (quantity, NDData(quantity), [CCDData(each) for each in quantity]):
        np.testing.assert_allclose(read(form)[0], stamps, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("unit", ["adu", "electron", "nJy / arcsec2", "m", ""])
def test_a_unit_that_is_not_a_flux_is_one_sentence(stamps, unit):
    with pytest.raises(InputError, match="cannot be converted to nanomaggies; give flux density per pixel"):
        read(u.Quantity(stamps, unit))


def test_masked_pixels_become_nan_and_uncertainties_are_left_out(stamps):
    from astropy.nddata import StdDevUncertainty

    mask = np.zeros(stamps.shape, dtype=bool)
    mask[:, :4] = True
    expected = np.where(mask, np.nan, stamps)
    for form in (
        NDData(stamps, mask=mask, uncertainty=StdDevUncertainty(stamps)),
        CCDData(stamps, mask=mask, unit="nmgy"),
        np.ma.MaskedArray(stamps, mask),
        Masked(u.Quantity(stamps, "nmgy"), mask),
    ):
        np.testing.assert_array_equal(read(form)[0], expected)
    with pytest.raises(InputError, match="only flux may have masked pixels"):
        pixels(np.ma.MaskedArray(np.ones((16, 16, 3), "uint8"), mask[0]))


def test_images_by_band_are_stacked_and_what_lacks_is_nan(stamps):
    g, r = CCDData(stamps[0, ..., 0], unit="nmgy"), stamps[0, ..., 1]
    found, _ = read({"r": r, "g": g})
    np.testing.assert_array_equal(found[0, ..., :2], stamps[0, ..., :2])
    assert np.isnan(found[0, ..., 2]).all()
    np.testing.assert_array_equal(read({"g": stamps[..., 0], "r": stamps[..., 1], "z": stamps[..., 2]})[0], stamps)
    for wrong, problem in (
        ({"i": r}, "reads the bands g, r, z, and not i"),
        ({"g": r, "r": r[:4]}, r"one shape; these are g: float32\[16, 16\], r: float32\[4, 16\]"),
        ({}, "these are none"),
    ):
        with pytest.raises(InputError, match=problem):
            read(wrong)


def test_images_of_any_size_are_cut_as_files_are(tmp_path):
    from PIL import Image

    y, x = np.mgrid[:90, :70].astype(float)
    light = 200 * np.exp(-np.hypot(x - 35, y - 44) / 4)[..., None] * [1.0, 0.9, 0.8]
    picture = light.astype("uint8")
    Image.fromarray(picture).save(tmp_path / "a.png")
    from_file, names = read(tmp_path / "a.png")
    assert names == ["a"]
    np.testing.assert_array_equal(read(picture, cut=True)[0], from_file)
    np.testing.assert_array_equal(read([str(tmp_path), np.array([str(tmp_path / "*.png")])])[0][1:], from_file)
    flux, _ = read([light, light[5:-5]], cut=True)
    assert flux.shape == (2, 16, 16, 3)
    np.testing.assert_allclose(flux[0], flux[1], rtol=0.05, atol=0.5)
    with pytest.raises(InputError, match="at least 12 x 12"):
        read(light[:9], cut=True)


@pytest.mark.parametrize(
    ("galaxies", "problem"),
    [
        (np.zeros((16, 16)), "are not a batch"),
        (np.zeros((3, 16, 16)), "are not a batch"),
        (np.zeros((2, 16, 16, 3), "int32"), "neither composites"),
        (3, "A int is not an image of a galaxy"),
        (None, "A NoneType is not an image"),
        ("nowhere.png", "The image 'nowhere.png' does not exist"),
        ("no/*.fits", "No JPEG, PNG or FITS image matches"),
        (__file__, "cannot be read"),
    ],
)
def test_what_is_not_a_galaxy_is_one_sentence(galaxies, problem):
    with pytest.raises(InputError, match=problem):
        read(galaxies)


def test_only_arrays_are_ready_before_anything_is_known_of_the_model(stamps):
    assert all(is_ready(each, cut=False) for each in (stamps, [stamps[0]], u.Quantity(stamps, "nJy")))
    assert not any(
        is_ready(each, cut=False) for each in ([], "a.png", {"g": stamps}, np.array(["a.png"]), iter(stamps))
    )
    assert not is_ready(stamps, cut=True)


def test_numbers_too_large_for_float32_become_infinite_without_a_word():
    assert np.isinf(batch(np.full((1, 4, 4, 3), 1e300))).all()


@pytest.mark.parametrize(
    ("module", "use", "extra"),
    [
        ("PIL", lambda path: read(path), "images"),
        ("sep", lambda path: read(np.zeros((20, 20, 3)), cut=True), "images"),
        ("pyarrow", lambda path: ANSWERS.to_arrow(), "tables"),
        ("astropy.table", lambda path: ANSWERS.to_table(), "tables"),
    ],
)
def test_a_package_that_is_not_there_is_named_and_how_to_get_it(monkeypatch, tmp_path, module, use, extra):
    (tmp_path / "a.png").write_text("")
    # What was imported before would hide that the package is gone. Packages get it back at the end.
    modules = dict(sys.modules)
    hiding = ("serving.client.pictures", "morph.fits", "morph.stamps", "morph.tiles")
    for name in [name for name in modules if name.startswith(hiding)]:
        package, _, child = name.rpartition(".")
        monkeypatch.setattr(modules[package], child, modules[name])
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"needs {module}; install it with `pip install 'morph-client\[{extra}\]'`."):
        use(tmp_path / "a.png")


ANSWERS = Answers(
    {"probabilities": np.float32([[0.75, 0.25], [0.5, 0.5]]), "embedding": np.ones((2, 3), "float32")},
    {"name": "morph", "version": 3, "questions": [{"name": "bar", "answers": ["yes", "no"]}]},
    ids=("a", "b"),
    flags=((), ("edge", "saturated")),
)


def test_answers_turn_into_tables_with_named_columns():
    for table in (ANSWERS.to_table(), ANSWERS.to_arrow()):
        columns = table.colnames if hasattr(table, "colnames") else table.column_names
        assert columns == ["id", "flags", "bar_yes", "bar_no", "embedding", "model", "model_version"]
        assert list(map(str, table["flags"])) == ["", "edge saturated"]
        assert [float(p) for p in np.asarray(table["bar_yes"])] == [0.75, 0.5]
    assert ANSWERS.to_table()["embedding"].shape == (2, 3)
    assert ANSWERS.to_arrow()["embedding"].type.list_size == 3
    with pytest.raises(InputError, match="'concentration' was not fetched"):
        ANSWERS.named("concentration")


def test_files_of_every_kind_are_answered_together(client, classifier, flux, composites, tmp_path):
    from astropy.io import fits
    from PIL import Image

    Image.fromarray(composites[0]).save(tmp_path / "a.png")
    for band, plane in zip("grz", np.moveaxis(flux[0], -1, 0), strict=True):
        fits.PrimaryHDU(plane, fits.Header({"FILTER": band, "MAGZERO": 22.5})).writeto(tmp_path / f"b_{band}.fits")
    answers = client.classify([tmp_path, composites[1]])
    assert answers.ids == ("a", "b", "")
    table = answers.to_table()
    assert table["id"].tolist() == ["a", "b", ""]
    assert table["model_version"].tolist() == [3, 3, 3]
    np.testing.assert_allclose(
        table["bar_weak"][2], client.named(classifier.answer(composites)["probabilities"])[1]["bar"]["weak"], atol=1e-5
    )
    columns = {f"{name}{ending}" for name in ANSWER_COLUMNS for ending in ("", "_tree", "_concentration")}
    assert columns | {"anomaly"} <= set(answers.to_arrow().column_names)
    assert not [name for name in table.colnames if "-" in name]
    again = client.classify(tmp_path / "b_g.fits", ["anomaly"], layout=FitsLayout("des", zero_point=25.0))
    assert list(again) == ["anomaly"]


def test_no_galaxies_at_all_are_answered(client):
    answers = client.classify([])
    assert answers["probabilities"].shape == (0, 42)
    assert len(answers.to_table()) == len(answers.to_arrow()) == 0


def test_files_are_asked_for_what_the_model_takes_before_they_are_read(tmp_path):
    with MorphClient("127.0.0.1:1", retries=0) as client, pytest.raises(InputError, match="No server answers"):
        client.classify(tmp_path / "a.png")
