"""What a run leaves for people: there after any run, whole, made anew only where something changed."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from morph.atomic import atomic
from morph.errors import InputError
from morph.stamps.flags import Flag, is_clean
from serving.scores import publish as publishing
from serving.scores.aggregate import NEEDED, Aggregate
from serving.scores.publish import catalogue_folder, publish
from serving.scores.score_files import ScoreFiles
from serving.scores.summary import Failed, ScoresSummary
from tests.serving.scores.invented import summary_of, write_tile, write_tiles

ALL = {"report.html", "value_added.parquet", "scores.fits", "hats", "README.md", "about.json"}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    out = write_tiles(tmp_path_factory.mktemp("published") / "scores")
    failed = Failed("DES0009-0000", "'DES0009-0000_r.fits.fz' is cut short; fetch it again.")
    return out, publish(summary_of(out, failed), out, hats=True, fits=True)


def test_everything_that_was_asked_for_is_there(published):
    out, made = published
    assert {path.name for path in made} == ALL
    assert {path.name for path in catalogue_folder(out).iterdir()} == ALL
    table = pq.read_table(out.parent / "scores-catalogue" / "value_added.parquet")
    assert table["id"].to_pylist() == pq.read_table(out, columns=["id"])["id"].to_pylist()
    assert table.schema.field("mag_r").metadata[b"unit"] == b"mag"


def test_the_score_folder_reads_as_one_dataset(published):
    out, _ = published
    assert ds.dataset(out).count_rows() == 120
    assert len(pd.read_parquet(out)) == 120
    import dask.dataframe

    assert len(dask.dataframe.read_parquet(out)) == 120
    assert pq.read_schema(out / "_common_metadata").names == pq.read_schema(out / "DES0000-0000.parquet").names


def test_astropy_reads_every_table_with_units_descriptions_and_provenance(published):
    out, _ = published
    folder = catalogue_folder(out)
    partition = next(path for path in folder.glob("hats/morph/dataset/**/*.parquet"))
    gaps = {out / "DES0000-0000.parquet": ["picture"], folder / "value_added.parquet": ["bar"], partition: []}
    for path, names in gaps.items():
        rows, table = pq.read_table(path), Table.read(path)
        assert all(rows[name].null_count for name in names)
        assert table["id"].tolist() == rows["id"].to_pylist()
        assert {field.name: table[field.name].description for field in rows.schema} == {
            field.name: field.metadata[b"description"].decode() for field in rows.schema
        }
        assert (table["ra"].unit, table["radius"].unit, table["flags"].unit) == ("deg", "arcsec", None)
        assert table.meta == json.loads(rows.schema.metadata[b"morph"])


def test_the_provenance_is_in_every_file(published):
    out, _ = published
    folder = catalogue_folder(out)
    about = json.loads((folder / "about.json").read_text())
    (run,) = about["runs"]
    assert (about["galaxies"], about["tiles"], about["simulated"]) == (120, 3, True)
    assert (run["model"], run["model_version"], run["selection"]) == ("morph", "7", "MAG_AUTO_R < 21.5")
    assert run["catalogue"]["digest"] == "abcd"
    assert list(about["failed"]) == ["DES0009-0000"]
    text = (folder / "README.md").read_text()
    assert "MAG_AUTO_R &lt; 21.5" in (folder / "report.html").read_text()
    assert "MAG_AUTO_R < 21.5" in text
    assert all(f"| `{name}` |" in text for name in pq.read_schema(out / "_common_metadata").names)


def test_the_report_shows_numbers_pictures_failures_and_loads_nothing(published):
    page = (catalogue_folder(published[0]) / "report.html").read_text()
    assert "<b>120</b>galaxies" in page
    assert page.count("<svg") == 4
    assert page.count("data:image/jpeg;base64") == 3, "one picture a tile was kept"
    assert "is cut short; fetch it again" in page
    assert "simulated</span>" in page
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:|//|file:)""", page)


def test_what_has_not_changed_is_not_made_again(published):
    out, made = published
    failed = Failed("DES0009-0000", "'DES0009-0000_r.fits.fz' is cut short; fetch it again.")
    data = [path for path in made if path.name in ("report.html", "value_added.parquet", "scores.fits", "hats")]
    before = [path.stat().st_mtime_ns for path in data]
    # Not asked for this time, but there: kept, and kept up to date.
    assert publish(summary_of(out, failed), out) == made
    assert [path.stat().st_mtime_ns for path in data] == before


def test_a_new_tile_makes_everything_anew(tmp_path):
    out = write_tiles(tmp_path / "scores", tiles=1)
    publish(summary_of(out), out, fits=True)
    size = (tmp_path / "scores-catalogue" / "scores.fits").stat().st_size
    write_tile(out, "DES0200-0000", np.full(200, 30.0), np.linspace(0, 1, 200))
    publish(summary_of(out), out)
    assert pq.read_metadata(tmp_path / "scores-catalogue" / "value_added.parquet").num_rows == 240
    assert (tmp_path / "scores-catalogue" / "scores.fits").stat().st_size > size


