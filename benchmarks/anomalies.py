"""What the parts of the anomaly score are worth, and how well it finds a kind of anomaly that it was never shown.

    python benchmarks/anomalies.py MODEL DATASET...

Teaches MODEL's anomaly score anew on the training split of every DATASET, of either kind of image, and measures areas
under the ROC curve on the validation split, so it serves to choose and not to report: `morph evaluate` reports.
The artifacts are those of both splits, since there are few; the score is not trained on them. About two minutes.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from morph.dataset import Galaxies
from morph.model import anomaly
from morph.model.store import load_model
from training.evaluation.anomalies import auroc
from training.fitting.batches import mostly_artifact
from training.fitting.injected import KINDS, inject, kinds_for

#: Galaxies of a dataset that anomalies are injected on.
HOSTS = 100


class Evidence:
    """The anomaly features of one dataset's galaxies: normal, injected and artifacts."""

    def __init__(self, classifier, galaxies: Galaxies):
        self.name = os.path.basename(galaxies.about["path"])
        parts = galaxies.split()
        self.normal, self.injected = {}, {}
        artifacts = []
        for side in ("train", "validation"):
            anomalous = mostly_artifact(parts[side].votes)
            normal = parts[side].select(np.random.default_rng(0).permutation(np.flatnonzero(~anomalous))[: 6 * HOSTS])
            self.normal[side] = classifier.anomaly_features(normal.images)
            hosts = normal.select(np.arange(min(HOSTS, len(normal))))
            kinds = kinds_for(galaxies.kind)
            self.injected[side] = {kind: classifier.anomaly_features(inject(hosts, kind, seed=9)) for kind in kinds}
            artifacts.append(parts[side].images[anomalous])
        images = np.concatenate(artifacts)
        self.artifacts = classifier.anomaly_features(images) if len(images) else None


def teach(layer: anomaly.Anomaly, sets: list[Evidence], kinds: list[str]) -> None:
    normal = np.concatenate([each.normal["train"] for each in sets])
    every = [(place, kind, each.injected["train"]) for each in sets for place, kind in enumerate(kinds)]
    injected = [(place, some[kind]) for place, kind, some in every if kind in some]
    anomalous = np.concatenate([normal[:0], *(anomaly_features for _, anomaly_features in injected)])
    what = np.concatenate(
        [np.zeros(0, int), *(np.full(len(anomaly_features), place) for place, anomaly_features in injected)]
    )
    layer.fit(normal, anomalous, what)


def area(layer: anomaly.Anomaly, each: Evidence, anomalous: np.ndarray) -> float:
    normal, anomalous = (
        layer._numpy(layer._statistic, part, anomaly.ALL_BANDS) for part in (each.normal["validation"], anomalous)
    )
    return auroc(normal, anomalous, resamples=2).value


def table(title: str, layer: anomaly.Anomaly, sets: list[Evidence]) -> None:
    for each in sets:
        injected = area(layer, each, np.concatenate(list(each.injected["validation"].values())))
        real = "" if each.artifacts is None else f", artifacts {area(layer, each, each.artifacts):.3f}"
        print(f"{title:34s} {each.name:12s} injected {injected:.3f}{real}", flush=True)


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    classifier = load_model(sys.argv[1])
    sets = [Evidence(classifier, Galaxies.open(path)) for path in sys.argv[2:]]
    layer, kept = classifier.anomaly, anomaly.DISTANCE_WEIGHT
    teach(layer, sets, [])
    table("distance, nothing injected", layer, sets)
    teach(layer, sets, list(KINDS))
    for weight in (0.0, 0.3, 0.5, 1.0):
        anomaly.DISTANCE_WEIGHT = weight
        table(f"distance at weight {weight:g}", layer, sets)
    anomaly.DISTANCE_WEIGHT = kept
    for kind in KINDS:
        teach(layer, sets, [other for other in KINDS if other != kind])
        those = [each for each in sets if kind in each.injected["validation"]]
        areas = ", ".join(f"{each.name} {area(layer, each, each.injected['validation'][kind]):.3f}" for each in those)
        print(f"never shown: {kind:21s} {areas}", flush=True)


if __name__ == "__main__":
    main()
