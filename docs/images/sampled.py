"""The pictures of docs/how-to/sample.md: samples and galaxies mixed, and below them the key.

python docs/images/sampled.py sampled.png SAMPLED-DES SIMULATED-DES
python docs/images/sampled.py sampled-sdss.png SAMPLED-SDSS SDSS-PICTURES

Pictures are shown as they are, and samples beside them in the colours of the survey's own pictures.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from morph.dataset import Galaxies
from morph.simulation.contact_sheet import contact_sheet, render
from morph.sizes import NETWORK_SIZE
from morph.stamps.stretch import centre_crop, to_pictures
from training.fitting.batches import mostly_artifact

#: Galaxies of either kind, and in a row; the random seed of their order.
EACH, COLUMNS, SEED = 24, 12, 4
#: Pixels on a side of the key's squares.
KEY = 10


def main(picture: str, sampled: str, dataset: str) -> None:
    """Draw a picture of docs/images; the squares of samples are black in the key."""
    sets = [Galaxies.open(name) for name in (sampled, dataset)]
    sets = [galaxies.select(np.flatnonzero(~mostly_artifact(galaxies.votes))[:EACH]) for galaxies in sets]
    as_survey = any(galaxies.kind == "composite" for galaxies in sets)
    pictures = [shown(galaxies, as_survey) for galaxies in sets]
    order = np.random.default_rng(SEED).permutation(2 * EACH)
    sheet = Image.fromarray(contact_sheet(list(np.concatenate(pictures)[order]), COLUMNS))
    is_sample = order < EACH
    rows = len(order) // COLUMNS
    key = Image.new("RGB", (sheet.width, rows * (KEY + 2) + 8), "white")
    draw = ImageDraw.Draw(key)
    for place, dark in enumerate(is_sample):
        row, column = divmod(place, COLUMNS)
        left, top = column * (KEY + 2), 6 + row * (KEY + 2)
        draw.rectangle((left, top, left + KEY, top + KEY), fill="black" if dark else "white", outline="black")
    draw.text((COLUMNS * (KEY + 2) + 8, 4), "key: black squares are samples", fill="black")
    whole = Image.new("RGB", (sheet.width, sheet.height + key.height), "white")
    whole.paste(sheet, (0, 0))
    whole.paste(key, (0, sheet.height))
    whole.save(Path(__file__).with_name(picture), optimize=True)


def shown(galaxies: Galaxies, as_survey: bool) -> np.ndarray:
    """The galaxies as pictures, in the survey's own colours or each with a white level of its own: [n, s, s, 3]."""
    images = centre_crop(galaxies.images, NETWORK_SIZE)
    if galaxies.kind == "composite" or not as_survey:
        return to_pictures(images)
    scales = galaxies.properties["pixel_scale"].tolist()
    return np.stack([render(*each) for each in zip(images, galaxies.surveys, scales, strict=True)])


if __name__ == "__main__":
    main(*sys.argv[1:])
