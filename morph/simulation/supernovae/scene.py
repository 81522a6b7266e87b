"""One host observed: a template, and for every epoch a search image, their difference, and what is true of it.

Template and search show the same galaxy, each blurred to a point-spread function of its own and with noise of its own.
The noise of the galaxy's own stamp is common to both and cancels in the difference, as its light does.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import galsim
import numpy as np
import scipy.fft

from morph.simulation.observe import MOFFAT_BETA, correlate, photon_noise
from morph.simulation.supernovae.host_light import Host, draw_place
from morph.simulation.supernovae.light_curves import FIRST_DAY, LAST_DAY, draw_kind, draw_light_curve
from morph.simulation.supernovae.subtraction import Subtraction, shifted
from morph.surveys import NANOMAGGY_ZERO_POINT, Survey

#: Exposures in a band that a coadd of a survey's end has; a search image is one (DES: about ten).
EXPOSURES = 10
#: The band that light is traced in: r for what old stars make, g for what young ones make.
TRACED = {"light": 1, "blue": 0}
#: What else may happen in a scene.
OTHER_KINDS = ("hostless", "variable", "moving", "none")

#: Full widths of point-spread functions over that of the stamp: template, between these; search, the median, the
#: standard deviation of the logarithm, and the least.
TEMPLATE_WIDTHS = (1.02, 1.10)
SEARCH_WIDTH, SEARCH_SCATTER, LEAST_WIDTH = 1.2, 0.12, 1.02
#: Steps, arcsec, to which full widths are rounded, so that their transforms can be kept.
WIDTH_STEP = 0.01

#: A variable nucleus changes by so much of the light within one point-spread function at the centre, at most.
VARIABILITY = 0.3
#: An asteroid moves so many arcsec an hour, and an exposure takes so many hours (DES: 90 s).
MOTION, EXPOSURE_HOURS = (5.0, 60.0), 0.025
#: Points that a trail is drawn by.
TRAIL_POINTS = 8


@dataclass(frozen=True)
class Plan:
    """What is put on hosts.

    Attributes
    ----------
    supernovae : "ia", "cc" or "mixed".
    trace : the light they trace, "light" or "blue"; "" for r of a type Ia and g of the others.
    epochs : search images of a scene.
    shares : of the scenes by other kinds (see `OTHER_KINDS`); the rest are supernovae on hosts.
    magnitudes : the range of the peak in r, drawn evenly; None for what redshift and class give.
    misregistration : standard deviation of the search image's position along each axis, pixels.
    size : pixels on a side.
    """

    supernovae: str = "mixed"
    trace: str = ""
    epochs: int = 1
    shares: dict[str, float] = field(default_factory=dict)
    magnitudes: tuple[float, float] | None = None
    misregistration: float = 0.0
    size: int = 64


@dataclass(frozen=True)
class Event:
    """What happens in a scene: where (pixels), of which kind, how bright at its peak, and how it lies in its host.

    A quantity that the kind does not have is NaN, and its host's id empty.
    """

    kind: str
    x: float = np.nan
    y: float = np.nan
    host: str = ""
    redshift: float = np.nan
    peak: float = np.nan
    distance: float = np.nan
    rank: float = np.nan


@dataclass(frozen=True)
class Triplet:
    """One epoch of a scene.

    Attributes
    ----------
    event : what is there; `epoch` : its number; `day` : observed days after the peak, NaN where there is none.
    x, y : where it is in this epoch, pixels.
    flux : true, nanomaggies in g, r, i, [3]; measured, and its standard error : in the difference at that place, NaN
        without a place.
    template, search, difference : float32 [size, size, 3]: nanomaggies per pixel, and for the difference units of its
        noise, photons of the sources included.
    template_fwhm, search_fwhm : arcsec, [3].
    """

    event: Event
    epoch: int
    day: float
    x: float
    y: float
    flux: np.ndarray
    measured: np.ndarray
    error: np.ndarray
    template: np.ndarray
    search: np.ndarray
    difference: np.ndarray
    template_fwhm: np.ndarray
    search_fwhm: np.ndarray


@lru_cache(maxsize=512)
def psf_transform(size: int, scale: float, fwhm: float) -> np.ndarray:
    """The transform of a point source's image, centred on pixel (0, 0), of unit flux: complex128 [spectrum].

    Parameters
    ----------
    size : pixels on a side, even.
    scale : arcsec per pixel.
    fwhm : of the seeing, arcsec.
    """
    profile = galsim.Convolve(galsim.Moffat(beta=MOFFAT_BETA, fwhm=fwhm), galsim.Pixel(scale))
    half = size // 2
    image = galsim.ImageCD(galsim.BoundsI(0, half, -half, half - 1))
    profile.drawKImage(image, scale=2 * np.pi / (size * scale), recenter=False)
    return np.fft.ifftshift(image.array, axes=0)


@dataclass(frozen=True)
class _Camera:
    """How one image is taken: its point-spread functions, and how much less deep than the survey's coadds it is.

    Images have the bands first: [3, size, size].
    """

    survey: Survey
    size: int
    fwhm: np.ndarray
    depth_lost: float = 0.0

    @cached_property
    def psf(self) -> np.ndarray:
        """Of each band, as `psf_transform` gives it."""
        return _psfs(self.size, self.survey.pixel_scale, self.fwhm)

    def blur(self, image: np.ndarray) -> np.ndarray:
        """An image with the seeing of the survey's stamps, with this one's instead."""
        own = _psfs(self.size, self.survey.pixel_scale, _stamp_widths(self.survey))
        kernel = self.psf / np.where(np.abs(own) > 1e-9, own, np.inf)
        return scipy.fft.irfft2(kernel * scipy.fft.rfft2(image), s=image.shape[1:])

    def points(self, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
        """Point sources of equal parts of `flux` [3] at places (pixels)."""
        place = np.mean([shifted(self.size, *each) for each in zip(x, y, strict=True)], axis=0)
        return scipy.fft.irfft2(flux[:, None, None] * self.psf * place, s=(self.size, self.size))

    @cached_property
    def taken(self) -> Survey:
        """The survey, as deep as this image."""
        g, r, i = (depth - self.depth_lost for depth in self.survey.depth)
        return replace(self.survey, depth=(g, r, i))

    def noise(self, light: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Noise of sky and light, and the variance of every pixel."""
        ones = np.ones((*light.shape[1:], len(light)), dtype="float32")
        sigma = np.moveaxis(photon_noise(ones, np.moveaxis(light, 0, -1), self.taken), -1, 0)
        return sigma * rng.standard_normal(light.shape, dtype="float32"), sigma**2


