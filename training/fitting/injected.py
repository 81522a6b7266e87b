"""Anomalies injected into normal galaxies, to train the anomaly score and to measure what it finds.

Strengths are in units of the galaxy's central brightness (the mean inside two thirds of a half-light radius), so that
an anomaly in a faint galaxy is as faint as the galaxy. They range from barely visible to obvious; the contact sheet
that `morph evaluate` logs shows them. Lengths follow from the crop: a stamp's middle `NETWORK_SIZE` pixels span
`FIELD` half-light radii.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from morph.dataset import Galaxies
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.stretch import COMPOSITE_SOFTENING, from_composite, to_composite
from morph.surveys import get_survey

#: Pixels of a stamp per half-light radius.
RADIUS = NETWORK_SIZE / FIELD
#: Width (sigma, pixels) of a point source where a stamp does not say how large its pixels are: that of a
#: composite of a galaxy with a half-light radius of about five arcsec in SDSS.
POINT = 1.4
#: The sharpest and the widest point source that is injected.
SHARPEST, WIDEST = 1.0, 4.0


@dataclass(frozen=True)
class _Hosts:
    """Galaxies that one kind of anomaly is injected into.

    Attributes
    ----------
    flux : [n, s, s, 3], sky-subtracted, central brightness one; NaN where there is no data.
    others : the same of other galaxies of the set.
    noise : sky noise of `flux`, [n].
    point : sigma of a point source, pixels, [n].
    random : the only source of random numbers.
    """

    flux: np.ndarray
    others: np.ndarray
    noise: np.ndarray
    point: np.ndarray
    random: np.random.Generator

    def draw(self, low: float, high: float) -> np.ndarray:
        """One number a galaxy, uniform, [n, 1, 1]."""
        return self.random.uniform(low, high, (len(self.flux), 1, 1)).astype("float32")

    def strength(self, low: float, high: float) -> np.ndarray:
        """Brightness, log-uniform, [n, 1, 1]; never below four times the noise, where it would be invisible."""
        drawn = low * (high / low) ** self.draw(0, 1)
        return np.maximum(drawn, 4 * self.noise[:, None, None])

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the pixels from the stamp's centre, [1, s] and [s, 1]."""
        offset = (np.arange(self.flux.shape[1]) - (self.flux.shape[1] - 1) / 2).astype("float32")
        return offset[None, :], offset[:, None]

    def around(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """x and y of a place between `low` and `high` half-light radii from the centre, [n, 1, 1] each."""
        distance, angle = RADIUS * self.draw(low, high), self.draw(0, 2 * np.pi)
        return distance * np.cos(angle), distance * np.sin(angle)

    def colour(self, bluest: float, reddest: float) -> np.ndarray:
        """Brightness in g, r, i with mean one, [n, 1, 1, 3]; `bluest` and `reddest` are ln(i / g) / 2."""
        tilt = self.draw(bluest, reddest)[..., None]
        bands = np.exp(tilt * np.array([-1, 0, 1], "float32"))
        return bands / bands.mean(axis=-1, keepdims=True)


def _merger(hosts: _Hosts) -> np.ndarray:
    """Another galaxy of the set, 0.7 to 1.7 half-light radii away, 0.35 to 1.2 times as bright."""
    x, y = hosts.grid()
    # Without the other galaxy's own neighbours and the edge of its stamp.
    kept = np.clip((2.6 - np.hypot(x, y) / RADIUS) / 0.8, 0, 1)[None, ..., None]
    placed = _shifted(np.nan_to_num(hosts.others) * kept, *hosts.around(0.7, 1.7))
    return hosts.flux + hosts.strength(0.35, 1.2)[..., None] * placed


def _ring(hosts: _Hosts) -> np.ndarray:
    """A detached blue ring, 1.1 to 2.1 half-light radii from the centre."""
    x, y = hosts.grid()
    angle, axis_ratio = hosts.draw(0, np.pi), hosts.draw(0.5, 1.0)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    radius = np.hypot(along, across / axis_ratio)
    width = np.hypot(RADIUS * hosts.draw(0.1, 0.2), hosts.point[:, None, None])
    ring = np.exp(-0.5 * ((radius - RADIUS * hosts.draw(1.1, 2.1)) / width) ** 2)
    return hosts.flux + (hosts.strength(0.15, 0.5) * ring)[..., None] * hosts.colour(-0.6, -0.1)


def _arc(hosts: _Hosts) -> np.ndarray:
    """A thin blue lensing arc of 50 to 140 degrees, 0.9 to 2 half-light radii from the centre, and half the time
    a counter-image across from it."""
    x, y = hosts.grid()
    place, spread = hosts.draw(-np.pi, np.pi), np.radians(hosts.draw(50, 140)) / 2
    far = RADIUS * hosts.draw(0.9, 2.0)
    width = np.hypot(RADIUS * hosts.draw(0.05, 0.12), hosts.point[:, None, None])
    across = np.exp(-0.5 * ((np.hypot(x, y) - far) / width) ** 2)
    turn = np.abs(np.angle(np.exp(1j * (np.arctan2(y, x) - place))))
    arc = across * np.exp(-0.5 * (np.maximum(turn - spread, 0) / 0.12) ** 2)
    counter = (hosts.draw(0, 1) < 0.5) * across * np.exp(-0.5 * ((np.pi - turn) / 0.25) ** 2)
    return hosts.flux + (hosts.strength(0.2, 0.7) * (arc + 0.7 * counter))[..., None] * hosts.colour(-0.8, -0.2)


def _trail(hosts: _Hosts) -> np.ndarray:
    """A satellite's trail that passes within 1.5 half-light radii of the centre, brightest in one band."""
    x, y = hosts.grid()
    angle, offset = hosts.draw(0, np.pi), RADIUS * hosts.draw(-1.5, 1.5)
    across = y * np.cos(angle) - x * np.sin(angle) - offset
    line = np.exp(-0.5 * (across / (hosts.point[:, None, None] * hosts.draw(1.0, 1.6))) ** 2)
    bands = 0.15 + hosts.random.dirichlet((0.3, 0.3, 0.3), len(hosts.flux))[:, None, None, :].astype("float32")
    return hosts.flux + (hosts.strength(0.25, 1.5) * line)[..., None] * (3 * bands / bands.sum(axis=-1, keepdims=True))


def _spikes(hosts: _Hosts) -> np.ndarray:
    """A bright star before the galaxy or up to 2.4 half-light radii away: core, wide halo and four spikes."""
    x, y = hosts.grid()
    at_x, at_y = hosts.around(0.0, 2.4)
    x, y = x - at_x, y - at_y
    point, tilt = hosts.point[:, None, None], hosts.draw(0, np.pi / 2)
    along, across = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    length = RADIUS * hosts.draw(0.5, 1.2)
    cross = sum(
        np.exp(-0.5 * (b / (0.8 * point)) ** 2 - np.abs(a) / length) for a, b in ((along, across), (across, along))
    )
    core = (1 + (x**2 + y**2) / (3 * point) ** 2) ** -2.5
    halo = (1 + (x**2 + y**2) / (0.8 * RADIUS) ** 2) ** -1.5
    star = core + 0.08 * cross + 0.012 * halo
    return hosts.flux + (hosts.strength(4, 20) * star)[..., None] * hosts.colour(-0.4, 0.5)


def _blend(hosts: _Hosts) -> np.ndarray:
    """A foreground star, or another galaxy at half the size, 0.35 to 1.3 half-light radii from the centre."""
    x, y = hosts.grid()
    at_x, at_y = hosts.around(0.35, 1.3)
    star = (1 + ((x - at_x) ** 2 + (y - at_y) ** 2) / (2.4 * hosts.point[:, None, None]) ** 2) ** -3
    kept = np.clip((2.6 - np.hypot(x, y) / RADIUS) / 0.8, 0, 1)[None, ..., None]
    half = _halved(np.nan_to_num(hosts.others) * kept)
    placed = np.where(
        hosts.draw(0, 1)[..., None] < 0.5, star[..., None] * hosts.colour(-0.4, 0.5), _shifted(half, at_x, at_y)
    )
    return hosts.flux + hosts.strength(0.7, 3.0)[..., None] * placed


def _missing_band(hosts: _Hosts) -> np.ndarray:
    """One band without data."""
    lost = np.arange(3) == hosts.random.integers(3, size=len(hosts.flux))[:, None]
    return np.where(lost[:, None, None, :], np.nan, hosts.flux)


def _shifted_band(hosts: _Hosts) -> np.ndarray:
    """One band 0.25 to 0.7 half-light radii out of place, as after a wrong astrometric solution."""
    moved = _shifted(hosts.flux, *hosts.around(0.25, 0.7))
    lost = np.arange(3) == hosts.random.integers(3, size=len(hosts.flux))[:, None]
    return np.where(lost[:, None, None, :], moved, hosts.flux)


def _off_centre(hosts: _Hosts) -> np.ndarray:
    """The galaxy 0.8 to 1.6 half-light radii from the centre of its stamp."""
    return _shifted(hosts.flux, *hosts.around(0.8, 1.6))


def _neighbour(hosts: _Hosts) -> np.ndarray:
    """Another galaxy of the set, 1.8 to 3.2 half-light radii away, up to as bright."""
    x, y = hosts.grid()
    kept = np.clip((1.6 - np.hypot(x, y) / RADIUS) / 0.8, 0, 1)[None, ..., None]
    placed = _shifted(np.nan_to_num(hosts.others) * kept, *hosts.around(1.8, 3.2))
    return hosts.flux + hosts.strength(0.1, 1.0)[..., None] * placed


_INJECTORS: dict[str, Callable[[_Hosts], np.ndarray]] = {
    "merger": _merger,
    "ring": _ring,
    "arc": _arc,
    "satellite trail": _trail,
    "diffraction spikes": _spikes,
    "blend": _blend,
    "missing band": _missing_band,
    "shifted band": _shifted_band,
    "off-centre": _off_centre,
}

#: The kinds of anomaly that can be injected.
KINDS = tuple(_INJECTORS)


def kinds_for(image_kind: str, bands: int = 3) -> tuple[str, ...]:
    """Those of `KINDS` that are an anomaly in images of this kind (`morph.dataset_writer.KINDS`) with so many bands.

    A band without data is not one in flux: its pixels are NaN, and such galaxies are compared with others in the same
    bands. In a colour picture it is black. And a single band cannot be shifted against others.
    """
    none = {"missing band"} if image_kind == "flux" else set()
    return tuple(kind for kind in KINDS if kind not in (none if bands > 1 else none | {"shifted band"}))


def inject(galaxies: Galaxies, kind: str, seed: int = 0) -> np.ndarray:
    """The galaxies' stamps, each with an anomaly of one of `KINDS`.

    Parameters
    ----------
    galaxies : normal ones, of either kind of image; their `pixel_scale`, where known, sets how sharp a star is. The
        other galaxies that mergers and blends need are taken from among them.
    kind : of anomaly.
    seed : the same seed injects the same into the same galaxies.

    Returns
    -------
    Images of the galaxies' kind and shape. Pixels that the anomaly does not touch are what they were; in a missing
    band they are NaN in flux and 0 in composites.
    """
    return _injected(galaxies, _INJECTORS[kind], np.random.default_rng([seed, KINDS.index(kind)]), kind)


def add_neighbours(galaxies: Galaxies, seed: int = 0) -> np.ndarray:
    """The galaxies' stamps, each with another galaxy of the set beside it: a chance neighbour, not an anomaly.

    Parameters
    ----------
    galaxies, seed : as for `inject`.

    Returns
    -------
    Images of the galaxies' kind and shape.
    """
    return _injected(galaxies, _neighbour, np.random.default_rng([seed, len(KINDS)]))


def _injected(
    galaxies: Galaxies, injector: Callable[[_Hosts], np.ndarray], random: np.random.Generator, kind: str = ""
) -> np.ndarray:
    images = galaxies.images
    picture = images.dtype == np.uint8
    linear = from_composite(images.astype("float32")) if picture else images
    sky, noise, centre = _levels(linear)
    flux = (linear - sky) / centre
    others = flux[(np.arange(len(flux)) + random.integers(1, max(len(flux), 2), len(flux))) % max(len(flux), 1)]
    hosts = _Hosts(flux, others, (noise / centre).ravel(), _point_sources(galaxies), random)
    injected = (injector(hosts) * centre + sky).astype("float32")
    if not picture:
        return np.where(
            np.abs(injected - linear) > 1e-3 * noise, injected, np.where(np.isnan(injected), injected, images)
        )
    drawn = to_composite(np.maximum(np.nan_to_num(injected), 0), 1.0, float(np.sinh(COMPOSITE_SOFTENING)))
    if kind == "missing band":
        # Losing a channel leaves the others' pixels alone; the composite's stretch would mix them.
        return np.where(np.isnan(injected[..., ::-1]), np.uint8(0), images)
    # Less than half a step of a picture's 255 is invisible.
    touched = np.abs(injected - linear).max(axis=-1, keepdims=True) > 5e-4
    return np.where(touched, drawn, images)


def _levels(linear: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sky per band [n, 1, 1, 3], sky noise [n, 1, 1, 1] and central brightness above the sky [n, 1, 1, 1]."""
    offset = np.arange(linear.shape[1]) - (linear.shape[1] - 1) / 2
    distance = np.hypot(offset[:, None], offset[None, :])
    outer = np.abs(offset) > offset[-1] - 3
    border = linear[:, outer[:, None] | outer[None, :]]
    known = np.isfinite(border).any(axis=1, keepdims=True)
    border = np.where(known, border, 0)
    sky, quartile = np.nanmedian(border, axis=1)[:, None, None, :], np.nanquantile(border, 0.25, axis=1)
    noise = 1.4826 * (sky[:, 0, 0] - quartile).mean(axis=-1)[:, None, None, None]
    disc = linear[:, distance < 2 / 3 * RADIUS]
    disc = np.where(np.isfinite(disc), disc - sky[:, 0], 0).mean(axis=(1, 2))[:, None, None, None]
    return sky, noise, np.maximum(disc, np.maximum(2 * noise, 1e-6))


def _point_sources(galaxies: Galaxies) -> np.ndarray:
    """Sigma of a star in each galaxy's stamp, in pixels, [n]."""
    scale = galaxies.properties["pixel_scale"]
    seeing = np.array([np.mean(get_survey(name).seeing) for name in galaxies.surveys])
    return np.clip(np.where(scale > 0, seeing / 2.3548 / scale, POINT), SHARPEST, WIDEST).astype("float32")


def _shifted(images: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Images moved by whole pixels, each by its own; mirrored at the edges."""
    n, height, width, _ = images.shape
    rows = _mirrored(np.arange(height)[None, :] - np.rint(y).astype(int).reshape(n, 1), height)
    columns = _mirrored(np.arange(width)[None, :] - np.rint(x).astype(int).reshape(n, 1), width)
    return images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _mirrored(index: np.ndarray, size: int) -> np.ndarray:
    index = np.abs(index) % (2 * (size - 1))
    return np.where(index < size, index, 2 * (size - 1) - index)


def _halved(images: np.ndarray) -> np.ndarray:
    """Images at half the size in the middle of empty sky, surface brightness kept."""
    n, size, _, bands = images.shape
    even = size // 2 * 2
    small = images[:, :even, :even].reshape(n, even // 2, 2, even // 2, 2, bands).mean(axis=(2, 4))
    before = (size - even // 2) // 2
    after = size - even // 2 - before
    return np.pad(small, ((0, 0), (before, after), (before, after), (0, 0)))
