"""What is checked before a training, and what happens at its end, whose middle is left out here."""

import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.model.store import load_model
from morph.training_record import TrainingRecord
from morph.votes import has_votes
from training.experiments import registry
from training.experiments.train import UNFINISHED, train
from training.fitting.objective import Recipe
from training.fitting.sets import Task, training_sets


@pytest.fixture
def trainings(monkeypatch) -> list[str]:
    """The names of the surveys for which something was trained: nothing is, to be quick."""
    done: list[str] = []
    monkeypatch.setattr("training.fitting.fit.fit", lambda classifier, *_, **__: done.append(classifier.survey) or {})
    return done


@pytest.fixture(autouse=True)
def _unchanged(classifier):
    """The classifier, which all tests share, knows nothing of these trainings afterwards."""
    about, seen = classifier.about, classifier.seen
    yield
    classifier.about, classifier.seen = about, seen


@pytest.fixture
def raw(sample, tmp_path) -> str:
    """The folder of the sample with raw votes."""
    sample.with_votes(sample.votes, "raw").write(tmp_path / "raw")
    return str(tmp_path / "raw")


@pytest.fixture
def debiased(sample, tmp_path) -> str:
    """The folder of the sample with debiased votes."""
    sample.with_votes(sample.votes, "debiased").write(tmp_path / "debiased")
    return str(tmp_path / "debiased")


def test_what_is_trained_is_saved_first_and_registered_by_the_same_command(
    classifier, raw, tracked, trainings, monkeypatch
):
    def down(*_, **__):
        raise MlflowException("the database is locked\nlong story")

    def go():
        return train(classifier, Task("pretrain", "a", "morph", [raw]), Recipe(), tracked / "m.keras", "champion")

    with monkeypatch.context() as broken:
        broken.setattr("training.experiments.registry.register", down)
        with pytest.raises(InputError, match=r"saved as .*m\.keras.*database is locked.*same command registers it"):
            go()
    saved = load_model(tracked / "m.keras")
    assert registry.holder("champion") is None
    go()
    assert len(trainings) == 1, "nothing is trained again"
    assert registry.holder("champion") == 1
    assert load_model("models:/morph@champion").about == saved.about
    assert not any(UNFINISHED.iterdir())


def test_a_model_that_was_saved_and_changed_since_is_trained_again(classifier, raw, tracked, trainings, monkeypatch):
    def down(*_, **__):
        raise OSError("no space left")

    task = Task("pretrain", "a", "morph", [raw])
    with monkeypatch.context() as broken:
        broken.setattr("training.experiments.registry.log_model", down)
        with pytest.raises(InputError, match="no space left"):
            train(classifier, task, Recipe(), tracked / "m.keras", None)
    (tracked / "m.keras").write_bytes(b"something else")
    train(classifier, task, Recipe(), tracked / "m.keras", None)
    assert len(trainings) == 2


def test_a_model_records_its_galaxies_and_the_kind_of_their_votes(classifier, raw, tracked, trainings):
    train(classifier, Task("pretrain", "a", "morph", [raw]), Recipe(), tracked / "m.keras", None)
    made = load_model(tracked / "m.keras")
    parts = Galaxies.open(raw).split()
    assert made.about["votes"] == "raw"
    assert "seen" not in made.describe()["about"], "clients need no list of galaxies"
    seen = TrainingRecord.from_text(made.seen)
    assert seen.overlap(parts["train"]).counts["labelled"] == len(parts["train"])
    assert seen.overlap(parts["validation"]).counts["held out"] == len(parts["validation"])
    assert seen.overlap(parts["test"]).notes("it") == []


def test_raw_and_debiased_votes_train_nothing_together(raw, debiased):
    with pytest.raises(
        InputError, match=r"Raw votes \('.*raw'\) and debiased ones \('.*debiased'\) cannot be trained on"
    ):
        training_sets(Task("pretrain", "a", "morph", [raw, debiased]), 0)
    sets, _ = training_sets(Task("pretrain", "a", "morph", [raw], [debiased]), 0)
    assert len(sets) == 2, "unlabelled galaxies have no votes"


def test_a_model_of_raw_votes_adapted_to_debiased_ones_says_so(classifier, debiased, tracked, trainings, capsys):
    task = Task("pretrain", "a", "morph", [debiased])
    train(classifier, task, Recipe(), tracked / "m.keras", None, "models:/morph@sdss", "raw")
    assert "models:/morph@sdss was trained on raw votes and these are debiased" in capsys.readouterr().err
    assert load_model(tracked / "m.keras").about["votes"] == "debiased"


def test_only_labelled_galaxies_fill_the_budget_of_labels(sample, tmp_path):
    votes = sample.votes.copy()
    votes[::2] = np.nan
    sample.with_votes(votes, "raw").write(tmp_path / "half")
    (galaxies, _), *_ = training_sets(Task("finetune", "a", "morph", [str(tmp_path / "half")], labels=10), 0)[0]
    assert has_votes(galaxies.votes).all()
    with pytest.raises(InputError, match="labelled galaxies; ask for that many"):
        training_sets(Task("finetune", "a", "morph", [str(tmp_path / "half")], labels=30), 0)


@pytest.mark.parametrize("alias", ["latest", "v2", "a b", ""])
@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
def test_an_alias_that_mlflow_reserves_is_refused_beforehand(morph, raw, tracked, trainings, verb, alias):
    model = ["models:/morph@sdss"] if verb == "finetune" else []
    status, _, said = morph(verb, *model, raw, "--alias", alias, "--to", "a.keras")
    assert (status, trainings) == (2, [])
    assert f"'{alias}' cannot be an alias" in said
    assert said.count("\n") == 1
    assert not (tracked / "mlruns" / "unfinished").exists()


def test_a_target_that_cannot_be_written_is_refused_beforehand(morph, raw, tracked, trainings):
    (tracked / "folder.keras").mkdir()
    (tracked / "notes.keras").write_text("keep me")
    for to, why in {
        "folder.keras": "is a folder",
        "notes.keras": "exists and is not a model",
        "notes.keras/m.keras": "cannot be written",
    }.items():
        status, _, said = morph("finetune", "models:/morph@sdss", raw, "--to", to)
        assert (status, trainings) == (2, []), said
        assert why in said
    assert (tracked / "notes.keras").read_text() == "keep me"


def test_a_registry_that_does_not_answer_is_found_out_beforehand(morph, raw, tracked, trainings, monkeypatch):
    def down(*_, **__):
        raise MlflowException("connection refused")

    monkeypatch.setattr("mlflow.MlflowClient.search_registered_models", down)
    for words in (
        ["finetune", "models:/morph@sdss", raw, "--to", "m.keras"],
        ["transfer", "models:/morph@sdss", raw, "--to", "t"],
        ["evaluate", "models:/morph@sdss", raw],
    ):
        status, _, said = morph(*words)
        assert (status, trainings) == (2, [])
        assert "does not answer (connection refused)" in said
