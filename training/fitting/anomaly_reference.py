"""Teaching the anomaly score: what is strange from planted anomalies, what is normal from held-out galaxies."""

from collections.abc import Sequence

import numpy as np

from morph.dataset import Galaxies
from morph.model.anomaly import ALL_BANDS, BAND_SETS, bands_of
from morph.model.classifier import Classifier
from training.fitting.batches import mostly_artifact
from training.fitting.injected import KINDS, inject, kinds_for

#: Held-out normal galaxies below which nothing can be said of what is normal, and below which nothing can be flagged
#: at 1 %: the smallest p-value is one in their number and one.
FEWEST_NORMAL, ENOUGH_NORMAL = 40, 100
#: Galaxies of each kind of image that anomalies are planted on: more of them find hardly more, and take longer.
HOSTS = 300
#: The same where some bands are left out: there are six such sets of bands, and a third of the hosts finds as much.
HOSTS_OF_FEWER_BANDS = 100


def learn_reference(
    classifier: Classifier, held_out: Galaxies | Sequence[Galaxies], taught: Sequence[Galaxies] = ()
) -> int:
    """Teach the anomaly score what normal is, for each kind of image and each set of bands by itself.

    What is strange is learned on galaxies with anomalies planted on them, of the training split where there are
    enough: that the network has seen them is no harm. The p-value is then set on the held-out galaxies alone, none of
    which had a part in it, so that a flag at 1 % flags 1 % of galaxies like those. Flux in fewer bands is the same
    galaxies' with the others left out; a set of bands that too few galaxies can show keeps what was known of it.

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
    normal = normal_galaxies([held_out] if isinstance(held_out, Galaxies) else held_out)
    hosts = normal_galaxies(taught, most=2 * HOSTS)
    count = sum(len(galaxies) for galaxies in normal.values())
    if count < FEWEST_NORMAL:
        return count
    if sum(len(galaxies) for galaxies in hosts.values()) < FEWEST_NORMAL:
        hosts = {}
        if not classifier.anomaly.learned:
            hosts = {kind: galaxies.select(np.arange(len(galaxies)) % 2 == 0) for kind, galaxies in normal.items()}
            normal = {kind: galaxies.select(np.arange(len(galaxies)) % 2 == 1) for kind, galaxies in normal.items()}
    # A few galaxies of a second kind would only be noise; it takes the reference of the first.
    least = min(FEWEST_NORMAL / 2, max(len(galaxies) for galaxies in normal.values()))
    known = {kind: galaxies for kind, galaxies in normal.items() if len(galaxies) >= least}
    # The fullest set comes first, since those that nothing is known of take what is learned first.
    for bands in sorted(range(BAND_SETS), key=lambda place: -bands_of(place).sum()):
        teach(classifier, list(known.values()), list(hosts.values()), bands, least)
    return min(len(galaxies) for galaxies in known.values())


def teach(
    classifier: Classifier, normal: Sequence[Galaxies], hosts: Sequence[Galaxies], bands: int, least: float = 1
) -> None:
    """Teach the score what galaxies look like that show one set of bands (`morph.model.anomaly.band_set`).

    Parameters
    ----------
    normal : normal galaxies to set the p-value on, one set for each kind of image; they may show more bands.
    hosts : those to plant anomalies on; fewer than `FEWEST_NORMAL` leave what is strange as it is.
    least : how many galaxies of a kind of image the p-value needs; with fewer it stays as it is.
    """
    hosts = [_with_bands(galaxies, bands) for galaxies in hosts]
    if sum(len(galaxies) for galaxies in hosts) >= FEWEST_NORMAL:
        _learn_strange(classifier, [galaxies for galaxies in hosts if len(galaxies)], bands)
    normal = [galaxies for each in normal if len(galaxies := _with_bands(each, bands)) >= least]
    if normal:
        anomaly_features = {
            galaxies.kind: classifier.anomaly_features(_only(galaxies.images, bands)) for galaxies in normal
        }
        classifier.anomaly.calibrate(anomaly_features, bands)


def _with_bands(galaxies: Galaxies, bands: int) -> Galaxies:
    """The galaxies that have data in every band of a set. A colour picture is one of all three."""
    if galaxies.images.dtype == np.uint8:
        return galaxies if bands == ALL_BANDS else galaxies.select(np.zeros(len(galaxies), bool))
    there = np.isfinite(galaxies.images).any(axis=(1, 2))
    return galaxies.select((there | ~bands_of(bands)).all(axis=1))


def _only(images: np.ndarray, bands: int) -> np.ndarray:
    """Images without the bands that a set does not hold."""
    return images if bands == ALL_BANDS else np.where(bands_of(bands), images, np.float32(np.nan))


def normal_galaxies(sets: Sequence[Galaxies], most: int | None = None) -> dict[str, Galaxies]:
    """The galaxies that nobody calls an artifact, by kind of image, shuffled; at most so many of each set."""
    random = np.random.default_rng(0)
    parts: dict[str, list[Galaxies]] = {}
    for galaxies in sets:
        normal = random.permutation(np.flatnonzero(~mostly_artifact(galaxies.votes)))
        parts.setdefault(galaxies.kind, []).append(galaxies.select(normal[:most]))
    joined = {kind: Galaxies.concatenate(some) for kind, some in parts.items()}
    return {kind: galaxies.select(random.permutation(len(galaxies))) for kind, galaxies in joined.items()}


def _learn_strange(classifier: Classifier, hosts: Sequence[Galaxies], bands: int) -> None:
    most = HOSTS if bands == ALL_BANDS else HOSTS_OF_FEWER_BANDS
    normal, strange, what = [], [], []
    for galaxies in hosts:
        # More than the hosts stay as they are, so that the regression does not take them for each other.
        normal.append(classifier.anomaly_features(_only(galaxies.images[: 2 * HOSTS], bands)))
        some = galaxies.select(np.arange(min(most, len(galaxies))))
        for kind in kinds_for(galaxies.kind, int(bands_of(bands).sum())):
            strange.append(classifier.anomaly_features(_only(inject(some, kind, seed=1), bands)))
            what.append(np.full(len(some), KINDS.index(kind)))
    classifier.anomaly.learn(np.concatenate(normal), np.concatenate(strange), np.concatenate(what), bands)
