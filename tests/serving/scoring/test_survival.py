"""What a scoring job survives: kills, full disks, and folders of others.

Here the model sleeps, and a few kills stand for the many of `benchmarks/kills.py`.
"""

import csv
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import dask
import distributed  # noqa: F401  # before its settings are changed, or they are lost with the change
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from morph.errors import InputError
from morph.output_lock import LOCK_FILE, held_by, output_lock
from serving.scoring.run import FAILED, score
from tests.serving.scoring.killing import TOO_LONG, Trial, cluster, differences
from tests.serving.scoring.sleeping import Sleeping
from tests.waiting import wait_until

NAMES = ["DES0356-5248", "DES0400-5248"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole(tiles_folder, catalogue, tmp_path_factory) -> Path:
    """What an undisturbed run leaves."""
    out = tmp_path_factory.mktemp("whole") / "scores"
    score(tiles_folder, catalogue, Sleeping(), out)
    return out


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- Kills -----------------------------------------------------------------------------------------------


def test_a_killed_job_goes_on_and_leaves_the_undisturbed_catalogue(tiles_folder, catalogue, whole, tmp_path):
    # Two tiles of 8 and 6 galaxies, a second each: the first is there before the second is.
    slow, out = Trial(tiles_folder, catalogue, seconds=0.15), tmp_path / "scores"
    job = slow.start(out)
    wait_until(lambda: list(out.glob("*.parquet")) or job.poll() is not None, TOO_LONG)
    job.kill()
    job.communicate()
    assert LOCK_FILE in files(out)
    written = (out / f"{NAMES[0]}.parquet").stat().st_mtime_ns
    score(tiles_folder, catalogue, Sleeping(), out)
    assert differences(out, whole) == []
    assert (out / f"{NAMES[0]}.parquet").stat().st_mtime_ns == written


def test_a_killed_worker_is_replaced(tiles_folder, catalogue, whole, tmp_path):
    trial = Trial(tiles_folder, catalogue, workers=2, seconds=0.1)
    assert trial.kill_worker(tmp_path / "scores", 0) == 0
    assert differences(tmp_path / "scores", whole) == []


def test_a_tile_that_kills_its_workers_is_listed_and_stops_no_other(tiles_folder, catalogue, whole, tmp_path):
    # As often as Dask allows it otherwise would only take longer.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        summary = score(tiles_folder, catalogue, Sleeping(deadly=8), tmp_path / "scores", workers=2)
    assert [(tile.tile, "Its workers died" in tile.reason) for tile in summary.failed] == [(NAMES[0], True)]
    assert files(tmp_path / "scores") == [f"{NAMES[1]}.parquet", FAILED]
    score(tiles_folder, catalogue, Sleeping(), tmp_path / "scores")
    assert differences(tmp_path / "scores", whole) == []


def test_a_killed_scheduler_is_one_sentence_and_the_next_goes_on(tiles_folder, catalogue, whole, tmp_path):
    trial, out = Trial(tiles_folder, catalogue, seconds=0.3), tmp_path / "scores"
    with cluster(1) as (address, scheduler):
        job = trial.start(out, address)
        wait_until(lambda: list(out.glob("*.parquet")) or job.poll() is not None, TOO_LONG)
        scheduler.kill()
        _, errors = job.communicate(timeout=TOO_LONG)
    assert job.returncode == 2, errors
    assert errors.startswith(f"The Dask scheduler at {address} has stopped.")
    assert errors.count("\n") == 1
    assert files(out) == [f"{NAMES[0]}.parquet"]
    score(tiles_folder, catalogue, Sleeping(), out)
    assert differences(out, whole) == []


def test_a_scheduler_killed_before_the_first_tile_is_one_sentence_too(tiles_folder, catalogue, tmp_path):
    with cluster(0) as (address, scheduler):
        job = Trial(tiles_folder, catalogue).start(tmp_path / "scores", address)
        assert "No worker has joined" in job.stderr.readline()
        scheduler.kill()
        _, errors = job.communicate(timeout=TOO_LONG)
    assert (job.returncode, errors.count("\n")) == (2, 1), errors
    assert errors.startswith(f"The Dask scheduler at {address} has stopped.")
    assert not (tmp_path / "scores").exists()


def test_a_job_that_is_stopped_says_how_to_resume(tiles_folder, tmp_path):
    command = [sys.executable, "-m", "morph", "score", tiles_folder, "--model", "models:/morph@sdss"]
    job = subprocess.Popen([*command, "--out", tmp_path / "scores"], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: held_by(tmp_path / "scores") or job.poll() is not None, TOO_LONG)
    job.send_signal(signal.SIGTERM)
    _, errors = job.communicate(timeout=TOO_LONG)
    assert job.returncode == 143
    assert "the same command goes on from there" in errors
    assert not (tmp_path / "scores" / LOCK_FILE).exists()


def test_an_encrypted_scheduler_without_certificates_is_one_sentence(tiles_folder, tmp_path):
    with pytest.raises(InputError, match=r"tls://127\.0\.0\.1:9 is encrypted, and Dask has no certificates"):
        score(tiles_folder, None, Sleeping(), tmp_path / "scores", scheduler="tls://127.0.0.1:9")
    assert not (tmp_path / "scores").exists()
    assert dask.config.get("scheduler", None) is None, "other work of this process is not disturbed"


def test_no_scheduler_is_one_sentence(tiles_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.scoring.cluster.PATIENCE", 0.5)
    with pytest.raises(InputError, match="No Dask scheduler answers"):
        score(tiles_folder, None, Sleeping(), tmp_path / "scores", scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "scores").exists()


# --- Tiles that cannot be scored -------------------------------------------------------------------------


def test_failures_are_a_table_that_is_right_after_a_resumed_run(tiles, catalogue, tmp_path):
    folder, out = tmp_path / "tiles", tmp_path / "scores"
    folder.mkdir()
    good = tiles[0].paths[0]
    content = good.read_bytes()
    for name, damage in (("0100", content[:-20_000]), ("0200", b""), ("0300", content[:2880] + bytes(40_000))):
        (folder / f"DES{name}-5248_g.fits.fz").write_bytes(damage)
    (folder / good.name).write_bytes(content)
    for _ in range(2):
        summary = score(folder, None, Sleeping(), out)
        assert [tile.tile for tile in summary.scored] == NAMES[:1]
        with (out / FAILED).open() as file:
            rows = list(csv.DictReader(file))
        assert [row["tile"] for row in rows] == ["DES0100-5248", "DES0200-5248", "DES0300-5248"]
        assert all(Path(row["file"]).exists() and row["reason"].endswith(".") for row in rows)
    for name in ("0100", "0200"):
        (folder / f"DES{name}-5248_g.fits.fz").write_bytes(content)
    score(folder, None, Sleeping(), out)
    with (out / FAILED).open() as file:
        assert [row["tile"] for row in csv.DictReader(file)] == ["DES0300-5248"]
    (folder / "DES0300-5248_g.fits.fz").unlink()
    score(folder, None, Sleeping(), out)
    assert not (out / FAILED).exists()


# --- The output folder -----------------------------------------------------------------------------------


def test_a_second_job_in_one_folder_is_refused_and_touches_nothing(tiles_folder, tmp_path):
    with output_lock(tmp_path / "scores") as token:
        (tmp_path / "scores" / ".a.parquet.building").touch()
        with pytest.raises(InputError, match=f"Another job is scoring into .* .process {os.getpid()} on "):
            score(tiles_folder, None, Sleeping(), tmp_path / "scores")
        assert held_by(tmp_path / "scores") == token
        assert (tmp_path / "scores" / ".a.parquet.building").exists()
    assert not (tmp_path / "scores" / LOCK_FILE).exists()


def test_a_folder_made_for_nothing_is_removed_and_one_that_was_there_stays(tmp_path):
    with output_lock(tmp_path / "new"):
        pass
    (tmp_path / "old").mkdir()
    with output_lock(tmp_path / "old"):
        pass
    assert files(tmp_path) == ["old"]


def test_a_worker_that_outlives_its_job_writes_nothing(tiles_folder, catalogue, tmp_path):
    out = tmp_path / "scores"
    with output_lock(out), pytest.raises(InputError, match="does not hold"):
        score(tiles_folder, catalogue, Sleeping(), out, token="of a job before")
    assert not out.exists()


def test_a_full_disk_keeps_what_is_finished(tiles_folder, catalogue, whole, tmp_path):
    out = tmp_path / "scores"
    out.mkdir()
    (out / f"{NAMES[0]}.parquet").write_bytes((whole / f"{NAMES[0]}.parquet").read_bytes())
    # The system refuses to write files of more than 20 kB, as it does on a full disk.
    job = subprocess.Popen(
        [sys.executable, "-m", "tests.serving.scoring.sleeping", tiles_folder, catalogue, out],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    _, errors = job.communicate(timeout=TOO_LONG)
    assert job.returncode == 2
    assert f"The scores of '{NAMES[1]}' cannot be written" in errors
    assert errors.count("\n") == 1
    assert files(out) == [f"{NAMES[0]}.parquet"]
    score(tiles_folder, catalogue, Sleeping(), out)
    assert differences(out, whole) == []


def test_a_score_file_that_lost_its_end_is_made_again(tiles_folder, catalogue, whole, tmp_path, caplog):
    content = (whole / f"{NAMES[0]}.parquet").read_bytes()
    (tmp_path / f"{NAMES[0]}.parquet").write_bytes(content[: len(content) // 2])
    (tmp_path / f"{NAMES[1]}.parquet").touch()
    score(tiles_folder, catalogue, Sleeping(), tmp_path)
    assert caplog.text.count("is damaged; its tile is scored again") == 2
    assert differences(tmp_path, whole) == []


def test_a_score_file_whose_rows_are_damaged_is_made_again(tiles_folder, catalogue, whole, tmp_path, caplog):
    content = bytearray((whole / f"{NAMES[0]}.parquet").read_bytes())
    content[4:2000] = bytes(1996)
    (tmp_path / f"{NAMES[0]}.parquet").write_bytes(content)
    score(tiles_folder, catalogue, Sleeping(), tmp_path)
    assert caplog.text.count("is damaged; its tile is scored again") == 1
    assert differences(tmp_path, whole) == []


def test_a_foreign_table_in_the_folder_is_reported_before_a_tile_is_scored(tiles_folder, catalogue, tmp_path):
    Table({"id": [1]}).write(tmp_path / "mine.parquet")
    with pytest.raises(InputError, match=r"mine\.parquet' is not a score file"):
        score(tiles_folder, catalogue, Sleeping(), tmp_path)
    assert files(tmp_path) == ["mine.parquet"]


def test_scores_of_before_columns_had_underscores_are_not_mixed(tiles_folder, catalogue, whole, tmp_path):
    scores = pq.read_table(whole / f"{NAMES[0]}.parquet")
    names = [name.replace("smooth_or_featured", "smooth-or-featured") for name in scores.column_names]
    about = json.loads(scores.schema.metadata[b"morph"])
    del about["format"]
    old = scores.rename_columns(names).replace_schema_metadata({"morph": json.dumps(about)})
    for name in (NAMES[0], "of-another-tile"):
        path = tmp_path / name / f"{name}.parquet"
        path.parent.mkdir()
        pq.write_table(old, path)
        with pytest.raises(InputError, match=r"has format 1, .*--overwrite"):
            score(tiles_folder, catalogue, Sleeping(), path.parent)
        assert files(path.parent) == [path.name]
    score(tiles_folder, catalogue, Sleeping(), tmp_path / NAMES[0], overwrite=True)
    assert differences(tmp_path / NAMES[0], whole) == []


def test_a_folder_in_which_nothing_can_be_written_is_one_sentence(tiles_folder):
    if not Path("/sys/kernel").is_dir():
        pytest.skip("there is no /sys, in which even root may not write")
    with pytest.raises(InputError, match="Nothing can be written into '/sys/kernel/scores'"):
        score(tiles_folder, None, Sleeping(), "/sys/kernel/scores")


def test_another_model_survey_or_selection_is_not_mixed(tiles_folder, catalogue, whole):
    def again(**changes):
        score(tiles_folder, catalogue, **{"source": Sleeping(), "out": whole, **changes})

    with pytest.raises(
        InputError, match=r"2 score files are .* from another model version .*choose another --out, or --overw"
    ):
        again(source=Sleeping(version="awake"))
    with pytest.raises(InputError, match="another survey"):
        again(survey="sdss")
    with pytest.raises(InputError, match="another catalogue and selection"):
        again(where="MAG_AUTO_R < 19")
    assert differences(whole, whole) == []
