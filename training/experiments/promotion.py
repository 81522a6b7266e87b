"""Promotion: the alias `champion` goes to a better registered version, and never to a worse one.

A version takes the alias from its holder when both were evaluated on the same galaxies, which are not test galaxies;
when it is significantly worse in no figure of `WATCHED`; and when it is significantly better in the headline figure,
or is named by the user where the two do not differ significantly.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from morph.errors import InputError
from morph.model.store import load_model
from morph.registry import SHIPPED_MODELS
from training.experiments import registry, run_selection, tracking
from training.experiments.comparison import (
    Compared,
    Comparison,
    figure_in_words,
    is_less_better,
    is_significant,
    place,
    points,
)
from training.metrics.estimates import TAIL, Estimate

#: The figures of a question that a new champion must not be worse in.
WATCHED = ("accuracy", "balanced-accuracy", "rms")
#: Stands for the run that leads.
BEST = ""


@dataclass(frozen=True)
class Promotion:
    """An alias that moved.

    Attributes
    ----------
    alias, version : the alias, and the version that has it now.
    previous : the version that had it before; None if none had.
    reason : one sentence with the figures.
    """

    alias: str
    version: int
    previous: int | None
    reason: str


@dataclass(frozen=True)
class _Contest:
    """A candidate and the alias's present holder on one set of galaxies."""

    comparison: Comparison
    candidate: int
    holder: int

    def difference(self, name: str) -> Estimate:
        """Candidate minus holder."""
        return self.comparison.difference(self.holder, self.candidate, name)

    def watched(self) -> Iterator[str]:
        """The figures in which the candidate must not be worse."""
        for name in self.comparison.figures[self.candidate]:
            parts = name.split("/")
            if len(parts) == 2 and parts[1] in WATCHED and name in self.comparison.figures[self.holder]:
                yield name


def promote(comparisons: Sequence[Comparison], name: str = BEST, alias: str = "champion") -> Promotion:
    """Give the alias to the best version, or to the named one.

    Parameters
    ----------
    comparisons : with the alias's holder among the runs of each, if there is one.
    name : one of the compared runs or versions; `BEST` for the one that leads.

    alias : the alias to give.

    The shipped weights are registered first if they are to have it and no version of them is registered.

    Raises
    ------
    InputError : and nothing is changed. The candidate is significantly worse than the holder in the headline figure or
        on any question; it does not differ significantly from the holder, or from another run where no version holds
        the alias, and was not named; the holder was not evaluated on the same galaxies; these are of the test split,
        or were trained on; the candidate's model is not registered, or holds the alias already.
    """
    comparisons = _fit_for_selection(comparisons)
    candidate = _leader(comparisons) if name == BEST else _named(comparisons, name)
    _check_model(candidate)
    present = registry.holder(alias)
    if present is not None and present == candidate.version:
        leads = "leads and" if name == BEST else "is compared and"
        raise InputError(f"{candidate.name} {leads} is the {alias} already; there is nothing to change.")
    having = [each for each in comparisons if any(_model_of(run) == _model_of(candidate) for run in each.runs)]
    if present is None:
        reason = _first(having, candidate, name, alias)
    else:
        reason = _better([_contest(each, candidate, present, alias) for each in having], candidate, name, alias)
    version = _register_shipped(candidate) if candidate.version is None else candidate.version
    tracking.set_alias(alias, version)
    registry.note(version, f"promoted-to-{alias}", reason)
    return Promotion(alias, version, present, reason)


# --- The candidate -------------------------------------------------------------------------------------------------


def _leader(comparisons: Sequence[Comparison]) -> Compared:
    """The run that leads on the headline figure, on every set of galaxies."""
    leaders = [comparison.runs[comparison.best] for comparison in comparisons]
    if len({_model_of(run) for run in leaders}) > 1:
        places = ", ".join(f"{leader.name} on {place(leader.evaluation.about)}" for leader in leaders)
        raise InputError(f"No run leads everywhere ({places}); name the one to promote: --promote NAME.")
    return leaders[0]


def _named(comparisons: Sequence[Comparison], name: str) -> Compared:
    runs = [run for comparison in comparisons for run in comparison.runs]
    for run in runs:
        if is_named(run, name):
            return run
    names = ", ".join(dict.fromkeys(run.name for run in runs))
    raise InputError(
        f"'{name}' shares no galaxies to choose by with the others ({names}); evaluate it on the same ones."
    )


