"""One galaxy with one thing changed.

What z does not hold stays: noise, neighbours and detail of the image are kept, and what changes is added to them.

- **Brightness.** Light is taken away with its noise, and noise added until the sky is as noisy as before; or the
  model's picture of the galaxy, which has no noise, is added. The sky's noise stays, so the signal-to-noise changes.
- **Size.** The image is resampled around the galaxy, with its flux conserved, and the sky's noise restored. The
  point-spread function of a larger galaxy is larger too, since an edit does not sharpen; a smaller galaxy is blurred
  to the survey's.
- **Answers.** `morph.simulation.sampling.answers` moves z until the classifier gives the answer for the edited image.
- **Redshift**, and magnitudes and radius that are not held, through the latent prior: the noise of the flow that gives
  the galaxy's z under what is known of it gives another z under what is asked for (a counterfactual: Pearl 2009,
  section 7.1). The difference of the two pictures is added to the image.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from keras import ops
from scipy.ndimage import gaussian_filter

from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS
from morph.errors import InputError
from morph.fits.resampling import resample
from morph.given import QUANTITIES, complete_votes
from morph.model.classifier import Classifier
from morph.model.conditions import CONDITIONS, encode_conditions
from morph.model.experts import MEASURED, MEASUREMENTS, transform
from morph.model.experts import restore as measured_values
from morph.model.sampling import mixtures, trained_surveys
from morph.simulation.observe import correlate
from morph.simulation.sampling.answers import answer_path
from morph.simulation.sampling.changes import RENDERED, Change, brightness
from morph.simulation.sampling.rendering import widen
from morph.stamps.flags import SMALLEST_RADIUS, stamp_width
from morph.stamps.photometry import (
    Shape,
    border_statistics,
    fluxes_within,
    intensity,
    measure,
    point_source_radius,
)
from morph.surveys import Survey, get_survey, magnitude

#: Pixels on a side of what is placed back onto an image, in those of the network's view, and that view.
_PLACED, _VIEW = 96, 64


@dataclass(frozen=True)
class Portrait:
    """A galaxy's image, and what is measured on it.

    Attributes
    ----------
    image : float32 [height, width, 3], linear brightness; nanomaggies per pixel where `calibrated`. NaN: no data.
    survey : its name; ``unknown`` where it is not known.
    calibrated : whether brightness is flux.
    pixel_scale : arcsec; NaN where it is not known.
    shape : its place and half-light radius, pixels.
    sky, noise : of each band, [3].

    Raises
    ------
    InputError : no galaxy stands out in the middle.
    """

    image: np.ndarray
    survey: str
    calibrated: bool
    pixel_scale: float
    shape: Shape = field(init=False)
    sky: np.ndarray = field(init=False)
    noise: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        shape = measure(intensity(self.image))
        if not shape.found:
            raise InputError("No galaxy stands out in the middle of the image; cut it out around one.")
        object.__setattr__(self, "shape", replace(shape, radius=max(shape.radius, SMALLEST_RADIUS)))
        planes = [np.nan_to_num(self.image[..., k]) for k in range(3)]
        bad = ~np.isfinite(self.image)
        sky = [border_statistics(plane, bad[..., k]) for k, plane in enumerate(planes)]
        object.__setattr__(self, "sky", np.array([level for level, _ in sky], dtype="float32"))
        object.__setattr__(self, "noise", np.array([noise for _, noise in sky], dtype="float32"))

    @property
    def magnitudes(self) -> np.ndarray:
        """In g, r, i, by twice the flux within the half-light radius; NaN where brightness is not flux."""
        if not self.calibrated:
            return np.full(3, np.nan)
        place = self.shape.x, self.shape.y, self.shape.radius
        flux = [fluxes_within(self.image[..., k] - self.sky[k], *place)[0] for k in range(3)]
        return magnitude(2 * np.array(flux))

    @property
    def radius(self) -> float:
        """Half-light radius in arcsec; NaN where the pixel scale is not known."""
        return self.shape.radius * self.pixel_scale

    def stamp(self) -> np.ndarray:
        """The network's view of it: float32 [64, 64, 3]."""
        across = float(stamp_width(self.shape.radius, _VIEW))
        return resample(self.image, self.shape.x, self.shape.y, across, _VIEW)


