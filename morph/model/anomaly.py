"""The anomaly score: a p-value of a galaxy among normal galaxies.

Reconstruction error alone ranks galaxies by brightness and noise as much as by anomaly. The score joins two statistics
of the anomaly features (`morph.model.anomaly_features`) by Fisher's method. The Mahalanobis distance from normal
galaxies finds anomalies of any kind, and overlooks small ones. The likelihood ratio against galaxies with injected
anomalies (trails, arcs, a shifted band), from a softmax regression over the kinds, finds small anomalies of known
kinds. Held-out normal galaxies of the same survey, kind of image, set of bands and range of signal to noise turn the
sum into a p-value (conformal: Vovk et al. 2005), so that a flag at 1 % flags 1 % of normal galaxies.

A band without data changes most of the features, and so does noise; neither is an anomaly. Each set of bands therefore
has parameters and a reference of its own, and each range of signal to noise within it a centre, a spread and a
reference.
"""

import warnings
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize
from scipy.special import log_softmax

from morph.dataset_writer import KINDS

#: Quantiles that are kept of the normal galaxies' statistics.
QUANTILES = 1024
#: The most kinds of injected anomalies.
MOST_KINDS = 16
#: The sets of bands of g, r, i, without the empty one; and the index of all three (see `band_set`).
BAND_SETS = 7
ALL_BANDS = BAND_SETS - 1
#: Where the ranges of signal to noise end (`anomaly_features.signal_to_noise`). More of them, at higher signal to
#: noise, hide artifacts (docs/explanation/tried.md).
EDGES = (3.0, 6.0, 9.0)
RANGES = len(EDGES) + 1
#: Normal galaxies in a range below which it takes centre, spread and reference of the nearest range that has as many.
FEWEST = 20
#: Weight of the distance in the sum. At 0 injected anomalies are found best and real artefacts worst; at 1 the
#: reverse (docs/explanation/methods.md).
DISTANCE_WEIGHT = 0.5
#: Standard deviations beyond which a feature grows as a logarithm, so that one outlier does not dominate the others.
LINEAR = 5.0
#: Strength of the softmax regression's prior, in galaxies.
PRIOR = 10.0

_INFINITE = 3e38
#: Exponent of the smallest factor of an extrapolated p-value: float32 holds no more than 1e-38.
_SMALLEST = 70.0
#: Replaces a feature that is not a number: far beyond all others, and its square is finite.
_OUTLIER = 1e9