def is_named(run: Compared, name: str) -> bool:
    """Whether a name, as the user types it, means this run or its version."""
    version = tracking.version_of(name)
    return name in (run.name, run.id, run.run_name) or (version is not None and run.version == version)


def _typed(run: Compared) -> str:
    """A run or a version as the user would type it."""
    named = registry.uri_of(run.version) if run.group and run.version is not None else run.run_name
    return shlex.quote(named)


def _model_of(run: Compared) -> str:
    """A key of the model that a run evaluated."""
    return f"version {run.version}" if run.version is not None else run.group or run.id


def _position(comparison: Comparison, wanted: Compared) -> int:
    return next(i for i, run in enumerate(comparison.runs) if _model_of(run) == _model_of(wanted))


def _check_model(candidate: Compared) -> None:
    """InputError unless the candidate's model is registered, or can be: the shipped weights."""
    model = candidate.params.get("model", "unknown")
    if candidate.evaluation.about["split"].endswith("folds"):
        raise InputError(
            f"'{candidate.name}' is a cross-validation, whose models are not kept; fine-tune on all labels with "
            f"`morph finetune {model} DATASET --to FILE.keras`, and compare the version that this registers."
        )
    if candidate.version is None and model not in SHIPPED_MODELS:
        raise InputError(
            f"The model of '{candidate.name}' is '{model}', which is not registered; evaluate it by its registered "
            f"name, such as {registry.uri_of(1)}."
        )


# --- The galaxies -----------------------------------------------------------------------------------