class Editor:
    """Changes galaxies by one model.

    Parameters
    ----------
    classifier : with a latent prior.
    change : what changes.
    held : the quantities and questions that are held (`morph.simulation.sampling.changes.held_names`).
    seed : of the noise that is added.
    """

    def __init__(self, classifier: Classifier, change: Change, held: list[str], seed: int = 0):
        if not classifier.prior.fitted:
            raise InputError("This model has no latent prior; train it again with `morph pretrain`, which fits one.")
        self.classifier, self.change, self.held, self.seed = classifier, change, held, seed
        self._last: tuple[Portrait, Callable[[float], np.ndarray]] | None = None

    def shares(self) -> list[float]:
        """How much of the change each picture of a strip shows, from less of the property to more of it."""
        ways = [-1.0, -0.5, 0.0, 0.5, 1.0] if self.change.kind in "x+" else [0.0, 0.25, 0.5, 0.75, 1.0]
        return ways[::-1] if self.change.value < {"x": 1.0, "+": 0.0, "=": -np.inf}[self.change.kind] else ways

    def __call__(self, portrait: Portrait, share: float = 1.0) -> np.ndarray:
        """The image with a share of the change: float32 [height, width, 3], in its own units.

        Parameters
        ----------
        portrait : the galaxy.
        share : of the change (`Change.part`).
        """
        self._check(portrait)
        if share == 0.0:
            return portrait.image.copy()
        change, random = self.change, np.random.default_rng(self.seed)
        factor, larger = np.ones(3), 1.0
        if change.name == "radius":
            part = change.part(share, portrait.radius)
            larger = part.value if part.kind == "x" else part.value / portrait.radius
        elif change.name in RENDERED:
            factor = brightness(change, portrait.magnitudes, share)
        image = portrait.image - portrait.sky
        if change.name in VOTE_COLUMNS:
            image = image + place(portrait, self._answer(portrait)(share))
        elif change.name not in RENDERED or not set(QUANTITIES) - {change.name} <= set(self.held):
            difference, shift, growth = self._counterfactual(portrait, share)
            image = image + difference
            factor, larger = factor * 10 ** (-0.4 * shift), larger * growth
        image = self._brighten(portrait, image, factor, random)
        image = _enlarge(portrait, image, larger, random) if larger != 1.0 else image
        return (image + portrait.sky).astype("float32")

    def _check(self, portrait: Portrait) -> None:
        """InputError where a change to a value needs a scale that the image lacks."""
        if self.change.kind != "=" or self.change.name not in RENDERED:
            return
        if self.change.name == "radius" and not np.isfinite(portrait.radius):
            raise InputError("The image has no pixel scale, so no radius in arcsec; change it by a factor: radius=x2.")
        if self.change.name != "radius" and not np.isfinite(portrait.magnitudes).all():
            raise InputError(
                f"The image has no magnitudes, as a picture has none; change it by a step: {self.change.name}=+1."
            )

    def _answer(self, portrait: Portrait) -> Callable[[float], np.ndarray]:
        """The way to the answer that is asked for; that of the last galaxy is kept, for its strip."""
        if self._last is None or self._last[0] is not portrait:
            self._last = portrait, answer_path(self.classifier, portrait, self.change, self.held)
        return self._last[1]

    def _brighten(self, portrait: Portrait, image: np.ndarray, factor: np.ndarray, random) -> np.ndarray:
        """A sky-subtracted image whose light is multiplied, with as much noise in the sky as before."""
        if (factor == 1).all():
            return image
        fainter = np.minimum(factor, 1.0)
        lost = np.sqrt(1 - fainter**2) * portrait.noise
        brighter = np.maximum(factor, 1.0) - 1.0
        light = np.zeros_like(image)
        if brighter.any():
            light = place(portrait, self._light(portrait))
            at = portrait.shape.x, portrait.shape.y, portrait.shape.radius
            held, drawn = ([fluxes_within(each[..., k], *at)[0] for k in range(3)] for each in (image, light))
            light = light * brighter * np.nan_to_num(np.array(held) / np.maximum(drawn, 1e-9))
        return image * fainter + _noise(portrait, lost, random) + light

    def _light(self, portrait: Portrait) -> np.ndarray:
        """The model's picture of the galaxy, without noise, in the units of a stamp: float32 [64, 64, 3]."""
        z, _, scale = self._encode(portrait)
        return self._picture(z, scale)

    def _picture(self, z, scale) -> np.ndarray:
        decoded = self.classifier.decoder(z, training=False)
        return ops.convert_to_numpy(self.classifier.preprocessing.restore(decoded, 0.0, scale))[0]

    def _encode(self, portrait: Portrait):
        inputs = self.classifier.preprocessing(portrait.stamp()[None])
        encoded = self.classifier.encoder(inputs["image"], training=False)
        return self.classifier.embed(encoded), encoded["features"], inputs["scale"]

    def _counterfactual(self, portrait: Portrait, share: float) -> tuple[np.ndarray, float, float]:
        """What the latent prior changes: the difference of the pictures on the image [height, width, 3], the step of
        the magnitude and the factor of the radius where these are not held."""
        z, features, scale = self._encode(portrait)
        kind = "flux" if portrait.calibrated else "composite"
        votes = ops.convert_to_numpy(self.classifier.vote_outputs(features, z, kind=kind)["probabilities"])[0]
        before = self._conditions(portrait, votes, kind)
        now = self._now(portrait, z, before)
        part = self.change.part(share, now)
        after = before.copy()
        column = CONDITIONS.index(self.change.name)
        before[0, column] = now
        after[0, column] = {"x": now * part.value, "+": now + part.value, "=": part.value}[part.kind]
        flow = self.classifier.prior
        noise, _ = flow.noise(z, before)
        other = flow.sample(noise, after)
        difference = self._picture(other, scale) - self._picture(z, scale)
        shift, growth = 0.0, 1.0
        if portrait.calibrated:
            old, new = (self._expected(each, given) for each, given in ((z, before), (other, after)))
            moves = [name for name in RENDERED if name not in self.held and name != self.change.name]
            if "mag_r" in moves and not self.change.name.startswith("mag_"):
                shift = float(new[1] - old[1])
            if "radius" in moves:
                growth = float(np.clip(new[3] / old[3], 0.2, 5.0))
        return place(portrait, difference), shift, growth

    def _now(self, portrait: Portrait, z, conditions: np.ndarray) -> float:
        """The present value of what changes."""
        measured = dict(zip(MEASUREMENTS, (*portrait.magnitudes, portrait.radius, np.nan), strict=True))
        value = measured[self.change.name]
        return float(
            value if np.isfinite(value) else self._expected(z, conditions)[MEASUREMENTS.index(self.change.name)]
        )

    def _expected(self, z, conditions: np.ndarray) -> np.ndarray:
        """The mean of every measurement given z and the conditions: float [5]."""
        known = transform(conditions[:, [CONDITIONS.index(name) for name in MEASUREMENTS]])
        survey = conditions[:, CONDITIONS.index("survey")]
        found = mixtures(self.classifier, z, known, survey)
        means = [
            (np.exp(ops.convert_to_numpy(weight))[..., None] * ops.convert_to_numpy(mean)).sum(axis=1)
            for weight, mean, _ in (found[name] for name in MEASURED)
        ]
        return measured_values(np.concatenate(means, axis=1))[0]

    def _conditions(self, portrait: Portrait, votes: np.ndarray, kind: str) -> np.ndarray:
        """What is held, as the prior's conditions: float32 [1, conditions]."""
        survey = portrait.survey if portrait.survey in trained_surveys(self.classifier) else None
        rows = encode_conditions(1, surveys=[survey] if survey else None, kind=kind)
        measured = dict(zip(MEASUREMENTS, (*portrait.magnitudes, portrait.radius, np.nan), strict=True))
        for name in self.held:
            if name in measured:
                rows[0, CONDITIONS.index(name)] = measured[name]
        for question in TREE:
            if question.name in self.held:
                for column in question.columns:
                    rows[0, CONDITIONS.index(column)] = votes[ANSWERS.index(column)]
        complete_votes(rows, CONDITIONS)
        return rows


