"""Which galaxies a training learns from, and which are held out of it."""

import numpy as np
import pytest
from click.testing import CliRunner

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.training_record import TrainingRecord
from morph.votes import empty_votes, set_votes
from training.evaluation.crossvalidate import folds_of
from training.experiments.train import train
from training.fitting.objective import Recipe
from training.fitting.sets import Task, check_labels, single_class, single_class_note, training_sets


@pytest.fixture
def ellipticals(sample, tmp_path):
    """The round half of the sample: smooth, with a disk's votes on nothing, and without redshift or magnitudes."""
    folder = tmp_path / "ellipticals"
    sample.select(np.arange(0, 48, 2)).write(folder)
    return folder


@pytest.fixture
def unlabelled(sample, tmp_path):
    with GalaxiesWriter(tmp_path / "unlabelled", "composite") as writer:
        for galaxy in sample:
            writer.add(Galaxy(galaxy.id, galaxy.survey, galaxy.image, empty_votes()))
    return Galaxies.open(tmp_path / "unlabelled")


def test_a_question_with_one_answer_is_found_and_one_with_two_is_not(sample):
    round_ones = sample.select(np.arange(0, 48, 2))
    assert single_class(round_ones.votes) == {"smooth-or-featured": "smooth"}
    assert single_class(sample.votes) == {"disk-edge-on": "yes"}
    assert check_labels([round_ones, sample]) == {"disk-edge-on": "yes"}
    assert "disk-edge-on: yes" in single_class_note(single_class(sample.votes), "effect")
    assert single_class_note({}, "effect") == ""


def test_training_on_galaxies_without_labels_is_an_input_error(unlabelled):
    with pytest.raises(InputError, match=r"no label to learn from.*--labels"):
        training_sets(Task("finetune", "a", "tests", [str(unlabelled.about["path"])]), seed=0)


def renamed(galaxies: Galaxies, folder, noise: float = 0.0) -> str:
    """The same galaxies as real ones under other names, with a little more noise if wanted."""
    random = np.random.default_rng(5)
    with GalaxiesWriter(folder, "composite") as writer:
        for number, galaxy in enumerate(galaxies):
            image = np.clip(galaxy.image + random.normal(0, noise, galaxy.image.shape), 0, 255).astype("uint8")
            writer.add(Galaxy(f"again-{number}", galaxy.survey, image, galaxy.votes))
    return str(folder)


def test_a_set_with_test_galaxies_of_another_under_other_names_is_refused(sample, tmp_path):
    names = [sample.about["path"], renamed(sample, tmp_path / "again")]
    theirs = Galaxies.open(names[1])
    held_out = {image.tobytes() for part in ("validation", "test") for image in sample.split()[part].images}
    with pytest.raises(InputError, match=r"images of \d+ validation or test galaxies of '.*' under other names"):
        training_sets(Task("pretrain", "a", "tests", names), seed=0)
    kept = theirs.select([image.tobytes() not in held_out for image in theirs.images])
    others = {image.tobytes() for part in ("validation", "test") for image in kept.split()[part].images}
    mine = sample.select([image.tobytes() not in others for image in sample.images])
    for galaxies, name in ((kept, "theirs"), (mine, "mine")):
        galaxies.write(tmp_path / name)
    sets, _ = training_sets(Task("pretrain", "a", "tests", [str(tmp_path / "mine"), str(tmp_path / "theirs")]), seed=0)
    assert len(sets) == 2, "without those they are trained on together"
    sets, _ = training_sets(Task("pretrain", "a", "tests", [names[0], names[0]]), seed=0)
    assert len(sets) == 2, "nor does the same name fall on two sides"


def test_an_image_in_two_splits_of_one_set_is_left_out_of_the_training(sample, tmp_path, capsys):
    image, votes = sample.images[0], sample.votes[0]
    with GalaxiesWriter(tmp_path / "twice", "composite") as writer:
        for number in range(40):
            writer.add(Galaxy(f"same {number}", "des", image, votes))
        for galaxy in sample.select(np.arange(1, 48)):
            writer.add(galaxy)
    sets, _ = training_sets(Task("pretrain", "a", "tests", [str(tmp_path / "twice")]), seed=0)
    assert not any(name.startswith("same") for name in sets[0][0].ids)
    assert "are in its validation or test split too; left out" in capsys.readouterr().err


