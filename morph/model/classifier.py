"""The classifier: everything that one forward pass returns."""

import json
from typing import Any

import keras
import numpy as np
from keras import ops

from morph.checks import FORMAT, MODEL_FORMAT
from morph.dataset_writer import KINDS
from morph.decision_tree import ANSWERS, TREE
from morph.errors import InputError
from morph.model.anomaly import Anomaly, band_set
from morph.model.anomaly_features import STATISTICS, anomaly_features
from morph.model.autoencoder import build_decoder, build_encoder, get_architecture
from morph.model.batched import compiled, in_batches
from morph.model.calibration import Calibration
from morph.model.codes import Codes
from morph.model.detail import Detail
from morph.model.experts import Experts, bounded
from morph.model.heads import build_heads, probabilities, tree_probabilities
from morph.model.measurements import Measurements
from morph.model.preprocessing import Preprocessing
from morph.model.prior import Prior
from morph.model.reference_sample import ReferenceSample
from morph.model.restored_stamps import restore_stamps
from morph.model.restorer import Restorer
from morph.model.similarity import SIMILARITY_SIZE, Similarity
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.stretch import relative_flux
from morph.surveys import CHANNELS, get_survey

#: Weight of a pixel in the reconstruction error, as a Gaussian around the centre with this sigma in half-light radii:
#: neighbours at the edge are not the galaxy's fault.
WINDOW = 1.5
#: The decoder's expected error beside the noise, in units of the stretched image.
DECODER_FLOOR = 0.05
#: Galaxies with a p-value below this are flagged.
THRESHOLD = 0.01


