"""Which galaxies a training learns from, and which are held out of it."""

import numpy as np
import pytest

from morph.dataset import Galaxies, GalaxiesWriter, Galaxy
from morph.votes import empty_votes, set_votes
from training.experiments.train import train
from training.fitting.objective import Recipe
from training.fitting.sets import Task, training_sets


def test_unlabelled_galaxies_with_a_split_say_what_is_normal_but_not_what_it_is(sample, tmp_path):
    artifact = set_votes(empty_votes(), {"smooth-or-featured_artifact": 40})
    with GalaxiesWriter(tmp_path / "measured", "composite", about={"simulated": True}) as writer:
        for i, galaxy in enumerate(sample):
            for copy in range(2):
                votes = artifact if i % 5 == 0 else galaxy.votes
                row = Galaxy(f"measured {i} {copy}", "des", galaxy.image, votes, properties={"redshift": 0.1})
                writer.add(row)
    parts = Galaxies.open(tmp_path / "measured").split()
    task = Task("pretrain", "a", "morph", [sample.about["path"]], [str(tmp_path / "measured")])
    sets, held_out = training_sets(task, seed=0)
    known, normal = held_out
    assert set(known.ids) == set(sample.split()["validation"].ids)
    artifacts = [name for name in parts["validation"].ids if int(name.split()[1]) % 5 == 0]
    assert artifacts, "or there is nothing to leave out"
    assert set(normal.ids) == set(parts["validation"].ids) - set(artifacts)
    assert np.isnan(normal.votes).all()
    assert not set(normal.ids) & {name for galaxies, _ in sets for name in galaxies.ids}


def test_anomalies_are_planted_on_labelled_galaxies_alone(classifier, sample, tracked, monkeypatch):
    """Among the others may be artifacts that nobody has called so."""
    planted_on = []

    def stop_at_training(*arguments):
        planted_on.extend(arguments[-1])
        raise KeyboardInterrupt

    monkeypatch.setattr("training.fitting.fit.fit", stop_at_training)
    name = sample.about["path"]
    with pytest.raises(KeyboardInterrupt):
        train(classifier, Task("pretrain", "a", "morph", [name], [name]), Recipe(), tracked / "m.keras", None)
    (hosts,) = planted_on
    assert set(hosts.ids) == set(sample.split()["train"].ids)
    assert np.isfinite(hosts.votes).any()


def test_a_training_that_was_interrupted_goes_on_unless_its_sets_come_in_other_shares(
    classifier, sample, tracked, monkeypatch, capsys
):
    def stop(*_):
        raise KeyboardInterrupt

    def go(share: float) -> str:
        task = Task("pretrain", "a", "morph", [name], [name], unlabelled_share=share)
        with pytest.raises(KeyboardInterrupt):
            train(classifier, task, Recipe(), tracked / "m.keras", None)
        return capsys.readouterr().err

    monkeypatch.setattr("training.fitting.fit.fit", stop)
    name = sample.about["path"]
    assert "Training 'a'" in go(0.25)
    assert "Resuming 'a'" in go(0.25)
    assert "starts anew" in go(0.5)
    assert "Resuming 'a'" in go(0.5)
