"""`morph transfer`: trials, the summary, and wrong arguments."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from morph.dataset import Galaxies
from morph.decision_tree import TREE
from morph.errors import InputError
from training.evaluation.evaluate import Evaluation
from training.fitting.batches import unanswered
from training.label_budget.plan import Trial, budgets_of, check_folder, methods_of, trials_of
from training.label_budget.report import save, table
from training.label_budget.summary import HEADLINE, summarise
from training.label_budget.trials import Setting, Target, fitting_budgets, run_trials


@pytest.fixture(scope="session")
def summary_of(sample, answers_for):
    """A function from the skill of each method and budget, for two repeats, to a summary."""

    def make(skills: dict[tuple[str, int], float], galaxies: Galaxies = sample):
        many = galaxies.select(np.tile(np.arange(len(galaxies)), 8))
        evaluations = {
            Trial(method, labels, repeat): Evaluation(
                {"simulated": True}, many.ids, many.votes, answers_for(many, skill, repeat), {}
            )
            for (method, labels), skill in skills.items()
            for repeat in range(2 if labels else 1)
        }
        return summarise(evaluations)

    return make


@pytest.fixture(scope="session")
def learned(summary_of):
    return summary_of(LEARNED)


LEARNED = {
    ("direct", 0): 0.75,
    **{("scratch", n): s for n, s in ((50, 0.55), (100, 0.6), (300, 0.7), (1000, 0.85), (3000, 0.95))},
    **{("finetuned", n): s for n, s in ((50, 0.8), (100, 0.85), (300, 0.9), (1000, 0.94), (3000, 0.96))},
}


def test_smaller_budgets_are_part_of_larger_ones_and_repeats_differ(sample):
    target = Target.of(sample)
    few, more = set(target.drawn(5, 1).ids), set(target.drawn(20, 1).ids)
    assert few < more
    assert few != set(target.drawn(5, 2).ids)
    assert not more & set(target.test.ids)


def test_budgets_beyond_the_data_become_all_there_is(sample):
    target = Target.of(sample)
    held = len(target.train)
    budgets, said = fitting_budgets([0, 10, 50, 300], target)
    assert budgets == [0, 10, held]
    assert said == [f"{n} labels become {held}, all there are to train on." for n in (50, 300)]


def test_a_plan_has_every_method_budget_and_repeat_once():
    plan = trials_of([0, 50, 100], methods_of("finetuned,scratch"), 2)
    assert len(plan) == len(set(plan)) == 1 + 2 * 2 * 2
    assert plan[0] == Trial("direct", 0, 0)
    few, many = Trial("finetuned", 50, 0), Trial("scratch", 3000, 0)
    assert Setting().cost(few) == 300, "few galaxies are seen often enough"
    assert Setting().cost(many) == 1500
    assert Setting(steps=7).cost(many) == 7


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
def test_a_finished_child_is_never_trained_again(tracked, classifier, sample):
    from training.experiments import tracking

    target, plan = Target.of(sample), trials_of([0, 4, 8], ["scratch", "finetuned"], 1)
    trained: list[Trial] = []

    def killed(trial, cost, evaluation, now) -> None:
        if len(trained) == 2:
            raise KeyboardInterrupt
        if now:
            trained.append(trial)

    def go(report) -> dict:
        with tracking.run("moves", "all", "transfer"):
            return run_trials(plan, classifier, "parent", target, Setting(steps=1), "moves", report)

    with pytest.raises(KeyboardInterrupt):
        go(killed)
    again: list[Trial] = []
    evaluations = go(lambda trial, cost, evaluation, now: again.append(trial) if now else None)
    assert list(evaluations) == plan
    assert not set(trained) & set(again)
    kept = evaluations[trained[0]]
    assert (kept.ids == target.test.ids).all()
    assert go(lambda trial, cost, evaluation, now: again.append(trial) if now else None).keys() == evaluations.keys()
    assert len(again) == len(set(again)), "the third time nothing was trained"


def test_a_summary_says_how_many_labels_are_saved(learned):
    summary = learned
    saving = summary.saving()
    assert saving is not None
    assert saving["labels"] == 100
    assert 600 < saving["scratch"] < 1600
    assert saving["low"] <= saving["scratch"] <= (saving["high"] or np.inf)
    first, second = summary.sentences()
    assert first.startswith("Fine-tuning on 100 labels does as well as training from scratch on ")
    assert second.startswith("The next 100 labels after 3,000 are expected to bring ")
    point = summary.points["finetuned", 300][HEADLINE].figure
    assert point.low < point.value < point.high


def test_a_summary_claims_no_more_than_was_tried(summary_of):
    never = {**LEARNED, **{("scratch", n): 0.4 for n in (50, 100, 300, 1000, 3000)}}
    assert (
        "better than training from scratch on 3,000: it saves more than 2,900 labels"
        in summary_of(never).sentences()[0]
    )
    worse = {**LEARNED, **{("finetuned", n): 0.5 for n in (50, 100, 300, 1000, 3000)}}
    first, second = summary_of(worse).sentences()
    assert first.endswith("it saves none.")
    assert second.endswith("not statistically significant.")
    assert summary_of({("direct", 0): 0.7, ("finetuned", 50): 0.8}).sentences() == []


def test_questions_with_one_answer_are_skipped_and_named(learned):
    summary = learned
    assert summary.skipped["disk-edge-on"] == "only one of its answers occurs in the test split"
    assert summary.skipped["bar"] == "no volunteer answered it in the test split"
    assert "smooth-or-featured" not in summary.skipped
    assert not any(row["question"] == "disk-edge-on" for row in summary.rows())


def test_one_class_only_is_refused(sample, summary_of):
    edge_on = sample.select(np.nan_to_num(sample.votes[:, TREE.slices["disk-edge-on"].start]) > 0)
    with pytest.raises(InputError, match="No question has two answers"):
        summary_of({("direct", 0): 0.8}, edge_on)


def test_a_transfers_folder_is_complete(learned, tmp_path):
    import pyarrow.parquet as pq

    summary = learned
    save(summary, tmp_path / "out", "made up, simulated")
    rows = pq.read_table(tmp_path / "out" / "figures.parquet").to_pylist()
    assert {"accuracy", "completeness", "purity"} <= {row["figure"] for row in rows}
    assert all(row["simulated"] for row in rows)
    written = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert written["sentences"] == summary.sentences()
    assert len(table(summary).rows) == 11
    check_folder(tmp_path / "out")
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds something other than a transfer"):
        check_folder(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--labels", "fifty"], "should be numbers of labels"),
        (["--labels", "-5,10"], "should be numbers of labels"),
        (["--labels", "0"], "alone trains nothing"),
        (["--methods", "magic"], "has no method 'magic'"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options, said, sample):
    from training.cli.transfer import command

    outcome = CliRunner().invoke(command, ["models:/morph@sdss", sample.about["path"], *options])
    assert isinstance(outcome.exception, InputError)
    assert said in str(outcome.exception)


def test_a_target_needs_labels_in_both_splits(sample):
    with pytest.raises(InputError, match="no labelled galaxies"):
        Target.of(unanswered(sample))
    with pytest.raises(InputError, match="too few to measure a transfer"):
        Target.of(sample.split()["train"])


def test_budgets_are_sorted_and_each_once():
    assert budgets_of("300, 50,50,0") == [0, 50, 300]
