"""Scoring tiles: the right answers beside the right galaxies, restartable, and no tile stops another."""

import pkgutil
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from morph.catalogs.catalog import read_catalog
from morph.catalogs.spatial_index import locate
from morph.decision_tree import ANSWER_COLUMNS
from morph.errors import InputError
from morph.stamps.cutting import cut
from morph.stamps.flags import Flag, is_clean
from morph.stamps.signal_to_noise import signal_to_noise
from morph.tiles.tile import Tile, find_tiles, tile_name
from serving.scores.score_files import read_about
from serving.scores.summary import Scored, ScoresSummary, lines
from serving.scoring import backends, pipeline
from serving.scoring.backends import Backend, Endpoints, LocalModel, RemoteModel
from serving.scoring.run import score
from serving.server.embedded import Server
from tests.serving.scores.invented import write_survey

NAMES = ["DES0356-5248", "DES0400-5248"]


@pytest.fixture(scope="session")
def local(weights) -> LocalModel:
    return LocalModel(str(weights))


@pytest.fixture(scope="session")
def scored(tiles_folder, catalogue, local, tmp_path_factory):
    """Both tiles scored with the catalogue."""
    out = tmp_path_factory.mktemp("scored")
    return out, score(tiles_folder, catalogue, local, out)


def answers_of(table) -> np.ndarray:
    return np.array([table[name].to_numpy() for name in ANSWER_COLUMNS]).T


# --- Answers ---------------------------------------------------------------------------------------------


def test_one_file_a_tile_with_one_row_a_galaxy(scored, catalogue):
    out, summary = scored
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.parquet" for name in NAMES]
    assert summary.galaxies == 14
    galaxies = Table.read(catalogue)
    for name in NAMES:
        own = galaxies[galaxies["TILENAME"] == name]
        table = pq.read_table(out / f"{name}.parquet")
        assert table["id"].to_pylist() == [str(identifier) for identifier in own["COADD_OBJECT_ID"]]
        np.testing.assert_allclose(table["ra"].to_numpy(), own["RA"])


def test_the_answers_are_the_models_for_the_galaxys_stamp(scored, tiles, classifier):
    out, _ = scored
    table = pq.read_table(out / f"{NAMES[0]}.parquet")
    with Tile.open(tiles[0].paths) as tile:
        rows = locate(tile, read_catalog(tiles[0].catalogue))
        radius = np.asarray(rows["radius"]) / tile.pixel_scale
        stamps, flags = cut(tile, rows["x"], rows["y"], radius)
    expected = classifier.answer(stamps)
    assert table["flags"].to_pylist() == flags.tolist()
    np.testing.assert_allclose(table["snr"].to_numpy(), signal_to_noise(stamps, radius), rtol=1e-4)
    np.testing.assert_allclose(answers_of(table), expected["probabilities"], atol=1e-5)
    for name in ("embedding", "similarity"):
        np.testing.assert_allclose(np.array(table[name].to_pylist()), expected[name], atol=1e-4)
    np.testing.assert_allclose(table["anomaly_score"].to_numpy(), expected["anomaly_score"], atol=1e-5)


def test_a_server_says_the_same_as_the_model_in_memory(scored, tiles_folder, catalogue, server, tmp_path):
    out, _ = scored
    score(tiles_folder, catalogue, RemoteModel(server.address), tmp_path)
    for name in NAMES:
        near, far = pq.read_table(out / f"{name}.parquet"), pq.read_table(tmp_path / f"{name}.parquet")
        assert near["id"] == far["id"]
        np.testing.assert_allclose(answers_of(near), answers_of(far), atol=1e-4)
        assert set(far["model_version"].to_pylist()) == {"3"}


def test_small_batches_give_the_same_catalogue(scored, tiles_folder, catalogue, local, tmp_path, monkeypatch):
    out, _ = scored
    monkeypatch.setattr(pipeline, "BATCH", 3)
    monkeypatch.setattr(pipeline, "FIRST", (2,))
    score(tiles_folder, catalogue, local, tmp_path)
    for name in NAMES:
        one, other = pq.read_table(out / f"{name}.parquet"), pq.read_table(tmp_path / f"{name}.parquet")
        assert one["id"] == other["id"]
        np.testing.assert_allclose(answers_of(one), answers_of(other), atol=1e-5)