@keras.saving.register_keras_serializable(package="morph")
class Anomaly(keras.layers.Layer):
    """Anomaly features [n, e + 1] and sets of bands [n] to p-values [n]; the last feature is the signal to noise.

    A new layer answers 1 for every galaxy. `fit` fits both statistics, on galaxies that the network may have been
    trained on; `calibrate` then sets the p-value on held-out normal galaxies. Both do so for one set of bands
    (`band_set`).
    """

    def __init__(self, size: int, **options):
        super().__init__(trainable=False, **options)
        self.size = size
        self.centre = self._weight("centre", (RANGES, BAND_SETS, size), "zeros")
        self.spread = self._weight("spread", (RANGES, BAND_SETS, size), "ones")
        self.whitening = self._weight("whitening", (BAND_SETS, size, size), "zeros")
        self.kernel = self._weight("kernel", (BAND_SETS, size, MOST_KINDS), "zeros")
        self.bias = self._weight("bias", (BAND_SETS, MOST_KINDS), "zeros")
        self.ratios = self._weight("ratios", (RANGES, BAND_SETS, QUANTILES), _infinite)
        self.distances = self._weight("distances", (RANGES, BAND_SETS, QUANTILES), _infinite)
        self.joint = self._weight("joint", (len(KINDS), RANGES, BAND_SETS, QUANTILES), _infinite)
        self.built = True

    def _weight(self, name: str, shape: tuple[int, ...], initializer):
        return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)

    def get_config(self):
        return {**super().get_config(), "size": self.size}

    def load_own_variables(self, store):
        """Load the weights. A file without sets of bands or ranges gives each of them the parameters of all;
        parameters for other features, of another version of morph, are left out with a warning."""
        saved = [np.asarray(store[str(i)]) if str(i) in store else np.zeros(0) for i in range(len(self.weights))]
        shapes = [tuple(weight.shape) for weight in self.weights]
        for both in (False, True):
            axes = [_new_axes(weight.name, both) for weight in self.weights]
            older = [tuple(np.delete(shape, lacking)) for shape, lacking in zip(shapes, axes, strict=True)]
            if [value.shape for value in saved] == older:
                saved = [np.expand_dims(value, lacking) for value, lacking in zip(saved, axes, strict=True)]
                saved = [np.broadcast_to(value, shape) for value, shape in zip(saved, shapes, strict=True)]
        if len(store.keys()) == len(saved) and [value.shape for value in saved] == shapes:
            for weight, value in zip(self.weights, saved, strict=True):
                weight.assign(value)
            return
        warnings.warn(
            "This model was saved by another version of morph, whose anomaly score cannot be used: every galaxy gets "
            "anomaly_score 1 until `morph finetune` fits the score again.",
            stacklevel=2,
        )

    @property
    def fitted(self) -> bool:
        """Whether `fit` was called, for all bands."""
        return bool(ops.convert_to_numpy(self.ratios)[-1, ALL_BANDS, 0] < _INFINITE)

    def call(self, anomaly_features, bands, kind: str = "flux"):
        """The p-values, [n], of features from images of one `kind` (see `morph.dataset_writer.KINDS`).

        `bands` is the set of bands of each galaxy, int [n] (see `band_set`).
        """
        reference, value = self.joint[list(KINDS).index(kind)], self._statistic(anomaly_features, bands)
        reference, place = _flat(reference), _place(anomaly_features, bands)
        top, mean = _tail(reference)
        beyond = (value - ops.take(top, place)) / ops.take(mean, place)
        return _exceeded(ops.take(reference, place, axis=0), value) * ops.exp(-ops.clip(beyond, 0.0, _SMALLEST))

    def fit(self, normal: np.ndarray, anomalous: np.ndarray, kinds: np.ndarray, bands: int = ALL_BANDS) -> None:
        """Fit the distance and the likelihood ratio.

        Parameters
        ----------
        normal : [n, e + 1], features of normal galaxies.
        anomalous : [m, e + 1], those of galaxies with an anomaly; may be empty, and then only the distance counts.
        kinds : int [m], the kind of each anomaly, 0 to `MOST_KINDS` - 1.
        bands : the set of bands of all of them. Sets that are not fitted yet take the same parameters.
        """
        normal, anomalous = _finite(normal), _finite(anomalous)
        new = ops.convert_to_numpy(self.ratios)[-1, :, 0] == np.float32(_INFINITE)
        places = new | (np.arange(BAND_SETS) == bands)
        groups = _by_range(normal)
        self._put(places, "centre", [part[:, :-1].mean(axis=0) for part in groups])
        self._put(places, "spread", [part[:, :-1].std(axis=0) + 1e-3 for part in groups])
        scaled = self._numpy(self._scaled, normal, bands)
        covariance = np.cov(scaled.T)
        # Shrinking towards the diagonal keeps the inverse stable when galaxies are few (Ledoit & Wolf 2004).
        shrinkage = min(0.9, self.size / len(normal))
        covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
        covariance += 1e-6 * np.trace(covariance) / self.size * np.eye(self.size)
        self._put(places, "whitening", np.linalg.inv(np.linalg.cholesky(covariance)).T)
        kernel, bias = _softmax_regression(
            scaled, self._numpy(self._scaled, anomalous, bands), np.asarray(kinds, dtype=int)
        )
        self._put(places, "kernel", kernel)
        self._put(places, "bias", bias)
        grid = (np.arange(QUANTILES) + 0.5) / QUANTILES
        every = [self._numpy(self._scaled, group, bands) for group in groups]
        for name, part in (("ratios", self._ratio), ("distances", self._distance)):
            self._put(places, name, [np.quantile(self._numpy(part, each, bands), grid) for each in every])
        joint = ops.convert_to_numpy(self.joint).copy()
        joint[:, :, places] = _INFINITE
        self.joint.assign(joint)

    def calibrate(self, normal: Mapping[str, np.ndarray], bands: int = ALL_BANDS) -> None:
        """Set the p-value on held-out normal galaxies.

        None of them may have been given to `fit`. The p-value of a range is then exact down to 1 / (n + 1), so fewer
        than 100 galaxies flag nothing at 1 % that does not lie beyond all of them; below that it is extrapolated
        (`_tail`).

        Parameters
        ----------
        normal : features [n, e + 1] by kind of image. A kind without a reference takes that of another: better than
            none, and exact only for galaxies that look alike in both.
        bands : the set of bands of all of them. Sets without a reference take the same.
        """
        steps = {
            kind: np.stack([_steps(self._numpy(self._statistic, part, bands)) for part in _by_range(_finite(each))])
            for kind, each in normal.items()
        }
        joint = ops.convert_to_numpy(self.joint).copy()
        for row, kind in zip(joint, KINDS, strict=True):
            places = row[-1, :, 0] == np.float32(_INFINITE)
            places[bands] |= kind in steps
            row[:, places] = steps.get(kind, next(iter(steps.values())))[:, None]
        self.joint.assign(joint)

    def _put(self, places: np.ndarray, name: str, value: np.ndarray | list[np.ndarray]) -> None:
        """Set a weight for these sets of bands; a list holds a value for each range."""
        weight = getattr(self, name)
        whole = ops.convert_to_numpy(weight).copy()
        (whole.swapaxes(0, 1) if isinstance(value, list) else whole)[places] = value
        weight.assign(whole)

    def statistic(self, anomaly_features: np.ndarray, bands: int = ALL_BANDS) -> np.ndarray:
        """What becomes the p-value, [n], from features [n, e + 1] of one set of bands; large is anomalous."""
        return self._numpy(self._statistic, _finite(anomaly_features), bands)

    @staticmethod
    def _numpy(function, values: np.ndarray, bands: int) -> np.ndarray:
        shown = ops.full((len(values),), bands, dtype="int32")
        return ops.convert_to_numpy(function(ops.convert_to_tensor(values, "float32"), shown))

    def _scaled(self, anomaly_features, bands):
        place = _place(anomaly_features, bands)
        centre, spread = (ops.take(_flat(weight), place, axis=0) for weight in (self.centre, self.spread))
        z = (anomaly_features[:, :-1] - centre) / spread
        z = ops.where(ops.isfinite(z), ops.clip(z, -_OUTLIER, _OUTLIER), _OUTLIER)
        size = ops.abs(z)
        return ops.sign(z) * (ops.minimum(size, LINEAR) + ops.log1p(ops.maximum(size - LINEAR, 0.0)))

    def _distance(self, scaled, bands):
        return ops.sum(ops.square(self._multiplied(scaled, bands, self.whitening)), axis=-1)

    def _ratio(self, scaled, bands):
        """Likelihood ratio of the injected anomalies to normal galaxies, [n]."""
        odds = self._multiplied(scaled, bands, self.kernel) + ops.take(self.bias, bands, axis=0)
        return ops.exp(ops.clip(ops.logsumexp(odds, axis=-1), -60.0, 60.0))

    def _multiplied(self, scaled, bands, matrices):
        """Multiply each row [n, e] by the matrix [e, k] of its set of bands, as one product with all matrices stacked;
        one matrix a galaxy would fill the memory."""
        own = ops.one_hot(bands, BAND_SETS, dtype="float32")
        placed = ops.reshape(own[:, :, None] * scaled[:, None, :], (-1, BAND_SETS * self.size))
        return ops.matmul(placed, ops.reshape(matrices, (BAND_SETS * self.size, matrices.shape[-1])))

    def _statistic(self, anomaly_features, bands):
        """Fisher's combination; it grows beyond the reference's range, so that the most anomalous galaxies keep their
        order."""
        scaled, place = self._scaled(anomaly_features, bands), _place(anomaly_features, bands)
        ratio, distance = self._ratio(scaled, bands), self._distance(scaled, bands)
        ratios, distances = (ops.take(_flat(weight), place, axis=0) for weight in (self.ratios, self.distances))
        return (
            -ops.log(_exceeded(ratios, ratio))
            - DISTANCE_WEIGHT * ops.log(_exceeded(distances, distance))
            + ops.log1p(ops.maximum(ratio / ops.maximum(ratios[:, -1], 1e-6) - 1.0, 0.0))
            + ops.log1p(ops.maximum(distance / ops.maximum(distances[:, -1], 1e-6) - 1.0, 0.0))
        )


