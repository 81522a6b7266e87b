"""What follows the epochs of a training, part by part: each is announced, and not repeated after an interruption.

For the large model these parts take half an hour: the similarity vector, the latent prior, the anomaly reference and
others, each fitted to what the parts before it made.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import keras

from morph.atomic import atomic
from training.fitting.checkpoint import draw_from_epoch

#: A part's name, and what does it; it changes the classifier's weights and nothing else.
Parts = Mapping[str, Callable[[], object]]


def run_parts(
    training: keras.Model,
    parts: Parts,
    seed: int,
    epochs: int,
    folder: Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Run the parts in order, each with random numbers of its own.

    Parameters
    ----------
    training : the training, with the weights after its epochs; its `classifier` is changed.
    parts : in order.
    seed, epochs : of the training.
    folder : where the weights are kept after each part, and found again by a later process, which begins behind the
        last part that is there.
    announce : called with a part's name before it runs.
    """
    names, classifier = list(parts), training.classifier
    files = {} if folder is None else {name: folder / f"after-{name.replace(' ', '-')}.weights.h5" for name in names}
    done = max((number for number, name in enumerate(names) if name in files and files[name].exists()), default=-1)
    if done >= 0:
        classifier.load_weights(files[names[done]])
    for number, name in enumerate(names[done + 1 :], done + 1):
        if announce is not None:
            announce(name)
        keras.utils.set_random_seed(seed)
        draw_from_epoch(training, seed, epochs)
        parts[name]()
        if files:
            with atomic(files[name]) as building:
                classifier.save_weights(building)
            if number:
                files[names[number - 1]].unlink(missing_ok=True)