def test_the_first_batches_are_small_so_that_the_model_can_begin(
    tiles_folder, catalogue, local, tmp_path, monkeypatch
):
    monkeypatch.setattr(pipeline, "BATCH", 4)
    monkeypatch.setattr(pipeline, "FIRST", (1, 2))
    told = []
    score(tiles_folder, catalogue, local, tmp_path, advance=lambda tiles, galaxies: told.append((tiles, galaxies)))
    batches = [galaxies for tiles, galaxies in told if not tiles and galaxies]
    assert batches[:2] == [1, 2]
    assert max(batches) <= 4


def test_several_workers_give_the_same_catalogue(scored, tiles_folder, catalogue, server, tmp_path):
    out, _ = scored
    finished = []
    summary = score(
        tiles_folder,
        catalogue,
        RemoteModel(server.address),
        tmp_path,
        workers=2,
        advance=lambda *n: finished.append(n),
    )
    assert sorted(tile.tile for tile in summary.scored) == NAMES
    assert sum(galaxies for _, galaxies in finished) == 14
    for name in NAMES:
        one, other = pq.read_table(out / f"{name}.parquet"), pq.read_table(tmp_path / f"{name}.parquet")
        np.testing.assert_allclose(answers_of(one), answers_of(other), atol=1e-4)


def test_without_a_catalogue_the_galaxies_are_detected(tiles_folder, local, tmp_path):
    summary = score(tiles_folder / NAMES[0], None, local, tmp_path)
    table = pq.read_table(tmp_path / f"{NAMES[0]}.parquet")
    assert summary.galaxies == len(table) >= 8
    assert all(name.startswith(f"{NAMES[0]}-") for name in table["id"].to_pylist())


def test_galaxies_without_data_have_their_flag_and_no_answers(tiles, local, tmp_path):
    galaxies = read_catalog(tiles[0].catalogue)[:3]
    galaxies["ra"][1] += 1.0  # off the tile that its tile name says
    score([tiles[0].paths[0]], galaxies, local, tmp_path)
    table = pq.read_table(tmp_path / f"{NAMES[0]}.parquet")
    lost = table.slice(1, 1).to_pylist()[0]
    assert lost["flags"] & Flag.NO_DATA
    assert lost["smooth_or_featured_smooth"] is None
    assert set(lost["embedding"]) == set(lost["similarity"]) == {None}
    assert lost["ra"] == pytest.approx(galaxies["ra"][1])
    assert np.isfinite(answers_of(table.take([0, 2]))).all()


def test_the_summary_names_the_most_anomalous_with_nothing_wrong(scored):
    out, summary = scored
    columns = ["anomaly_score", "id", "tile", "anomaly", "flags"]
    tables = [pq.read_table(out / f"{name}.parquet", columns=columns) for name in NAMES]
    rows = sorted(tuple(row.values()) for table in tables for row in table.to_pylist() if is_clean(row["flags"]))
    assert summary.most_anomalous == [row[:3] for row in rows[:5]]
    assert (summary.clean, summary.anomalies) == (len(rows), sum(row[3] for row in rows))
    assert 0 < len(rows) < summary.galaxies


# --- Again -----------------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_where_it_was(scored, tiles_folder, catalogue, local, tmp_path):
    out, first = scored
    for name in NAMES:
        shutil.copy(out / f"{name}.parquet", tmp_path)
    (tmp_path / f"{NAMES[1]}.parquet").unlink()
    kept = (tmp_path / f"{NAMES[0]}.parquet").stat().st_mtime_ns
    summary = score(tiles_folder, catalogue, local, tmp_path)
    assert {tile.tile: tile.before for tile in summary.scored} == {NAMES[0]: True, NAMES[1]: False}
    assert (tmp_path / f"{NAMES[0]}.parquet").stat().st_mtime_ns == kept
    assert summary.galaxies == first.galaxies
    assert summary.most_anomalous == first.most_anomalous


