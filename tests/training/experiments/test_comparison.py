"""Which of two models is better, and when nobody can tell."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from morph.errors import InputError
from training.evaluation.evaluate import Evaluation, log, record
from training.experiments import tracking
from training.experiments.comparison import Compared, compare, compare_all
from training.experiments.comparison_report import difference_lines, differing_params
from training.experiments.run_selection import find


def test_a_better_model_differs_significantly_from_a_worse_one(sample, run_of):
    found = compare([run_of("poor", sample, 0.2), run_of("good", sample, 0.95)], resamples=300)
    assert found.runs[found.best].name == "good"
    assert "good is better than poor" in found.conclusion()
    assert "simulated galaxies" in found.conclusion()
    assert found.clear_leader("four-class/accuracy") == 1
    assert any(line == "good is better than poor in" for line in difference_lines(found))
    assert (
        found.difference(1, 0, "four-class/accuracy").value < 0 < found.difference(0, 1, "four-class/accuracy").value
    )


def test_equal_models_differ_by_nothing_but_noise(sample, run_of):
    found = compare([run_of("one", sample, 0.8), run_of("other", sample, 0.8)], resamples=300)
    assert found.significant() == []
    assert "not significantly better" in found.conclusion()


def test_only_galaxies_that_all_runs_share_are_compared(sample, run_of, answers_for):
    most, rest = sample.select(np.arange(30)), sample.select(np.arange(48)[::-1][:40])
    found = compare([run_of("a", most, 0.9), run_of("b", rest, 0.3)], resamples=50)
    assert sorted(found.shared) == sorted(set(most.ids) & set(rest.ids))
    # The rows stand in another order in the second run, and each galaxy still meets itself.
    alone = record(answers_for(rest, 0.3), rest, "b").answers["probabilities"]
    where = [list(rest.ids).index(name) for name in found.shared]
    truth = rest.votes[where][:, :2].argmax(axis=1)
    accuracy = (alone[where][:, :3].argmax(axis=1) == truth).mean()
    assert found.figures[1]["smooth-or-featured/accuracy"].value == pytest.approx(accuracy)


def test_runs_without_a_common_galaxy_are_bad_input(sample, run_of):
    with pytest.raises(InputError, match="share no galaxies"):
        compare([run_of("a", sample.select(np.arange(20)), 0.8), run_of("b", sample.select(np.arange(20, 48)), 0.8)])


def test_runs_with_other_votes_for_the_same_galaxies_are_bad_input(sample, run_of):
    a, b = run_of("a", sample, 0.8), run_of("b", sample, 0.8)
    other = Evaluation(b.evaluation.about, b.evaluation.ids, b.evaluation.votes + 1, b.evaluation.answers, {})
    with pytest.raises(InputError, match="different votes"):
        compare([a, Compared("id-b", "b", {}, {}, other)])


def test_parameters_that_are_the_same_are_left_out(sample, run_of):
    a, b = run_of("a", sample, 0.8, epochs=3, seed=0), run_of("b", sample, 0.8, epochs=4, seed=0, labels=300)
    assert differing_params([a, b]) == {"epochs": ["3", "4"], "labels": ["", "300"]}


def test_each_set_of_galaxies_is_compared_by_itself(sample, run_of):
    first, second = sample.select(np.arange(20)), sample.select(np.arange(20, 48))
    runs = [run_of(f"{name}-{n}", part, 0.8) for n, part in enumerate((first, second)) for name in "ab"]
    found = compare_all([*runs, run_of("alone", sample.select(np.arange(5)), 0.8)], resamples=20)
    assert [[run.name for run in comparison.runs] for comparison in found] == [["a-0", "b-0"], ["a-1", "b-1"]]


def test_a_handful_of_galaxies_shows_no_difference(sample, run_of):
    few = sample.select(np.arange(6))
    found = compare([run_of("poor", few, 0.0), run_of("good", few, 1.0)], resamples=50)
    assert found.differences[0, 1]["smooth-or-featured/accuracy"].significant
    assert found.significant() == []
    assert found.clear_leader("smooth-or-featured/accuracy") is None


def test_galaxies_without_votes_cannot_be_compared_by(sample, run_of):
    a, b = run_of("a", sample, 0.8), run_of("b", sample, 0.8)
    unasked = [
        replace(run, evaluation=replace(run.evaluation, votes=np.full_like(sample.votes, np.nan), figures={}))
        for run in (a, b)
    ]
    with pytest.raises(InputError, match=r"blobs.*have no votes"):
        compare(unasked)


@pytest.fixture
def three_runs(tracked, sample, answers_for):
    """Two runs on the same galaxies, before them one on others, after them one that was never evaluated."""
    parts = {"elsewhere": sample.select(np.arange(8))} | dict.fromkeys(
        ("poor", "good"), sample.select(np.arange(8, 48))
    )
    for name, part in parts.items():
        with tracking.run("tests", name, "evaluate") as run:
            run.log_params({"name": name})
            log(run, record(answers_for(part, 0.9 if name == "good" else 0.3), part, name, resamples=20), plots=False)
    with tracking.run("tests", "bare", "pretrain"):
        pass
    return tracked


def test_without_names_the_newest_runs_on_the_same_galaxies_are_taken(three_runs):
    assert [run.name for run in find(())] == ["poor", "good"]
    assert [run.name for run in find(("good", "poor"), "tests")] == ["good", "poor"]


def test_unknown_and_unevaluated_runs_are_bad_input(three_runs):
    with pytest.raises(InputError, match="no run 'gone'"):
        find(("gone",))
    with pytest.raises(InputError, match=r"'bare' holds no evaluation.*morph evaluate"):
        find(("bare",))
    with pytest.raises(InputError, match="no experiment 'gone'"):
        find((), "gone")


def test_no_runs_at_all_is_bad_input(tracked):
    with pytest.raises(InputError, match="morph evaluate"):
        find(())


def test_the_verb_prints_runs_side_by_side(three_runs):
    from training.cli.compare import command

    done = CliRunner().invoke(command, [], catch_exceptions=False)
    assert "elsewhere" not in done.output
    assert "(simulated des, all of it): 40 galaxies" in done.output
    assert "good is better than poor" in done.output
    done = CliRunner().invoke(command, ["poor", "good", "--json"], catch_exceptions=False)
    (printed,) = json.loads(done.stdout)["comparisons"]
    assert [run["name"] for run in printed["runs"]] == ["poor", "good"]
    (difference,) = printed["differences"]
    assert difference["figures"]["four-class/accuracy"]["significant"] is True
