"""Who becomes the champion, and who does not."""

import json
from dataclasses import replace

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from morph.decision_tree import TREE
from morph.errors import InputError
from training.cli.compare import command
from training.evaluation.evaluate import log, record
from training.experiments import registry, tracking
from training.experiments.comparison import compare_all
from training.experiments.promotion import _was_trained_on, promote, stretched
from training.experiments.run_selection import find, with_version
from training.metrics.estimates import Estimate

ROUNDED = TREE.slices["how-rounded"]


@pytest.fixture
def version(tracked, sample, answers_for):
    """A function that registers a version and evaluates it; its number."""

    def make(skill: float, split: str = "validation", galaxies=sample, worse_on=None, seed: int = 0) -> int:
        with tracking.run("tests", "training", "finetune", parent="models:/morph/1") as run:
            run.log_params({"epochs": skill * 100, "seed": 3})
            run.log_dataset(sample)
        if not run.client.search_registered_models("name = 'morph'"):
            run.client.create_registered_model("morph")
        number = int(run.client.create_model_version("morph", f"runs:/{run.id}/model", run.id).version)
        evaluate(number, skill, split, galaxies, worse_on, seed)
        return number

    def evaluate(number: int, skill: float, split: str, galaxies=sample, worse_on=None, seed: int = 0) -> None:
        answers = answers_for(galaxies, skill, seed)
        if worse_on is not None:
            answers["probabilities"][:, worse_on] = np.roll(answers["probabilities"][:, worse_on], 1, axis=1)
        name = f"{number}-{split}"
        with tracking.run("tests", name, "evaluate") as run:
            run.log_params({"model": registry.uri_of(number), "split": split})
            run.log_dataset(galaxies, "evaluation")
            log(run, record(answers, galaxies, registry.uri_of(number), split, resamples=20), plots=False)

    make.again = evaluate
    return make


def champion() -> int | None:
    return registry.holder("champion")


def contest(*names: str, name: str = "", **options):
    return promote(compare_all(with_version(find(names), champion()), resamples=200), name, **options)


def test_the_better_version_takes_the_title_and_says_by_how_much(version):
    tracking.set_alias("champion", version(0.4))
    given = contest(registry.uri_of(version(0.97)))
    assert (given.version, given.previous, champion()) == (2, 1, 2)
    assert "four classes" in given.reason
    assert "points" in given.reason
    tags = mlflow.MlflowClient().get_model_version("morph", "2").tags
    assert tags["promoted-to-champion"] == given.reason


def test_a_worse_version_is_refused_with_the_figure(version):
    tracking.set_alias("champion", version(0.97))
    version(0.4)
    with pytest.raises(InputError, match=r"worse than the present champion \(version 1\).*points.*48 galaxies"):
        contest("models:/morph/2", name="models:/morph/2")
    assert champion() == 1


def test_a_version_that_leads_but_is_worse_on_one_question_is_refused(version):
    tracking.set_alias("champion", version(0.6))
    version(0.98, worse_on=ROUNDED)
    with pytest.raises(InputError, match=r"worse.*on how-rounded.*figures at once"):
        contest("models:/morph/2")
    assert champion() == 1


def test_a_version_that_does_not_differ_significantly_is_promoted_only_by_name(version):
    tracking.set_alias("champion", version(0.8))
    version(0.85)
    with pytest.raises(InputError, match=r"does not differ significantly.*--promote models:/morph/2"):
        contest("models:/morph/2")
    assert champion() == 1
    assert "was named" in contest("models:/morph/2", name="models:/morph/2").reason
    assert champion() == 2


def test_the_first_champion_needs_a_lead_or_a_name(version):
    version(0.8)
    version(0.81)
    with pytest.raises(InputError, match="name the one to promote"):
        contest("models:/morph/1", "models:/morph/2")
    assert champion() is None
    assert contest("models:/morph/1").previous is None


def test_a_champion_that_was_not_evaluated_on_the_same_galaxies_keeps_the_title(version, sample):
    tracking.set_alias("champion", version(0.4, galaxies=sample.select(np.arange(20))))
    version(0.97)
    with pytest.raises(InputError, match=r"not evaluated.*morph evaluate models:/morph/1 blobs --split validation"):
        contest("models:/morph/2")
    assert champion() == 1