def _psfs(size: int, scale: float, fwhm: np.ndarray) -> np.ndarray:
    return np.stack([psf_transform(size, scale, float(each)) for each in fwhm])


def _stamp_widths(survey: Survey) -> np.ndarray:
    return _rounded(np.asarray(survey.seeing))


def _rounded(fwhm: np.ndarray) -> np.ndarray:
    return np.round(fwhm / WIDTH_STEP) * WIDTH_STEP


def observe_scene(host: Host, survey: Survey, plan: Plan, rng: np.random.Generator) -> list[Triplet]:
    """Every epoch of a scene.

    Parameters
    ----------
    host : the galaxy; a hostless event has its place without it.
    survey : that observes it.
    plan : what to put there.
    rng : random numbers.
    """
    event = _draw_event(host, plan, rng)
    scene = host.image if event.host else _empty_sky(host, survey, rng)
    stamp = _stamp_widths(survey)
    sky = np.moveaxis(scene, -1, 0)
    camera = _Camera(survey, plan.size, _rounded(stamp * rng.uniform(*TEMPLATE_WIDTHS)))
    template = _expose(camera, camera.blur(sky), rng)
    curve = None
    if np.isfinite(event.peak):
        curve = draw_light_curve(event.kind.removeprefix("hostless "), event.redshift, rng, event.peak)
    days = np.sort(rng.uniform(FIRST_DAY, LAST_DAY, plan.epochs)) * (curve.stretch if curve else 1.0)
    triplets = []
    for epoch, day in enumerate(days):
        width = max(SEARCH_WIDTH * float(np.exp(SEARCH_SCATTER * rng.standard_normal())), LEAST_WIDTH)
        camera = _Camera(survey, plan.size, _rounded(stamp * width), 1.25 * np.log10(EXPOSURES))
        flux, x, y = _flux_and_trail(event, curve, float(day), host, survey, plan, rng)
        light = camera.blur(sky)
        if np.any(flux):
            light = light + camera.points(x, y, flux)
        if plan.misregistration:
            light = _moved(light, *rng.normal(0, plan.misregistration, 2))
        search, place = _expose(camera, light, rng), (float(x.mean()), float(y.mean()))
        difference, measured, error = _subtract(search, template, *place)
        triplets.append(
            Triplet(
                event=event,
                epoch=epoch,
                day=float(day) if curve else np.nan,
                x=place[0],
                y=place[1],
                flux=flux,
                measured=measured,
                error=error,
                template=np.moveaxis(template.image, 0, -1),
                search=np.moveaxis(search.image, 0, -1),
                difference=np.moveaxis(difference, 0, -1),
                template_fwhm=template.camera.fwhm,
                search_fwhm=camera.fwhm,
            )
        )
    return triplets


