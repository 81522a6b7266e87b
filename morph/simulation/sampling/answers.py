"""Moving z until the classifier gives another answer, and the same ones to all other questions."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from morph.decision_tree import ANSWERS, COARSE, TREE, question_of, tree_probabilities
from morph.model.classifier import Classifier
from morph.model.conditions import encode_conditions
from morph.model.sampling import trained_surveys
from morph.simulation.sampling.changes import Change
from morph.sizes import FIELD, NETWORK_SIZE

if TYPE_CHECKING:
    from morph.simulation.sampling.edit import Portrait

#: What counts: the answer that is asked for, the held answers, the galaxy's light and extent, and how far the noise of
#: the flow moves.
ASKED, HELD, LIGHT, NEAR = 4.0, 2.0, 40.0, 0.4
#: Steps of the optimisation, the change of the noise for a derivative, and the longest step.
_STEPS, _CHANGE, _LONGEST = 10, 0.05, 2.0
#: How far shares are squeezed away from 0 and 1, and the share of the volunteers who are led to the question.
_EDGE, _LED = 0.03, 0.7


def answer_path(
    classifier: Classifier, portrait: "Portrait", change: Change, held: list[str]
) -> Callable[[float], np.ndarray]:
    """What is added to a galaxy's stamp for an answer to get another share of the votes.

    The noise of the latent prior's flow moves as little as possible (Levenberg-Marquardt, with derivatives by
    differences) until the classifier gives the answer for the edited stamp, and its other answers, the light and the
    extent of the galaxy stay.

    Parameters
    ----------
    classifier : with a latent prior.
    portrait : the galaxy.
    change : of a vote column.
    held : names, of which the questions' answers are held.

    Returns
    -------
    A function from a part of the way, 0 to 1, to float32 [64, 64, 3].
    """
    kind = "flux" if portrait.calibrated else "composite"
    known = portrait.survey in trained_surveys(classifier)
    free = encode_conditions(1, surveys=[portrait.survey] if known else None, kind=kind)
    stamp = portrait.stamp()[None]
    inputs = classifier.preprocessing(stamp)
    z = classifier.embed(classifier.encoder(inputs["image"], training=False))
    picture = _picture_of(classifier, free, inputs["scale"])
    start = ops.convert_to_numpy(classifier.prior.noise(z, free)[0])[0].astype(float)
    before = picture(start[None])

    def answers(shown: np.ndarray) -> np.ndarray:
        """The classifier's answers for the stamps edited to show pictures [m, 64, 64, 3]: [m, answers]."""
        edited = classifier.preprocessing(stamp + shown - before)
        encoded = classifier.encoder(edited["image"], training=False)
        outputs = classifier.vote_outputs(encoded["features"], classifier.embed(encoded), kind=kind)
        return ops.convert_to_numpy(outputs["probabilities"]).astype(float)

    now = answers(before)[0]
    members = [ANSWERS.index(name) for name in COARSE.get(change.name, (change.name,))]
    targets = _targets(change, now, members, held)

    def residuals(noise: np.ndarray) -> np.ndarray:
        shown = picture(noise)
        light = LIGHT * (_light(shown) - _light(before))
        return np.concatenate([_off(answers(shown), targets), light, NEAR * (noise - start)], axis=1)

    way = _minimise(start, residuals) - start
    return lambda share: (picture((start + share * way)[None]) - before)[0]


def _picture_of(classifier: Classifier, conditions: np.ndarray, scale) -> Callable[[np.ndarray], np.ndarray]:
    """From the flow's noise [m, d] to pictures in the units of the stamp [m, 64, 64, 3]."""

    def picture(noise: np.ndarray) -> np.ndarray:
        rows = np.repeat(conditions, len(noise), axis=0)
        z = classifier.prior.sample(noise.astype("float32"), rows)
        return ops.convert_to_numpy(
            classifier.preprocessing.restore(classifier.decoder(z, training=False), 0.0, scale)
        )

    return picture


