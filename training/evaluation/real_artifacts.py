"""Real artifacts of single exposures in galaxies of a survey: what no simulation of artifacts has drawn.

An exposure's pixels around what its pipeline masked (a saturated star with its bleed trail, a cosmic ray) are put on a
galaxy's stamp in units of the noise, at the survey's pixel scale, turned at random. Each artifact is put on many
galaxies, so that intervals are those of a bootstrap over artifacts, of which there are few.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.fits.headers import band_called
from morph.fits.resampling import resample
from morph.sizes import NETWORK_SIZE
from morph.surveys import get_survey
from training.fitting.injected import RADIUS

#: Channels that the bands of an exposure fill; z where a survey has no i.
BANDS = {"g": 0, "r": 1, "i": 2, "z": 2}
#: Pixels of an exposure's frame, in which its sky is measured.
FRAME = 4
#: Masked pixels are fainter than so many sigma where the pipeline has filled them from their neighbours: an artifact
#: that is not there any more.
FILLED = 5.0
#: Half-light radii of the galaxy at which a masked pixel lies, at most.
FARTHEST = 2.4
#: What is put on galaxies: the artifact in all its bands, or in one of them; in all bands with the masked pixels
#: missing, as a survey shows it whose mask is right; and the missing pixels alone, which are no anomaly.
KINDS = ("in every band", "in one band", "masked, light around it", "masked, no light")


@dataclass(frozen=True)
class Artifact:
    """What one camera chip shows of one artifact.

    Attributes
    ----------
    name : of the scene and the chip.
    light : float32 [h, w, 3], above the sky, in units of the sky's noise; zero in bands without an exposure.
    masked : bool [h, w, 3].
    pixel_scale : arcsec per pixel.
    """

    name: str
    light: np.ndarray
    masked: np.ndarray
    pixel_scale: float

    @property
    def bands(self) -> list[int]:
        """The channels that it is seen in."""
        return np.flatnonzero(self.masked.any(axis=(0, 1))).tolist()


def read_artifacts(folder: Path) -> list[Artifact]:
    """The artifacts of a folder of cutouts of single exposures, each a file with the planes SCI, MSK and WGT.

    Exposures with one scene (the name up to its first underscore) and one chip (the last part of the name) are the
    bands of one artifact. Exposures without masked light are passed over. InputError when nothing is left.
    """
    groups: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob("*.fits*")):
        parts = path.name.split(".")[0].split("_")
        band = BANDS.get(band_called(parts[-2]) or "") if len(parts) > 2 else None
        if band is not None:
            groups.setdefault(f"{parts[0]} {parts[-1]}", {}).setdefault(band, path)
    found = [artifact for name, files in groups.items() if (artifact := _read(name, files))]
    if not found:
        raise InputError(f"No exposure in '{folder}' has masked pixels with light in them.")
    return found


def _read(name: str, files: dict[int, Path]) -> Artifact | None:
    """The artifact in the exposures of one chip, or None where their masked pixels hold no light."""
    planes = {}
    for band, path in files.items():
        with fits.open(path) as units:
            science, mask, weight = (np.asarray(units[plane].data, dtype=float) for plane in ("SCI", "MSK", "WGT"))
            scale = 3600 * float(np.hypot(units["SCI"].header["CD1_1"], units["SCI"].header["CD1_2"]))
        frame = np.ones(mask.shape, dtype=bool)
        frame[FRAME:-FRAME, FRAME:-FRAME] = False
        sky, sigma = np.median(science[frame & (mask == 0)]), 1 / np.sqrt(np.median(weight[weight > 0]))
        light = (science - sky) / sigma
        if (mask > 0).any() and np.median(light[mask > 0]) > FILLED:
            planes[band] = light, mask > 0
    if not planes:
        return None
    height, width = (min(mask.shape[axis] for _, mask in planes.values()) for axis in (0, 1))
    light, masked = np.zeros((height, width, 3), dtype="float32"), np.zeros((height, width, 3), dtype=bool)
    for band, (flux, bad) in planes.items():
        light[..., band], masked[..., band] = flux[:height, :width], bad[:height, :width]
    return Artifact(name, light, masked, scale)


def transplant(
    galaxies: Galaxies, artifacts: Sequence[Artifact], kind: str, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The galaxies' stamps, each with an artifact.

    Parameters
    ----------
    galaxies : normal ones, in flux, with a known pixel scale.
    artifacts : as `read_artifacts` gives them; taken in turn.
    kind : one of `KINDS`.
    seed : of the places and the turns.

    Returns
    -------
    float32 [n, size, size, 3], and which artifact (and band, where only one has it) each has, int [n].
    """
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    one = [(number, band) for number, each in enumerate(artifacts) for band in each.bands]
    every = [(number, None) for number in range(len(artifacts))]
    choices = one if kind == KINDS[1] else every
    images, which = np.array(galaxies.images, dtype="float32"), np.arange(len(galaxies)) % len(choices)
    scales = galaxies.properties["pixel_scale"].tolist()
    for image, choice, scale, survey in zip(images, which.tolist(), scales, galaxies.surveys.tolist(), strict=True):
        number, band = choices[choice]
        light, masked = _on_stamp(artifacts[number], len(image), scale, survey, rng)
        if band is not None:
            light[..., np.arange(3) != band] = 0
        if kind != KINDS[3]:
            image += light
        if kind in KINDS[2:]:
            image[masked] = np.nan
    return images, which


def _on_stamp(
    artifact: Artifact, size: int, scale: float, survey: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The artifact on a stamp, nanomaggies per stamp pixel, and what is masked there, [size, size, 3] each."""
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    light, masked = (
        np.rot90(each[:, ::-1] if mirrored else each, turns) for each in (artifact.light, artifact.masked)
    )
    rows, columns = np.nonzero(masked.any(axis=-1))
    pixel, angle = rng.integers(len(rows)), rng.uniform(0, 2 * np.pi)
    step = scale / artifact.pixel_scale
    away = FARTHEST * RADIUS * rng.random() * step
    # What the network sees of the stamp lies within the exposure, where the exposure is large enough.
    half = NETWORK_SIZE * step / 2
    x, y = (
        np.clip(place[pixel] + part * away, min(half, length / 2), max(length - half, length / 2))
        for place, part, length in ((columns, np.cos(angle), light.shape[1]), (rows, np.sin(angle), light.shape[0]))
    )
    observer = get_survey(survey)
    noise = observer.noise() * (artifact.pixel_scale / observer.pixel_scale) ** 2
    on_stamp = resample(light * noise.astype("float32"), x, y, size * step, size)
    covered = resample(masked.astype("float32"), x, y, size * step, size) / step**2
    return np.nan_to_num(on_stamp), np.nan_to_num(covered) > 0.5
