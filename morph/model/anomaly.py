"""Is this galaxy unlike anything the model knows?

Reconstruction error alone ranks galaxies by brightness and noise as much as by strangeness. The score asks two
questions of the evidence (`morph.model.evidence`). How far does it lie from that of normal galaxies (Mahalanobis
distance)? That finds what nobody thought of, and overlooks what is small. And does it look more like that of galaxies
with something planted on them (trails, arcs, a shifted band) than like that of normal ones? That finds the small and
known: a softmax regression over the kinds. The two are joined by Fisher's method, and the sum becomes a p-value
on held-out normal galaxies of the same survey and kind of image (conformal: Vovk et al. 2005). A flag at 1 % then
flags 1 % of normal galaxies.
"""

import warnings
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize
from scipy.special import log_softmax

from morph.galaxies import KINDS

#: How many quantiles of the normal galaxies' statistics are kept.
QUANTILES = 1024
#: How many kinds of strangeness there is room for.
PLACES = 16
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
    """Evidence [n, e] to the p-value [n].

    Fresh from the constructor it knows no normal galaxies and answers 1 for every galaxy. `learn` teaches it what
    strange is, on galaxies that the network may have been trained on, `calibrate` how strange normal ones are.
    """

    def __init__(self, size: int, **options):
        super().__init__(trainable=False, **options)
        self.size = size
        self.centre = self._weight("centre", (size,), "zeros")
        self.spread = self._weight("spread", (size,), "ones")
        self.whitening = self._weight("whitening", (size, size), "zeros")
        self.kernel = self._weight("kernel", (size, PLACES), "zeros")
        self.bias = self._weight("bias", (PLACES,), "zeros")
        self.ratios = self._weight("ratios", (QUANTILES,), _infinite)
        self.distances = self._weight("distances", (QUANTILES,), _infinite)
        self.joint = self._weight("joint", (len(KINDS), QUANTILES), _infinite)
        self.built = True

    def _weight(self, name: str, shape: tuple[int, ...], initializer):
        return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)

    def get_config(self):
        return {**super().get_config(), "size": self.size}

    def load_own_variables(self, store):
        """As Keras does it; what another version of morph learned about other evidence is left out, with a warning."""
        saved = [np.shape(store[str(i)]) if str(i) in store else None for i in range(len(self.weights))]
        if len(store.keys()) == len(saved) and saved == [tuple(weight.shape) for weight in self.weights]:
            super().load_own_variables(store)
            return
        warnings.warn(
            "This model was saved by another version of morph, whose anomaly score does not fit: every galaxy will "
            "count as normal (anomaly_score 1) until `morph finetune` teaches it anew.",
            stacklevel=2,
        )

    @property
    def learned(self) -> bool:
        """Whether it knows what strange is."""
        return bool(ops.convert_to_numpy(self.ratios)[0] < _INFINITE)

    def call(self, evidence, kind: str = "flux"):
        """The p-values, [n], of evidence from images of the given kind (see `morph.galaxies.KINDS`)."""
        reference, value = self.joint[list(KINDS).index(kind)], self._statistic(evidence)
        return _exceeded(reference, value) * _beyond(reference, value)

    def learn(self, normal: np.ndarray, strange: np.ndarray, what: np.ndarray) -> None:
        """Learn what is strange.

        Parameters
        ----------
        normal : [n, e], evidence of normal galaxies.
        strange : [m, e], that of galaxies with an anomaly; may be empty, and then only the distance counts.
        what : int [m], which kind of anomaly, 0 to `PLACES` - 1.
        """
        normal, strange = _finite(normal), _finite(strange)
        self.centre.assign(normal.mean(axis=0))
        self.spread.assign(normal.std(axis=0) + 1e-3)
        scaled = self._numpy(self._scaled, normal)
        covariance = np.cov(scaled.T)
        # Shrinking towards the diagonal keeps the inverse stable when galaxies are few (Ledoit & Wolf 2004).
        shrinkage = min(0.9, self.size / len(normal))
        covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
        covariance += 1e-6 * np.trace(covariance) / self.size * np.eye(self.size)
        self.whitening.assign(np.linalg.inv(np.linalg.cholesky(covariance)).T)
        kernel, bias = _softmax_regression(scaled, self._numpy(self._scaled, strange), np.asarray(what, dtype=int))
        self.kernel.assign(kernel)
        self.bias.assign(bias)
        grid = (np.arange(QUANTILES) + 0.5) / QUANTILES
        self.ratios.assign(np.quantile(self._numpy(self._ratio, scaled), grid))
        self.distances.assign(np.quantile(self._numpy(self._distance, scaled), grid))
        self.joint.assign(np.full(self.joint.shape, _INFINITE, "float32"))

    def calibrate(self, normal: Mapping[str, np.ndarray]) -> None:
        """Set the p-value on held-out normal galaxies.

        Nothing that `learn` saw may be among them: what is strange was settled without them, which makes the p-value
        exact down to one in n + 1, where nothing in the reference is as strange; so fewer than 100 galaxies can flag
        nothing at 1 %, unless it lies beyond all of them. Below that it is extrapolated (`_beyond`).

        Parameters
        ----------
        normal : evidence [n, e] by kind of image. A kind that is not given takes the reference of the one that is:
            closer than no reference, and exact only for galaxies that look alike in both.
        """
        steps = {kind: _steps(self._numpy(self._statistic, _finite(each))) for kind, each in normal.items()}
        self.joint.assign(np.stack([steps[kind] if kind in steps else next(iter(steps.values())) for kind in KINDS]))

    @staticmethod
    def _numpy(function, values: np.ndarray) -> np.ndarray:
        return ops.convert_to_numpy(function(ops.convert_to_tensor(values, "float32")))

    def _scaled(self, evidence):
        z = (evidence - self.centre) / self.spread
        z = ops.where(ops.isfinite(z), ops.clip(z, -_WILD, _WILD), _WILD)
        size = ops.abs(z)
        return ops.sign(z) * (ops.minimum(size, STRAIGHT) + ops.log1p(ops.maximum(size - STRAIGHT, 0.0)))

    def _distance(self, scaled):
        return ops.sum(ops.square(ops.matmul(scaled, self.whitening)), axis=-1)

    def _ratio(self, scaled):
        """How much likelier any of the known kinds of strangeness is than a normal galaxy."""
        return ops.exp(ops.clip(ops.logsumexp(ops.matmul(scaled, self.kernel) + self.bias, axis=-1), -60.0, 60.0))

    def _statistic(self, evidence):
        """Fisher's combination; beyond the reference's range it goes on growing, so that the strangest
        galaxies keep their order."""
        scaled = self._scaled(evidence)
        ratio, distance = self._ratio(scaled), self._distance(scaled)
        return (
            -ops.log(_exceeded(self.ratios, ratio))
            - DISTANCE_WEIGHT * ops.log(_exceeded(self.distances, distance))
            + ops.log1p(ops.maximum(ratio / ops.maximum(self.ratios[-1], 1e-6) - 1.0, 0.0))
            + ops.log1p(ops.maximum(distance / ops.maximum(self.distances[-1], 1e-6) - 1.0, 0.0))
        )


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
    """Share of the reference at or above each value, never 0: (1 + how many) / (1 + all)."""
    # A tie must not be broken by rounding.
    below = ops.cast(ops.searchsorted(reference, value * (1 - 1e-6), side="left"), "float32")
    return (1.0 + QUANTILES - below) / (1.0 + QUANTILES)


