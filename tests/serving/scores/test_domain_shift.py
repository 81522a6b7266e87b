"""Scoring reports the domain shift of the galaxies, with every backend."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from morph.domain_shift import compare
from morph.domain_shift.report import lines
from morph.stamps.image_statistics import NAMES
from serving.client import MorphClient, ServerError
from serving.scores.publish import SHIFT_NUMBERS, SHIFT_PICTURE, report_domain_shift, sample_of_scores
from serving.scores.summary import ScoresSummary
from serving.scoring import measurements
from serving.scoring.backends import LocalModel, RemoteModel
from serving.scoring.run import score


@pytest.fixture(scope="module")
def scored(tiles_folder, weights, tmp_path_factory):
    """Two tiles scored by a model in memory."""
    out = tmp_path_factory.mktemp("near")
    return out, score(tiles_folder, None, LocalModel(str(weights)), out)


def test_the_server_returns_the_models_reference_sample(client, classifier):
    np.testing.assert_allclose(
        client.reference_sample().table(),
        classifier.reference_sample.sample.table(),
        rtol=2e-3,
        atol=1e-3,
        equal_nan=True,
    )


def test_a_model_without_the_signature_has_no_reference_sample(server, monkeypatch):
    with MorphClient(server.address) as client:
        ask = client._protocol._ask_text
        monkeypatch.setattr(client._protocol, "_ask_text", lambda signature, *rest: ask("nonsense", *rest))
        assert client.reference_sample() is None


def test_a_server_that_does_not_answer_is_an_error():
    with MorphClient("127.0.0.1:9", timeout=1) as client, pytest.raises(ServerError, match="No server answers"):
        client.reference_sample()


def test_score_files_give_back_the_sample(scored):
    _out, summary = scored
    sample = sample_of_scores([tile.path for tile in summary.scored], "des")
    assert 0 < len(sample) <= summary.galaxies - summary.flagged
    assert sample.surveys == ["des"]
    assert sample.mostly_simulated
    assert np.isfinite(sample.statistics[:, NAMES.index("scale")]).all()
    assert np.isnan(sample.correct).all()


def test_numbers_and_a_picture_stand_beside_the_scores(scored, tiles_folder, server, tmp_path, monkeypatch):
    out, near = scored
    monkeypatch.setattr(compare, "FEWEST", 5)
    far = score(tiles_folder, None, RemoteModel(server.address), tmp_path)
    one, other = report_domain_shift(near, out, "des"), report_domain_shift(far, tmp_path, "des")
    assert one.embedding.auc == pytest.approx(other.embedding.auc, abs=0.02)
    assert one.embedding.low > 0.5, "tiles look like no drawn disks"
    assert Image.open(tmp_path / SHIFT_PICTURE).width > 1000
    written = json.loads((tmp_path / SHIFT_NUMBERS).read_text())
    assert written["lines"] == lines(other)
    assert written["embedding"]["auc"] == other.embedding.auc
    assert not list(tmp_path.glob(".*"))


def test_too_few_galaxies_are_a_sentence_and_no_picture(scored, tmp_path):
    _, summary = scored
    (tmp_path / SHIFT_PICTURE).write_bytes(b"of an earlier run")
    assert "are needed" in report_domain_shift(summary, tmp_path, "des")
    assert not (tmp_path / SHIFT_PICTURE).exists()
    assert "are needed" in json.loads((tmp_path / SHIFT_NUMBERS).read_text())["lines"][0]


def test_a_model_without_a_reference_sample_is_a_sentence(scored, tmp_path):
    _, summary = scored
    assert report_domain_shift(ScoresSummary(summary.scored), tmp_path, "des") == compare.NO_REFERENCE_SAMPLE


def test_the_verb_says_it(morph, tiles_folder, weights, tmp_path):
    status, output, _ = morph("score", tiles_folder, "--model", weights, "--out", tmp_path)
    assert status == 0
    assert "domain shift cannot be measured" in output.splitlines()[-2]


def test_only_some_galaxies_of_a_tile_are_measured(tiles_folder, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "MEASURED", 2)
    summary = score(tiles_folder, None, LocalModel(str(weights)), tmp_path)
    measured = [np.isfinite(np.array(row.as_py(), dtype=float)).any() for row in _statistics(summary)]
    assert 0 < sum(measured) < len(measured) / 2


def _statistics(summary):
    return pq.read_table(max(summary.scored, key=lambda tile: tile.galaxies).path)["image_statistics"]
