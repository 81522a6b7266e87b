"""Which registered model serves: the alias `champion` goes to a better version, and to no worse one.

A version takes the alias from its holder when both answered about the same galaxies, and not the test galaxies; when
it is worse on nothing that is told; and when it is better on the headline figure by more than the noise, or is asked
for by name where the two cannot be told apart.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from morph.errors import InputError
from morph.model.store import SHIPPED_NAME, load_model
from training.experiments import models, registry, tracking
from training.experiments import run_selection as contestants
from training.experiments.comparison import (
    Compared,
    Comparison,
    figure_in_words,
    is_less_better,
    is_real,
    place,
    points,
)
from training.metrics.estimates import TAIL, Estimate

#: The figures of a question that a new champion must not be worse in.
WATCHED = ("accuracy", "balanced-accuracy", "rms")
#: Asks for the run that leads, whichever it is.
BEST = ""


@dataclass(frozen=True)
class Promotion:
    """An alias that was given.

    Attributes
    ----------
    alias, version : what was given to what.
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

    def told(self) -> Iterator[str]:
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

    The shipped weights are registered first if they are to have it and no version of them is registered.

    Raises
    ------
    InputError, and nothing is changed: the candidate is worse than the holder beyond the noise, on the headline figure
    or on any question; it cannot be told from it, or where nobody holds the alias from another run, and was not asked
    for by name; the holder was not evaluated on the same galaxies; these are of the test split, or were trained on;
    the candidate's model is not registered, or holds the alias already.
    """
    comparisons = _to_choose_by(comparisons)
    candidate = _leader(comparisons) if name == BEST else _named(comparisons, name)
    _check_model(candidate)
    present = registry.holder(alias)
    if present is not None and present == candidate.version:
        leads = "leads and" if name == BEST else "is compared and"
        raise InputError(f"{candidate.name} {leads} is the {alias} already; there is nothing to change.")
    theirs = [each for each in comparisons if any(_who(run) == _who(candidate) for run in each.runs)]
    if present is None:
        reason = _first(theirs, candidate, name, alias)
    else:
        reason = _better([_contest(each, candidate, present, alias) for each in theirs], candidate, name, alias)
    version = _register_shipped(candidate) if candidate.version is None else candidate.version
    tracking.set_alias(alias, version)
    registry.note(version, f"promoted-to-{alias}", reason)
    return Promotion(alias, version, present, reason)


# --- Who -------------------------------------------------------------------------------------------------


def _leader(comparisons: Sequence[Comparison]) -> Compared:
    """The run that leads on the headline figure, on every set of galaxies."""
    leaders = [comparison.runs[comparison.best] for comparison in comparisons]
    if len({_who(run) for run in leaders}) > 1:
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
    named = registry.uri_of(run.version) if run.contestant and run.version is not None else run.run_name
    return shlex.quote(named)


def _who(run: Compared) -> str:
    """What makes two runs evaluations of one model."""
    return f"version {run.version}" if run.version is not None else run.contestant or run.id


def _position(comparison: Comparison, wanted: Compared) -> int:
    return next(i for i, run in enumerate(comparison.runs) if _who(run) == _who(wanted))


def _check_model(candidate: Compared) -> None:
    """InputError unless the candidate's model is registered, or can be: the shipped weights."""
    model = candidate.params.get("model", "unknown")
    if candidate.evaluation.about["split"].endswith("folds"):
        raise InputError(
            f"'{candidate.name}' is a cross-validation, whose models are not kept; fine-tune on all labels with "
            f"`morph finetune {model} DATASET --to FILE.keras`, and compare the version that this registers."
        )
    if candidate.version is None and model != SHIPPED_NAME:
        raise InputError(
            f"The model of '{candidate.name}' is '{model}', which is not registered; evaluate it by its registered "
            f"name, such as {registry.uri_of(1)}."
        )


# --- On which galaxies -----------------------------------------------------------------------------------