def _fit_for_selection(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons on galaxies that are fit for selecting a model; InputError when there are none.

    Selecting a model by the test galaxies fits to them, and their figures are biased from then on. Galaxies that were
    trained on favour the model that overfits most.
    """
    objections = [_objection(comparison) for comparison in comparisons]
    if all(objections):
        raise InputError(f"{objections[0]}; {_instead(comparisons[0])}.")
    return [each for each, objection in zip(comparisons, objections, strict=True) if not objection]


def _objection(comparison: Comparison) -> str:
    """Why these galaxies are unfit for selecting a model; empty if they are fit."""
    for run in comparison.runs:
        about = run.evaluation.about
        if about["split"] == "test":
            why = "selecting a model by the test galaxies would bias its test figures"
        elif _was_trained_on(run):
            why = "a model cannot be selected by galaxies that it was trained on"
        else:
            continue
        return f"'{run.name}' was evaluated on {place(about)}, and {why}"
    return ""


def _was_trained_on(run: Compared) -> bool:
    """Whether a run's model was trained on the votes of galaxies that it was evaluated on.

    Where the model has no full record of its galaxies, the split and the names of its training sets decide.
    """
    about = run.evaluation.about
    seen = about.get("seen", {})
    if seen.get("labelled") or seen.get("complete"):
        return bool(seen.get("labelled"))
    names = {*about["dataset"].split(" + ")} & {*run.trained.params.get(registry.TRAINED_ON, "").split(", ")}
    return about["split"] == "train" or (about["split"] == "all" and bool(names))


def _instead(comparison: Comparison) -> str:
    """What to type to choose on the validation split."""
    dataset = comparison.runs[0].evaluation.about["dataset"]
    known = [_validation_of(run, dataset) for run in comparison.runs]
    if all(known):
        return f"choose by their validation split: morph compare {' '.join(known)} --promote"
    run = comparison.runs[known.index("")]
    model = run.params.get("model", "MODEL") if run.version is None else registry.uri_of(run.version)
    return f"choose by the validation split: morph evaluate {model} {dataset} --split validation"


def _validation_of(run: Compared, dataset: str) -> str:
    """The newest evaluation of a run's model on a dataset's validation split, by name; empty if there is none."""
    for other in run_selection.siblings(run):
        if (other.evaluation.about["dataset"], other.evaluation.about["split"]) == (dataset, "validation"):
            return shlex.quote(other.run_name)
    return ""


# --- The decision ---------------------------------------------------------------------------------------------


def _first(comparisons: Sequence[Comparison], candidate: Compared, name: str, alias: str) -> str:
    """Why the alias may be given for the first time; InputError when others are as good and none was named."""
    level: list[str] = []
    for comparison in comparisons:
        here = _position(comparison, candidate)
        for i, run in enumerate(comparison.runs):
            if i != here:
                difference = comparison.difference(i, here, comparison.headline)
                if not is_significant(difference):
                    level.append(f"{run.name} ({points(difference, comparison.headline)})")
    others = ", ".join(dict.fromkeys(level))
    if level and name == BEST:
        raise InputError(
            f"{candidate.name} leads, but is not significantly better than {others}; name the one to promote: "
            f"--promote {_typed(candidate)}."
        )
    return (
        f"{candidate.name} is the first {alias}{f'; it does not differ significantly from {others}' if level else ''}."
    )


def _contest(comparison: Comparison, candidate: Compared, present: int, alias: str) -> _Contest:
    """InputError when the holder was not evaluated on all galaxies that the candidate was."""
    here = _position(comparison, candidate)
    there = next((i for i, run in enumerate(comparison.runs) if run.version == present), None)
    about = comparison.runs[here].evaluation.about
    if there is None or len(comparison.shared) < about["galaxies"]:
        raise InputError(
            f"The present {alias}, version {present}, was not evaluated on the galaxies of '{candidate.name}'; do so "
            f"with `morph evaluate {registry.uri_of(present)} {about['dataset']} --split {about['split']}`."
        )
    return _Contest(comparison, here, there)


def _better(contests: Sequence[_Contest], candidate: Compared, name: str, alias: str) -> str:
    """Why the candidate may have the alias; InputError with the reason why not."""
    holder = f"the present {alias} (version {contests[0].comparison.runs[contests[0].holder].version})"
    _no_worse(contests, candidate, holder)
    ahead: list[str] = []
    level: list[str] = []
    for contest in contests:
        headline = contest.comparison.headline
        difference = contest.difference(headline)
        text = f"{figure_in_words(headline)}, {contest.comparison.title}: {points(difference, headline)}"
        better = is_significant(difference) and (difference.value < 0) == is_less_better(headline)
        (ahead if better else level).append(text)
    if ahead:
        return f"{candidate.name} is better than {holder} ({'; '.join(ahead)})."
    level_with = f"does not differ significantly from {holder} ({'; '.join(level)})"
    if name == BEST:
        raise InputError(
            f"{candidate.name} {level_with}, which keeps the alias; to promote it nevertheless, name it: "
            f"--promote {_typed(candidate)}."
        )
    return f"{candidate.name} was named; it {level_with}."


def _no_worse(contests: Sequence[_Contest], candidate: Compared, holder: str) -> None:
    """InputError when the candidate is worse than the holder on a headline figure or on any question.

    With a dozen questions, every other comparison has one outside its own 95 % interval by chance. So questions are
    compared by intervals that hold jointly in 95 % of cases (Bonferroni's bound): each is stretched by the ratio of
    the normal quantiles.
    """
    count = sum(len(list(contest.watched())) for contest in contests)
    stretch = NormalDist().inv_cdf(TAIL / max(count, 1)) / NormalDist().inv_cdf(TAIL)
    for contest in contests:
        headline = contest.comparison.headline
        checks = [(headline, 1.0, "95 %")]
        checks += [(name, stretch, f"95 % for {count} figures at once") for name in contest.watched()]
        for name, factor, level in checks:
            difference = stretched(contest.difference(name), factor)
            if is_significant(difference) and (difference.value > 0) == is_less_better(name):
                raise InputError(
                    f"{candidate.name} is significantly worse than {holder}: {figure_in_words(name)} "
                    f"{points(difference, name)} ({level}; {difference.n:,} galaxies of {contest.comparison.title}); "
                    f"the alias stays with its holder."
                )


def stretched(difference: Estimate, factor: float) -> Estimate:
    """A difference with its interval made wider by a factor."""
    value = difference.value
    return replace(
        difference, low=value - factor * (value - difference.low), high=value + factor * (difference.high - value)
    )


def _register_shipped(candidate: Compared) -> int:
    """Register the shipped weights; returns the version, to which their evaluations belong from now on."""
    model = candidate.params["model"]
    with tracking.run(tracking.DEFAULT_EXPERIMENT, "shipped weights", "pretrain") as run:
        version = registry.log_classifier(run, load_model(model), aliases=(model.partition("@")[2],))
    assert version is not None
    for other in run_selection.siblings(candidate):
        registry.adopt(other.id, version)
    return version
