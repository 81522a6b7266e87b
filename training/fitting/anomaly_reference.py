"""The anomaly score's reference: what is anomalous from injected anomalies, what is normal from held-out galaxies."""

from collections.abc import Sequence

import numpy as np

from morph.dataset import Galaxies
from morph.model.anomaly import ALL_BANDS, BAND_SETS, bands_of
from morph.model.classifier import Classifier
from training.fitting.batches import mostly_artifact
from training.fitting.injected import KINDS, inject, kinds_for

#: Held-out normal galaxies below which the score is left as it is, and below which it can flag nothing at 1 %: the
#: smallest p-value is one in their number and one.
FEWEST_NORMAL, ENOUGH_NORMAL = 40, 100
#: Galaxies of each kind of image that anomalies are injected into, and normal ones beside them: twice as many, so that
#: the regression tells the two apart. More find hardly more, and take longer.
HOSTS, NORMAL = 300, 600
#: The same where some bands are left out: there are six such sets of bands.
HOSTS_OF_FEWER_BANDS, NORMAL_OF_FEWER_BANDS = 75, 300


def learn_reference(
    classifier: Classifier, held_out: Galaxies | Sequence[Galaxies], trained_on: Sequence[Galaxies] = ()
) -> int:
    """Fit the anomaly score's reference, for each kind of image and each set of bands by itself.

    What is anomalous is learned from galaxies with injected anomalies, of the training split where there are enough:
    that the network was trained on them does no harm. The p-value is then set on the held-out galaxies alone, so that
    a flag at 1 % flags 1 % of galaxies like those. For fewer bands, the same galaxies are used without the others; a
    set of bands that too few galaxies have keeps its reference.

    Parameters
    ----------
    classifier : its anomaly score changes.
    held_out : galaxies that the network was not trained on, of one or both kinds of image.
    trained_on : galaxies that it was trained on. Where fewer than `FEWEST_NORMAL` of them are normal, what is
        anomalous stays as it is; if the score has never learned it, half of the held-out galaxies serve instead.

    Returns
    -------
    How many normal galaxies the p-value was set on, of the kind that has fewest; fewer than `FEWEST_NORMAL` of all
    kinds together leave the score as it is.
    """
    normal = normal_galaxies([held_out] if isinstance(held_out, Galaxies) else held_out)
    hosts = normal_galaxies(trained_on, most=NORMAL)
    count = sum(len(galaxies) for galaxies in normal.values())
    if count < FEWEST_NORMAL:
        return count
    if sum(len(galaxies) for galaxies in hosts.values()) < FEWEST_NORMAL:
        hosts = {}
        if not classifier.anomaly.fitted:
            hosts = {kind: galaxies.select(np.arange(len(galaxies)) % 2 == 0) for kind, galaxies in normal.items()}
            normal = {kind: galaxies.select(np.arange(len(galaxies)) % 2 == 1) for kind, galaxies in normal.items()}
    # A few galaxies of a second kind would only be noise; it takes the reference of the first.
    least = min(FEWEST_NORMAL / 2, max(len(galaxies) for galaxies in normal.values()))
    enough = {kind: galaxies for kind, galaxies in normal.items() if len(galaxies) >= least}
    learn_band_sets(classifier, [*enough.values()], [*hosts.values()], least=least)
    return min(len(galaxies) for galaxies in enough.values())


