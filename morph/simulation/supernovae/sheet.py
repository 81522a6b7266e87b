"""A picture of triplets: template, search and difference side by side, in r."""

from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
from PIL import Image

from morph.atomic import atomic
from morph.simulation.contact_sheet import SHEET_ZOOM, contact_sheet

#: Triplets in a row of the picture.
TRIPLETS = 3
#: The difference is shown from minus to plus so many sigma.
SIGMAS = 6.0


def write_triplets(path: Path, to: Path, number: int = 12) -> None:
    """Write the first triplets of a sample as one picture; simulated images all.

    Parameters
    ----------
    path : the sample.
    to : a name that ends in .png, .jpg or .jpeg.
    number : triplets to show.
    """
    table = ds.dataset(path, format="parquet").head(number, columns=["template", "search", "difference", "x", "y"])
    template, search, difference = (
        table[name].combine_chunks().to_numpy_ndarray()[..., 1] for name in ("template", "search", "difference")
    )
    pictures = []
    for row in range(len(table)):
        # Both images with one stretch, so that what differs is seen to differ.
        low, high = np.percentile(template[row], (1, 99.7))
        for image in (template[row], search[row]):
            shown = np.arcsinh(8 * (image - low) / max(high - low, 1e-9)) / np.arcsinh(8.0)
            pictures.append(_grey(shown))
        marked = _grey(0.5 + difference[row] / (2 * SIGMAS))
        pictures.append(_mark(marked, table["x"][row].as_py(), table["y"][row].as_py()))
    sheet = Image.fromarray(contact_sheet(pictures, 3 * TRIPLETS))
    with atomic(to) as building:
        sheet.resize((SHEET_ZOOM * sheet.width, SHEET_ZOOM * sheet.height), Image.Resampling.NEAREST).save(building)


def _grey(image: np.ndarray) -> np.ndarray:
    """Brightness 0 to 1 as uint8 [h, w, 3], the first row at the bottom as on the sky."""
    return np.repeat((255 * np.clip(image[::-1], 0, 1)).astype("uint8")[..., None], 3, axis=-1)


def _mark(picture: np.ndarray, x: float | None, y: float | None, half: int = 7) -> np.ndarray:
    """Corners around a place, in orange."""
    if x is None or y is None:
        return picture
    marked, size = picture.copy(), len(picture)
    column, row = round(x), size - 1 - round(y)
    for dx in (-half, half):
        for dy in (-half, half):
            for step in range(3):
                for at in ((row + dy, column + dx - np.sign(dx) * step), (row + dy - np.sign(dy) * step, column + dx)):
                    if 0 <= at[0] < size and 0 <= at[1] < size:
                        marked[at] = (255, 140, 0)
    return marked