def _to_choose_by(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons on galaxies that may be chosen by; InputError when there are none.

    Whoever picks the best of several by the test galaxies has fitted to them, and their figures are too good from
    then on. By galaxies that were trained on, the best memory wins.
    """
    objections = [_objection(comparison) for comparison in comparisons]
    if all(objections):
        raise InputError(f"{objections[0]}; {_instead(comparisons[0])}.")
    return [each for each, objection in zip(comparisons, objections, strict=True) if not objection]


def _objection(comparison: Comparison) -> str:
    """Why not to choose by these galaxies; empty if nothing speaks against it."""
    for run in comparison.runs:
        about = run.evaluation.about
        if about["split"] == "test":
            why = "choosing by the test galaxies would use them up"
        elif _was_trained_on(run):
            why = "a model is not judged by galaxies that it was trained on"
        else:
            continue
        return f"'{run.name}' was evaluated on {place(about)}, and {why}"
    return ""


def _was_trained_on(run: Compared) -> bool:
    """Whether a run's model learned from the votes of galaxies that it was evaluated on.

    Where the model keeps no full record of its galaxies, the split and the names of its training sets have to do.
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
    for other in contestants.siblings(run):
        if (other.evaluation.about["dataset"], other.evaluation.about["split"]) == (dataset, "validation"):
            return shlex.quote(other.run_name)
    return ""


# --- Whether ---------------------------------------------------------------------------------------------


def _first(comparisons: Sequence[Comparison], candidate: Compared, name: str, alias: str) -> str:
    """Why the alias may be given for the first time; InputError when others are as good and none was named."""
    level: list[str] = []
    for comparison in comparisons:
        here = _position(comparison, candidate)
        for i, run in enumerate(comparison.runs):
            if i != here:
                difference = comparison.difference(i, here, comparison.headline)
                if not is_real(difference):
                    level.append(f"{run.name} ({points(difference, comparison.headline)})")
    others = ", ".join(dict.fromkeys(level))
    if level and name == BEST:
        raise InputError(
            f"{candidate.name} leads, but by no more than noise ahead of {others}; name the one to promote: "
            f"--promote {_typed(candidate)}."
        )
    return f"{candidate.name} is the first {alias}{f'; it cannot be told from {others}' if level else ''}."


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
        better = is_real(difference) and (difference.value < 0) == is_less_better(headline)
        (ahead if better else level).append(text)
    if ahead:
        return f"{candidate.name} is better than {holder} ({'; '.join(ahead)})."
    told = f"cannot be told from {holder} ({'; '.join(level)})"
    if name == BEST:
        raise InputError(
            f"{candidate.name} {told}, which stays; to promote it all the same, name it: "
            f"--promote {_typed(candidate)}."
        )
    return f"{candidate.name} was asked for by name; it {told}."


def _no_worse(contests: Sequence[_Contest], candidate: Compared, holder: str) -> None:
    """InputError when the candidate is worse than the holder on a headline figure or on any question.

    Of a dozen questions one leaves its own 95 % interval by chance every other time. So questions are held against
    intervals that are wide enough to be right together in 95 % of cases (Bonferroni's bound): each is stretched by
    the ratio of the normal quantiles.
    """
    count = sum(len(list(contest.told())) for contest in contests)
    stretch = NormalDist().inv_cdf(TAIL / max(count, 1)) / NormalDist().inv_cdf(TAIL)
    for contest in contests:
        headline = contest.comparison.headline
        checks = [(headline, 1.0, "95 %")]
        checks += [(name, stretch, f"95 % for {count} figures at once") for name in contest.told()]
        for name, factor, level in checks:
            difference = stretched(contest.difference(name), factor)
            if is_real(difference) and (difference.value > 0) == is_less_better(name):
                raise InputError(
                    f"{candidate.name} is worse than {holder}, beyond the noise: {figure_in_words(name)} "
                    f"{points(difference, name)} ({level}; {difference.n:,} galaxies of {contest.comparison.title}); "
                    f"the alias stays where it is."
                )


def stretched(difference: Estimate, factor: float) -> Estimate:
    """A difference with its interval made wider by a factor."""
    value = difference.value
    return replace(
        difference, low=value - factor * (value - difference.low), high=value + factor * (difference.high - value)
    )


def _register_shipped(candidate: Compared) -> int:
    """A version of the shipped weights; their evaluation is the version's own from now on."""
    with tracking.run(tracking.DEFAULT_EXPERIMENT, "shipped weights", "pretrain") as run:
        version = models.log_classifier(run, load_model(SHIPPED_NAME), aliases=("sdss",))
    assert version is not None
    for other in contestants.siblings(candidate):
        registry.adopt(other.id, version)
    return version
