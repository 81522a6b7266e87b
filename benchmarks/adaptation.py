"""Ways of adapting the shipped weights to a small set of another survey, side by side.

    python benchmarks/adaptation.py MODEL DATASET... [--unlabelled DATASET] [--methods heads,finetuned] [--seeds 3]

Every labelled galaxy is answered by a model that was adapted on the other four of five folds. A method's figure is its
accuracy over all of them, on the four classes or else on the question with most galaxies and two answers, with the
interval of a bootstrap over galaxies; then come its paired difference from fine-tuning as `morph finetune` does it,
and the time. The average over the eight views of a galaxy is reported for every method. It ends by itself: about a
minute a method and hundred galaxies on two cores.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import TREE, VOTE_COLUMNS
from morph.model.classifier import Classifier
from morph.model.store import load_model
from morph.parallel import run_in_process
from morph.votes import vote_counts
from training.evaluation.crossvalidate import cross_validate
from training.evaluation.tables import show
from training.fitting.adaptation import ENCODER_BATCH, adapted_to, normalised, refit, views_of
from training.fitting.augment import Strength
from training.fitting.fit import fit
from training.fitting.objective import FINETUNING, Recipe
from training.fitting.optimisation import refresh_batch_statistics
from training.metrics import votes as metrics

#: Augmentation that leaves colour and seeing nearly as they are.
MILD = Strength(contrast=0.1, desaturate=0.3, blur=0.3, noise=0.03)
#: Share of every batch that comes from unlabelled galaxies.
UNLABELLED_SHARE = 0.25
#: Galaxies whose batch statistics are measured together.
STATISTICS_BATCH = 32

#: Adapts a parent to labelled galaxies with a seed; the unlabelled ones may help.
Method = Callable[[Classifier, Galaxies, int, Galaxies | None], Classifier]


def average_over_views(classifier: Classifier, images: np.ndarray) -> dict[str, np.ndarray]:
    """`Classifier.answer` averaged over the eight views of each galaxy."""
    views = [classifier.answer(view) for view in views_of(images)]
    mean = {name: np.mean([view[name] for view in views], axis=0, dtype="float32") for name in views[0]}
    return {**mean, "anomaly": mean["anomaly_score"] < classifier.anomaly_threshold}


def reestimate(classifier: Classifier, images: np.ndarray, seed: int = 0) -> None:
    """Give the encoder's batch normalisation the statistics of these images (AdaBN: Li et al. 2016)."""
    if len(images) < ENCODER_BATCH:
        raise SystemExit(f"{len(images)} images are too few to measure a survey's statistics on.")
    order = np.random.default_rng(seed).permutation(len(images))
    # A short last batch would count as much as a whole one.
    whole = images[order[: len(order) // STATISTICS_BATCH * STATISTICS_BATCH]]
    batches = ((image, None) for image in normalised(classifier, whole, STATISTICS_BATCH))
    refresh_batch_statistics(classifier.encoder, batches, [classifier.encoder])


def confident_answers(
    classifier: Classifier, galaxies: Galaxies, confident: float = 0.9, volunteers: float = 5.0
) -> Galaxies:
    """The same galaxies with the model's confident answers as their votes, and no votes elsewhere."""
    p = average_over_views(classifier, galaxies.images)["probabilities"]
    votes = np.full((len(galaxies), len(VOTE_COLUMNS)), np.nan, dtype="float32")
    for question in TREE:
        part, parents = TREE.slices[question.name], TREE.leading_to(question)
        sure = p[:, part].max(axis=1) >= confident
        if parents:
            # No votes on the arms of a galaxy that is probably smooth.
            sure &= vote_counts(votes[:, parents]).sum(axis=1) >= confident * volunteers
        votes[sure, part] = volunteers * p[sure, part]
    return galaxies.with_votes(votes, classifier.about.get("votes", ""))


def direct(parent: Classifier, galaxies: Galaxies, seed: int, unlabelled: Galaxies | None) -> Classifier:
    return parent


def heads_alone(parent: Classifier, galaxies: Galaxies, seed: int, unlabelled: Galaxies | None) -> Classifier:
    classifier = adapted_to(parent, galaxies.survey)
    refit(classifier, [galaxies], seed=seed)
    return classifier


def own_statistics(parent: Classifier, galaxies: Galaxies, seed: int, unlabelled: Galaxies | None) -> Classifier:
    """AdaBN alone: no label is read."""
    classifier = adapted_to(parent, galaxies.survey)
    reestimate(classifier, _all_images(galaxies, unlabelled), seed)
    return classifier


def own_statistics_finetuned(
    parent: Classifier, galaxies: Galaxies, seed: int, unlabelled: Galaxies | None
) -> Classifier:
    classifier = own_statistics(parent, galaxies, seed, unlabelled)
    fit(classifier, [(galaxies, 1.0)], None, replace(FINETUNING, seed=seed))
    return classifier


def finetuned(**changes) -> Method:
    """Fine-tuning with some of its recipe changed."""

    def adapt(parent: Classifier, galaxies: Galaxies, seed: int, unlabelled: Galaxies | None) -> Classifier:
        classifier = adapted_to(parent, galaxies.survey)
        recipe: Recipe = replace(FINETUNING, seed=seed, **changes)
        fit(classifier, [(galaxies, 1.0)], None, recipe)
        return classifier

    return adapt


def with_unlabelled(pseudo: bool) -> Method:
    """Fine-tuning with unlabelled galaxies, for their reconstruction or with the parent's confident answers."""

    def adapt(parent: Classifier, galaxies: Galaxies, seed: int, unlabelled: Galaxies | None) -> Classifier:
        from training.fitting.batches import unanswered

        if unlabelled is None:
            raise SystemExit("Give --unlabelled galaxies for this method.")
        extra = confident_answers(parent, unlabelled) if pseudo else unanswered(unlabelled)
        classifier = adapted_to(parent, galaxies.survey)
        sets = [(galaxies, 1 - UNLABELLED_SHARE), (extra, UNLABELLED_SHARE)]
        steps = max(1, round(len(galaxies) / FINETUNING.batch_size))
        fit(classifier, sets, None, replace(FINETUNING, seed=seed, steps=steps))
        return classifier

    return adapt


#: The first is what the others are held against.
METHODS: dict[str, Method] = {
    "finetuned": finetuned(),
    "direct": direct,
    "heads": heads_alone,
    "layer-decay": finetuned(layer_decay=0.85),
    "all-free": finetuned(freeze="nothing"),
    "mild-augmentation": finetuned(augment=MILD),
    "longer": finetuned(epochs=2 * FINETUNING.epochs),
    "hotter": finetuned(learning_rate=2e-3),
    "no-reconstruction": finetuned(elbo=0.0),
    "own-statistics": own_statistics,
    "own-statistics-finetuned": own_statistics_finetuned,
    "unlabelled": with_unlabelled(pseudo=False),
    "pseudo-labels": with_unlabelled(pseudo=True),
}
NEED_UNLABELLED = ("unlabelled", "pseudo-labels")


def _all_images(galaxies: Galaxies, unlabelled: Galaxies | None) -> np.ndarray:
    return galaxies.images if unlabelled is None else np.concatenate([galaxies.images, unlabelled.images])


def headline(votes: np.ndarray, probabilities: np.ndarray) -> str:
    """The figure to compare by: accuracy on the four classes, or else on the largest question with two answers."""
    sums = metrics.contributions(votes, probabilities).total()
    sizes = {}
    for question, answers in sums.answers.items():
        matrix = sums.parts[question, "confusion"].reshape(len(answers), len(answers))
        if (matrix.sum(axis=1) > 0).sum() > 1:
            sizes[question] = matrix.sum()
    if not sizes:
        raise SystemExit("No question has two answers to tell apart in these galaxies.")
    return f"{metrics.FOUR_CLASS if metrics.FOUR_CLASS in sizes else max(sizes, key=lambda q: sizes[q])}/accuracy"


def read(paths: list[str]) -> Galaxies:
    """Datasets as one, each galaxy once."""
    galaxies = Galaxies.concatenate([Galaxies.open(path) for path in paths])
    return galaxies.select(np.sort(np.unique(galaxies.ids, return_index=True)[1]))


def answers_of(name: str, model: str, datasets: list[str], extra: str | None, seeds: int) -> dict[str, np.ndarray]:
    """Cross-validated probabilities, averaged over seeds: seen once, and over eight views."""
    method, parent, galaxies = METHODS[name], load_model(model), read(datasets)
    unlabelled = Galaxies.open(extra) if extra else None

    def both(classifier: Classifier, images: np.ndarray) -> dict[str, np.ndarray]:
        once, turned = classifier.answer(images), average_over_views(classifier, images)
        return {"once": once["probabilities"], "eight views": turned["probabilities"]}

    runs = [
        cross_validate(parent, galaxies, 5, seed=seed, adapt=lambda p, g, s: method(p, g, s, unlabelled), ask=both)
        for seed in range(seeds)
    ]
    return {view: np.mean([run[view] for run in runs], axis=0) for view in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a model, as every verb of morph takes it")
    parser.add_argument("datasets", nargs="+", help="labelled datasets of one kind of image")
    parser.add_argument("--unlabelled", help="a dataset of the target survey whose votes are not read")
    parser.add_argument("--methods", default=",".join(METHODS), help="which to compare, with commas between")
    parser.add_argument("--seeds", type=int, default=1, help="answers are averaged over so many")
    parser.add_argument("--json", help="a file for the figures")
    arguments = parser.parse_args()
    galaxies, unlabelled = read(arguments.datasets), arguments.unlabelled
    chosen = [name for name in arguments.methods.split(",") if unlabelled or name not in NEED_UNLABELLED]
    reference: np.ndarray | None = None
    figures = {}
    for name in chosen:
        start = time.monotonic()
        views = run_in_process(answers_of, name, arguments.model, arguments.datasets, unlabelled, arguments.seeds)
        seconds = time.monotonic() - start
        figure = headline(galaxies.votes, views["once"])
        reference = views["once"] if reference is None else reference
        for view, p in views.items():
            value = metrics.measure(galaxies.votes, p)[figure]
            change = metrics.differences(galaxies.votes, (reference, None), (p, None))[figure]
            figures[f"{name}, {view}"] = {"value": value.value, "low": value.low, "high": value.high, "n": value.n}
            against = f"{show(change, sign=True)} against {chosen[0]}"
            print(f"{name:25s} {view:12s} {figure} {show(value)}, {against}, {seconds:.0f} s", flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
