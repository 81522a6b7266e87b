"""The section of a report about scored tiles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from morph.decision_tree import ANSWER_COLUMNS
from morph.errors import InputError
from morph.reports.html import jpeg
from morph.reports.style import COLOURS, style, svg
from morph.stamps.cutting import Flag
from morph.stamps.flags import is_clean
from morph.stamps.stretch import BAND_WEIGHTS, to_composite
from morph.tiles.tile import Tile
from training.metrics.categories import FOUR_CLASSES, four_classes

#: Pixels across the picture of a tile, and arcsec across that of one galaxy on it.
OVERVIEW, STAMP = 1100, 16.0
#: How many of a tile's most anomalous galaxies to show.
MOST_ANOMALOUS = 18


def read_scores(path: str | Path) -> pa.Table:
    """The score files below a folder (or one file) as one table. InputError when there are none, or others."""
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not files:
        raise InputError(f"There are no scores in '{path}'; make some with `morph score TILE --out {path}`.")
    needed = {"id", "ra", "dec", "tile", "x", "y", "anomaly_score", "anomaly", "flags", *ANSWER_COLUMNS}
    try:
        tables = [pq.read_table(file, columns=None) for file in files]
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"The scores in '{path}' cannot be read ({error}); make them again.") from None
    for file, scores in zip(files, tables, strict=True):
        missing = needed - set(scores.column_names)
        if missing:
            raise InputError(f"'{file}' is not a score file: it has no column '{sorted(missing)[0]}'.")
    return pa.concat_tables(tables, promote_options="default")


def tile_section(scores: pa.Table, tile: Tile | None = None, simulated: bool = False) -> dict[str, Any]:
    """What was found on tiles: numbers, a map, and with the tile's images a picture and its most anomalous galaxies.

    Parameters
    ----------
    scores : rows as the contract of the score files has them.
    tile : the images of one of the scored tiles; InputError when it is none of them.
    simulated : whether the tiles are.
    """
    flags = np.nan_to_num(_column(scores, "flags")).astype(int)
    anomaly = np.nan_to_num(_column(scores, "anomaly")).astype(bool)
    usable = (flags & int(Flag.NO_DATA)) == 0
    p = np.column_stack([_column(scores, name) for name in ANSWER_COLUMNS])
    usable &= np.isfinite(p).all(axis=1)
    names = sorted(set(scores["tile"].to_pylist()))
    kinds = np.bincount(four_classes(p[usable]).argmax(axis=1), minlength=len(FOUR_CLASSES))
    if tile is not None and not {tile.name, tile.tilename} & set(names):
        raise InputError(f"Tile '{tile.name}' was not scored; the scores are of {', '.join(map(str, names[:5]))}.")
    tiles = names[0] if len(names) == 1 else f"{len(names)} tiles"
    rows = [[flag.words, f"{int(((flags & flag) > 0).sum()):,}"] for flag in Flag]
    return {
        "name": tiles,
        "simulated": simulated,
        "facts": [
            (f"{len(flags):,}", "objects"),
            *((f"{n:,}", name) for n, name in zip(kinds, FOUR_CLASSES, strict=True)),
            (f"{int((anomaly & usable).sum()):,}", "flagged as anomalous"),
        ],
        "pictures": None if tile is None else _pictures(scores, tile, usable),
        "footprint": svg(footprint(scores, p, usable, anomaly)),
        "flags": [["nothing, or a missing band at most", f"{int(is_clean(flags).sum()):,}"], *rows],
    }


def _column(scores: pa.Table, name: str) -> np.ndarray:
    return scores[name].to_numpy(zero_copy_only=False).astype(float)


def footprint(scores: pa.Table, p: np.ndarray, usable: np.ndarray, anomaly: np.ndarray) -> Figure:
    """Where the objects lie on the sky, coloured by class, anomalous ones ringed.

    Parameters
    ----------
    p : [n, answers]; usable, anomaly : bool [n].
    """
    ra, dec = _column(scores, "ra"), _column(scores, "dec")
    kind = np.where(usable, np.nan_to_num(four_classes(np.nan_to_num(p))).argmax(axis=1), -1)
    with style():
        figure = Figure(figsize=(6.6, 5.2), layout="constrained")
        axis = figure.subplots()
        size = float(np.clip(12_000 / max(len(ra), 1), 1.5, 22))
        for k, name in enumerate(FOUR_CLASSES):
            # Thousands of vector dots would make the page heavy.
            axis.scatter(ra[kind == k], dec[kind == k], size, COLOURS[k], linewidths=0, label=name, rasterized=True)
        ringed = usable & anomaly
        if ringed.any():
            rings = axis.scatter(ra[ringed], dec[ringed], 4 * size + 25, label="anomalous", linewidths=1.2)
            rings.set(facecolor="none", edgecolor=COLOURS[4])
        axis.invert_xaxis()
        axis.set_aspect(1 / np.cos(np.deg2rad(np.nanmean(dec))) if np.isfinite(dec).any() else "auto")
        axis.ticklabel_format(useOffset=False)
        axis.set_xlabel("right ascension (deg)")
        axis.set_ylabel("declination (deg)")
        figure.legend(loc="outside upper left", ncols=5, fontsize=9, markerscale=1.4)
    return figure


def _pictures(scores: pa.Table, tile: Tile, usable: np.ndarray) -> dict[str, Any] | None:
    """The tile in colour, and its most anomalous galaxies cut from it at one angular scale."""
    on_tile = np.array([name in (tile.name, tile.tilename) for name in scores["tile"].to_pylist()])
    rows = np.flatnonzero(on_tile & usable)
    if not len(rows):
        return None
    planes = colour_planes(tile) * BAND_WEIGHTS
    white = _white(planes)
    x, y, score = (_column(scores, name) for name in ("x", "y", "anomaly_score"))
    half = max(8, round(STAMP / tile.pixel_scale / 2))
    return {
        "name": tile.name,
        "overview": jpeg(to_composite(shrink(planes, OVERVIEW), white), quality=85),
        "caption": f"{tile.name}, {tile.shape[1]:,} x {tile.shape[0]:,} pixels of {tile.pixel_scale:.3f} arcsec, "
        f"{', '.join(tile.bands)}",
        "arcsec": f"{STAMP:.0f}",
        "shown": [
            {
                "id": scores["id"][int(i)].as_py(),
                "picture": jpeg(to_composite(window(planes, x[i], y[i], half), white), 112),
                "caption": f"p = {score[i]:.3f}",
            }
            for i in rows[np.argsort(score[rows], kind="stable")][:MOST_ANOMALOUS]
        ],
    }


def colour_planes(tile: Tile) -> np.ndarray:
    """The tile's three channels, float32 [h, w, 3], the nearest band standing in where one is missing."""
    places = [tile.channels.index(band) for band in tile.bands]
    nearest = [tile.bands[int(np.argmin([abs(place - c) for place in places]))] for c in range(3)]
    return np.stack([tile.plane(band) for band in nearest], axis=-1)


