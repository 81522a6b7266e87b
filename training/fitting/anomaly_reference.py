"""The anomaly score's reference: what is anomalous from injected anomalies, what is normal from held-out galaxies."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import ks_2samp

from morph.dataset import Galaxies
from morph.model.anomaly import ALL_BANDS, BAND_SETS, RANGES, bands_of, range_of
from morph.model.classifier import Classifier
from morph.simulation.degraded import degrade
from morph.votes import was_asked
from training.fitting.batches import mostly_artifact
from training.fitting.injected import KINDS, inject, kinds_for

#: Held-out normal galaxies below which the score is left as it is, and below which it can flag nothing at 1 %: the
#: smallest p-value is one in their number and one.
FEWEST_NORMAL, ENOUGH_NORMAL = 40, 100
#: Galaxies of each kind of image that anomalies are injected into, and normal ones beside them: twice as many, so that
#: the regression tells the two apart. More find hardly more, and take longer.
HOSTS, NORMAL = 300, 600
#: The same where some bands are left out: there are six such sets of bands.
HOSTS_OF_FEWER_BANDS, NORMAL_OF_FEWER_BANDS = 75, 450
#: Degraded copies beside so many galaxies, as a share of them, from which the score learns faint ones too.
FAINT = 0.5
#: Degraded copies of each held-out galaxy, and how many there are at most. They set the p-value in ranges of signal to
#: noise in which fewer than `ENOUGH_REAL` galaxies are held out: a copy is worth less than a galaxy.
COPIES, MOST_COPIES = 2, 2400
ENOUGH_REAL = 200
#: Training galaxies that the score is not fitted on which join each held-out one, and the probability of a
#: Kolmogorov-Smirnov test below which they do not, since the network knows them better than others.
JOINING, DIFFERENT = 2, 0.01


def learn_reference(
    classifier: Classifier, held_out: Galaxies | Sequence[Galaxies], trained_on: Sequence[Galaxies] = ()
) -> int:
    """Fit the anomaly score's reference, for each kind of image, set of bands and range of signal to noise by itself.

    What is anomalous is learned from galaxies with injected anomalies, of the training split where there are enough:
    that the network was trained on them does no harm. The p-value is then set on held-out galaxies, so that a flag at
    1 % flags 1 % of galaxies like those. More of the same datasets' training galaxies join them, which narrows the
    rate's uncertainty, unless their scores are distributed differently. For fewer bands, the same galaxies are used
    without the others; for ranges of signal to noise with few galaxies, degraded copies (`morph.simulation.degraded`);
    a set of bands that too few galaxies have keeps its reference.

    Parameters
    ----------
    classifier : its anomaly score changes.
    held_out : galaxies that the network was not trained on, of one or both kinds of image.
    trained_on : galaxies that it was trained on. Where fewer than `FEWEST_NORMAL` of them are normal, what is
        anomalous stays as it is; if the score has never learned it, half of the held-out galaxies serve instead.

    Returns
    -------
    How many held-out normal galaxies the p-value was set on, of the kind that has fewest; fewer than `FEWEST_NORMAL`
    of all kinds together leave the score as it is.
    """
    sets = [held_out] if isinstance(held_out, Galaxies) else list(held_out)
    normal = normal_galaxies(sets)
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
    joining = {kind: some for kind, some in _joining(sets, trained_on).items() if kind in enough and kind in hosts}
    learn_band_sets(classifier, [*enough.values()], [*hosts.values()], least=least, joining=joining)
    return min(len(galaxies) for galaxies in enough.values())


def learn_band_sets(
    classifier: Classifier,
    normal: Sequence[Galaxies],
    hosts: Sequence[Galaxies],
    band_sets: Sequence[int] = range(BAND_SETS),
    least: float = 1,
    joining: Mapping[str, Galaxies] | None = None,
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
    joining : normal training galaxies by kind of image, which join `normal` where their scores are distributed alike.
    """
    features_by_bands = [_features_by_bands(classifier, galaxies, band_sets) for galaxies in hosts]
    normal = list(normal)
    copies: list[Galaxies] = []
    # The fullest set comes first: sets without a reference take what is learned first.
    for bands in sorted(band_sets, key=lambda place: -bands_of(place).sum()):
        if sum(_has_bands(galaxies, bands).sum() for galaxies in hosts) >= FEWEST_NORMAL:
            parts = [each[bands] for each in features_by_bands if bands in each]
            examples, anomalous, kinds = (np.concatenate(part) for part in zip(*parts, strict=True))
            classifier.anomaly.fit(examples, anomalous, kinds, bands)
        if joining:
            normal, joining = [_joined(classifier, each, joining.get(each.kind), bands) for each in normal], None
        copies = copies or [_copies(classifier, galaxies) for galaxies in normal]
        features = {
            galaxies.kind: _reference(classifier, galaxies, faint, bands)
            for galaxies, faint in zip(normal, copies, strict=True)
            if _has_bands(galaxies, bands).sum() >= least
        }
        if features:
            classifier.anomaly.calibrate(features, bands)