def _targets(
    change: Change, now: np.ndarray, members: list[int], held: list[str]
) -> list[tuple[list[int], float, float]]:
    """Answers (together), the share that they should have, and how much that counts."""
    question = TREE[question_of(change.name)]
    targets = [(members, change.value, ASKED)]
    leading: dict[str, list[int]] = {}
    for parent, answer in question.asked_after:
        leading.setdefault(parent, []).append(ANSWERS.index(f"{parent}_{answer}"))
    for parent, places in leading.items():
        # Volunteers must come to the question; what leads to it cannot be held.
        targets.append((places, max(_LED, float(now[places].sum())), ASKED))
        leading_on = TREE[parent].asked_after
        for before, answer in leading_on:
            place = ANSWERS.index(f"{before}_{answer}")
            targets.append(([place], max(_LED, float(now[place])), ASKED))
    fixed = {question.name, *leading, *(name for parent in leading for name, _ in TREE[parent].asked_after)}
    reach = tree_probabilities(now)
    for each in TREE:
        if each.name in held and each.name not in fixed:
            weight = HELD * np.sqrt(reach[TREE.slices[each.name]].sum())
            its = range(*TREE.slices[each.name].indices(len(ANSWERS)))
            targets += [([place], float(now[place]), weight) for place in its]
    return targets


def _off(answers: np.ndarray, targets: list[tuple[list[int], float, float]]) -> np.ndarray:
    """How far answers [m, answers] are from their targets: [m, targets]."""
    off = [weight * (_logit(answers[:, places].sum(axis=1)) - _logit(share)) for places, share, weight in targets]
    return np.stack(off, axis=1)


def _light(pictures: np.ndarray) -> np.ndarray:
    """Logarithms of the light in each band and of the extent, and the ellipticity, of pictures [m, s, s, 3]: [m, 6].

    Extent and ellipticity are those of second moments under a Gaussian of the half-light radius for which stamps are
    cut.
    """
    offset = np.arange(pictures.shape[1]) - (pictures.shape[1] - 1) / 2
    x, y = offset[None, :], offset[:, None]
    weighted = pictures.mean(axis=-1) * np.exp(-0.5 * (x**2 + y**2) / (NETWORK_SIZE / FIELD) ** 2)
    xx, yy, xy = ((weighted * moment).sum(axis=(1, 2)) for moment in (x * x, y * y, x * y))
    total, size = np.maximum(weighted.sum(axis=(1, 2)), 1e-9), np.maximum(xx + yy, 1e-9)
    flux = np.maximum(pictures.sum(axis=(1, 2)), 1e-9)
    return np.column_stack([np.log(flux), np.log(size / total), (xx - yy) / size, 2 * xy / size])


def _logit(share):
    # Squeezed and not clipped, so that a share near 0 or 1 still has a slope.
    inner = _EDGE + (1 - 2 * _EDGE) * np.clip(share, 0, 1)
    return np.log(inner / (1 - inner))


def _minimise(start: np.ndarray, residuals: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The minimum of a sum of squares near `start` [d] (Levenberg-Marquardt).

    Parameters
    ----------
    start : where to begin.
    residuals : of points [m, d]: [m, residuals].
    """
    best, damping = start.copy(), 0.1
    current = residuals(best[None])[0]
    for _ in range(_STEPS):
        shifted = residuals(best + _CHANGE * np.eye(len(best)))
        slopes = (shifted - current) / _CHANGE
        step = np.linalg.solve(slopes @ slopes.T + damping * np.eye(len(best)), -slopes @ current)
        step *= min(1.0, _LONGEST / max(float(np.linalg.norm(step)), 1e-9))
        tried = best + np.array([1.0, 0.5, 0.25])[:, None] * step
        values = residuals(tried)
        costs = np.square(values).sum(axis=1)
        if costs.min() >= np.square(current).sum() * (1 - 1e-3):
            damping *= 10
            if damping > 100:
                break
            continue
        place = int(costs.argmin())
        best, current, damping = tried[place], values[place], max(damping / 3, 1e-3)
    return best
