"""The first thing a newcomer does, made small."""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from morph.decision_tree import ANSWER_COLUMNS

SMALL = ("--galaxies", "150", "--labels", "40", "--epochs", "2", "--tile-size", "500")


@pytest.mark.timeout(900)
def test_quickstart_goes_the_whole_way(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-m", "morph", "quickstart", *SMALL],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr

    made = tmp_path / "quickstart"
    page = (made / "report.html").read_text()
    assert "simulated" in page
    assert not re.search(r"""(src|href)=["']?https?:|url\(https?:""", page)  # nothing is fetched from elsewhere

    scores = ds.dataset(made / "scores", format="parquet").to_table()
    assert len(scores) > 0
    assert set(ANSWER_COLUMNS) <= set(scores.column_names)

    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as database:
        runs = {name for (name,) in database.execute("select name from runs")}
        champion = database.execute("select version from registered_model_aliases where alias = 'champion'").fetchall()
    assert {"direct", "from-scratch", "finetuned"} <= runs
    assert len(champion) == 1

    warm_up = next((made / "serving" / "morph").glob("*/assets.extra/tf_serving_warmup_requests"))
    assert warm_up.stat().st_size > 0
