"""Saturated pixels of images whose headers and masks do not mark them.

A star that is too bright for the detector has a plateau instead of a peak. A smooth peak, a star's or a galaxy's, has
fewer pixels within a tenth of its maximum than below: a Gaussian two and a half times fewer than between 0.7 and 0.9.
A plateau has more, however wide it is.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from morph.tiles.strip_reader import Strip

#: A plateau's least brightness, sigma of the sky: far below the level at which detectors saturate.
BRIGHT = 300.0

#: Parts of the maximum: a plateau's pixels are above the first, the flank next to it is between the two.
TOP, FLANK = 0.9, 0.7

#: Pixels that make a plateau.
LEAST = 4

#: With more bright pixels than this, the image is of another kind and is left as it is.
MOST = 200_000

#: The sky and its noise are measured on every so many-th pixel.
SAMPLED = 97


def mark_saturated(strip: Strip) -> None:
    """Mark saturated pixels in the bands of a strip whose files do not give them."""
    for band, flux in strip.flux.items():
        if not strip.tile.calibrated(band).has_saturation_info:
            strip.saturated[band] |= plateaus(flux)


def plateaus(flux: np.ndarray) -> np.ndarray:
    """The pixels of plateaus: bool [h, w].

    Parameters
    ----------
    flux : [h, w], any linear unit, NaN where there is no data.
    """
    found = np.zeros(flux.shape, dtype=bool)
    sample = flux.ravel()[::SAMPLED]
    sample = sample[np.isfinite(sample)]
    if not len(sample):
        return found
    sky = float(np.median(sample))
    noise = 1.4826 * float(np.median(np.abs(sample - sky)))
    rows, columns = np.nonzero(flux > sky + FLANK * BRIGHT * noise) if noise > 0 else (np.empty(0, int),) * 2
    if not LEAST <= len(rows) <= MOST:
        return found
    light = flux[rows, columns] - sky
    label = _connected(rows, columns)
    peak = np.zeros(label.max() + 1)
    np.maximum.at(peak, label, light)
    share = light / peak[label]
    top = np.bincount(label[share >= TOP], minlength=len(peak))
    flank = np.bincount(label[(share < TOP) & (share >= FLANK)], minlength=len(peak))
    flat = (top >= LEAST) & (top > flank) & (peak >= BRIGHT * noise)
    chosen = flat[label] & (share >= TOP)
    found[rows[chosen], columns[chosen]] = True
    return found


def _connected(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The number of the group of touching pixels to which each belongs: int [n]."""
    pairs = KDTree(np.column_stack([rows, columns])).query_pairs(1.5, output_type="ndarray")
    count = len(rows)
    graph = coo_array((np.ones(len(pairs), dtype="int8"), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]
