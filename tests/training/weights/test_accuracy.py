"""The table of accuracy, for any model and whichever datasets there are."""

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.accuracy import command
from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.registry import SHIPPED
from morph.votes import empty_votes
from training.evaluation.lenses import few_labels, lens_labels
from training.metrics.estimates import Estimate
from training.weights.accuracy import ROWS, Row


def test_a_row_prints_its_estimate_its_aim_and_whether_it_is_reached():
    high = Row("accuracy", Estimate(0.85, 0.82, 0.88, 1135), 0.88)
    assert (high.measured, high.number, high.aim, high.reached) == ("85.0 (82.0–88.0)", "1,135", "≥ 88.0", False)
    low = Row("error", Estimate(0.07, 0.06, 0.08, 161), 0.075, less=True, percent=False)
    assert (low.measured, low.aim, low.reached) == ("0.070 (0.060–0.080)", "≤ 0.075", True)
    between = Row("flagged", Estimate(0.004, 0, 0.01, 9), (0.007, 0.013))
    assert (between.aim, between.reached) == ("0.7–1.3", False)
    count = Row("sets", Estimate(9.0, 9.0, 9.0, 19), 17, percent=False)
    assert (count.measured, count.aim, count.reached) == ("9", "≥ 17", False)
    assert Row("balanced", low.estimate).reached is None


def test_a_regression_on_few_labels_is_measured_on_the_others():
    random = np.random.default_rng(0)
    truth = (np.arange(200) % 3 == 0).astype(int)
    noise = random.normal(size=(200, 8))
    assert few_labels(noise, truth, 50).value == pytest.approx(0.5, abs=0.06)
    noise[:, 0] += 3 * truth
    found = few_labels(noise, truth, 50)
    assert found.value > 0.93
    assert found.low <= found.value <= found.high


def test_grades_decide_what_is_a_lens(tmp_path):
    kinds = {"a": ("candidate", 2.0), "b": ("candidate", 0.3), "c": ("candidate", 1.3), "d": ("known_group", "A")}
    kinds |= {"e": ("nonlens_loners", 0), "f": ("artifact", 0), "g": ("candidate", 0.7)}
    lines = [f"{name},{kind},{grade}" for name, (kind, grade) in kinds.items()]
    (tmp_path / "grades.csv").write_text("\n".join(["id,kind,grade", *lines]) + "\n")
    with GalaxiesWriter(tmp_path / "lenses", "composite", size=64) as writer:
        for name in (*reversed(kinds), "h"):
            writer.add(Galaxy(name, "cfhtls", np.zeros((64, 64, 3), "uint8"), empty_votes()))
    found = lens_labels(Galaxies.open(tmp_path / "lenses"), tmp_path / "grades.csv")
    assert found.tolist() == [-1, -1, 0, 1, -1, 0, 1, -1], "g f e d c b a h"


def test_rows_without_data_are_named_and_the_others_are_printed(tmp_path):
    from morph.simulation.sample import simulate_galaxies

    for survey in ("des", "sdss"):
        name = {"des": "sim-des", "sdss": "gz1"}[survey]
        simulate_galaxies(tmp_path / "sets" / name, 110, survey, seed=5, processes=1, progress=False)
    # Without the public images, which would be imported first.
    runner = CliRunner(env={"MORPH_DATA": None})
    rows = "galaxy-zoo,artifacts,photo-z,retrieval,labels"
    words = [
        str(SHIPPED),
        str(tmp_path / "sets"),
        "--rows",
        rows,
        "--without-finetuning",
        "--to",
        str(tmp_path / "rows"),
    ]
    done = runner.invoke(command, words)
    assert done.exit_code == 0, done.output
    assert "galaxy-zoo: There is no dataset at" in done.output
    assert "artifacts: Real artifacts are in the folder of public images" in done.output
    assert "copies that find the original first" in done.output
    assert "300 labels" not in done.output
    assert "photo-z, σ_MAD" in done.output
    assert "simulated DES, photo-z" in (tmp_path / "rows").read_text()
    wrong = runner.invoke(command, [str(SHIPPED), str(tmp_path / "sets"), "--rows", "speed"])
    assert wrong.exit_code == 1
    assert "There are no rows 'speed'; choose among galaxy-zoo" in wrong.output
    assert "folds" in ROWS
