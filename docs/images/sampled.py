"""The picture of docs/how-to/sample.md: samples and galaxies mixed, and below it the key.

python docs/images/sampled.py SAMPLED DATASET
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from morph.dataset import Galaxies
from morph.simulation.contact_sheet import contact_sheet
from morph.sizes import NETWORK_SIZE
from morph.stamps.stretch import centre_crop, to_pictures

#: Galaxies of either kind, and in a row; the random seed of their order.
EACH, COLUMNS, SEED = 24, 12, 4
#: Pixels on a side of the key's squares.
KEY = 10


def main(sampled: str, dataset: str) -> None:
    """Draw docs/images/sampled.png; the squares of samples are black in the key."""
    pictures = [
        to_pictures(centre_crop(Galaxies.open(name).images[:EACH], NETWORK_SIZE)) for name in (sampled, dataset)
    ]
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
    whole.save(Path(__file__).with_name("sampled.png"), optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