def range_of(anomaly_features: np.ndarray) -> np.ndarray:
    """The range of signal to noise (`EDGES`) of each galaxy, int [n], from its anomaly features."""
    return ops.convert_to_numpy(_range(anomaly_features))


def _range(anomaly_features):
    signal = anomaly_features[:, -1:]
    return ops.sum(ops.cast(signal >= np.array(EDGES, "float32"), "int32"), axis=-1)


def _place(anomaly_features, bands):
    """Each galaxy's row in what `_flat` gives: int32 [n]."""
    return _range(anomaly_features) * BAND_SETS + ops.cast(bands, "int32")


def _flat(weight):
    """A weight [ranges, sets of bands, k] as [ranges x sets of bands, k]."""
    return ops.reshape(weight, (RANGES * BAND_SETS, weight.shape[-1]))


def _by_range(anomaly_features: np.ndarray) -> list[np.ndarray]:
    """The galaxies of each range; those of the nearest with `FEWEST` where it holds fewer, all where none does."""
    which = range_of(anomaly_features)
    enough = [place for place in range(RANGES) if (which == place).sum() >= FEWEST]
    nearest = [min(enough, key=lambda other: abs(other - place), default=None) for place in range(RANGES)]
    return [anomaly_features if near is None else anomaly_features[which == near] for near in nearest]