@keras.saving.register_keras_serializable(package="morph")
class Classifier(keras.Model):
    """Galaxy images to Galaxy Zoo answers, an embedding, a reconstruction and an anomaly flag.

    Parameters
    ----------
    survey : the survey that it was last trained on.
    size : pixels on a side of its input; by default those of its architecture.
    latent : dimensions of the embedding.
    about : free metadata: training sets, dates, the MLflow run that made it.
    seen : the record of its training galaxies (see `morph.training_record`); empty if there is none.
    precision : dtype policy of the convolutions; float32 unless given.
    architecture : of the encoder, one of `morph.model.autoencoder.ARCHITECTURES`.

    It saves to one `.keras` file. `call` is `from_flux`.

    Examples
    --------
    >>> model = Classifier(survey="des")
    >>> model.survey, model.size
    ('des', 64)
    """

    def __init__(
        self,
        survey: str = "sdss",
        size: int | None = None,
        latent: int = 64,
        about: dict[str, Any] | None = None,
        seen: str = "",
        precision: str = "float32",
        architecture: str = "small",
        name: str = "morph",
        **options,
    ):
        super().__init__(name=name, **options)
        self.survey = get_survey(survey).name
        size = size or get_architecture(architecture).size
        self.size, self.latent, self.about, self.precision = size, latent, about or {}, precision
        self.architecture = architecture
        self.seen = seen
        #: Of the file that it was loaded from (`morph.model.store.digest`); empty for one that was not.
        self.digest = ""
        self.preprocessing = Preprocessing()
        self.encoder = build_encoder(size, latent, precision, architecture)
        self.decoder = build_decoder(size, latent, precision)
        features = self.encoder.output["features"].shape[-1]
        self.heads = build_heads((features, latent))
        # Composites carry volunteers' votes, flux in several bands mostly simulated ones: each has errors of its own.
        self.calibrations = {kind: Calibration(name=f"calibration_{kind}") for kind in KINDS}
        self.experts = Experts(latent)
        self.measurements = Measurements(latent, name="measurements")
        self.prior = Prior(latent, name="prior")
        self.similarity = Similarity(features, latent, name="similarity")
        self.codes = Codes(size, name="codes")
        self.restorer = Restorer(name="restorer")
        self.anomaly = Anomaly(features + STATISTICS)
        self.reference_sample = ReferenceSample(latent, name="reference_sample")
        self.detail = Detail(size, latent, name="detail")
        offset = (np.arange(size) - (size - 1) / 2) * (FIELD / NETWORK_SIZE)
        window = np.exp(-0.5 * (offset[:, None] ** 2 + offset[None, :] ** 2) / WINDOW**2)
        # As large as the image: broadcasting along the bands would compute three numbers at a time.
        self._window = np.repeat(window.astype("float32")[None, :, :, None], 3, axis=3)
        self.built = True

    def get_config(self):
        return {
            FORMAT: MODEL_FORMAT,
            "survey": self.survey,
            "size": self.size,
            "architecture": self.architecture,
            "latent": self.latent,
            "about": self.about,
            "seen": self.seen,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**{name: value for name, value in config.items() if name != FORMAT})

    def in_precision(self, precision: str) -> "Classifier":
        """The same model with its convolutions in another precision, such as ``mixed_bfloat16``."""
        model = Classifier.from_config({**self.get_config(), "precision": precision})
        model.set_weights(self.get_weights())
        model.digest = self.digest
        return model

    def build(self, input_shape=None):
        """Do nothing: every part is made with its weights."""

    @property
    def embedding_size(self) -> int:
        return self.latent

    @property
    def anomaly_threshold(self) -> float:
        return THRESHOLD

    # --- Tensors in, tensors out: what is exported ---------------------------------------------------

    def call(self, image, training=False):
        return self.from_flux(image, training=training)

    def from_flux(self, image, training=False, kind="flux"):
        """Answer for galaxies given as calibrated flux.

        Parameters
        ----------
        image : float32 [n, size, size, 3], nanomaggies per pixel in g, r, i; NaN where there is no data.
        training : whether dropout and batch statistics are those of training.
        kind : selects the calibration and the normal galaxies behind the p-value: those of ``flux``, or of
            ``composite`` pictures.

        Returns
        -------
        dict: ``probabilities`` and ``concentration`` [n, 42], ``tree_probabilities`` [n, 42] (multiplied down the
        tree), ``embedding`` [n, d], ``similarity`` [n, 50] (of unit length), ``reconstruction_error`` [n]
        (noise-weighted chi-square per pixel), ``anomaly_score`` [n] (p-value, small is anomalous), ``anomaly`` [n].
        """
        inputs = self.preprocessing(image)
        encoded = self.encoder(inputs["image"], training=training)
        mean = self.embed(encoded)
        reconstruction = self.decoder(mean, training=training)
        votes = self.vote_outputs(encoded["features"], mean, training=training, kind=kind)
        anomaly = self.anomaly_outputs(inputs, reconstruction, encoded["features"], kind=kind)
        similarity = self.similarity(encoded["features"], mean)
        return {**votes, "embedding": mean, "similarity": similarity, **anomaly}

    def vote_outputs(self, features, mean, training=False, kind="flux"):
        """The outputs of `from_flux` that answer the questions.

        Parameters
        ----------
        features, mean : the encoder's features, and the embedding.
        training, kind : as for `from_flux`.
        """
        concentration = self.calibrations[kind](self.heads([features, mean], training=training))
        fractions = probabilities(concentration)
        return {
            "probabilities": fractions,
            "tree_probabilities": tree_probabilities(fractions),
            "concentration": concentration,
        }

    def anomaly_outputs(self, inputs: dict, reconstruction, features, kind="flux"):
        """The outputs of `from_flux` that compare the image with its reconstruction.

        Parameters
        ----------
        inputs : preprocessed images.
        reconstruction : the decoder's.
        features : the encoder's.
        kind : as for `from_flux`.
        """
        present = ops.sum(inputs["valid"], axis=(1, 2)) > 0
        features = anomaly_features(inputs, self.residual(inputs, reconstruction), features, self._window)
        score = self.anomaly(features, band_set(present), kind=kind)
        # A galaxy without any data is not normal.
        score = ops.where(ops.any(present, axis=-1), score, 0.0)
        return {
            "reconstruction_error": self.reconstruction_error(inputs, reconstruction),
            "anomaly_score": score,
            "anomaly": score < THRESHOLD,
        }

    def from_composite(self, image):
        """As `from_flux`, for colour pictures: values 0 to 255 [n, size, size, 3], R, G, B."""
        return self.from_flux(self.linear(image), kind="composite")

    def reconstruct(self, image):
        """Reconstruct the galaxies, in the units of the input, sky included."""
        inputs = self.preprocessing(image)
        reconstruction = self.decoder(self.embed(self.encoder(inputs["image"], training=False)), training=False)
        return {"reconstruction": self.preprocessing.restore(reconstruction, inputs["sky"], inputs["scale"])}

    def restore(self, image, psf_fwhm, target_fwhm):
        """Restore galaxies: without noise, and with a narrower point-spread function where that is asked for.

        Parameters
        ----------
        image : as for `from_flux`.
        psf_fwhm : float32 [n], full width at half maximum of the image's point-spread function, pixels; NaN where it
            is not known, and nothing is sharpened.
        target_fwhm : float32 [n], that of the restored image's, a Gaussian; NaN, or that of the image, to sharpen
            nothing.

        Returns
        -------
        dict: ``restored`` (the units of the input, sky included; NaN where there is no data), ``sigma`` (infinite
        there) and ``prior_fraction`` (see `morph.model.restorer`), float32 [n, size, size, 3]; ``shape_error`` [n, 3],
        the standard error of the shear by which each band has the ellipticity of the data, NaN where noise hides that
        and the galaxy is rounder than it is (`morph.model.ellipticity`); ``chi_square`` [n], the mean square of what
        is left of the data in units of its noise. All are NaN where `target_fwhm` is wider than the image's or
        narrower than `morph.sizes.NARROWEST_PSF`.
        """
        return restore_stamps(self.restorer, image, psf_fwhm, target_fwhm)

    @staticmethod
    def embed(encoded):
        """The embedding: the posterior mean of z given the image alone, [n, latent]."""
        return encoded["mean"] / (1.0 + ops.exp(bounded(encoded["log_variance"])))

    @staticmethod
    def linear(composite):
        """Colour pictures as relative flux, the input of the same preprocessing."""
        return relative_flux(ops.cast(composite, "float32"), xp=ops)

    def reconstruction_error(self, inputs: dict, reconstruction):
        """Noise-weighted mean square residual of each galaxy, [n]: 1 where only noise is left."""
        weight = inputs["valid"] * self._window
        squared = ops.square(self.residual(inputs, reconstruction))
        return ops.sum(weight * squared, axis=(1, 2, 3)) / ops.maximum(ops.sum(weight, axis=(1, 2, 3)), 1e-6)

    @staticmethod
    def residual(inputs: dict, reconstruction):
        """The image less its reconstruction, in units of the noise: float32 [n, size, size, 3]."""
        return (inputs["image"] - reconstruction) * ops.rsqrt(ops.square(inputs["sigma"]) + DECODER_FLOOR**2)

    # --- NumPy in, NumPy out --------------------------------------------------------------------------

    def answer(self, images: np.ndarray, batch_size: int = 128) -> dict[str, np.ndarray]:
        """Answer for a set of stamps, in batches.

        Parameters
        ----------
        images : uint8 composites or float flux, [n, s, s, 3] with s >= size; the margin of a larger stamp is cut off.
        batch_size : stamps in one pass.

        Returns
        -------
        dict of arrays of n rows, as `from_flux` names them.
        """
        return self._apply(self.from_flux, self.from_composite, images, batch_size)

    def anomaly_features(self, images: np.ndarray, batch_size: int = 128) -> np.ndarray:
        """The features behind the anomaly score of stamps (as `answer` takes them): float32 [n, e]."""
        function = self._anomaly_features
        return self._apply(function, _linearised(function), images, batch_size)["features"]

    def _anomaly_features(self, image):
        inputs = self.preprocessing(image)
        encoded = self.encoder(inputs["image"], training=False)
        residual = self.residual(inputs, self.decoder(self.embed(encoded), training=False))
        return {"features": anomaly_features(inputs, residual, encoded["features"], self._window)}

    def reconstruct_images(self, images: np.ndarray, batch_size: int = 128) -> np.ndarray:
        """Reconstruct stamps (as `answer` takes them): float32 [n, size, size, 3].

        Flux comes back as flux; a composite comes back as relative flux in the order g, r, i.
        """
        return self._apply(self.reconstruct, _linearised(self.reconstruct), images, batch_size)["reconstruction"]

    def image_expert(self, images: np.ndarray, batch_size: int = 128) -> dict[str, np.ndarray]:
        """The image's expert of z (see `morph.model.experts`), without the prior.

        Parameters
        ----------
        images : stamps as `answer` takes them.

        Returns
        -------
        dict: ``mean`` and ``log_variance`` [n, d]; ``seen`` [n, 1], 0 where a stamp holds no data.
        """
        return self._apply(self._expert, _linearised(self._expert), images, batch_size)

    def _expert(self, image):
        inputs = self.preprocessing(image)
        encoded = self.encoder(inputs["image"], training=False)
        seen = ops.cast(ops.any(inputs["valid"] > 0, axis=(1, 2, 3)), "float32")
        return {"mean": encoded["mean"], "log_variance": encoded["log_variance"], "seen": seen[:, None]}

    def code_numbers(self, images: np.ndarray, batch_size: int = 128) -> dict[str, np.ndarray]:
        """What codes are made of (see `morph.model.codes`).

        Parameters
        ----------
        images : stamps as `answer` takes them.

        Returns
        -------
        dict: ``numbers`` [n, k]; ``sky`` [n, 3], NaN where a band has no data, and ``scale`` [n, 1], in linear units
        of the input.
        """
        return self._apply(self._code_numbers, _linearised(self._code_numbers), images, batch_size)

    def _code_numbers(self, image):
        inputs = self.preprocessing(image)
        seen = ops.any(inputs["valid"] > 0, axis=(1, 2))
        sky = ops.where(seen, inputs["sky"][:, 0, 0], float("nan"))
        return {"numbers": self.codes(inputs["image"]), "sky": sky, "scale": inputs["scale"][:, 0, 0]}

    def central(self, images: np.ndarray) -> np.ndarray:
        """Cut the margin off stamps; InputError when they are too small."""
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise InputError(f"Images have shape {images.shape}; the model takes (n, size, size, 3).")
        margin = images.shape[1] - self.size
        if margin < 0:
            raise InputError(f"Stamps of {images.shape[1]} px are too small; the model takes {self.size} px or more.")
        start = margin // 2
        view = images[:, start : start + self.size, start : start + self.size]
        return view if view.dtype == np.uint8 else view.astype("float32")

    def _apply(self, flux, composite, images: np.ndarray, batch_size: int) -> dict[str, np.ndarray]:
        """Apply the function for the kind of image, in batches; each is compiled once, by the backend in use."""
        images = self.central(images)
        picture = images.dtype == np.uint8
        cache, key = self.__dict__.setdefault("_compiled_functions", {}), (flux.__name__, picture)
        if key not in cache:
            cache[key] = compiled(self, composite if picture else flux)
        return in_batches(cache[key], images, batch_size)

    def describe(self) -> dict[str, Any]:
        """Describe the model to a client, in one dict that JSON can hold."""
        return {
            "name": self.name,
            "survey": self.survey,
            "architecture": self.architecture,
            "size": self.size,
            "bands": list(get_survey(self.survey).bands),
            "channels": list(CHANNELS),
            "units": "nanomaggies per pixel",
            "embedding_size": self.latent,
            "similarity_size": SIMILARITY_SIZE,
            "questions": [
                {"name": q.name, "answers": list(q.answers), "asked_after": [list(pair) for pair in q.asked_after]}
                for q in TREE
            ],
            "answers": list(ANSWERS),
            "anomaly_threshold": THRESHOLD,
            "weights": self.digest or None,
            # A plain copy: Keras wraps a model's dicts in containers that refer to the whole model.
            "about": json.loads(json.dumps(self.about)),
        }


def _linearised(function):
    """The same function of colour pictures."""
    return lambda image: function(Classifier.linear(image))