@dataclass(frozen=True)
class _Exposure:
    """An image [3, size, size], the variance of its noise, and the camera that took it."""

    camera: _Camera
    image: np.ndarray
    variance: np.ndarray


def _expose(camera: _Camera, light: np.ndarray, rng: np.random.Generator) -> _Exposure:
    noise, variance = camera.noise(light, rng)
    return _Exposure(camera, (light + noise).astype("float32"), variance)


def _subtract(search: _Exposure, template: _Exposure, x: float, y: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The difference in units of its noise, and the flux at a place and its error, [3] each; NaN without a place."""
    subtraction = Subtraction(
        search.camera.psf, template.camera.psf, search.camera.taken.noise(), template.camera.taken.noise()
    )
    difference = subtraction.difference(search.image, template.image)
    measured, error = np.full(3, np.nan), np.full(3, np.nan)
    if np.isfinite(x):
        measured, error = subtraction.flux(difference, x, y, search.variance, template.variance)
    noise = np.sqrt(subtraction.variance(search.variance, template.variance))
    return (difference / noise).astype("float32"), measured, error


def _draw_event(host: Host, plan: Plan, rng: np.random.Generator) -> Event:
    """What happens on a host."""
    kinds = [*plan.shares, "supernova"]
    shares = [*plan.shares.values()]
    kind = str(rng.choice(kinds, p=[*shares, 1 - sum(shares)]))
    middle = (plan.size - 1) / 2
    if kind == "none":
        return Event("none", host=host.id)
    if kind == "moving":
        return Event("moving", host=host.id, x=middle, y=middle)
    if kind == "variable":
        return Event("variable", x=host.x, y=host.y, host=host.id, redshift=host.redshift, distance=0.0)
    # A class and its peak are drawn here, the rest of the light curve with the images.
    name = draw_kind(plan.supernovae, rng)
    redshift = host.redshift if np.isfinite(host.redshift) else 0.1
    brightest = None if plan.magnitudes is None else rng.uniform(*plan.magnitudes)
    peak = float(draw_light_curve(name, redshift, rng, brightest).magnitudes[1])
    if kind == "hostless":
        x, y = rng.uniform(0.2, 0.8, 2) * plan.size
        return Event(f"hostless {name}", x=float(x), y=float(y), redshift=redshift, peak=peak)
    band = TRACED[plan.trace] if plan.trace else TRACED["light" if name == "ia" else "blue"]
    x, y, rank = draw_place(host.light[..., band], rng)
    return Event(name, x, y, host.id, redshift, peak, host.distance(x, y), rank)


def _empty_sky(host: Host, survey: Survey, rng: np.random.Generator) -> np.ndarray:
    """Sky with the noise of a stamp, and no galaxy."""
    noise = correlate(rng.standard_normal(host.image.shape).astype("float32"), max(survey.noise_correlation, 0.4))
    return (noise * survey.noise()).astype("float32")


def _flux_and_trail(
    event: Event, curve, day: float, host: Host, survey: Survey, plan: Plan, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The flux [3] of an epoch, and the places (pixels) that it is spread over evenly."""
    here = np.array([event.x]), np.array([event.y])
    if event.kind == "none":
        return np.zeros(3), *here
    if event.kind == "variable":
        core = host.light[round(host.y), round(host.x)] * _effective_area(survey)
        return core * VARIABILITY * np.clip(rng.standard_normal(), -2, 2) * np.array([1.2, 1.0, 0.8]), *here
    if event.kind == "moving":
        faint = survey.depth[1] - 1.25 * np.log10(EXPOSURES)
        magnitude = rng.uniform(faint - 3, faint + 1) + np.array([0.5, 0.0, -0.15])
        length = rng.uniform(*MOTION) * EXPOSURE_HOURS / survey.pixel_scale
        angle, along = rng.uniform(0, 2 * np.pi), np.linspace(-0.5, 0.5, TRAIL_POINTS) * length
        x, y = rng.uniform(0.2, 0.8, 2) * plan.size
        return 10 ** ((NANOMAGGY_ZERO_POINT - magnitude) / 2.5), x + along * np.cos(angle), y + along * np.sin(angle)
    return curve.flux(day), *here


def _effective_area(survey: Survey) -> np.ndarray:
    """Pixels that a point source's light fills, in each band, [3]."""
    return 4 * np.pi * (np.asarray(survey.seeing) / 2.3548 / survey.pixel_scale) ** 2


def _moved(image: np.ndarray, x: float, y: float) -> np.ndarray:
    return scipy.fft.irfft2(scipy.fft.rfft2(image) * shifted(image.shape[1], x, y), s=image.shape[1:])
