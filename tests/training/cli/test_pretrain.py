"""`morph pretrain`, up to where training begins."""

import os
import subprocess
import sys

import numpy as np
from click.testing import CliRunner

from training.cli import pretrain


def test_the_seed_draws_the_first_weights_too(sample, tmp_path, monkeypatch):
    started: list[list[np.ndarray]] = []
    monkeypatch.setattr(pretrain, "train", lambda classifier, *_: started.append(classifier.get_weights()))
    for seed in "112":
        options = [sample.about["path"], "--to", str(tmp_path / "m.keras"), "--seed", seed]
        CliRunner().invoke(pretrain.command, options, catch_exceptions=False)
    one, again, other = (np.concatenate([weight.ravel() for weight in weights]) for weights in started)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


#: Makes the model and does not train it.
START = """
import sys
from training.cli import pretrain
pretrain.train = lambda *_: None
pretrain.command(sys.argv[1:], standalone_mode=False)
"""


def test_a_start_is_quiet(sample, tmp_path):
    options = [sample.about["path"], "--to", str(tmp_path / "m.keras")]
    # A user's shell does not set what OpenVINO's converter leaves behind in a process that imported it.
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", START, *options], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