def place(portrait: Portrait, stamp: np.ndarray) -> np.ndarray:
    """A picture in the network's view, such as a reconstruction, on the galaxy's image: float32 [height, width, 3].

    Parameters
    ----------
    portrait : the galaxy.
    stamp : float32 [64, 64, 3], sky at 0; its flux is conserved.
    """
    step = float(stamp_width(portrait.shape.radius, 1))
    wide = widen(stamp[None].astype("float32"), _PLACED)[0]
    middle = (_PLACED - 1) / 2
    return np.nan_to_num(_onto(portrait, wide, lambda q, centre: (q - centre) / step + middle, 1 / step))


def _enlarge(portrait: Portrait, image: np.ndarray, factor: float, random) -> np.ndarray:
    """A sky-subtracted image enlarged around its galaxy, with as much noise in the sky as before."""
    survey = get_survey(portrait.survey)
    if factor < 1 and np.isfinite(survey.seeing).all() and np.isfinite(portrait.pixel_scale):
        factor, image = _blurred(portrait, image, factor, survey)
    margin = int(np.ceil(max(image.shape)))
    empty = np.full((margin, margin, 3), np.nan, dtype="float32")
    empty[: image.shape[0], : image.shape[1]] = image
    larger = _onto(portrait, empty, lambda q, centre: centre + (q - centre) / factor, 1 / factor)
    empty[: image.shape[0], : image.shape[1]] = 0
    covered = np.isfinite(_onto(portrait, empty, lambda q, centre: centre + (q - centre) / factor, 1 / factor))
    noise = np.zeros(3)
    for band in range(3):
        plane = larger[..., band]
        bad = ~np.isfinite(plane)
        if not bad.all():
            noise[band] = border_statistics(np.where(bad, 0, plane), bad)[1]
    missing = np.sqrt(np.maximum(portrait.noise**2 - noise**2, 0))
    larger = larger + _noise(portrait, missing, random)
    # Where a smaller galaxy uncovers the sky, there is sky, in the bands that there are.
    sky = _noise(portrait, portrait.noise, random) + np.where(np.isfinite(image).any(axis=(0, 1)), 0, np.nan)
    return np.where(covered, larger, sky)


