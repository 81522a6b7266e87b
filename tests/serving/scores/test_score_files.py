"""The reader of score files: one catalogue from a folder, whole or selected, in the formats of the field."""

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

import morph
from morph.errors import InputError
from tests.serving.scores.invented import write_tile, write_tiles

HOW_TO = Path(__file__).parents[3] / "docs/how-to/catalogue.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiles(tmp_path_factory.mktemp("reader") / "scores", tiles=2)


def test_a_folder_is_one_table_with_units_and_masks(folder):
    rows, table = pq.read_table(folder), morph.open_scores(folder).to_table()
    assert len(table) == len(rows) == 80
    assert set(rows.column_names) - set(table.colnames) == {"picture"}
    assert (table["ra"].unit, table["flux_r"].unit) == ("deg", "nJy")
    assert table["ra"].description == "right ascension"
    assert table["anomaly"].mask.tolist() == [value is None for value in rows["anomaly"].to_pylist()]
    assert np.isnan(table["smooth_or_featured_smooth"]).sum() == rows["smooth_or_featured_smooth"].null_count == 8
    assert table["embedding"].shape == (80, 64)
    assert table["similarity"].shape == (80, 50)
    np.testing.assert_array_equal(table["embedding"][0], rows["embedding"][0].as_py())
    assert table["id"].tolist() == rows["id"].to_pylist()
    assert table.meta["runs"][0]["model_version"] == "7"


def test_columns_are_chosen(folder):
    scores = morph.open_scores(folder)
    assert scores.to_arrow(["id", "mag_r"]).column_names == ["id", "mag_r"]
    assert scores.to_table(["picture"])["picture"][0].startswith(b"\xff\xd8")
    with pytest.raises(InputError, match="no column 'mag_y'"):
        scores.to_table(["mag_y"])


def test_rows_are_selected_in_every_format(folder, tmp_path):
    rows = pq.read_table(folder).to_pandas()
    wanted = rows[(rows["flags"] == 0) & (rows["mag_r"] < 21.5)]["id"].tolist()
    scores = morph.open_scores(folder).where("flags == 0 and mag_r < 21.5")
    assert 0 < len(wanted) < 80
    assert scores.galaxies == len(wanted)
    assert scores.to_arrow(["id"])["id"].to_pylist() == wanted
    scores.to_fits(tmp_path / "scores.fits")
    assert list(Table.read(tmp_path / "scores.fits")["id"]) == wanted
    scores.to_hats(tmp_path / "hats")
    partitions = (tmp_path / "hats").glob("morph/dataset/**/Npix=*.parquet")
    assert sorted(name for path in partitions for name in pq.read_table(path)["id"].to_pylist()) == sorted(wanted)
    again = morph.open_scores(folder).where("flags == 0").where("mag_r < 21.5")
    assert again.to_arrow(["id"])["id"].to_pylist() == wanted


def test_a_condition_on_a_missing_column_is_an_error(folder):
    with pytest.raises(InputError, match="no column 'mag_y' in the scores"):
        morph.open_scores(folder).where("mag_y < 20")


def test_a_folder_without_scores_is_an_error(tmp_path):
    with pytest.raises(InputError, match="There are no scores"):
        morph.open_scores(tmp_path)


def test_the_how_to_is_right(folder, tmp_path, monkeypatch):
    """The page's example of the reader runs as it stands."""
    monkeypatch.chdir(folder.parent)
    (code,) = [block for block in re.findall(r"```py\n(.*?)```", HOW_TO.read_text(), re.S) if "open_scores" in block]
    names: dict = {}
    exec(code, names)
    assert names["table"]["flux_r"].unit == "nJy"
    assert (folder.parent / "barred.fits").exists()
    assert (folder.parent / "barred-hats" / "collection.properties").exists()


def test_one_tile_is_read_as_it_was_written(tmp_path):
    write_tile(tmp_path / "scores", "DES0000-0000", np.array([10.0, 11.0]), np.zeros(2))
    table = morph.open_scores(tmp_path / "scores").to_table(["id", "tile", "flags"])
    assert table["tile"].tolist() == ["DES0000-0000"] * 2
    assert table["flags"].tolist() == [0, 0]
