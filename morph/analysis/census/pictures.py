"""Pictures of the galaxies that show a class best, cut from the tiles that they were scored on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from morph.analysis.census.sums import Example
from morph.console import listed
from morph.errors import InputError
from morph.fits.zero_points import HEADERS, Calibration
from morph.reports.html import jpeg_file
from morph.sizes import STAMP_SIZE
from morph.stamps.flags import Flag
from morph.stamps.stamp_stream import stream_stamps
from morph.stamps.stretch import to_pictures
from morph.tiles.tile import Tile, find_tiles, tile_name


def cut_pictures(
    examples: Mapping[int, Sequence[Example]], tiles: Sequence[str], survey: str | None
) -> tuple[dict[int, list[Example]], list[str]]:
    """The best example of each class with a picture from its tile.

    Parameters
    ----------
    examples : of each class, in any order.
    tiles : files, folders or globs of tiles.
    survey : of the tiles, where the scores state it.

    Returns
    -------
    The examples, the best of each class with a new picture where its tile is at hand; and notes.

    Raises
    ------
    InputError : there are no tiles, or one is of another survey.
    """
    groups = {tile_name(group): group for group in find_tiles(list(tiles))}
    found: dict[int, list[Example]] = {}
    missing: dict[str, None] = {}
    for i, each in examples.items():
        missing.update(dict.fromkeys(example.tile for example in each if example.tile not in groups))
        usable = [example for example in each if example.tile in groups or example.picture]
        best = max(usable, default=None)
        if best is not None and best.tile in groups:
            best = replace(best, picture=_picture(best, groups[best.tile], survey) or best.picture)
        found[i] = [best] if best is not None else []
    notes = []
    if missing:
        which = listed(list(missing)[:3]) + (" and others" if len(missing) > 3 else "")
        notes.append(
            f"Some galaxies that show a class well are not shown: their tiles ({which}) are not among --tiles."
        )
    return found, notes


def _picture(example: Example, group: Sequence[Path], survey: str | None) -> bytes:
    """A JPEG file; empty where the tile shows nothing there."""
    tile = _open(group, survey)
    radius = example.radius / tile.pixel_scale
    (batch,) = stream_stamps(tile, [example.x], [example.y], [radius], STAMP_SIZE, threads=1)
    if batch.flags[0] & Flag.NO_DATA:
        return b""
    return jpeg_file(Image.fromarray(to_pictures(batch.stamps)[0, ::-1]), 90)


def _open(group: Sequence[Path], survey: str | None) -> Tile:
    """A tile; without zero points a picture has its colours less right, which is better than none."""
    try:
        return Tile.open(group, survey, calibration=HEADERS)
    except InputError:
        return Tile.open(group, survey, calibration=Calibration.parse("none", None))
