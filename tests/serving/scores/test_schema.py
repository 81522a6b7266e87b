"""The score file: the contract's columns, what stands beside them, and nothing where writing fails."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.table import Table

from morph.checks import SCORES_FORMAT
from morph.decision_tree import ANSWER_COLUMNS, ANSWERS, TREE, column_name
from morph.errors import InputError
from morph.stamps.image_statistics import NAMES
from morph.stamps.measurements import COLUMNS
from serving.scores.schema import PROPERTIES, TileScores, write_scores
from serving.scores.score_files import ScoreFiles, read_about

WORTH = [column_name(f"{question.name}_concentration") for question in TREE]
ABOUT = {"model": "morph", "model_version": "7", "survey": "des"}


@pytest.fixture(scope="module")
def description(classifier) -> dict:
    return {**classifier.describe(), "version": 7}


def scores(count: int = 3, width: int = 64) -> TileScores:
    random = np.random.default_rng(0)
    answered = np.arange(count) != 1
    outputs = {
        "probabilities": random.random((count, len(ANSWERS)), "float32"),
        "tree_probabilities": random.random((count, len(ANSWERS)), "float32"),
        "concentration": 10 * random.random((count, len(ANSWERS)), "float32"),
        "embedding": random.random((count, width), "float32"),
        "similarity": random.random((count, 50), "float32"),
        "reconstruction_error": random.random(count, "float32"),
        "anomaly_score": np.array([0.5, 0.5, 0.001], "float32")[:count],
        "anomaly": np.array([0, np.nan, 1], "float32")[:count],
    }
    statistics = np.where(answered[:, None], random.random((count, len(NAMES))), np.nan)
    place = np.arange(count, dtype=float)
    flags = np.where(answered, 1, 32).astype("int32")
    ids = np.array([f"g{i}" for i in range(count)], dtype=object)
    measured = dict.fromkeys(PROPERTIES, 20 + place)
    pictures, bands = np.full(count, None, dtype=object), np.full(count, "gri", dtype=object)
    return TileScores(ids, place, -place, place, place, flags, outputs, statistics, measured, pictures, bands)


def test_the_columns_are_the_contracts(tmp_path, description):
    write_scores(tmp_path / "a.parquet", "a", scores(), description, ABOUT)
    schema = pq.read_schema(tmp_path / "a.parquet")
    before = ["id", "ra", "dec", "tile", "x", "y"]
    measured = ["mag_g", "mag_r", "mag_i", "radius", "snr", *COLUMNS, "masked"]
    tree = [f"{name}_tree" for name in ANSWER_COLUMNS]
    assert schema.names == [
        *before,
        *measured,
        *ANSWER_COLUMNS,
        *tree,
        *WORTH,
        "embedding",
        "similarity",
        "reconstruction_error",
        "anomaly_score",
        "anomaly",
        "image_statistics",
        "picture",
        "bands",
        "flags",
        "model",
        "model_version",
    ]
    assert schema.field("embedding").type == pa.list_(pa.float32(), 64)
    assert schema.field("similarity").type == pa.list_(pa.float32(), 50)
    assert {schema.field(name).type for name in ANSWER_COLUMNS} == {pa.float32()}
    assert schema.field("anomaly").type == pa.bool_()


def test_what_is_written_is_read(tmp_path, description):
    given = scores()
    write_scores(tmp_path / "a.parquet", "DES0356-5248", given, description, ABOUT)
    table = pq.read_table(tmp_path / "a.parquet")
    assert table["id"].to_pylist() == given.ids.tolist()
    assert table["tile"].to_pylist() == ["DES0356-5248"] * 3
    assert table["flags"].to_pylist() == [1, 32, 1]
    assert table["model_version"].to_pylist() == ["7"] * 3
    for row in (0, 2):
        for name in ("embedding", "similarity"):
            np.testing.assert_array_equal(table[name][row].as_py(), given.outputs[name][row])
        np.testing.assert_allclose(table["image_statistics"][row].as_py(), given.image_statistics[row], rtol=1e-6)
        written = [table[name][row].as_py() for name in ANSWER_COLUMNS]
        np.testing.assert_array_equal(written, given.outputs["probabilities"][row])
        down = [table[f"{name}_tree"][row].as_py() for name in ANSWER_COLUMNS]
        np.testing.assert_array_equal(down, given.outputs["tree_probabilities"][row])
    assert table["anomaly"].to_pylist() == [False, None, True]
    assert table["mag_r"].to_pylist() == [20, 21, 22]
    shape = TREE.slices["bar"]
    np.testing.assert_allclose(
        table["bar_concentration"][0].as_py(), given.outputs["concentration"][0, shape].sum(), 1e-6
    )


def test_a_galaxy_that_was_not_asked_about_has_null_answers(tmp_path, description):
    write_scores(tmp_path / "a.parquet", "a", scores(), description, ABOUT)
    (row,) = pq.read_table(tmp_path / "a.parquet").slice(1, 1).to_pylist()
    assert row.pop("embedding") == [None] * 64
    assert row.pop("similarity") == [None] * 50
    empty = {name for name, value in row.items() if value is None}
    tree = {f"{name}_tree" for name in ANSWER_COLUMNS}
    assert empty == {*ANSWER_COLUMNS, *tree, *WORTH, "reconstruction_error", "anomaly_score", "anomaly", "picture"}


def test_units_descriptions_and_provenance_stand_in_the_schema(tmp_path, description):
    write_scores(tmp_path / "a.parquet", "a", scores(), description, {**ABOUT, "catalogue": None})
    schema = pq.read_schema(tmp_path / "a.parquet")
    words = {b"unit": b"deg", b"description": b"right ascension", b"ucd": b"pos.eq.ra;meta.main"}
    assert schema.field("ra").metadata == words
    assert all(field.metadata[b"description"] for field in schema)
    assert b"32 no data" in schema.field("flags").metadata[b"description"]
    assert read_about(tmp_path / "a.parquet") == {**ABOUT, "catalogue": None, "format": SCORES_FORMAT}


def test_a_tile_without_galaxies_has_a_file_of_the_same_columns(tmp_path, description):
    write_scores(tmp_path / "a.parquet", "a", scores(), description, ABOUT)
    write_scores(tmp_path / "b.parquet", "b", scores(0), description, ABOUT)
    table = pq.read_table(tmp_path / "b.parquet")
    assert len(table) == 0
    assert table.schema == pq.read_schema(tmp_path / "a.parquet")


def test_where_writing_fails_there_is_not_a_file_and_the_old_one_stays(tmp_path, description, monkeypatch):
    path = tmp_path / "a.parquet"
    write_scores(path, "a", scores(), description, ABOUT)
    before = path.read_bytes()

    def full_disk(table, where, **_):
        where.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full_disk)
    for name in ("a", "b"):
        with pytest.raises(InputError, match="No space left"):
            write_scores(tmp_path / f"{name}.parquet", name, scores(), description, ABOUT)
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
    assert path.read_bytes() == before


def test_a_file_that_is_not_a_score_file_is_said(tmp_path):
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match="cannot be read"):
        read_about(tmp_path / "text.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="not a score file"):
        read_about(tmp_path / "other.parquet")


def test_a_score_file_of_a_newer_morph_is_refused(tmp_path, description):
    write_scores(tmp_path / "a.parquet", "a", scores(), description, {**ABOUT, "format": SCORES_FORMAT + 1})
    with pytest.raises(InputError, match=rf"score file '.*a\.parquet' has format {SCORES_FORMAT + 1}"):
        read_about(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (None, "1, .*no similarity vectors, .*fluxes in nanomaggies instead of nJy"),
        (1, "1, .*no similarity vectors, .*fluxes in nanomaggies instead of nJy"),
        (2, r"2, of an earlier morph: no similarity vectors\."),
    ],
)
def test_a_score_file_of_an_earlier_morph_is_refused(tmp_path, description, number, reason):
    path = tmp_path / "a.parquet"
    write_scores(path, "a", scores(), description, ABOUT)
    table = pq.read_table(path)
    about = {**ABOUT, "format": number} if number else ABOUT
    pq.write_table(table.replace_schema_metadata({"morph": json.dumps(about)}), path)
    for read in (read_about, lambda path: ScoreFiles.open(path.parent)):
        with pytest.raises(InputError, match=f"has format {reason}.*--overwrite"):
            read(path)


def test_a_model_without_similarity_vectors_is_refused(tmp_path, description):
    earlier = {name: value for name, value in description.items() if name != "similarity_size"}
    with pytest.raises(InputError, match=r"The model morph 7 was exported by an earlier morph.*`morph export`"):
        write_scores(tmp_path / "a.parquet", "a", scores(), earlier, ABOUT)


def test_fluxes_are_written_in_a_unit_that_fits_has(tmp_path, description):
    measured = {"flux_r": np.array([1.0, np.nan, 2.0]), "flux_err_r": np.full(3, 0.1)}
    some = scores()
    write_scores(
        tmp_path / "a.parquet", "a", replace(some, properties={**some.properties, **measured}), description, ABOUT
    )
    table = Table.read(tmp_path / "a.parquet")
    assert table["flux_r"].unit == units.nJy
    expected = (1.0 * units.ABflux * 1e-9).to_value(units.nJy)
    np.testing.assert_allclose(np.ma.filled(table["flux_r"], np.nan), [expected, np.nan, 2 * expected], rtol=1e-6)
    np.testing.assert_allclose(table["flux_err_r"], 0.1 * expected, rtol=1e-6)


def test_magnitudes_are_named_after_the_band_that_was_measured(tmp_path, description):
    write_scores(tmp_path / "a.parquet", "a", scores(), description, {**ABOUT, "survey": "decals"})
    table = pq.read_table(tmp_path / "a.parquet")
    assert [name for name in table.column_names if re.fullmatch("mag_.", name)] == ["mag_g", "mag_r", "mag_z"]
    assert {"flux_z", "flux_err_z", "mag_err_z"} <= set(table.column_names)
    assert table["mag_z"].to_pylist() == [20, 21, 22]
    assert table.schema.field("mag_z").metadata[b"description"].startswith(b"magnitude in z (AB)")