def _blurred(portrait: Portrait, image: np.ndarray, factor: float, survey: Survey) -> tuple[float, np.ndarray]:
    """By how much a galaxy shrinks for its half-light radius to shrink by `factor` where the seeing stays, and the
    image blurred so that it then has the survey's seeing.

    Half-light radii of the galaxy and of a point source add by their squares. InputError where it would be smaller
    than a point source.
    """
    point = point_source_radius(survey)
    wanted, own = (factor * portrait.radius) ** 2 - point**2, portrait.radius**2 - point**2
    if wanted < 0.05 * point**2:
        raise InputError(
            f"At {factor * portrait.radius:.2f} arcsec the galaxy would be no larger than a point source of "
            f"{survey.name} ({point:.2f} arcsec); make it less small."
        )
    factor = float(np.sqrt(wanted / own))
    width = np.asarray(survey.seeing) / 2.3548 / portrait.pixel_scale * np.sqrt(1 / factor**2 - 1)
    filled = np.where(np.isfinite(image), image, 0)
    blurred = np.stack([gaussian_filter(filled[..., k], width[k]) for k in range(3)], axis=-1)
    return factor, np.where(np.isfinite(image), blurred, np.nan)


def _onto(portrait: Portrait, image: np.ndarray, source, step: float) -> np.ndarray:
    """An image resampled onto the grid of the galaxy's own.

    Parameters
    ----------
    portrait : the galaxy.
    image : float32 [h, w, 3].
    source : from a place on the galaxy's image, and the galaxy's place along that axis, to the place on `image`.
    step : pixels of `image` across a pixel of the galaxy's image.
    """
    height, width = portrait.image.shape[:2]
    size = max(height, width)
    x, y = (source((size - 1) / 2, centre) for centre in (portrait.shape.x, portrait.shape.y))
    return resample(image, x, y, size * step, size)[:height, :width]


def _noise(portrait: Portrait, sigma: np.ndarray, random) -> np.ndarray:
    """Sky noise with the survey's correlation: float32 [height, width, 3]."""
    white = random.standard_normal(portrait.image.shape).astype("float32")
    correlation = get_survey(portrait.survey).noise_correlation if portrait.calibrated else 0.0
    return (correlate(white, correlation) if correlation else white) * np.asarray(sigma, dtype="float32")