def test_a_run_that_scored_nothing_leaves_nothing(tmp_path):
    assert publish(ScoresSummary(), tmp_path / "scores") == []
    assert not list(tmp_path.iterdir())


def test_a_killed_run_leaves_no_half_file_and_the_next_goes_on(tmp_path, monkeypatch):
    out = write_tiles(tmp_path / "scores", tiles=1)
    folder = tmp_path / "scores-catalogue"
    folder.mkdir()
    # What a kill -9 leaves: no `finally` was run.
    (folder / ".value_added.parquet.building").write_bytes(b"PAR1")
    (folder / ".hats.building" / "morph").mkdir(parents=True)
    (folder / ".hats.building" / ".hats.old").mkdir()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "write_fits", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(summary_of(out), out, hats=True, fits=True)
    assert {path.name for path in folder.iterdir() if path.name[0] != "."} == {"report.html", "value_added.parquet"}
    monkeypatch.undo()
    publish(summary_of(out), out, hats=True, fits=True)
    assert {path.name for path in folder.iterdir()} == ALL


def test_a_place_that_cannot_be_written_to_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), atomic(tmp_path / "file" / "report.html") as building:
        building.write_text("page")


def test_score_files_of_an_earlier_version_differ_from_damaged_ones(tmp_path):
    out = write_tiles(tmp_path / "scores", tiles=1)
    path = out / "DES0000-0000.parquet"
    table = pq.read_table(path).drop_columns("mag_r")
    pq.write_table(table, path)
    with pytest.raises(InputError, match="no column 'mag_r'; choose others"):
        publish(summary_of(out), out)


def test_an_aggregate_of_parts_is_that_of_the_whole(published):
    scores = ScoreFiles.open(published[0])
    whole_table = pq.read_table(published[0], columns=list(NEEDED))
    parts, at_once = Aggregate(), Aggregate()
    for table in scores.tables(NEEDED):
        parts.add(table)
    at_once.add(whole_table)
    assert (parts.galaxies, parts.clean, parts.flags) == (at_once.galaxies, at_once.clean, at_once.flags)
    clean = is_clean(whole_table["flags"].to_numpy())
    assert parts.anomalies == (whole_table["anomaly"].fill_null(False).to_numpy() & clean).sum() > 0
    np.testing.assert_allclose(parts.chosen, at_once.chosen, rtol=1e-5)
    np.testing.assert_allclose(parts.chosen_in["mag_r"], at_once.chosen_in["mag_r"], rtol=1e-5)
    assert [found.score for found in parts.most_anomalous] == [found.score for found in at_once.most_anomalous]
    for one, other in zip(parts.sky(), at_once.sky(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Every galaxy that is clean gives one answer to the first question.
    np.testing.assert_allclose(parts.chosen[:3].sum(), parts.clean, rtol=1e-5)


def test_a_survey_in_one_band_is_in_the_report(tmp_path):
    out = write_tiles(tmp_path / "scores", tiles=1)
    (path,) = out.glob("*.parquet")
    table = pq.read_table(path)
    place = table.schema.get_field_index("flags")
    flags = pa.array(table["flags"].to_numpy() | int(Flag.MISSING_BAND), pa.int32())
    pq.write_table(table.set_column(place, table.schema.field(place), flags), path)
    found = Aggregate()
    found.add(pq.read_table(path, columns=list(NEEDED)))
    assert found.clean == 36, "every tenth has no data"
    assert found.asked[0] == 36
    assert (found.p_values.sum(), found.most_anomalous) == (0, []), "the reference of p-values has three bands"
    publish(summary_of(out), out)
    assert pq.read_table(catalogue_folder(out) / "value_added.parquet")["clean"].to_pylist().count(True) == 36
    page = (catalogue_folder(out) / "report.html").read_text()
    assert "36 galaxies" in re.sub("<[^>]*>", "", page)
    assert "90.0 %" in page


def test_scores_of_surveys_with_other_bands_keep_each_magnitude(tmp_path):
    out = write_tiles(tmp_path / "scores", tiles=1, galaxies=5)
    write_tile(out, "brick", np.full(5, 10.0), np.zeros(5), {"survey": "decals"})
    publish(summary_of(out), out, fits=True)
    folder = catalogue_folder(out)
    for table in (pq.read_table(folder / "value_added.parquet"), Table.read(folder / "scores.fits")):
        names = table.column_names if hasattr(table, "column_names") else table.colnames
        assert [name for name in names if name.startswith("mag_")].count("mag_z") == 1
        assert {"mag_g", "mag_r", "mag_i", "mag_z"} <= set(names)


def test_the_report_adds_up_the_tiles_areas(tmp_path):
    out = tmp_path / "scores"
    for k in range(2):
        write_tile(out, f"DES000{k}-0000", np.linspace(10, 10.1, 5), np.zeros(5), {"area": 0.024})
    publish(summary_of(out), out)
    text = re.sub("<[^>]*>", " ", (catalogue_folder(out) / "report.html").read_text())
    assert re.search(r"0\.048\s+square degrees", text)
