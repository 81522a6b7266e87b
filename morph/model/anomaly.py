"""Is this galaxy unlike anything the model knows?

Reconstruction error alone ranks galaxies by brightness and noise as much as by strangeness. The score asks two
questions of the evidence (`morph.model.anomaly_features`). How far does it lie from that of normal galaxies
(Mahalanobis distance)? That finds what nobody thought of, and overlooks what is small. And does it look more like that
of galaxies with something planted on them (trails, arcs, a shifted band) than like that of normal ones? That finds the
small and known: a softmax regression over the kinds. The two are joined by Fisher's method, and the sum becomes a
p-value on held-out normal galaxies of the same survey, kind of image and set of bands (conformal: Vovk et al. 2005). A
flag at 1 % then flags 1 % of normal galaxies.

A band without data changes most of the evidence, and is no anomaly: what is normal, what is strange and how strange
normal galaxies are is learned for each set of bands by itself.
"""

import warnings
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize
from scipy.special import log_softmax

from morph.dataset import KINDS

#: How many quantiles of the normal galaxies' statistics are kept.
QUANTILES = 1024
#: How many kinds of strangeness there is room for.
PLACES = 16
#: How many sets of bands there are: all of g, r, i but none of them; and the place of all three (see `band_set`).
BAND_SETS = 7
ALL_BANDS = BAND_SETS - 1
#: Weight of the distance in the sum. At 0 planted anomalies are found best and real artefacts worst; at 1 the other
#: way round (docs/explanation/methods.md).
DISTANCE_WEIGHT = 0.5
#: Standard deviations beyond which evidence grows as a logarithm: one wild number must not drown all others.
STRAIGHT = 5.0
#: Strength of the softmax regression's prior: squares of the weights count as much as this many galaxies.
PRIOR = 10.0

_INFINITE = 3e38
#: Exponent of the smallest factor of an extrapolated p-value: float32 holds no more than 1e-38.
_SMALLEST = 70.0
#: What stands for evidence that is not a number: far beyond all others, and its square is still finite.
_WILD = 1e9


