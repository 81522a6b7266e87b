"""Magnitudes, radius and redshift from z and from each other: mixtures of Gaussians, fitted to the frozen network.

The decoders of the experts (`morph.model.experts`) read z alone, which holds the measurements only as well as their
experts put them there, and they are learned while z still changes. These decoders are fitted after the training and
read what is measured beside z, so that a redshift from image and magnitudes sees the magnitudes themselves.
"""

from typing import Any

import keras
from keras import ops

from morph.model.conditions import MOST_SURVEYS, survey_features
from morph.model.experts import MEASURED, MEASUREMENTS, columns_of
from morph.model.fitted import Fitted, dense

#: Units of the hidden layers, and Gaussians in each mixture.
WIDTH, COMPONENTS = 96, 5
#: Standardised measurements count no farther from the middle than this.
_FAR = 6.0


@keras.saving.register_keras_serializable(package="morph")
class Measurements(Fitted):
    """Mixtures over each measured modality, given z and the other modalities, any of which may be missing.

    Parameters
    ----------
    latent : dimensions of z.
    width : of every hidden layer.
    """

    def __init__(self, latent: int, width: int = WIDTH, **options):
        super().__init__(**options)
        self.latent, self.width = latent, width
        self.surveys = self.fixed("surveys", (MOST_SURVEYS,), "zeros")
        self.networks = {
            name: [
                self.dense(
                    f"{name}-0", latent + len(MEASUREMENTS) - columns + len(MEASURED) - 1 + MOST_SURVEYS, width
                ),
                self.dense(f"{name}-1", width, width),
                self.dense(f"{name}-2", width, COMPONENTS * (1 + 2 * columns)),
            ]
            for name, columns in MEASURED.items()
        }
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "latent": self.latent, "width": self.width}

    def call(self, z, measurements, survey) -> dict[str, tuple]:
        """A mixture of each modality, in the form of `Experts.measurements_from`.

        Parameters
        ----------
        z : float32 [n, d].
        measurements : float32 [n, 5] as `morph.model.experts.transform` gives them, NaN where unknown. Those of a
            modality itself do not enter its mixture.
        survey : float32 [n], the places of the galaxies' surveys (`morph.model.conditions.survey_places`), NaN where
            unknown: surveys differ in how bright and how distant their galaxies are.
        """
        known = 1.0 - ops.cast(ops.isnan(measurements), "float32")
        values = ops.where(ops.isnan(measurements), 0.0, ops.clip(measurements, -_FAR, _FAR))
        # The magnitudes count together, as for their expert.
        has = {name: ops.min(known[:, columns_of(name)], axis=1, keepdims=True) for name in MEASURED}
        given = {name: [values[:, columns_of(name)] * has[name], has[name]] for name in MEASURED}
        survey, found = survey_features(survey, self.surveys), {}
        for name, columns in MEASURED.items():
            others = [part for other in MEASURED if other != name for part in given[other]]
            parts = dense(self.networks[name], ops.concatenate([z, survey, *others], axis=1))
            mean = ops.reshape(parts[:, COMPONENTS : COMPONENTS * (1 + columns)], (-1, COMPONENTS, columns))
            log_sigma = ops.reshape(parts[:, COMPONENTS * (1 + columns) :], (-1, COMPONENTS, columns))
            found[name] = ops.log_softmax(parts[:, :COMPONENTS], axis=-1), mean, ops.clip(log_sigma, -5.0, 2.0)
        return found
