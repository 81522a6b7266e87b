"""The README's picture: simulated test galaxies, their most likely answers, and their reconstructions.

python docs/images/galaxies.py quickstart/des models:/morph@sdss
"""

import sys
from pathlib import Path

from morph.dataset import Galaxies
from morph.decision_tree import most_likely_path, phrase
from morph.model.store import load_model
from morph.stamps.stretch import centre_crop, reconstruction_pictures, to_pictures
from training.plots import reconstructions
from training.reports.sections import various

#: Galaxies across the picture.
ACROSS = 8


def main(dataset: str, model: str) -> None:
    """Draw docs/images/galaxies.png from a dataset's test galaxies."""
    classifier = load_model(model)
    galaxies = Galaxies.open(dataset).split()["test"]
    answers = classifier.answer(galaxies.images)
    galaxies = galaxies.select(chosen := various(answers["probabilities"], ACROSS))
    images = centre_crop(galaxies.images, classifier.size)
    paths = [most_likely_path(answers["probabilities"][i])[:4] for i in chosen]
    titles = [
        "\n".join(f"{phrase(question, answer)} {100 * p:.0f} %" for question, answer, p in path) for path in paths
    ]
    figure = reconstructions(
        to_pictures(images), reconstruction_pictures(images, classifier.reconstruct_images(images)), titles
    )
    figure.suptitle("simulated galaxies" if galaxies.simulated else galaxies.survey, fontsize=7)
    figure.savefig(Path(__file__).with_name("galaxies.png"), dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:3])
