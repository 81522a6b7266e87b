"""The README's picture: simulated test galaxies, their most likely answers, and what the decoder redraws.

python docs/picture.py quickstart/des models:/morph@sdss
"""

import sys
from pathlib import Path

from morph.galaxies import Galaxies
from morph.model.store import load_model
from training.pictures import centre, pictures, redrawn
from training.plots import reconstructions
from training.sections import likely_path, various

#: Galaxies across the picture.
ACROSS = 8


def main(dataset: str, model: str) -> None:
    """Draw docs/galaxies.png from a dataset's test galaxies."""
    classifier = load_model(model)
    galaxies = Galaxies.open(dataset).split()["test"]
    answers = classifier.answer(galaxies.images)
    galaxies = galaxies.select(chosen := various(answers["probabilities"], ACROSS))
    images = centre(galaxies.images, classifier.size)
    titles = [
        "\n".join(
            f"{question}: {answer} {p:.2f}" for question, answer, p in likely_path(answers["probabilities"][i])[:3]
        )
        for i in chosen
    ]
    figure = reconstructions(pictures(images), redrawn(images, classifier.reconstruct_images(images)), titles)
    figure.savefig(Path(__file__).with_name("galaxies.png"), dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:3])
