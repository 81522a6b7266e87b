"""Files of predictions: the catalogue, and with predicted images their stamps and a sheet of them."""

from pathlib import Path
from typing import Any

import numpy as np

from morph.atomic import atomic_files
from morph.dataset import Galaxies
from training.prediction.predict import Predicted
from training.prediction.table import table
from training.prediction.table import write as write_table


def write(predicted: Predicted, galaxies: Galaxies, classifier, about: dict[str, Any], to: Path) -> list[Path]:
    """Write `to` and, where images are predicted, ``NAME_images.npy`` and ``NAME_images.png`` beside it.

    Returns what was written. The stamps are float32 [n, size, size, 3] in the order of the catalogue's rows. The
    files appear whole or not at all, the catalogue last. InputError when they cannot be written.
    """
    wanted = {to: lambda path: write_table(table(predicted, about), path)}
    if "image" in predicted.values:
        from training.prediction.contact_sheet import sheet

        simulated = " (simulated)" if galaxies.simulated else ""
        picture = sheet(classifier, predicted, galaxies, simulated)
        wanted = {
            to.with_name(f"{to.stem}_images.npy"): lambda path: np.save(path, predicted.values["image"]),
            to.with_name(f"{to.stem}_images.png"): lambda path: picture.savefig(path, dpi=130),
        } | wanted
    with atomic_files(*wanted, what="The predictions") as building:
        for save, path in zip(wanted.values(), building, strict=True):
            save(path)
    return [*wanted]