@keras.saving.register_keras_serializable(package="morph")
class Anomaly(keras.layers.Layer):
    """Evidence [n, e] and sets of bands [n] to the p-value [n].

    Fresh from the constructor it knows no normal galaxies and answers 1 for every galaxy. `learn` teaches it what
    strange is, on galaxies that the network may have been trained on, `calibrate` how strange normal ones are, both
    for one set of bands (`band_set`).
    """

    def __init__(self, size: int, **options):
        super().__init__(trainable=False, **options)
        self.size = size
        self.centre = self._weight("centre", (BAND_SETS, size), "zeros")
        self.spread = self._weight("spread", (BAND_SETS, size), "ones")
        self.whitening = self._weight("whitening", (BAND_SETS, size, size), "zeros")
        self.kernel = self._weight("kernel", (BAND_SETS, size, PLACES), "zeros")
        self.bias = self._weight("bias", (BAND_SETS, PLACES), "zeros")
        self.ratios = self._weight("ratios", (BAND_SETS, QUANTILES), _infinite)
        self.distances = self._weight("distances", (BAND_SETS, QUANTILES), _infinite)
        self.joint = self._weight("joint", (len(KINDS), BAND_SETS, QUANTILES), _infinite)
        self.built = True

    def _weight(self, name: str, shape: tuple[int, ...], initializer):
        return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)

    def get_config(self):
        return {**super().get_config(), "size": self.size}

    def load_own_variables(self, store):
        """As Keras does it. Where the file knows nothing of sets of bands, each of them takes what was learned of all
        bands; what another version of morph learned about other evidence is left out, with a warning."""
        saved = [np.asarray(store[str(i)]) if str(i) in store else np.zeros(0) for i in range(len(self.weights))]
        shapes = [tuple(weight.shape) for weight in self.weights]
        if [value.shape for value in saved] == [_without_sets(shape) for shape in shapes]:
            axes = [shape.index(BAND_SETS) for shape in shapes]
            saved = [np.stack([value] * BAND_SETS, axis) for value, axis in zip(saved, axes, strict=True)]
        if len(store.keys()) == len(saved) and [value.shape for value in saved] == shapes:
            for weight, value in zip(self.weights, saved, strict=True):
                weight.assign(value)
            return
        warnings.warn(
            "This model was saved by another version of morph, whose anomaly score does not fit: every galaxy will "
            "count as normal (anomaly_score 1) until `morph finetune` teaches it anew.",
            stacklevel=2,
        )

    @property
    def learned(self) -> bool:
        """Whether it knows what strange is."""
        return bool(ops.convert_to_numpy(self.ratios)[ALL_BANDS, 0] < _INFINITE)

    def call(self, anomaly_features, bands, kind: str = "flux"):
        """The p-values, [n], of evidence from images of the given kind (see `morph.dataset.KINDS`).

        `bands` is the set of bands that each shows, int [n] (see `band_set`).
        """
        reference, value = self.joint[list(KINDS).index(kind)], self._statistic(anomaly_features, bands)
        top, mean = _tail(reference)
        beyond = (value - ops.take(top, bands)) / ops.take(mean, bands)
        return _exceeded(ops.take(reference, bands, axis=0), value) * ops.exp(-ops.clip(beyond, 0.0, _SMALLEST))

    def learn(self, normal: np.ndarray, strange: np.ndarray, what: np.ndarray, bands: int = ALL_BANDS) -> None:
        """Learn what is strange.

        Parameters
        ----------
        normal : [n, e], evidence of normal galaxies.
        strange : [m, e], that of galaxies with an anomaly; may be empty, and then only the distance counts.
        what : int [m], which kind of anomaly, 0 to `PLACES` - 1.
        bands : the set of bands that all of them show. Sets of which nothing has been learned yet take the same.
        """
        normal, strange = _finite(normal), _finite(strange)
        places = ops.convert_to_numpy(self.ratios)[:, 0] == np.float32(_INFINITE)
        places[bands] = True
        self._put(places, centre=normal.mean(axis=0), spread=normal.std(axis=0) + 1e-3)
        scaled = self._numpy(self._scaled, normal, bands)
        covariance = np.cov(scaled.T)
        # Shrinking towards the diagonal keeps the inverse stable when galaxies are few (Ledoit & Wolf 2004).
        shrinkage = min(0.9, self.size / len(normal))
        covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
        covariance += 1e-6 * np.trace(covariance) / self.size * np.eye(self.size)
        whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
        kernel, bias = _softmax_regression(
            scaled, self._numpy(self._scaled, strange, bands), np.asarray(what, dtype=int)
        )
        self._put(places, whitening=whitening, kernel=kernel, bias=bias)
        grid = (np.arange(QUANTILES) + 0.5) / QUANTILES
        ratios, distances = (self._numpy(part, scaled, bands) for part in (self._ratio, self._distance))
        self._put(places, ratios=np.quantile(ratios, grid), distances=np.quantile(distances, grid))
        joint = ops.convert_to_numpy(self.joint).copy()
        joint[:, places] = _INFINITE
        self.joint.assign(joint)

    def calibrate(self, normal: Mapping[str, np.ndarray], bands: int = ALL_BANDS) -> None:
        """Set the p-value on held-out normal galaxies.

        Nothing that `learn` saw may be among them: what is strange was settled without them, which makes the p-value
        exact down to one in n + 1, where nothing in the reference is as strange; so fewer than 100 galaxies can flag
        nothing at 1 %, unless it lies beyond all of them. Below that it is extrapolated (`_tail`).

        Parameters
        ----------
        normal : evidence [n, e] by kind of image. A kind that was never given takes the reference of one that is:
            closer than no reference, and exact only for galaxies that look alike in both.
        bands : the set of bands that all of them show. Sets that have no reference yet take the same.
        """
        steps = {kind: _steps(self._numpy(self._statistic, _finite(each), bands)) for kind, each in normal.items()}
        joint = ops.convert_to_numpy(self.joint).copy()
        for row, kind in zip(joint, KINDS, strict=True):
            places = row[:, 0] == np.float32(_INFINITE)
            places[bands] |= kind in steps
            row[places] = steps.get(kind, next(iter(steps.values())))
        self.joint.assign(joint)

    def _put(self, places: np.ndarray, **values: np.ndarray) -> None:
        """Set the weights of these names for these sets of bands."""
        for name, value in values.items():
            weight = getattr(self, name)
            whole = ops.convert_to_numpy(weight).copy()
            whole[places] = value
            weight.assign(whole)

    @staticmethod
    def _numpy(function, values: np.ndarray, bands: int) -> np.ndarray:
        shown = ops.full((len(values),), bands, dtype="int32")
        return ops.convert_to_numpy(function(ops.convert_to_tensor(values, "float32"), shown))

    def _scaled(self, anomaly_features, bands):
        z = (anomaly_features - ops.take(self.centre, bands, axis=0)) / ops.take(self.spread, bands, axis=0)
        z = ops.where(ops.isfinite(z), ops.clip(z, -_WILD, _WILD), _WILD)
        size = ops.abs(z)
        return ops.sign(z) * (ops.minimum(size, STRAIGHT) + ops.log1p(ops.maximum(size - STRAIGHT, 0.0)))

    def _distance(self, scaled, bands):
        return ops.sum(ops.square(self._multiplied(scaled, bands, self.whitening)), axis=-1)

    def _ratio(self, scaled, bands):
        """How much likelier any of the known kinds of strangeness is than a normal galaxy."""
        odds = self._multiplied(scaled, bands, self.kernel) + ops.take(self.bias, bands, axis=0)
        return ops.exp(ops.clip(ops.logsumexp(odds, axis=-1), -60.0, 60.0))

    def _multiplied(self, scaled, bands, matrices):
        """Each row [n, e] by the matrix [e, k] of its set of bands. One product with all of them below each other, of
        rows that are zero but at their own: matrices picked for each galaxy would fill the memory."""
        own = ops.one_hot(bands, BAND_SETS, dtype="float32")
        placed = ops.reshape(own[:, :, None] * scaled[:, None, :], (-1, BAND_SETS * self.size))
        return ops.matmul(placed, ops.reshape(matrices, (BAND_SETS * self.size, matrices.shape[-1])))

    def _statistic(self, anomaly_features, bands):
        """Fisher's combination; beyond the reference's range it goes on growing, so that the strangest
        galaxies keep their order."""
        scaled = self._scaled(anomaly_features, bands)
        ratio, distance = self._ratio(scaled, bands), self._distance(scaled, bands)
        ratios, distances = ops.take(self.ratios, bands, axis=0), ops.take(self.distances, bands, axis=0)
        return (
            -ops.log(_exceeded(ratios, ratio))
            - DISTANCE_WEIGHT * ops.log(_exceeded(distances, distance))
            + ops.log1p(ops.maximum(ratio / ops.maximum(ratios[:, -1], 1e-6) - 1.0, 0.0))
            + ops.log1p(ops.maximum(distance / ops.maximum(distances[:, -1], 1e-6) - 1.0, 0.0))
        )