def test_no_version_is_selected_by_test_galaxies(version):
    tracking.set_alias("champion", version(0.4, split="test"))
    version(0.97, split="test")
    with pytest.raises(InputError, match=r"bias.*morph evaluate models:/morph/2 blobs --split validation"):
        contest("models:/morph/2")
    version.again(1, 0.4, "validation")
    version.again(2, 0.97, "validation")
    with pytest.raises(InputError, match="morph compare 1-validation 2-validation --promote"):
        contest("1-test", "2-test")
    assert champion() == 1


def test_a_version_is_chosen_by_its_validation_galaxies_though_it_has_a_test_too(version, sample):
    first, second = sample.select(np.arange(30)), sample.select(np.arange(30, 48))
    for skill in (0.3, 0.97):
        number = version(skill, galaxies=first)
        version.again(number, 1 - skill, "test", second)
    tracking.set_alias("champion", 1)
    found = compare_all(find(("models:/morph/1", "models:/morph/2")), resamples=50)
    assert [comparison.title for comparison in found] == [
        "blobs (simulated des, test split)",
        "blobs (simulated des, validation split)",
    ]
    assert contest("models:/morph/2").version == 2


def test_a_cross_validation_and_a_model_without_a_version_cannot_be_promoted(version, sample):
    number = version(0.9, split="3 folds")
    with pytest.raises(InputError, match="cross-validation"):
        contest(f"{number}-3 folds")
    with pytest.raises(InputError, match="has no evaluation"):
        find((registry.uri_of(number),))


def test_no_version_is_selected_by_galaxies_that_were_trained_on(version):
    version(0.9, split="all")
    with pytest.raises(InputError, match="trained on"):
        contest("models:/morph/1")


@pytest.mark.parametrize(
    ("split", "seen", "trained"),
    [
        ("all", {"labelled": 3, "doubtful": 0, "complete": True}, True),
        ("validation", {"labelled": 1, "doubtful": 0, "complete": False}, True),
        ("all", {"labelled": 0, "doubtful": 0, "complete": True}, False),
        ("train", {"labelled": 0, "doubtful": 0, "complete": True}, False),
        ("all", {"doubtful": 0, "complete": False}, True),
        ("train", None, True),
        ("validation", None, False),
    ],
)
def test_galaxies_decide_what_was_trained_on_and_names_only_where_no_galaxies_are_recorded(
    run_of, sample, split, seen, trained
):
    run = run_of("a", sample, 0.8)
    about = {**run.evaluation.about, "split": split, **({} if seen is None else {"seen": seen})}
    made = registry.Trained({registry.TRAINED_ON: "blobs"})
    assert _was_trained_on(replace(run, evaluation=replace(run.evaluation, about=about), trained=made)) == trained


def test_an_interval_is_stretched_about_its_value():
    wide = stretched(Estimate(-0.2, -0.3, -0.15, 50), 2.0)
    assert (wide.value, wide.low, wide.high) == pytest.approx((-0.2, -0.4, -0.1))


def test_the_verb_refuses_with_status_2_after_showing_the_comparison(version, tracked):
    tracking.set_alias("champion", version(0.97))
    version(0.4)
    runner = CliRunner()
    done = runner.invoke(command, ["models:/morph@champion", "--promote", "models:/morph/2"])
    assert isinstance(done.exception, InputError)
    assert "statistically significant" in done.output
    done = runner.invoke(command, ["models:/morph/1", "--promote", "models:/morph/2", "--json"])
    assert "worse" in json.loads(done.stdout)["refusal"]
    assert champion() == 1


def test_the_verb_draws_the_differences_and_lists_changed_parameters(version, tracked):
    version(0.4)
    version(0.97)
    done = CliRunner().invoke(
        command,
        ["models:/morph/1", "models:/morph/2", "--plot", "d.png"],
        env={"COLUMNS": "100"},
        catch_exceptions=False,
    )
    assert (tracked / "d.png").stat().st_size > 10_000
    assert "morph/2 started from models:/morph/1; changed: epochs 40.0 → 97.0." in done.output
    assert max(len(line) for line in done.output.splitlines()) <= 100


def test_a_plot_that_cannot_be_written_is_refused_at_once(tracked):
    for place, wrong in (("d.gif", "should end in"), ("nowhere/d.png", "does not exist")):
        done = CliRunner().invoke(command, ["--plot", place])
        assert isinstance(done.exception, InputError)
        assert wrong in str(done.exception)