def _joining(held_out: Sequence[Galaxies], trained_on: Sequence[Galaxies]) -> dict[str, Galaxies]:
    """The normal training galaxies that may join the held-out ones, by kind of image: of datasets that galaxies are
    held out of, those that the score is not fitted on. Without votes, artifacts would be among them."""
    sizes = {galaxies.about.get("path"): len(galaxies) for galaxies in held_out}
    parts: dict[str, list[Galaxies]] = {}
    for galaxies in trained_on:
        most = JOINING * sizes.get(galaxies.about.get("path"), 0)
        if most and was_asked(galaxies.votes).any():
            left = normal_places(galaxies)[NORMAL : NORMAL + most]
            parts.setdefault(galaxies.kind, []).append(galaxies.select(left))
    return {kind: Galaxies.concatenate(some) for kind, some in parts.items()}


def _joined(classifier: Classifier, held_out: Galaxies, more: Galaxies | None, bands: int) -> Galaxies:
    """Held-out galaxies and more, unless the scores of these are distributed differently."""
    if more is None or not len(more):
        return held_out
    scores = [
        classifier.anomaly.statistic(classifier.anomaly_features(each.images), bands) for each in (held_out, more)
    ]
    return held_out if ks_2samp(*scores).pvalue < DIFFERENT else Galaxies.concatenate([held_out, more])


def _copies(classifier: Classifier, galaxies: Galaxies) -> Galaxies:
    """Degraded copies of normal galaxies, `COPIES` of each or `MOST_COPIES` in all, of the size of the network's
    input."""
    places = np.resize(np.arange(len(galaxies)), min(COPIES * len(galaxies), MOST_COPIES))
    parts = [galaxies.select(part) for part in np.array_split(places, len(places) // 256 + 1)]
    made = [classifier.central(degrade(part, seed=2 + number)) for number, part in enumerate(parts)]
    return galaxies.select(places).with_columns(image=np.concatenate(made))


def _reference(classifier: Classifier, galaxies: Galaxies, faint: Galaxies, bands: int) -> np.ndarray:
    """Anomaly features of normal galaxies, and of degraded copies in the ranges of signal to noise that lack them."""
    every = [each.images[_has_bands(each, bands)] for each in (galaxies, faint)]
    real, copied = (classifier.anomaly_features(_only(images, bands)) for images in every)
    lacking = np.bincount(range_of(real), minlength=RANGES) < ENOUGH_REAL
    return np.concatenate([real, copied[lacking[range_of(copied)]]])


def _with_faint(galaxies: Galaxies) -> Galaxies:
    """Galaxies and degraded copies of some of them, one in every few places."""
    copies = galaxies.select(np.arange(int(FAINT * len(galaxies))))
    every = Galaxies.concatenate([galaxies, copies.with_columns(image=degrade(copies, seed=3))])
    return every.select(np.random.default_rng(0).permutation(len(every)))


def _features_by_bands(
    classifier: Classifier, galaxies: Galaxies, band_sets: Sequence[int]
) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each set of bands, the arguments of `Anomaly.fit`: anomaly features of normal galaxies, of galaxies with
    an injected anomaly, and the kinds of anomaly. Each kind is injected once, and its images are not kept."""
    hosts = _with_faint(galaxies.select(np.arange(min(HOSTS, len(galaxies)))))
    galaxies = _with_faint(galaxies)
    rows = {bands: np.flatnonzero(_has_bands(hosts, bands)) for bands in band_sets}
    anomalous: dict[int, list[np.ndarray]] = {bands: [] for bands in band_sets}
    kinds: dict[int, list[int]] = {bands: [] for bands in band_sets}
    for number, kind in enumerate(kinds_for(galaxies.kind)):
        images = inject(hosts, kind, seed=1)
        for bands in band_sets:
            most = len(hosts) if bands == ALL_BANDS else HOSTS_OF_FEWER_BANDS
            # Other hosts for each kind, so that a few show as many as possible.
            chosen = np.roll(rows[bands], -number * most)[:most]
            if len(chosen) and kind in kinds_for(galaxies.kind, int(bands_of(bands).sum())):
                anomalous[bands].append(classifier.anomaly_features(_only(images[chosen], bands)))
                kinds[bands] += [KINDS.index(kind)] * len(chosen)
    found = {}
    for bands in band_sets:
        if anomalous[bands]:
            normal = np.flatnonzero(_has_bands(galaxies, bands))
            normal = galaxies.images[normal[: None if bands == ALL_BANDS else NORMAL_OF_FEWER_BANDS]]
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
    parts: dict[str, list[Galaxies]] = {}
    for galaxies in sets:
        parts.setdefault(galaxies.kind, []).append(galaxies.select(normal_places(galaxies)[:most]))
    joined = {kind: Galaxies.concatenate(some) for kind, some in parts.items()}
    random = np.random.default_rng(0)
    return {kind: galaxies.select(random.permutation(len(galaxies))) for kind, galaxies in joined.items()}


def normal_places(galaxies: Galaxies) -> np.ndarray:
    """Where the galaxies stand that are not mostly called artifacts, int [n], always in the same random order."""
    return np.random.default_rng(0).permutation(np.flatnonzero(~mostly_artifact(galaxies.votes)))
