"""A contact sheet of sampled galaxies, beside real ones where some are given."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from morph.atomic import atomic
from morph.dataset import Galaxies, find_dataset
from morph.errors import InputError
from morph.simulation.contact_sheet import SHEET_ZOOM, contact_sheet
from morph.sizes import NETWORK_SIZE
from morph.stamps.stretch import centre_crop, to_pictures

#: Galaxies of each kind on a sheet, and in a row of it.
NUMBER, COLUMNS = 40, 8
#: Pixels of the line above each part that names it.
_TITLE = 18


def write_sample_sheet(sampled: str | Path, sheet: str | Path, like: str | Path | None = None) -> None:
    """Write a picture of the first sampled galaxies, with the first galaxies of another dataset to the right.

    Each galaxy has its own white level, so that flux and colour pictures look alike.

    Parameters
    ----------
    sampled : the dataset of samples.
    sheet : the picture's name, .png or .jpg.
    like : a dataset of real galaxies of any kind of image.
    """
    parts = [("sampled", _first(sampled))] + ([(Path(like).name, _first(like))] if like else [])
    sheets = []
    for title, pictures in parts:
        grid = Image.fromarray(contact_sheet(list(pictures), COLUMNS))
        grid = grid.resize((SHEET_ZOOM * grid.width, SHEET_ZOOM * grid.height), Image.Resampling.BICUBIC)
        part = Image.new("RGB", (grid.width, grid.height + _TITLE), "white")
        ImageDraw.Draw(part).text((4, 3), title, fill="black")
        part.paste(grid, (0, _TITLE))
        sheets.append(part)
    whole = Image.new("RGB", (sum(part.width + 8 for part in sheets), max(part.height for part in sheets)), "white")
    left = 0
    for part in sheets:
        whole.paste(part, (left, 0))
        left += part.width + 8
    with atomic(sheet) as building:
        whole.save(building)


def _first(path: str | Path) -> np.ndarray:
    """The first galaxies of a dataset as pictures, cut to the network's view: uint8 [n, size, size, 3]."""
    galaxies = Galaxies.open(path, parts=sorted(find_dataset(path).glob("part-*.parquet"))[:1])
    if not len(galaxies):
        raise InputError(f"The dataset at '{path}' holds no galaxies.")
    return to_pictures(centre_crop(galaxies.images[:NUMBER], NETWORK_SIZE))