def test_unlabelled_test_galaxies_are_left_out_and_counted(sample, tmp_path, capsys):
    real = renamed(sample, tmp_path / "labelled")
    other = tmp_path / "unlabelled"
    Galaxies.open(real).write(other)
    sets, _ = training_sets(Task("pretrain", "a", "tests", [real], [str(other)]), seed=0)
    parts = Galaxies.open(real).split()
    held_out = len(parts["validation"]) + len(parts["test"])
    assert len(sets[1][0]) <= len(sample) - held_out
    count = len(sample) - len(sets[1][0])
    assert f"{count} of {len(sample)} galaxies of '{other}' are left out" in capsys.readouterr().err


def test_a_set_held_out_whole_is_not_trained_on_and_comes_with_the_validation_splits(sample, tmp_path):
    train = sample.split()["train"]
    more = renamed(train.select(np.arange(5)), tmp_path / "more")
    sets, held_out = training_sets(Task("pretrain", "a", "tests", [sample.about["path"]], held_out=[more]), seed=0)
    assert list(held_out[-1].ids) == list(Galaxies.open(more).ids)
    assert not set(train.ids[:5]) & set(sets[0][0].ids), "its images are left out of the training"


def test_training_on_one_class_goes_on_with_a_note(ellipticals, capsys):
    sets, _ = training_sets(Task("finetune", "a", "tests", [str(ellipticals)]), seed=0)
    assert len(sets[0][0]) > 0
    assert "smooth-or-featured: smooth" in capsys.readouterr().err


@pytest.mark.parametrize("n", [3, 4, 10])
def test_every_fold_holds_a_galaxy(n):
    ids = np.array([f"galaxy {i}" for i in range(n)])
    place = folds_of(ids, 3)
    assert np.ptp(np.bincount(place, minlength=3)) <= 1
    order = np.random.default_rng(0).permutation(n)
    np.testing.assert_array_equal(folds_of(ids[order], 3), place[order])


def test_one_class_of_the_training_set_is_evaluated_with_both_notes(tracked, classifier, ellipticals):
    from training.cli.evaluate import command

    n = len(Galaxies.open(ellipticals))
    classifier.seen = TrainingRecord.of({"labelled": [Galaxies.open(ellipticals)]}).to_text()
    try:
        classifier.save(tracked / "model.keras")
    finally:
        classifier.seen = ""
    done = CliRunner().invoke(command, ["model.keras", str(ellipticals), "--split", "all"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "smooth-or-featured: smooth" in done.stdout
    assert f"was trained on {n} of these {n} galaxies" in done.stderr


def test_unlabelled_galaxies_with_a_split_serve_as_normal_galaxies_without_their_votes(sample, tmp_path):
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


def test_anomalies_are_injected_into_labelled_galaxies_alone(classifier, sample, tracked, monkeypatch):
    """The others may include unlabelled artifacts."""
    injected_into = []

    def stop_at_training(*arguments, hosts, **options):
        injected_into.extend(hosts)
        raise KeyboardInterrupt

    monkeypatch.setattr("training.fitting.fit.fit", stop_at_training)
    name = sample.about["path"]
    with pytest.raises(KeyboardInterrupt):
        train(classifier, Task("pretrain", "a", "morph", [name], [name]), Recipe(), tracked / "m.keras", None)
    (hosts,) = injected_into
    assert set(hosts.ids) == set(sample.split()["train"].ids)
    assert np.isfinite(hosts.votes).any()


def test_a_training_that_was_interrupted_goes_on_unless_its_sets_come_in_other_shares(
    classifier, sample, tracked, monkeypatch, capsys
):
    def stop(*_, **__):
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
