"""Codes: side numbers, components, and files that are written and read whole or refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keras import ops

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.model import code_files
from morph.model.code_files import compress, decompress, encode
from morph.model.codes import MOST_NUMBERS, Codes, cosines
from morph.model.entropy_coding import LEVELS
from morph.model.side_numbers import SIDE_BYTES, SideNumbers
from morph.stamps.stretch import to_composite
from morph.votes import empty_votes, set_votes


@pytest.fixture(scope="module")
def model(classifier, galaxies):
    """The classifier with the lowest frequencies as components."""
    f = classifier.codes.frequencies
    y, x, _ = np.meshgrid(np.arange(f), np.arange(f), np.arange(3), indexing="ij")
    lowest = np.argsort(np.hypot(x, y).ravel(), kind="stable")[:MOST_NUMBERS]
    basis = np.eye(3 * f * f, dtype="float32")[:, lowest]
    classifier.codes.set_basis(np.zeros(3 * f * f), basis, np.zeros((MOST_NUMBERS, len(LEVELS))))
    numbers = classifier.code_numbers(galaxies(256, seed=7))["numbers"]
    classifier.codes.set_basis(np.zeros(3 * f * f), basis, np.quantile(numbers, LEVELS, axis=0).T)
    return classifier


@pytest.fixture
def dataset(tmp_path, galaxies):
    """Twelve galaxies of 80 pixels on a bright sky, two of them with little data; all that is known stands beside."""
    images = galaxies(12, seed=3, size=80) + np.float32([30, 0, -0.2])
    images[4, ..., 2], images[5] = np.nan, np.nan
    with GalaxiesWriter(tmp_path / "set", "flux", 80, {"source": "a test"}) as writer:
        for number, image in enumerate(images):
            votes = set_votes(empty_votes(), {"smooth-or-featured_smooth": 3})
            properties = {"pixel_scale": 0.2 + 0.01 * number, "radius": 2.0, "mag_r": 17.5}
            writer.add(Galaxy(f"g{number}", "des", image, votes, 10.0, -20.0, properties, "raw", "ZP 30"))
    return tmp_path / "set"


@pytest.fixture
def loaded(model, monkeypatch):
    """Every name of a model is `model`."""
    monkeypatch.setattr(code_files, "load_model", lambda name: model)


def test_side_numbers_take_fourteen_bytes_and_come_back():
    sky = np.float32([[0.0, 1e-4, -0.3], [5e4, -20.0, np.nan], [1e-9, 0, 0]])
    given = SideNumbers(sky, np.float32([0.02, 3.0, 1e-7]), np.float32([0.263, np.nan, 0.05]), np.array([0, 63, 17]))
    codes = given.to_bytes()
    assert {len(code) for code in codes} == {SIDE_BYTES} == {14}
    found = SideNumbers.from_bytes([code + b"rest" for code in codes])
    np.testing.assert_allclose(found.scale, given.scale, rtol=4e-4)
    np.testing.assert_allclose(found.pixel_scale, given.pixel_scale, rtol=1e-4)
    np.testing.assert_array_equal(found.step, given.step)
    # The sky's error is far below the galaxy's central brightness, or a millionth of the sky.
    assert np.isnan(found.sky[1, 2])
    error = np.abs(found.sky - sky)
    assert (error <= 1e-5 * given.scale[:, None] + 4e-6 * np.abs(sky))[np.isfinite(sky)].all()


def test_the_transform_is_orthonormal_and_all_frequencies_give_the_image_back():
    rows = cosines(64, 64)
    np.testing.assert_allclose(rows @ rows.T, np.eye(64), atol=1e-5)
    codes = Codes(16)
    codes.set_basis(np.zeros(108), np.eye(108, MOST_NUMBERS), np.zeros((MOST_NUMBERS, len(LEVELS))))
    smooth = (cosines(16, 6).T @ np.random.default_rng(0).normal(size=(6, 6)) @ cosines(16, 6)).astype("float32")
    image = np.stack([smooth, 2 * smooth, -smooth], axis=-1)[None]
    np.testing.assert_allclose(codes.reconstruct(codes(image)), image, atol=1e-5)


def test_codes_go_with_their_components(model):
    other = Codes.from_config(model.codes.get_config())
    assert not other.fitted
    other.set_weights(model.codes.get_weights())
    assert other.fitted
    assert other.digest == model.codes.digest
    other.set_basis(model.codes.centre + 1, model.codes.basis, model.codes.knots)
    assert other.digest != model.codes.digest


def test_a_dataset_comes_back_in_its_units_with_all_that_is_known(model, loaded, dataset, tmp_path):
    count, header = compress(dataset, tmp_path / "codes.parquet", "models:/a-test")
    assert (count, header.bytes, header.numbers, header.bits) == (12, 64, 200, 2)
    assert pq.read_schema(tmp_path / "codes.parquet").field("code").type == pa.binary(64)
    assert "image" not in pq.read_schema(tmp_path / "codes.parquet").names
    assert decompress(tmp_path / "codes.parquet", tmp_path / "decoded")[0] == 12
    before, after = Galaxies.open(dataset), Galaxies.open(tmp_path / "decoded")
    for name in ("ids", "surveys", "ra", "votes", "vote_kind", "zero_points"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    np.testing.assert_allclose(after.properties["pixel_scale"], before.properties["pixel_scale"], rtol=1e-4)
    assert (after.kind, after.size, after.about["source"]) == ("flux", 64, "a test")
    assert after.about["decoded"]["model"] == "models:/a-test"
    assert after.about["decoded"]["components"] == model.codes.digest
    assert np.isnan(after.images[4, ..., 2]).all()
    assert np.isnan(after.images[5]).all()
    whole = np.delete(np.arange(12), [4, 5])
    residual = (after.images - model.central(before.images))[whole]
    # The noise of 0.02 is what cannot be coded; sky and scale are right.
    assert residual.std() < 0.03
    np.testing.assert_allclose(np.median(residual, axis=(1, 2)), 0, atol=0.008)
    light = (model.central(before.images)[whole] - np.float32([30, 0, -0.2]))[:, 20:44, 20:44].sum(axis=(1, 2, 3))
    assert np.median(np.abs(residual[:, 20:44, 20:44].sum(axis=(1, 2, 3)) / light)) < 0.04


def test_pictures_come_back_as_pictures(model, loaded, galaxies, tmp_path):
    pictures = to_composite(galaxies(6, seed=4), 2.0)
    with GalaxiesWriter(tmp_path / "set", "composite", 64) as writer:
        for number, picture in enumerate(pictures):
            writer.add(Galaxy(f"{number}", "sdss", picture, empty_votes()))
    compress(tmp_path / "set", tmp_path / "codes.parquet", "a", numbers=150, bits=8)
    decompress(tmp_path / "codes.parquet", tmp_path / "decoded")
    found = Galaxies.open(tmp_path / "decoded")
    assert found.images.dtype == np.uint8
    assert np.isnan(found.properties["pixel_scale"]).all()
    assert np.abs(found.images.astype(float) - pictures).mean() < 8


def test_batches_do_not_change_codes(model, loaded, dataset, tmp_path, monkeypatch):
    compress(dataset, tmp_path / "whole.parquet", "a", numbers=50, bits=8)
    monkeypatch.setattr(code_files, "ROWS", 5)
    compress(dataset, tmp_path / "parts.parquet", "a", numbers=50, bits=8)
    whole, parts = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "parts"))
    assert whole.equals(parts)
    galaxies = Galaxies.open(dataset)
    assert whole["code"].to_pylist() == encode(model, galaxies, 50, 8)


def test_bad_input_is_one_sentence_and_nothing_is_written(model, loaded, dataset, tmp_path, monkeypatch):
    codes, to = tmp_path / "codes.parquet", tmp_path / "decoded"
    compress(dataset, codes, "a")
    table = pq.read_table(codes)
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    (tmp_path / "cut.parquet").write_bytes(codes.read_bytes()[:-200])
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    about = json.loads(table.schema.metadata[b"morph"])
    for name, changed in (("bits", {"bits": 5}), ("numbers", {"numbers": 9000}), ("words", {"numbers": "many"})):
        document = {**about, "codes": {**about["codes"], **changed}}
        pq.write_table(table.replace_schema_metadata({"morph": json.dumps(document)}), tmp_path / f"{name}.parquet")
    newer = table.replace_schema_metadata({"morph": json.dumps({**about, "format": 99})})
    pq.write_table(newer, tmp_path / "newer.parquet")
    said = {
        "empty": "holds no codes",
        "cut": "cannot be read as codes",
        "other": "does not hold codes",
        "bits": "damaged",
        "numbers": "damaged",
        "words": "damaged",
        "newer": "has format 99",
        "missing": "There is no file of codes",
    }
    for name, words in said.items():
        with pytest.raises(InputError, match=words):
            decompress(tmp_path / f"{name}.parquet", to)
    centre = ops.convert_to_numpy(model.codes.centre)
    model.codes.centre.assign(centre + 1)
    model.codes.__dict__.pop("digest")
    with pytest.raises(InputError, match="has other components"):
        decompress(codes, to)
    model.codes.centre.assign(centre)
    model.codes.__dict__.pop("digest")
    model.codes.is_fitted.assign(0.0)
    for refused in (lambda: compress(dataset, tmp_path / "new.parquet", "a"), lambda: decompress(codes, to)):
        with pytest.raises(InputError, match="no components for codes"):
            refused()
    model.codes.is_fitted.assign(1.0)
    assert not to.exists()
    assert not (tmp_path / "new.parquet").exists()


def test_scores_and_empty_datasets_are_refused(loaded, tmp_path):
    (tmp_path / "scores").mkdir()
    pq.write_table(pa.table({"id": ["a"], "embedding": [[0.0]]}), tmp_path / "scores" / "tile.parquet")
    with GalaxiesWriter(tmp_path / "empty", "flux"):
        pass
    for name, words in (("scores", "holds no images"), ("empty", "holds no galaxies"), ("none", "no dataset at")):
        with pytest.raises(InputError, match=words):
            compress(tmp_path / name, tmp_path / "codes.parquet", "a")
    with pytest.raises(InputError, match="holds no images"):
        compress(tmp_path / "scores" / "tile.parquet", tmp_path / "codes.parquet", "a")
    assert not (tmp_path / "codes.parquet").exists()
