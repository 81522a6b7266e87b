"""The same galaxy in two datasets, found by its image, since public releases name galaxies differently.

Two releases cut, scale and stretch their pictures in their own ways, but they show the same photons: the arms, the
knots, the neighbours and even the noise of the sky stand at the same places. Each galaxy's nearest look-alike is
found by thumbnails at a range of zooms; it is the same galaxy if their fine detail agrees as well.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from morph.dataset import Galaxies
from morph.sizes import STAMP_SIZE
from morph.stamps.stretch import centre_crop, to_composite, white_level

#: Pixels on a side of the thumbnails, and of the pictures whose detail is compared.
THUMBNAIL = 16
DETAIL = 48

#: The zooms that are tried between two pictures of one galaxy: up to threefold, as between a picture of fixed angle
#: that its galaxy fills and one cut by the galaxy's size. Thumbnails forgive what lies between two steps.
STEP = 1.09
STEPS = 13
FINER = (1.0, 0.96, 1.04)

#: How far thumbnails of one galaxy correlate at least. Many other galaxies look as much alike.
ALIKE = 0.96

#: Detail that correlates more than this is of the same galaxy. Between public sets of SDSS pictures the same galaxy
#: mostly reaches 0.75 to 0.98; another of the same shape stays below 0.7, edge-on disks side by side below 0.78. For
#: keeping test galaxies out of training one galaxy too many is better than one too few.
SAME = 0.72

#: Detail that correlates less than this at one zoom does not reach `SAME` at a slightly finer one.
HOPELESS = 0.5

#: Pixels of `DETAIL` by which the centres of two pictures may differ.
SHIFT = 4

#: Rows of the table of likeness that are held at once.
CHUNK = 1024


def without_duplicates(galaxies: Galaxies, held_out: Sequence[Galaxies]) -> Galaxies:
    """The galaxies that occur in none of the held-out sets of real galaxies in the same kind of image."""
    real = [others for others in held_out if others.kind == galaxies.kind and not others.simulated]
    if not real:
        return galaxies
    keep = np.ones(len(galaxies), dtype=bool)
    keep[_duplicates(_grey(galaxies), [image for others in real for image in _grey(others)])] = False
    return galaxies.select(keep)


def same_stamps(galaxies: Galaxies, held_out: Sequence[Galaxies]) -> np.ndarray:
    """Which galaxies have exactly the stamp of a held-out one, by a hash of it: bool [n]. Stamps of one value show
    nothing and are not compared."""
    known = {code for others in held_out for code in _hashes(others)} - {None}
    return np.array([code in known for code in _hashes(galaxies)], dtype=bool)


def _hashes(galaxies: Galaxies) -> list[bytes | None]:
    return [
        hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
        if np.ptp(np.nan_to_num(image))
        else None
        for image in galaxies.images
    ]


def agreement(image: np.ndarray, other: np.ndarray, zoom: float = 1.0) -> float:
    """How well the fine detail of two grey pictures agrees.

    Parameters
    ----------
    image, other : [h, h].
    zoom : by which `image` is magnified against `other`.

    Returns
    -------
    The largest correlation over small shifts and, where promising, small changes of zoom: 1 for the same picture,
    about 0.3 for two galaxies of different shape.
    """
    middle = slice(DETAIL // 2 - SHIFT, DETAIL // 2 + SHIFT + 1)
    highest = -1.0
    for finer in FINER:
        a = np.fft.rfft2(_detail(image, zoom * finer))
        b = np.fft.rfft2(_detail(other, 1 / (zoom * finer)))
        correlation = np.fft.fftshift(np.fft.irfft2(a * np.conj(b), (DETAIL, DETAIL)))
        highest = max(highest, float(correlation[middle, middle].max()))
        if highest < HOPELESS:
            break
    return highest


def _duplicates(mine: list[np.ndarray], theirs: list[np.ndarray]) -> np.ndarray:
    """Indices of the grey pictures that show a galaxy of the others, in order: int [duplicates]."""
    if not mine or not theirs:
        return np.empty(0, dtype=int)
    partner, zoom, likeness = _look_alikes(mine, theirs)
    candidates = np.flatnonzero(likeness > ALIKE)
    same = [agreement(mine[i], theirs[partner[i]], zoom[i]) > SAME for i in candidates]
    return candidates[np.array(same, dtype=bool)]


def _grey(galaxies: Galaxies) -> list[np.ndarray]:
    """The middle of every galaxy's stamp as a grey picture: float32 [size, size], `STAMP_SIZE` or smaller."""
    images = centre_crop(galaxies.images, STAMP_SIZE)
    if galaxies.kind == "composite":
        return [image.mean(axis=-1, dtype="float32") for image in images]
    return [to_composite(image, white_level(image)).mean(axis=-1, dtype="float32") for image in images]


def _look_alikes(mine: list[np.ndarray], theirs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each galaxy the index of its nearest look-alike, the zoom between them, and how far they correlate."""
    partner, zooms, likeness = np.zeros(len(mine), int), np.ones(len(mine)), np.full(len(mine), -1.0)
    whole = _thumbnails(mine, 1.0), _thumbnails(theirs, 1.0)
    for step in range(-STEPS, STEPS + 1):
        zoom = STEP**step
        a = _thumbnails(mine, zoom) if step > 0 else whole[0]
        b = _thumbnails(theirs, 1 / zoom) if step < 0 else whole[1]
        for start in range(0, len(mine), CHUNK):
            part = slice(start, start + CHUNK)
            table = a[part] @ b.T
            nearest = table.argmax(axis=1)
            highest = table[np.arange(len(table)), nearest]
            better = highest > likeness[part]
            partner[part][better], zooms[part][better] = nearest[better], zoom
            likeness[part][better] = highest[better]
    return partner, zooms, likeness


def _thumbnails(images: list[np.ndarray], zoom: float) -> np.ndarray:
    """Centred unit vectors: float32 [n, THUMBNAIL^2]."""
    vectors = np.stack([_closer(image, zoom, THUMBNAIL).ravel() for image in images])
    vectors -= vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _closer(image: np.ndarray, zoom: float, size: int) -> np.ndarray:
    """The middle of a picture, `zoom` times closer (never farther): float32 [size, size]."""
    across = len(image) / max(zoom, 1.0)
    low, high = (len(image) - across) / 2, (len(image) + across) / 2
    method = Image.Resampling.BOX if across > size else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(image).resize((size, size), method, box=(low, low, high, high)))


def _detail(image: np.ndarray, zoom: float) -> np.ndarray:
    """A picture without its smooth light, of even contrast throughout: [DETAIL, DETAIL], zero mean, unit norm."""
    small = _closer(image, zoom, DETAIL)
    rough = small - gaussian_filter(small, 2.0)
    # One grey level is the noise of rounding, which is not to be brought up.
    rough /= np.sqrt(gaussian_filter(rough**2, 4.0)) + 1.0
    # Fading towards the border, so that a shift brings nothing new into view.
    edge = np.sqrt(np.hanning(DETAIL + 2)[1:-1])
    rough *= edge[:, None] * edge
    rough -= rough.mean()
    return rough / max(float(np.linalg.norm(rough)), 1e-6)