def shrink(image: np.ndarray, largest: int) -> np.ndarray:
    """An image averaged over square blocks of pixels until its longer side is at most `largest`."""
    step = -(-max(image.shape[:2]) // largest)
    height, width = (side // step * step for side in image.shape[:2])
    blocks = np.nan_to_num(image[:height, :width]).reshape(height // step, step, width // step, step, -1)
    # FITS counts rows from below, pictures from above.
    return blocks.mean(axis=(1, 3))[::-1]


def window(planes: np.ndarray, x: float, y: float, half: int) -> np.ndarray:
    """The pixels around a place, up as on the sky picture: [2 half, 2 half, 3], with zeros where the tile ends.

    Parameters
    ----------
    planes : the tile, [h, w, 3].
    x, y : the place, pixels.
    half : pixels on each side.
    """
    stamp = np.zeros((2 * half, 2 * half, planes.shape[2]), dtype="float32")
    left, bottom = round(x) - half, round(y) - half
    x0, y0 = max(left, 0), max(bottom, 0)
    x1, y1 = min(left + 2 * half, planes.shape[1]), min(bottom + 2 * half, planes.shape[0])
    if x1 > x0 and y1 > y0:
        stamp[y0 - bottom : y1 - bottom, x0 - left : x1 - left] = np.nan_to_num(planes[y0:y1, x0:x1])
    return stamp[::-1]


def _white(planes: np.ndarray) -> float:
    """A white level for a whole field: well above its noise, so that galaxies and not the sky are seen."""
    intensity = planes[:: max(1, planes.shape[0] // 1500), :: max(1, planes.shape[1] // 1500)].mean(axis=-1)
    good = intensity[np.isfinite(intensity)]
    if not good.size:
        return 1.0
    noise = 1.4826 * float(np.median(np.abs(good - np.median(good))))
    return max(2 * float(np.quantile(good, 0.997)), 40 * noise, 1e-9)


def models_of(scores: pa.Table) -> Sequence[str]:
    """The models that made the scores, as ``name version``."""
    pairs = zip(scores["model"].to_pylist(), scores["model_version"].to_pylist(), strict=True)
    return sorted({f"{model} {version}" for model, version in pairs})