def band_set(present):
    """The index of each set of bands, int32 [n], from the bands of g, r, i that are present, bool [n, 3].

    g counts 1, r 2 and i 4, less one for the empty set, which has no index of its own and takes that of g alone.

    >>> np.asarray(band_set(np.array([[True, False, False], [True, True, True]]))).tolist()
    [0, 6]
    """
    count = ops.sum(ops.cast(present, "int32") * np.array([1, 2, 4], "int32"), axis=-1)
    return ops.maximum(count - 1, 0)


def bands_of(place: int) -> np.ndarray:
    """The bands of g, r, i in the set with this index, bool [3]: the inverse of `band_set`.

    >>> bands_of(2).tolist()
    [True, True, False]
    """
    return (place + 1) >> np.arange(3) & 1 > 0


def _new_axes(name: str, both: bool) -> tuple[int, ...]:
    """The axes of a weight that a file from before there were ranges lacks; `both`: and from before sets of bands."""
    first, ranged = int(name == "joint"), name not in ("whitening", "kernel", "bias")
    return (first,) * ranged + (first + ranged,) * both


def _softmax_regression(normal: np.ndarray, anomalous: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [e, `MOST_KINDS`] and biases [`MOST_KINDS`] of the log-odds of each kind of anomaly against normal.

    Maximum likelihood with a Gaussian prior on the weights (Hastie et al. 2009, section 4.4).
    """
    size = normal.shape[1]
    found, index = np.unique(kinds, return_inverse=True)
    x = np.concatenate([normal, anomalous]).astype(float)
    truth = np.zeros((len(x), len(found) + 1))
    truth[np.arange(len(x)), np.concatenate([np.zeros(len(normal), int), 1 + index])] = 1
    x = np.column_stack([x, np.ones(len(x))])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(size + 1, -1)
        log = log_softmax(x @ weights, axis=1)
        prior = PRIOR * weights * (np.arange(size + 1) < size)[:, None]
        gradient = x.T @ (np.exp(log) - truth) + prior
        return float(-(truth * log).sum() + 0.5 * (prior * weights).sum()), gradient.ravel()

    start = np.zeros((size + 1) * (len(found) + 1))
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x.reshape(size + 1, -1)
    odds = weights[:, 1:] - weights[:, :1]
    # A kind without examples must never win.
    kernel, bias = np.zeros((size, MOST_KINDS)), np.full(MOST_KINDS, -100.0)
    kernel[:, found], bias[found] = odds[:-1], odds[-1]
    return kernel, bias


def _exceeded(reference, value):
    """Share of each value's reference [n, q] at or above it [n], never 0: (1 + how many) / (1 + all)."""
    # A tie must not be broken by rounding.
    below = ops.sum(ops.cast(reference < (value * (1 - 1e-6))[:, None], "float32"), axis=-1)
    return (1.0 + QUANTILES - below) / (1.0 + QUANTILES)


def _tail(reference):
    """Where each reference [s, q] ends and how its tail falls from there, [s] each.

    Galaxies beyond the whole reference would otherwise share one p-value. It is extrapolated by the exponential tail
    that fits the reference's most anomalous tenth (its mean excess; Pickands 1975).
    """
    known = reference < 0.5 * _INFINITE
    finite = ops.where(known, reference, 0.0)
    start = finite[:, int(0.9 * QUANTILES), None]
    excess = ops.where(known, ops.maximum(finite - start, 0.0), 0.0)
    count = ops.sum(ops.cast(excess > 0, "float32"), axis=-1)
    mean = ops.maximum(ops.sum(excess, axis=-1) / ops.maximum(count, 1.0), 1e-3)
    # Where nothing is known, nothing is beyond it.
    return ops.where(ops.any(known, axis=-1), ops.max(finite, axis=-1), _INFINITE), mean


def _steps(reference: np.ndarray) -> np.ndarray:
    """The reference spread over `QUANTILES` places so that counting places gives (1 + how many) / (1 + all): each
    value stands in its share of them, and the last share, which nothing exceeds, is infinite."""
    ordered = np.append(np.sort(reference), _INFINITE)
    return ordered[np.arange(QUANTILES) * len(ordered) // (QUANTILES + 1)].astype("float32")


def _finite(anomaly_features: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(anomaly_features, dtype="float32"), nan=0.0, posinf=0.0, neginf=0.0)


def _infinite(shape, dtype=None):
    return ops.full(shape, _INFINITE, dtype=dtype)