def _beyond(reference, value):
    """What the p-value of galaxies beyond the whole reference is multiplied by: 1 at its strangest galaxy, and from
    there the exponential tail that fits the reference's strangest tenth (its mean excess; Pickands 1975).

    They would all have the same p-value otherwise.
    """
    known = reference < 0.5 * _INFINITE
    finite = ops.where(known, reference, 0.0)
    start = finite[int(0.9 * QUANTILES)]
    excess = ops.where(known, ops.maximum(finite - start, 0.0), 0.0)
    count = ops.sum(ops.cast(excess > 0, "float32"))
    mean = ops.maximum(ops.sum(excess) / ops.maximum(count, 1.0), 1e-3)
    # Where nothing is known, nothing is beyond it.
    top = ops.where(ops.any(known), ops.max(finite), _INFINITE)
    return ops.exp(-ops.clip((value - top) / mean, 0.0, _SMALLEST))


def _steps(reference: np.ndarray) -> np.ndarray:
    """The reference spread over `QUANTILES` places so that counting places gives (1 + how many) / (1 + all): each
    value stands in its share of them, and the last share, which nothing exceeds, is infinite."""
    ordered = np.append(np.sort(reference), _INFINITE)
    places = np.arange(QUANTILES) * len(ordered) // (QUANTILES + 1)
    return ordered[places].astype("float32")


def _finite(evidence: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(evidence, dtype="float32"), nan=0.0, posinf=0.0, neginf=0.0)


def _infinite(shape, dtype=None):
    return ops.full(shape, _INFINITE, dtype=dtype)
