"""Measuring a classifier, and what is kept of it."""

import json

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from morph.errors import InputError
from morph.model.classifier import Classifier
from training.evaluation.evaluate import Evaluation, evaluate, log, part_of, record, title_of
from training.experiments import tracking


def test_an_evaluation_survives_saving(tmp_path, sample, answers_for):
    made = record(answers_for(sample, 0.8), sample, "model", resamples=20)
    made.save(tmp_path / "evaluation")
    read = Evaluation.load(tmp_path / "evaluation")
    assert read.about == made.about
    assert read.figures == made.figures
    assert read.ids.tolist() == sample.ids.tolist()
    np.testing.assert_array_equal(read.votes, sample.votes)
    for name, values in made.answers.items():
        np.testing.assert_array_equal(read.answers[name], values)


def test_a_folder_without_evaluation_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="no evaluation"):
        Evaluation.load(tmp_path)


def test_evaluating_asks_the_classifier_about_every_galaxy(classifier, sample):
    made = evaluate(classifier, sample, resamples=20)
    assert made.answers["probabilities"].shape[0] == len(sample)
    assert made.questions() == ["smooth-or-featured", "disk-edge-on", "how-rounded", "four-class"]
    assert made.figures["disk-edge-on/accuracy"].n == 24
    assert title_of(made) == "blobs (des, simulated)"


def test_an_empty_split_is_bad_input(sample):
    with pytest.raises(InputError, match="--split all"):
        part_of(sample.select(np.zeros(len(sample), dtype=bool)), "test")
    assert len(part_of(sample, "all")) == len(sample)


def test_a_run_holds_figures_plots_and_predictions(tracked, sample, answers_for):
    made = record(answers_for(sample, 0.8), sample, "model", resamples=20)
    with tracking.run("tests", "evaluated", "evaluate") as run:
        log(run, made, sample)
    client = mlflow.MlflowClient()
    metrics = client.get_run(run.id).data.metrics
    assert len(metrics) < 40, "a page of comparisons is to be read"
    assert metrics["accuracy/smooth-or-featured"] == pytest.approx(made.figures["smooth-or-featured/accuracy"].value)
    assert "all/flagged" in metrics
    paths = {artifact.path for folder in ("evaluation", "plots") for artifact in client.list_artifacts(run.id, folder)}
    assert {"evaluation/evaluation.json", "evaluation/predictions.parquet", "plots/calibration.png"} <= paths
    table = mlflow.artifacts.load_dict(f"runs:/{run.id}/figures.json")
    assert len(table["data"]) == len(made.figures)
    assert {"plots/confusion-four-class.png", "plots/most-anomalous.png"} <= paths


def test_the_verb_prints_a_table_and_leaves_a_run(tracked, classifier, sample):
    from training.cli.evaluate import command

    classifier.save(tracked / "model.keras")
    arguments = ["model.keras", sample.about["path"], "--split", "all", "--run", "mine"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "simulated" in done.output
    assert "disk-edge-on" in done.output
    assert tracking.find_run("mine") in done.output
    done = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    printed = json.loads(done.stdout)
    assert printed["about"]["galaxies"] == len(sample)
    assert printed["figures"]["smooth-or-featured/accuracy"]["n"] == len(sample)


def test_the_verb_says_what_kinds_of_votes_meet_and_which_galaxies_the_model_knows(tracked, classifier, sample):
    from morph.training_record import TrainingRecord
    from training.cli.evaluate import command

    def evaluated(dataset, *more):
        words = ["model.keras", str(dataset), "--split", "test", *more]
        done = CliRunner().invoke(command, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done

    test = sample.split()["test"]
    known = Classifier.from_config(
        {
            **classifier.get_config(),
            "about": {"votes": "raw", "trained_on": ["blobs"]},
            "seen": TrainingRecord.of({"labelled": [sample.select(sample.ids == test.ids[0])]}).to_text(),
        }
    )
    known.set_weights(classifier.get_weights())
    known.save(tracked / "model.keras")
    sample.with_votes(sample.votes, "debiased").write(tracked / "renamed")
    done = evaluated("renamed")
    assert "model's answers are raw and these votes are debiased: the two differ" in " ".join(done.stdout.split())
    assert f"model.keras was trained on 1 of these {len(test)} galaxies" in done.stderr
    printed = json.loads(evaluated("renamed", "--json").stdout)
    assert (printed["about"]["votes"], printed["about"]["model_votes"]) == ("debiased", "raw")
    assert printed["about"]["seen"] == {"labelled": 1, "doubtful": 0, "complete": True}
    # Of the same name as a training set, and of other galaxies.
    others = sample.with_columns(id=np.char.add("other ", sample.ids))
    images = others.images[:, ::-1].copy()
    images[:, 0, 0, 0] ^= 1
    others.with_columns(image=images).write(tracked / "blobs")
    assert "trained on" not in evaluated("blobs").stderr


def test_raw_and_debiased_votes_give_no_figure_together(tracked, classifier, sample, morph):
    sample.select(np.arange(24)).with_votes(sample.votes[:24], "raw").write(tracked / "raw")
    sample.select(np.arange(24, 48)).with_votes(sample.votes[24:], "debiased").write(tracked / "debiased")
    classifier.save(tracked / "model.keras")
    status, _, said = morph("evaluate", "model.keras", "raw", "debiased", "--split", "all")
    assert status == 2
    assert "cannot be measured against together" in said
