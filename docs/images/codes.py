"""The picture of docs/how-to/compress.md: galaxies of the test split above what 64 bytes of each give back.

python docs/images/codes.py models:/morph@sdss DATASET DATASET
"""

import sys
from pathlib import Path

import numpy as np

from morph.dataset import Galaxies
from morph.model.code_files import NUMBERS, decode, encode
from morph.model.store import load_model
from morph.stamps.stretch import reconstruction_pictures, to_pictures
from training.plots import reconstructions
from training.reports.sections import various

#: Galaxies of each dataset.
EACH = 6


def main(model: str, *datasets: str) -> None:
    """Draw docs/images/codes.png."""
    classifier = load_model(model)
    above, below, titles = [], [], []
    for dataset in datasets:
        galaxies = Galaxies.open(dataset).split()["test"]
        galaxies = galaxies.select(np.arange(min(200, len(galaxies))))
        galaxies = galaxies.select(various(classifier.answer(galaxies.images)["probabilities"], EACH))
        images = classifier.central(galaxies.images)
        decoded = decode(classifier, encode(classifier, galaxies), NUMBERS, galaxies.kind)[0]
        above.append(to_pictures(images))
        below.append(decoded if galaxies.kind == "composite" else reconstruction_pictures(images, decoded))
        said = ", simulated" if galaxies.simulated else ""
        titles += [f"{galaxies.survey}{said}"] * len(galaxies)
    figure = reconstructions(np.concatenate(above), np.concatenate(below), titles)
    figure.axes[len(titles)].set_ylabel("64 bytes")
    figure.savefig(Path(__file__).with_name("codes.png"), dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
