"""Whether pictures with detail look more like galaxies than those without."""

from collections.abc import Sequence
from typing import Any

import click
import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.model.classifier import Classifier
from training.fitting.detail import Views
from training.fitting.detail_losses import feature_maps, observed, posterior_draw

#: Galaxies that are drawn.
NUMBER = 384


def detail_distances(classifier: Classifier, galaxies: Sequence[Galaxies], seed: int = 0) -> tuple[float, float]:
    """The Fréchet distance between real galaxies and what the decoders draw of their z, without and with detail.

    Both get noise like that of the galaxies' sky. The features are the mean and the standard deviation over the image
    of every channel of the encoder, at all depths.

    Parameters
    ----------
    classifier : with a detail decoder.
    galaxies : of either kind of image, that nothing was learned from.
    seed : of the galaxies and all noise.
    """
    given, real = Views(classifier, [(each, 1.0) for each in galaxies], 1, NUMBER, seed)[0]
    given = {name: ops.convert_to_tensor(values) for name, values in given.items()}
    z = posterior_draw(classifier.encoder(given["image"], training=False), given)
    picture = classifier.decoder(z, training=False)
    drawn = picture, classifier.detail(z, picture, given["noise"])
    maps = feature_maps(classifier.encoder)
    features, *others = (_features(maps, each) for each in (real, *(observed(each, given["sky"]) for each in drawn)))
    plain, detail = (frechet_distance(features, each) for each in others)
    return plain, detail


def _features(maps, images) -> np.ndarray:
    seen = [ops.convert_to_numpy(each) for each in maps(images, training=False)["maps"]]
    return np.concatenate([part for each in seen for part in (each.mean(axis=(1, 2)), each.std(axis=(1, 2)))], axis=1)


def frechet_distance(real: np.ndarray, drawn: np.ndarray) -> float:
    """The Fréchet distance (Heusel et al. 2017) of independent features, each in units of the real galaxies' scatter,
    a mean over the features.

    Parameters
    ----------
    real, drawn : features, [n, d] and [m, d].

    >>> frechet_distance(np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]]))
    2.0
    """
    scatter = real.std(axis=0) + 1e-6
    apart = np.square(drawn.mean(axis=0) - real.mean(axis=0)) + np.square(drawn.std(axis=0) - real.std(axis=0))
    return round(float(np.mean(apart / np.square(scatter))), 4)


def judge_detail(classifier: Classifier, held_out: Sequence[Galaxies]) -> dict[str, Any]:
    """Drop a detail decoder that is of no use: what nobody looks at must not get worse.

    Parameters
    ----------
    classifier : whose detail decoder has just been learned.
    held_out : galaxies that nothing was learned from.

    Returns
    -------
    dict : what the model's description says of it.
    """
    plain, detail = detail_distances(classifier, held_out)
    classifier.detail.is_fitted.assign(float(detail < plain))
    said = "it is kept" if detail < plain else "it is left out"
    click.echo(f"Fréchet distance with detail {detail:.3g}, without {plain:.3g}: {said}.", err=True)
    return {"frechet_distance": detail, "frechet_distance_plain": plain}
