"""A detail decoder is kept where its pictures are nearer to galaxies."""

import numpy as np
import pytest

from training.evaluation import detail
from training.evaluation.detail import detail_distances, judge_detail


@pytest.mark.usefixtures("uncompiled")
def test_a_detail_decoder_that_draws_specks_is_dropped(classifier, sample, monkeypatch, capsys):
    monkeypatch.setattr(detail, "NUMBER", 24)
    before = classifier.detail.get_weights()
    plain, same = detail_distances(classifier, [sample])
    assert same == plain > 0, "a new one gives the picture back"
    kernel = classifier.detail.last[0]
    kernel.assign(3.0 * np.random.default_rng(0).standard_normal(kernel.shape))
    classifier.detail.is_fitted.assign(1.0)
    about = judge_detail(classifier, [sample])
    assert about["frechet_distance"] > about["frechet_distance_plain"] == plain
    assert not classifier.detail.fitted
    assert "is left out" in capsys.readouterr().err
    # One that is nearer is kept.
    monkeypatch.setattr(detail, "detail_distances", lambda *_: (2.0, 1.0))
    judge_detail(classifier, [sample])
    assert classifier.detail.fitted
    classifier.detail.set_weights(before)
