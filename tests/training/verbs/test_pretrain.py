"""`morph pretrain`, up to where training begins."""

import numpy as np
from click.testing import CliRunner

from training.verbs import pretrain


def test_the_seed_draws_the_first_weights_too(sample, tmp_path, monkeypatch):
    started: list[list[np.ndarray]] = []
    monkeypatch.setattr(pretrain, "train", lambda classifier, *_: started.append(classifier.get_weights()))
    for seed in "112":
        options = [sample.about["path"], "--to", str(tmp_path / "m.keras"), "--seed", seed]
        CliRunner().invoke(pretrain.command, options, catch_exceptions=False)
    one, again, other = (np.concatenate([weight.ravel() for weight in weights]) for weights in started)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
