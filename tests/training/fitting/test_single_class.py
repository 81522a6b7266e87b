"""Labels that teach or measure less than they seem to."""

import numpy as np
import pytest
from click.testing import CliRunner

from morph.dataset import Galaxies, GalaxiesWriter, Galaxy
from morph.errors import InputError
from training.evaluation.crossvalidate import folds_of
from training.experiments.training_record import TrainingRecord
from training.fitting.sets import Task, check_labels, single_class, single_class_note, training_sets


@pytest.fixture
def ellipticals(sample, tmp_path):
    """The round half of the sample: smooth, with a disk's votes on nothing, and without redshift or magnitudes."""
    folder = tmp_path / "ellipticals"
    sample.select(np.arange(0, 48, 2)).write(folder)
    return folder


@pytest.fixture
def unlabelled(sample, tmp_path):
    from morph.votes import empty_votes

    with GalaxiesWriter(tmp_path / "unlabelled", "composite") as writer:
        for galaxy in sample:
            writer.add(Galaxy(galaxy.id, galaxy.survey, galaxy.image, empty_votes()))
    return Galaxies.open(tmp_path / "unlabelled")


def test_a_question_with_one_answer_is_found_and_one_with_two_is_not(sample):
    round_ones = sample.select(np.arange(0, 48, 2))
    assert single_class(round_ones.votes) == {"smooth-or-featured": "smooth"}
    assert single_class(sample.votes) == {"disk-edge-on": "yes"}
    assert check_labels([round_ones, sample]) == {"disk-edge-on": "yes"}
    assert "disk-edge-on: yes" in single_class_note(single_class(sample.votes), "so what")
    assert single_class_note({}, "so what") == ""


def test_training_on_galaxies_without_labels_is_bad_input(unlabelled):
    with pytest.raises(InputError, match=r"no label to learn from.*--labels"):
        training_sets(Task("finetune", "a", "tests", [str(unlabelled.about["path"])]), seed=0)


def test_training_on_one_class_goes_on_and_says_so(ellipticals, capsys):
    sets, _ = training_sets(Task("finetune", "a", "tests", [str(ellipticals)]), seed=0)
    assert len(sets[0][0]) > 0
    assert "smooth-or-featured: smooth" in capsys.readouterr().err


@pytest.mark.parametrize("n", [3, 4, 10])
def test_every_fold_holds_somebody(n):
    ids = np.array([f"galaxy {i}" for i in range(n)])
    place = folds_of(ids, 3)
    assert np.ptp(np.bincount(place, minlength=3)) <= 1
    order = np.random.default_rng(0).permutation(n)
    np.testing.assert_array_equal(folds_of(ids[order], 3), place[order])


def test_one_class_that_the_model_knows_already_is_measured_with_both_said(tracked, classifier, ellipticals):
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