def band_set(present):
    """The place of each set of bands, int32 [n], from which bands of g, r, i there are, bool [n, 3].

    g counts 1, r 2 and i 4, less one for the set of none, which nothing is learned of: it takes the place of g alone.
    """
    count = ops.sum(ops.cast(present, "int32") * np.array([1, 2, 4], "int32"), axis=-1)
    return ops.maximum(count - 1, 0)


def bands_of(place: int) -> np.ndarray:
    """Which bands of g, r, i the set at this place holds, bool [3]: the inverse of `band_set`."""
    return (place + 1) >> np.arange(3) & 1 > 0


def _without_sets(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a weight had before there was a place for each set of bands."""
    axis = shape.index(BAND_SETS)
    return (*shape[:axis], *shape[axis + 1 :])


def _softmax_regression(normal: np.ndarray, strange: np.ndarray, what: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [e, `PLACES`] and biases [`PLACES`] of the log-odds of each kind of strangeness against normal.

    Maximum likelihood with a Gaussian prior on the weights (Hastie et al. 2009, section 4.4).
    """
    size, kinds = normal.shape[1], np.unique(what)
    x = np.concatenate([normal, strange]).astype(float)
    truth = np.zeros((len(x), len(kinds) + 1))
    truth[np.arange(len(x)), np.concatenate([np.zeros(len(normal), int), 1 + np.searchsorted(kinds, what)])] = 1
    x = np.column_stack([x, np.ones(len(x))])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(size + 1, -1)
        log = log_softmax(x @ weights, axis=1)
        prior = PRIOR * weights * (np.arange(size + 1) < size)[:, None]
        gradient = x.T @ (np.exp(log) - truth) + prior
        return float(-(truth * log).sum() + 0.5 * (prior * weights).sum()), gradient.ravel()

    start = np.zeros((size + 1) * (len(kinds) + 1))
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x.reshape(size + 1, -1)
    odds = weights[:, 1:] - weights[:, :1]
    # A place that no kind takes must never win.
    kernel, bias = np.zeros((size, PLACES)), np.full(PLACES, -100.0)
    kernel[:, kinds], bias[kinds] = odds[:-1], odds[-1]
    return kernel, bias


def _exceeded(reference, value):
    """Share of each value's reference [n, q] at or above it [n], never 0: (1 + how many) / (1 + all)."""
    # A tie must not be broken by rounding.
    below = ops.sum(ops.cast(reference < (value * (1 - 1e-6))[:, None], "float32"), axis=-1)
    return (1.0 + QUANTILES - below) / (1.0 + QUANTILES)


def _tail(reference):
    """Where each reference [s, q] ends and how its tail falls from there, [s] each.

    The p-value of galaxies beyond the whole reference would be the same otherwise. It goes on by the exponential tail
    that fits the reference's strangest tenth (its mean excess; Pickands 1975).
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
    places = np.arange(QUANTILES) * len(ordered) // (QUANTILES + 1)
    return ordered[places].astype("float32")


def _finite(anomaly_features: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(anomaly_features, dtype="float32"), nan=0.0, posinf=0.0, neginf=0.0)


def _infinite(shape, dtype=None):
    return ops.full(shape, _INFINITE, dtype=dtype)
