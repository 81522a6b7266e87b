"""The noise of sums over pixels of a tile: by its weights, scaled to the scatter of its sky.

Weights are often known up to a factor only, and those of a coadd describe single pixels: resampling has correlated
neighbours, and the sum of many is noisier than if they were independent (Fruchter & Hook 2002, section 7). Both
are one factor, which the sums of blocks of sky show.
"""

import numpy as np

from morph.tiles.strip_reader import Strip
from morph.tiles.tile import Tile

#: Rows and columns of a tile at which weights are read: they change with the exposures that overlap, not from pixel
#: to pixel.
SAMPLED = 64

#: Pixels on a side of a block: more than resampling correlates, less than a galaxy.
BLOCK = 8

#: Blocks that are summed in a strip, at least: whole rows of them.
BLOCKS = 1200

#: Blocks whose brightest pixel stands out by fewer sigma are sky.
PEAK = 4.0

#: Blocks that measure the noise to a few per cent, and after which no more are added.
LEAST, ENOUGH = 300, 6000


class SkyNoise:
    """The noise of a tile's sky. It looks at strips as they come."""

    def __init__(self, tile: Tile):
        self._tile = tile
        self._weights = {band: weights for band in tile.bands if (weights := _sampled_weights(tile, band)) is not None}
        self._last = 0
        # Of each band: differences of blocks over the noise that they would have if pixels were independent, as noisy
        # as the weights say, and as noisy as they are themselves.
        self._found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {band: [] for band in tile.bands}

    def look(self, strip: Strip) -> None:
        """Take in a strip, of which the rows that came before are not looked at again."""
        start, self._last = max(self._last, strip.start), strip.stop
        lines = -(-BLOCKS * BLOCK // strip.tile.shape[1])
        step = max((strip.stop - start) // lines, BLOCK)
        for top in range(start, strip.stop - BLOCK + 1, step):
            for band, found in self._found.items():
                if sum(len(each[0]) for each in found) >= ENOUGH:
                    continue
                self._add(band, top, strip.flux[band][top - strip.start : top - strip.start + BLOCK])

    def _add(self, band: str, top: int, rows: np.ndarray) -> None:
        count = rows.shape[1] // BLOCK
        pixels = rows[:, : count * BLOCK]
        some = pixels[BLOCK // 2]
        some = some[np.isfinite(some)]
        if len(some) < LEAST / 10:
            return
        sky, own = float(np.median(some)), scatter(some)
        sums = pixels.reshape(BLOCK, count, BLOCK).sum(axis=(0, 2))
        # A block with a source in it or beside it is not sky; nor is one without data, which is NaN.
        lit = ~(pixels.max(axis=0).reshape(count, BLOCK).max(axis=1) < sky + PEAK * own)
        lit[1:] |= lit[:-1].copy()
        lit[:-1] |= lit[1:].copy()
        sums[lit] = np.nan
        # Neighbours share what is left of the sky; their difference has twice the variance.
        difference = sums[1:] - sums[:-1]
        difference = difference[np.isfinite(difference)]
        if len(difference) < 2 or own <= 0:
            return
        expected = np.nan
        if band in self._weights:
            weight = self._at(band, np.arange(count) * BLOCK + BLOCK / 2, np.full(count, top + BLOCK / 2))
            weight = weight[np.isfinite(weight)]
            expected = 1 / np.sqrt(np.median(weight)) if len(weight) else np.nan
        self._found[band].append(
            (difference / (np.sqrt(2) * BLOCK * expected), difference / (np.sqrt(2) * BLOCK * own))
        )

    def of_pixels(self, band: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The noise per pixel of sums around some places: the noise of a sum of k pixels is sqrt(k) times this.

        Parameters
        ----------
        band : one of the tile's.
        x, y : [n], places on the tile, pixels.

        Returns
        -------
        float [n], nanomaggies; NaN without weights.
        """
        if band not in self._weights or not np.isfinite(factor := self._factor(band, 0)):
            return np.full(len(x), np.nan)
        return factor / np.sqrt(self._at(band, *self._tile.places(band, x, y)))

    def correlation(self, band: str) -> float:
        """How much noisier sums are than if pixels, as noisy as they are, were independent; 1 where not known."""
        factor = self._factor(band, 1)
        return max(factor, 1.0) if np.isfinite(factor) else 1.0

    def _factor(self, band: str, which: int) -> float:
        found = self._found.get(band, [])
        if sum(len(each[0]) for each in found) < LEAST:
            return np.nan
        return scatter(np.concatenate([each[which] for each in found]))

    def _at(self, band: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        weights = self._weights[band]
        known = np.isfinite(x) & np.isfinite(y)
        height, width = self._tile.shape
        row, column = (
            np.clip(np.where(known, place, 0) / length * count, 0, count - 1).astype(int)
            for place, length, count in zip((y, x), (height, width), weights.shape, strict=True)
        )
        return np.where(known, weights[row, column], np.nan)


def _sampled_weights(tile: Tile, band: str) -> np.ndarray | None:
    """Inverse variances, nanomaggies to the power -2, at equal distances over a tile; NaN where there are none.

    None where the tile has no weights in the band. InputError when the file turns out to be damaged.
    """
    calibrated, (height, width) = tile.calibrated(band), tile.shape
    if calibrated.weights is None:
        return None
    lines, count = min(height, SAMPLED), min(width, SAMPLED)
    edges = np.arange(count + 1) * width // count
    found = np.empty((lines, count))
    with calibrated.weights.opened() as rows:
        for line in range(lines):
            row = int((line + 0.5) * height / lines)
            weight = calibrated.inverse_variance(rows(row, row + 1))[0].astype(float)
            weight[weight <= 0] = np.nan
            seen = np.isfinite(weight)
            total = np.add.reduceat(np.where(seen, weight, 0), edges[:-1])
            number = np.add.reduceat(seen, edges[:-1], dtype=int)
            found[line] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return found


def scatter(values: np.ndarray) -> float:
    """Scaled median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else np.nan
