"""Teaching the anomaly score: what is strange from planted anomalies, what is normal from held-out galaxies."""

from collections.abc import Sequence

import numpy as np

from morph.galaxies import Galaxies
from morph.model.classifier import Classifier
from training.anomalies.planted import KINDS, plant
from training.fitting.batches import mostly_artifact

#: Held-out normal galaxies below which nothing can be said of what is normal, and below which nothing can be flagged
#: at 1 %: the smallest p-value is one in their number and one.
FEWEST_NORMAL, ENOUGH_NORMAL = 40, 100
#: Galaxies of each kind of image that anomalies are planted on: more of them find hardly more, and take longer.
HOSTS = 300


def learn_normal(
    classifier: Classifier, held_out: Galaxies | Sequence[Galaxies], taught: Sequence[Galaxies] = ()
) -> int:
    """Teach the anomaly score what normal is, for each kind of image by itself.

    What is strange is learned on galaxies with anomalies planted on them, of the training split where there are
    enough: that the network has seen them is no harm. The p-value is then set on the held-out galaxies alone, none of
    which had a part in it, so that a flag at 1 % flags 1 % of galaxies like those.

    Parameters
    ----------
    held_out : galaxies that the network was not trained on, of one or both kinds of image.
    taught : galaxies that it was trained on. Where fewer than `FEWEST_NORMAL` of them are normal, what is strange
        stays as it was learned before, and if it never was, half of the held-out galaxies teach it.

    Returns
    -------
    How many normal galaxies the p-value was set on, of the kind that has fewest; fewer than `FEWEST_NORMAL` of all
    kinds together leave the score as it is.
    """
    normal = _normal([held_out] if isinstance(held_out, Galaxies) else held_out)
    hosts = _normal(taught, most=2 * HOSTS)
    count = sum(len(galaxies) for galaxies in normal.values())
    if count < FEWEST_NORMAL:
        return count
    if sum(len(galaxies) for galaxies in hosts.values()) < FEWEST_NORMAL:
        hosts = {}
        if not classifier.anomaly.learned:
            hosts = {kind: galaxies.select(np.arange(len(galaxies)) % 2 == 0) for kind, galaxies in normal.items()}
            normal = {kind: galaxies.select(np.arange(len(galaxies)) % 2 == 1) for kind, galaxies in normal.items()}
    if hosts:
        _learn_strange(classifier, list(hosts.values()))
    # A few galaxies of a second kind would only be noise; it takes the reference of the first.
    least = min(FEWEST_NORMAL / 2, max(len(galaxies) for galaxies in normal.values()))
    known = {kind: galaxies for kind, galaxies in normal.items() if len(galaxies) >= least}
    classifier.anomaly.calibrate({kind: classifier.evidence(galaxies.images) for kind, galaxies in known.items()})
    return min(len(galaxies) for galaxies in known.values())


def _normal(sets: Sequence[Galaxies], most: int | None = None) -> dict[str, Galaxies]:
    """The galaxies that nobody calls an artifact, by kind of image, shuffled; at most so many of each set."""
    random = np.random.default_rng(0)
    parts: dict[str, list[Galaxies]] = {}
    for galaxies in sets:
        normal = random.permutation(np.flatnonzero(~mostly_artifact(np.nan_to_num(galaxies.votes))))
        parts.setdefault(galaxies.kind, []).append(galaxies.select(normal[:most]))
    joined = {kind: Galaxies.concatenate(some) for kind, some in parts.items()}
    return {kind: galaxies.select(random.permutation(len(galaxies))) for kind, galaxies in joined.items()}


def _learn_strange(classifier: Classifier, hosts: Sequence[Galaxies]) -> None:
    normal, strange, what = [], [], []
    for galaxies in hosts:
        # As many more as there are hosts stay as they are, so that the regression does not take them for each other.
        normal.append(classifier.evidence(galaxies.images[: 2 * HOSTS]))
        some = galaxies.select(np.arange(min(HOSTS, len(galaxies))))
        for place, kind in enumerate(KINDS):
            strange.append(classifier.evidence(plant(some, kind, seed=1)))
            what.append(np.full(len(some), place))
    classifier.anomaly.learn(np.concatenate(normal), np.concatenate(strange), np.concatenate(what))