def test_a_tile_whose_images_changed_is_scored_again(tiles_folder, catalogue, local, tmp_path):
    tiles = shutil.copytree(tiles_folder, tmp_path / "tiles")
    score(tiles, catalogue, local, tmp_path / "out")
    touched = next(tiles.rglob(f"{NAMES[0]}*_r.fits*"))
    touched.touch()
    again = score(tiles, catalogue, local, tmp_path / "out")
    assert again.changed == NAMES[:1]
    assert {tile.tile: tile.before for tile in again.scored} == dict(zip(NAMES, (False, True), strict=True))
    assert score(tiles, catalogue, local, tmp_path / "out").changed == []


def test_galaxies_of_the_catalogue_on_no_tile_are_counted(morph, tiles, catalogue, weights, tmp_path):
    status, printed, _ = morph(
        "score", tiles[0].paths[0], "--catalog", catalogue, "--model", weights, "--out", tmp_path / "out"
    )
    assert status == 0
    assert "6 galaxies of the catalogue lie on none of the tiles that were scored." in printed


def test_overwrite_scores_again(scored, tiles_folder, catalogue, local, tmp_path):
    out, _ = scored
    shutil.copy(out / f"{NAMES[0]}.parquet", tmp_path)
    summary = score(tiles_folder / NAMES[0], None, local, tmp_path, overwrite=True)
    assert [tile.before for tile in summary.scored] == [False]
    assert read_about(tmp_path / f"{NAMES[0]}.parquet")["catalogue"] is None


# --- What goes wrong -------------------------------------------------------------------------------------


