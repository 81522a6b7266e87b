"""The reference sample that a model keeps of its training surveys, and how other galaxies compare with it."""

from typing import TYPE_CHECKING

import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import TREE
from morph.domain_shift.compare import ENOUGH, NO_REFERENCE_SAMPLE, Shift, compare
from morph.domain_shift.sample import Sample
from morph.model.reference_sample import CAPACITY
from morph.stamps.image_statistics import measure
from training.metrics.votes import contributions

if TYPE_CHECKING:
    from training.run import Run


def store_reference_sample(classifier, *sets: Galaxies) -> int:
    """Store a reference sample in a classifier: call it last, whenever the weights have changed.

    Parameters
    ----------
    sets : held-out galaxies of the surveys that it was trained on, colour pictures or flux. Each set contributes as
        many galaxies as any other, as far as it has them. With none, the old sample is removed, since it belongs to
        another embedding.

    Returns
    -------
    How many galaxies the sample has.
    """
    shares = _shares([len(galaxies) for galaxies in sets])
    samples = [
        sample(classifier, galaxies, share, origin=number, labelled=True)
        for number, (galaxies, share) in enumerate(zip(sets, shares, strict=True))
        if share
    ]
    if samples:
        classifier.reference_sample.keep(Sample.concatenate(samples))
    else:
        classifier.reference_sample.clear()
    return sum(shares)


def _shares(sizes: list[int]) -> list[int]:
    """How many galaxies of each set there is room for, the smallest sets whole."""
    shares, room = [0] * len(sizes), CAPACITY
    for left, i in zip(range(len(sizes), 0, -1), np.argsort(sizes, kind="stable"), strict=True):
        shares[i] = min(sizes[i], room // left)
        room -= shares[i]
    return shares


def sample(classifier, galaxies: Galaxies, most: int = ENOUGH, origin: int = 0, labelled: bool = False) -> Sample:
    """A random sample of galaxies as the classifier sees them.

    Parameters
    ----------
    classifier : a `morph.model.classifier.Classifier`.
    galaxies : to sample from.
    most : the size of the sample.
    origin : number of the set that the galaxies are from.
    labelled : whether to store where the classifier agrees with the volunteers.

    Returns
    -------
    The sample, with at most `most` galaxies.
    """
    galaxies = galaxies.select(np.sort(np.random.default_rng(0).permutation(len(galaxies))[:most]))
    images = classifier.central(galaxies.images)
    answers = classifier.answer(images)
    probabilities = answers["probabilities"]
    return Sample.of(
        answers["embedding"],
        probabilities,
        measure(images, galaxies.properties["pixel_scale"]),
        galaxies.surveys,
        flux=galaxies.kind == "flux",
        simulated=galaxies.simulated,
        origin=origin,
        correct=correct_answers(galaxies.votes, probabilities) if labelled else None,
    )


def shift_of(classifier, galaxies: Galaxies) -> Shift | str:
    """The domain shift of galaxies from the classifier's reference sample; a sentence where it has none."""
    reference = classifier.reference_sample.sample
    return NO_REFERENCE_SAMPLE if reference is None else compare(reference, sample(classifier, galaxies))


def log(run: "Run", shift: Shift | str, galaxies: Galaxies) -> None:
    """Log a domain shift to a run: its numbers as metrics, and its plot.

    Parameters
    ----------
    run : where to log.
    shift : as `shift_of` returns it; a sentence is not logged.
    galaxies : the compared ones, which name the plot.
    """
    if isinstance(shift, str):
        return
    from morph.dataset import dataset_name
    from morph.domain_shift.report import plot

    run.log_metrics(shift.metrics())
    run.log_figure(plot(shift, dataset_name(galaxies)), "plots/domain-shift.png")


def correct_answers(votes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Whether the most probable answer of each question is the one with most votes: float [n, questions], NaN where
    fewer than half of a galaxy's volunteers reached the question.

    Parameters
    ----------
    votes : [n, vote columns]; probabilities : [n, answers].
    """
    sums = contributions(votes, probabilities)
    right = np.full((len(votes), len(TREE)), np.nan)
    for k, question in enumerate(TREE):
        if question.name in sums.answers:
            answers = len(sums.answers[question.name])
            matrices = sums.parts[question.name, "confusion"].reshape(-1, answers, answers)
            asked = matrices.any(axis=(1, 2))
            right[asked, k] = np.trace(matrices[asked], axis1=1, axis2=2)
    return right
