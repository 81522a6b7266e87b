"""What volunteers call an artifact: things on an image that no galaxy made."""

import numpy as np

from morph.simulation.scenes import Scene
from morph.simulation.sky import add_blob, add_spikes, band_fluxes, star_colours
from morph.surveys import Survey

#: The kinds, and how often each is met.
ARTIFACTS = {"star": 0.4, "trail": 0.2, "bleed": 0.15, "edge": 0.15, "cosmic-ray": 0.1}


def spoil(image: np.ndarray, scene: Scene, survey: Survey, seeing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the scene's artifact on `image` [h, w, 3] (nanomaggies per pixel), in place.

    Returns where there are no data at all: bool [h, w].
    """
    blank = np.zeros(image.shape[:2], dtype=bool)
    centre = (image.shape[0] - 1) / 2
    level = float(survey.noise()[1])
    if scene.artifact in ("star", "bleed"):
        _bright_star(image, centre, survey, seeing, rng)
    if scene.artifact == "bleed":
        half = max(1, round(0.6 / survey.pixel_scale))
        column = slice(int(centre) - half, int(centre) + half + 1)
        image[:, column] += np.float32(rng.uniform(100, 400) * level) * rng.uniform(0.4, 1, 3).astype("float32")
    elif scene.artifact == "trail":
        # One exposure of many has the trail, so one band shows it best.
        colour = 0.04 + rng.dirichlet((0.15, 0.15, 0.15))
        _line(image, rng, rng.uniform(4, 25) * level, rng.uniform(0.4, 0.7) / survey.pixel_scale, colour)
    elif scene.artifact == "cosmic-ray":
        one_band = np.eye(3)[rng.integers(3)]
        _line(image, rng, rng.uniform(60, 300) * level, 0.5, one_band, length=rng.uniform(0.1, 0.35))
    elif scene.artifact == "edge":
        beyond = rng.uniform(0.3, 0.7)
        blank[: int(beyond * len(blank))] = True
        blank = np.rot90(blank, int(rng.integers(4)))
        _glow(image, rng.uniform(3, 25) * level, rng)
    return blank


def _bright_star(image, centre: float, survey: Survey, seeing, rng) -> None:
    magnitude = rng.uniform(10.5, 14.5)
    flux = band_fluxes(magnitude, *star_colours(magnitude, rng))
    add_blob(image, centre, centre, flux, seeing / survey.pixel_scale, 1.0, 0.0, 3.0)
    add_spikes(image, centre, centre, flux, survey, rng, halo=0.08)
    # A pixel holds so many electrons and no more.
    full = 2000 * survey.noise() * rng.uniform(0.7, 1.3, 3)
    np.minimum(image, full, out=image, casting="unsafe")


def _line(image, rng, brightness: float, width: float, colour: np.ndarray, length: float = np.inf) -> None:
    size = image.shape[0]
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.06, 0.06) * size
    x, y = np.arange(size)[None, :] - (size - 1) / 2, np.arange(size)[:, None] - (size - 1) / 2
    across = np.cos(angle) * y - np.sin(angle) * x - offset
    along = np.abs(np.cos(angle) * x + np.sin(angle) * y)
    line = np.exp(-0.5 * (across / width) ** 2) * (along < length * size / 2)
    image += (brightness * line[..., None] * colour).astype("float32")


def _glow(image, brightness: float, rng) -> None:
    """Light that falls off from a corner of the chip."""
    y, x = np.mgrid[0 : 1 : image.shape[0] * 1j, 0 : 1 : image.shape[1] * 1j]
    near = np.exp(-3 * np.hypot(x - rng.random(), y - rng.random()))
    image += (brightness * near[..., None] * rng.uniform(0.5, 1, 3)).astype("float32")