def damaged(tiles_folder, folder):
    """Both tiles, and one whose file is cut short, whose name comes first."""
    shutil.copytree(tiles_folder, folder)
    whole = next((folder / NAMES[0]).glob("*_g.fits.fz")).read_bytes()
    (folder / "DES0001-0541_r1p01_g.fits.fz").write_bytes(whole[: len(whole) // 2])
    return folder


def test_a_tile_without_galaxies_of_the_catalogue_has_no_file(tiles, tiles_folder, local, tmp_path):
    summary = score(tiles_folder, tiles[0].catalogue, local, tmp_path)
    assert [tile.tile for tile in summary.without_galaxies] == [NAMES[1]]
    assert [path.stem for path in tmp_path.iterdir()] == [NAMES[0]]


def test_a_catalogue_of_another_part_of_the_sky_is_said(tiles, local, tmp_path):
    with pytest.raises(InputError, match=f"None of the 8 galaxies of .* lies on tile '{NAMES[1]}'"):
        score(tiles[1].paths[0], tiles[0].catalogue, local, tmp_path)


def test_two_tiles_of_one_name_are_refused(tiles_folder, local, tmp_path):
    for copy in ("a", "b"):
        shutil.copytree(tiles_folder / NAMES[0], tmp_path / copy)
    with pytest.raises(InputError, match=f"2 tiles are called '{NAMES[0]}'"):
        score(tmp_path, None, local, tmp_path / "out")


@dataclass(frozen=True)
class Failing:
    """A model that answers once and then never again."""

    weights: str
    error: Exception

    @contextmanager
    def open(self):
        with LocalModel(self.weights).open() as real:
            calls = iter([real.answer])

            def answer(stamps):
                for once in calls:
                    return once(stamps)
                raise self.error

            yield Backend(real.description, answer)


def test_when_the_model_fails_what_is_finished_is_kept(tiles_folder, catalogue, weights, tmp_path):
    with pytest.raises(InputError, match="the server is gone"):
        score(tiles_folder, catalogue, Failing(str(weights), InputError("the server is gone.")), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAMES[0]}.parquet"]


def test_a_server_that_does_not_answer_is_waited_for_and_then_reported(model_dir, monkeypatch):
    monkeypatch.setattr(backends, "PAUSES", (0.01, 0.01))
    server = Server(model_dir)
    server.start()
    with RemoteModel(server.address).open() as backend:
        assert len(backend.answer(np.zeros((2, 64, 64, 3), "float32"))["anomaly"]) == 2
        server.stop()
        with pytest.raises(InputError, match="No server answers"):
            backend.answer(np.zeros((2, 64, 64, 3), "float32"))


# --- Several servers -----------------------------------------------------------------------------------


def test_servers_share_the_work_and_one_that_dies_is_done_without(model_dir, server, caplog):
    stamps = np.zeros((2, 64, 64, 3), "float32")
    with Server(model_dir) as mortal, RemoteModel(f"{mortal.address},{server.address}").open() as backend:
        assert backend.at_once == 4
        first = backend.answer(stamps)
        mortal.stop()
        for _ in range(4):
            np.testing.assert_array_equal(backend.answer(stamps)["embedding"], first["embedding"])
    assert f"The server at {mortal.address} does not answer; the others take over." in caplog.text


def test_one_server_that_is_not_there_is_not_a_reason_not_to_begin(server):
    with RemoteModel(f"127.0.0.1:9, {server.address}").open() as backend:
        assert backend.at_once == 4
        assert len(backend.answer(np.zeros((2, 64, 64, 3), "float32"))["anomaly"]) == 2


def test_servers_of_different_models_are_refused(server):
    with Endpoints.open([server.address], "morph") as servers:
        (asked,) = servers.servers
        asked.checked = False
        servers.described = {**servers.described, "run": "another"}
        with pytest.raises(InputError, match=r"another model than .* \(other run\)"):
            servers.answer(np.zeros((2, 64, 64, 3), "float32"), ())


# --- The command -----------------------------------------------------------------------------------------


def test_the_command_scores_and_says_what_it_did(morph, tiles_folder, catalogue, weights, tmp_path):
    arguments = ("score", tiles_folder, "--catalog", catalogue, "--model", weights, "--out", tmp_path)
    status, output, errors = morph(*arguments)
    assert (status, errors) == (0, "")
    assert "Scored 2 tiles with 14 galaxies" in output
    assert "with nothing wrong. The most anomalous:" in output
    area = r"Images of survey des, [\d.e-]+ square degrees with data; "
    assert re.search(area + r"zero points .*: 30\.000 by header", output)
    status, output, _ = morph(*arguments)
    assert status == 0
    assert "2 tiles had been scored before" in output


def test_the_command_extends_the_surveys_own_catalogue(morph, tiles_folder, catalogue, weights, tmp_path):
    galaxies = Table.read(catalogue)
    survey = write_survey(
        tmp_path / "dp2",
        pa.array(galaxies["COADD_OBJECT_ID"].astype(str)),
        np.asarray(galaxies["RA"], float),
        np.asarray(galaxies["DEC"], float),
    )
    given = ("score", tiles_folder, "--catalog", catalogue, "--model", weights, "--out", tmp_path / "out")
    status, output, errors = morph(*given, "--hats-extension", survey)
    assert (status, errors) == (0, "")
    place = tmp_path / "out-catalogue/hats-extension"
    assert f"The extension of '{survey}' is in {place}: 14 of 14 galaxies joined." in output
    parts = [pq.read_table(part, partitioning=None)["objectId"] for part in (place / "morph").rglob("Npix=*")]
    assert sorted(pa.chunked_array(parts).to_pylist()) == sorted(galaxies["COADD_OBJECT_ID"].astype(str))
    status, _, errors = morph(*given, "--hats-extension", tmp_path / "out")
    assert status == 2
    assert "There is no HATS catalogue at" in errors


def test_no_anomalies_are_announced_where_no_galaxy_has_an_answer():
    lost = Scored("a", Path("a.parquet"), 2, 2, 0, 0, {Flag.NO_DATA: 2}, [])
    (*_, last) = lines(ScoresSummary(scored=[lost]), Path("scores"), 1.0)
    assert last == "With a flag: 2 of 2 galaxies (2 no data)."


def test_the_command_ends_with_1_where_some_tiles_failed(morph, tiles_folder, catalogue, weights, tmp_path):
    folder = damaged(tiles_folder, tmp_path / "tiles")
    status, output, errors = morph(
        "score", folder, "--catalog", catalogue, "--model", weights, "--out", tmp_path / "out"
    )
    assert status == 1
    assert "Scored 2 tiles" in output
    assert "cut short" in errors
    assert "1 of 3 tiles were not scored" in errors


def test_a_catalogue_that_lost_its_scores_is_reported(morph, tiles_folder, catalogue, weights, tmp_path):
    (tile, *_) = sorted({tile_name(group): group for group in find_tiles([tiles_folder])}.values())
    for path in tile:
        shutil.copy(path, tmp_path)
    first = tmp_path / tile[0].name
    arguments = ("score", first, "--catalog", catalogue, "--model", weights, "--out", tmp_path / "out")
    assert morph(*arguments)[0] == 0
    first.write_bytes(first.read_bytes()[:5000])
    status, _, errors = morph(*arguments)
    assert status == 2
    assert f"'{tmp_path / 'out-catalogue'}' is from an earlier run" in errors


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tile": "missing_g.fits"}, "There is no FITS file"),
        ({"tile": "damaged"}, "cut short"),
        ({"--catalog": "missing.csv"}, "There is no catalogue"),
        ({"--catalog": "empty.csv"}, "has no rows"),
        ({"--catalog": "columns.csv"}, "no column with the right ascension"),
        ({"--model": "missing.keras"}, "There is no model"),
        ({"--model": None}, "No model is named"),
        ({"--model": None, "--server": "127.0.0.1:9"}, "No server answers at 127"),
        ({"--model": None, "--server": " ,"}, "--server names no server"),
        ({"--survey": "hst"}, "Unknown survey"),
    ],
)
def test_a_mistake_is_one_sentence(
    morph, tiles, tiles_folder, catalogue, weights, tmp_path, monkeypatch, change, problem
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_text("id,ra,dec\n")
    (tmp_path / "columns.csv").write_text("id,x,y\na,1,2\n")
    whole = tiles[0].paths[0].read_bytes()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "DES0001-0541_r1p01_g.fits").write_bytes(whole[: len(whole) // 2])
    arguments = {"tile": tiles_folder, "--catalog": catalogue, "--model": weights, "--out": "out", **change}
    tile = arguments.pop("tile")
    words = [word for option in arguments.items() if option[1] is not None for word in option]
    status, output, errors = morph("score", tile, *words)
    assert (status, output) == (2, "")
    assert problem in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.glob("out/*.parquet"))


@pytest.mark.real
def test_a_real_field_is_scored_with_and_without_a_catalogue(morph, real_data, weights, tmp_path):
    field = real_data / "des-coadd-cutout"
    assert morph("score", field, "--model", weights, "--out", tmp_path / "found")[0] == 0
    found = pq.read_table(next((tmp_path / "found").glob("*.parquet")))
    assert len(found) >= 4
    assert np.isfinite(answers_of(found)).all()
    Table({name: found[name].to_numpy() for name in ("id", "ra", "dec")}).write(tmp_path / "small.csv")
    catalogue = ("--catalog", tmp_path / "small.csv")
    assert morph("score", field, *catalogue, "--model", weights, "--out", tmp_path / "listed")[0] == 0
    listed = pq.read_table(next((tmp_path / "listed").glob("*.parquet")))
    assert listed["id"] == found["id"]
    np.testing.assert_allclose(listed["x"].to_numpy(), found["x"].to_numpy(), atol=1e-3)


# --- The documentation -----------------------------------------------------------------------------------


def test_every_stop_between_the_command_and_the_catalogue_is_there():
    text = (Path(__file__).parents[3] / "docs/explanation/architecture.md").read_text()
    stops = re.findall(r"`((?:serving|morph)\.[\w.]+)`", text.partition("## From `morph score`")[2])
    assert len(stops) == 25
    assert [name for name in stops if pkgutil.resolve_name(name) is None] == []