def learn_band_sets(
    classifier: Classifier,
    normal: Sequence[Galaxies],
    hosts: Sequence[Galaxies],
    band_sets: Sequence[int] = range(BAND_SETS),
    least: float = 1,
) -> None:
    """Fit the reference of some sets of bands (`morph.model.anomaly.band_set`).

    Parameters
    ----------
    classifier : its anomaly score changes.
    normal : held-out normal galaxies to set the p-value on, one set for each kind of image, in any bands.
    hosts : normal galaxies to inject anomalies into, likewise; fewer than `FEWEST_NORMAL` with a set's bands leave
        what is anomalous there as it is.
    band_sets : which sets of bands.
    least : how many galaxies of a kind of image the p-value needs; with fewer it stays as it is.
    """
    features_by_bands = [_features_by_bands(classifier, galaxies, band_sets) for galaxies in hosts]
    # The fullest set comes first: sets without a reference take what is learned first.
    for bands in sorted(band_sets, key=lambda place: -bands_of(place).sum()):
        if sum(_has_bands(galaxies, bands).sum() for galaxies in hosts) >= FEWEST_NORMAL:
            parts = [each[bands] for each in features_by_bands if bands in each]
            examples, anomalous, kinds = (np.concatenate(part) for part in zip(*parts, strict=True))
            classifier.anomaly.fit(examples, anomalous, kinds, bands)
        held_out = [galaxies.select(_has_bands(galaxies, bands)) for galaxies in normal]
        features = {
            galaxies.kind: classifier.anomaly_features(_only(galaxies.images, bands))
            for galaxies in held_out
            if len(galaxies) >= least
        }
        if features:
            classifier.anomaly.calibrate(features, bands)


def _features_by_bands(
    classifier: Classifier, galaxies: Galaxies, band_sets: Sequence[int]
) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each set of bands, the arguments of `Anomaly.learn`: anomaly features of normal galaxies, of galaxies with
    an injected anomaly, and the kinds of anomaly. Each kind is injected once, and its images are not kept."""
    hosts = galaxies.select(np.arange(min(HOSTS, len(galaxies))))
    rows = {bands: np.flatnonzero(_has_bands(hosts, bands)) for bands in band_sets}
    anomalous: dict[int, list[np.ndarray]] = {bands: [] for bands in band_sets}
    kinds: dict[int, list[int]] = {bands: [] for bands in band_sets}
    for number, kind in enumerate(kinds_for(galaxies.kind)):
        images = inject(hosts, kind, seed=1)
        for bands in band_sets:
            most = HOSTS if bands == ALL_BANDS else HOSTS_OF_FEWER_BANDS
            # Other hosts for each kind, so that a few show as many as possible.
            chosen = np.roll(rows[bands], -number * most)[:most]
            if len(chosen) and kind in kinds_for(galaxies.kind, int(bands_of(bands).sum())):
                anomalous[bands].append(classifier.anomaly_features(_only(images[chosen], bands)))
                kinds[bands] += [KINDS.index(kind)] * len(chosen)
    found = {}
    for bands in band_sets:
        if anomalous[bands]:
            normal = np.flatnonzero(_has_bands(galaxies, bands))
            normal = galaxies.images[normal[: NORMAL if bands == ALL_BANDS else NORMAL_OF_FEWER_BANDS]]
            features = classifier.anomaly_features(_only(normal, bands))
            found[bands] = features, np.concatenate(anomalous[bands]), np.array(kinds[bands])
    return found


def _has_bands(galaxies: Galaxies, bands: int) -> np.ndarray:
    """Which galaxies have data in every band of a set: bool [n]. Colour pictures have all three, and no fewer."""
    if galaxies.images.dtype == np.uint8:
        return np.full(len(galaxies), bands == ALL_BANDS)
    return (np.isfinite(galaxies.images).any(axis=(1, 2)) | ~bands_of(bands)).all(axis=1)


def _only(images: np.ndarray, bands: int) -> np.ndarray:
    """Images without the bands that are not in a set."""
    return images if bands == ALL_BANDS else np.where(bands_of(bands), images, np.float32(np.nan))


def normal_galaxies(sets: Sequence[Galaxies], most: int | None = None) -> dict[str, Galaxies]:
    """The galaxies that are not mostly called artifacts, by kind of image, shuffled; at most so many of each set."""
    random = np.random.default_rng(0)
    parts: dict[str, list[Galaxies]] = {}
    for galaxies in sets:
        normal = random.permutation(np.flatnonzero(~mostly_artifact(galaxies.votes)))
        parts.setdefault(galaxies.kind, []).append(galaxies.select(normal[:most]))
    joined = {kind: Galaxies.concatenate(some) for kind, some in parts.items()}
    return {kind: galaxies.select(random.permutation(len(galaxies))) for kind, galaxies in joined.items()}
