"""Predicted images beside the real ones, each with what it was predicted from."""

from typing import TYPE_CHECKING

import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS, most_likely_path, phrases
from morph.stamps.stretch import reconstruction_pictures
from morph.votes import vote_counts
from training.prediction.predict import Predicted, known, values, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Galaxies on a sheet, and in a row of it.
SHOWN, COLUMNS = 24, 8


def sheet(classifier, predicted: Predicted, galaxies: Galaxies, simulated: str = "") -> "Figure":
    """The first `SHOWN` galaxies: the real image, where there is one, above the predicted one.

    Both pass through the model's preprocessing, so that their sky is 0 and their centres equally bright: the model
    predicts no more than that of an image. Each pair has the white level of the real one.

    Parameters
    ----------
    classifier : a `morph.model.classifier.Classifier`.
    predicted : with images.
    galaxies : the same, in the same order.
    simulated : put into the title after "observed".
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from morph.reports.style import INK, STYLE

    galaxies = galaxies.select(np.arange(len(galaxies)) < SHOWN)
    n = len(galaxies)
    guess = _relative_flux(classifier, predicted.values["image"][:n])
    have = known(galaxies, "image")
    real = np.where(have[:, None, None, None], _real(classifier, galaxies), guess)
    above, below = reconstruction_pictures(real, real), reconstruction_pictures(real, guess)
    rows = -(-n // COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.3 * COLUMNS, 3.15 * rows + 0.4))
        title = f"Above: observed{simulated}. Below: predicted from {words(predicted.used)} alone."
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11, color=INK)
        top = 1 - 0.4 / (3.15 * rows + 0.4)
        height = top / rows
        for i in range(n):
            row, column = divmod(i, COLUMNS)
            for picture, shown, up in ((above, have[i], 0.42), (below, True, 0.0)):
                place = (column / COLUMNS, top - (row + 1) * height + up * height, 0.98 / COLUMNS, 0.41 * height)
                axis = figure.add_axes(place)
                axis.set_axis_off()
                if shown:
                    axis.imshow(picture[i], interpolation="nearest")
            figure.text(
                (column + 0.49) / COLUMNS,
                top - row * height - 0.02 * height,
                _caption(predicted, galaxies, i),
                ha="center",
                va="top",
                fontsize=7,
            )
    return figure


def _real(classifier, galaxies: Galaxies) -> np.ndarray:
    from keras import ops

    images = classifier.central(galaxies.images)
    flux = classifier.linear(images) if images.dtype == np.uint8 else ops.convert_to_tensor(images)
    return _relative_flux(classifier, ops.convert_to_numpy(classifier.preprocessing(flux)["image"]))


def _relative_flux(classifier, stretched: np.ndarray) -> np.ndarray:
    """The stretch undone, in units of the central brightness."""
    from keras import ops

    return ops.convert_to_numpy(classifier.preprocessing.restore(ops.convert_to_tensor(stretched), 0.0, 1.0))


def _caption(predicted: Predicted, galaxies: Galaxies, i: int) -> str:
    """What one galaxy was predicted from, a few words to a line."""
    said = {name: values(galaxies, name)[i] for name, used in predicted.used.items() if used[i]}
    lines: list[str] = []
    if "votes" in said:
        lines.append(_likely(said["votes"]))
    if "photometry" in said:
        g, r, _ = said["photometry"]
        lines.append(f"r = {r:.1f}, g − r = {g - r:.2f}")
    sizes = [f"{said['radius']:.1f}″"] if "radius" in said else []
    sizes += [f"z = {said['redshift']:.3f}"] if "redshift" in said else []
    lines += [", ".join(sizes)] if sizes else []
    return "\n".join(lines) or ("image" if said else "nothing: the prior")


def _likely(votes: np.ndarray) -> str:
    """The first two answers, other than no, on the path that most volunteers took."""
    path = most_likely_path(vote_counts(votes[: len(ANSWERS)]))
    given = [(question, answer) for question, answer, most in path if most > 0 and answer not in ("no", "none")]
    return ", ".join(phrases(given)[:2])
