"""The point-spread function of a tile, from its point sources, and which galaxies are larger than it.

Unsaturated point sources all have one size whatever their brightness: in a plot of size against magnitude they are a
narrow band below the galaxies. Galaxies are compared with those that were found on the same image and measured in the
same way, so that what measuring does to a size cancels.
"""

from dataclasses import dataclass

import numpy as np
import sep
from scipy.stats import exponnorm, norm

from morph.stamps.cutting import cut_from
from morph.stamps.flags import Flag
from morph.stamps.measurements import StampMeasurements, full_widths, measure
from morph.stamps.noise import scatter
from morph.stamps.photometry import MOFFAT_HALF_LIGHT
from morph.tiles.strip_reader import Strip

#: Below this signal-to-noise, within the half-light radius in r, no structure is visible.
LEAST_SIGNAL = 20.0

#: A source not larger than this many times a point source is not resolved.
RESOLVED = 1.1

#: A source more likely to be a point than not.
LIKELY = 0.5

#: Columns that are searched at a time, and candidates after which no more are looked for.
COLUMNS, ENOUGH = 1024, 120

#: Candidates stand out by so many sigma in each of so many pixels, have a flux of this signal-to-noise, and are round.
THRESHOLD, MIN_AREA, SIGNAL, ROUND = 15.0, 5, 50.0, 0.15

#: The band of point sources in the logarithm of the size, and how many make one.
BAND, LEAST = 0.08, 5

#: Sizes of galaxies above a point source's: the mean logarithm; and their concentration, mean and scatter.
LARGER, MORE_CONCENTRATED, CONCENTRATIONS = 0.5, 0.3, 0.3


@dataclass(frozen=True)
class PointSource:
    """What a tile's point sources look like: medians and scatters.

    Attributes
    ----------
    widths : full width at half maximum in each channel, pixels; NaN where the tile lacks it.
    size, scatter : as `StampMeasurements.size`, pixels, and its relative scatter.
    concentration, concentration_scatter : as `StampMeasurements.concentration`.
    """

    widths: tuple[float, ...]
    size: float
    scatter: float
    concentration: float
    concentration_scatter: float

    @property
    def fwhm(self) -> float:
        """Full width at half maximum, pixels, of the middle band or the first other one that the tile has."""
        return next(self.widths[channel] for channel in (1, 0, 2) if np.isfinite(self.widths[channel]))


class PointSources:
    """Looks for point sources on a tile's strips as they come, until there are enough.

    Attributes
    ----------
    typical : what they look like so far; None while there are too few.
    """

    def __init__(self) -> None:
        self.typical: PointSource | None = None
        self._sizes, self._concentrations, self._widths = np.empty(0), np.empty(0), np.empty((0, 3))
        self._last = 0

    def look(self, strip: Strip) -> None:
        """Take in a strip, of which the rows that came before are not looked at again."""
        start, self._last = max(self._last, strip.start), strip.stop
        if start >= strip.stop:
            return
        before = len(self._sizes)
        rows = strip.part(start, strip.stop)
        for left in range(0, strip.tile.shape[1], COLUMNS):
            if len(self._sizes) >= ENOUGH:
                break
            self._add(_candidates(rows, left))
        if len(self._sizes) > before:
            self.typical = _locus(self._sizes, self._widths, self._concentrations)

    def half_light(self) -> np.ndarray:
        """Half-light radii of the point sources in the tile's channels, pixels: [3]; NaN while there are too few.

        A band without data counts as the mean of the others.
        """
        if self.typical is None:
            return np.full(3, np.nan)
        found = MOFFAT_HALF_LIGHT * np.array(self.typical.widths)
        return np.where(np.isfinite(found), found, np.nanmean(found))

    def _add(self, found: tuple[StampMeasurements, np.ndarray] | None) -> None:
        if found is not None:
            measures, width = found
            self._sizes = np.append(self._sizes, measures.size)
            self._concentrations = np.append(self._concentrations, measures.concentration)
            self._widths = np.append(self._widths, width, axis=0)


def point_like(measures: StampMeasurements, signal: np.ndarray, typical: PointSource | None) -> np.ndarray:
    """The probability that each source is a point source.

    Points and galaxies count as equally common. The size of a point source scatters about the typical one by what
    the tile's bright ones and its own noise make of it; the logarithm of a galaxy's exceeds that by an exponential
    distribution of mean `LARGER`. The light's concentration enters likewise.

    Parameters
    ----------
    measures : of the sources, n of them.
    signal : [n], signal to noise.
    typical : the tile's point sources; None where too few are known.

    Returns
    -------
    float [n]; NaN where too few point sources are known, or the source is not measured.
    """
    if typical is None:
        return np.full(len(signal), np.nan)
    with np.errstate(all="ignore"):
        noise = 1 / np.maximum(signal, 1)
        spread = np.hypot(typical.scatter, noise)
        # A source smaller than a point source is not a galaxy either.
        excess = np.maximum(np.log(measures.size / typical.size), 0)
        width = np.hypot(typical.concentration_scatter, 3 * noise)
        offset = measures.concentration - typical.concentration
        point = norm.logpdf(excess, scale=spread) + norm.logpdf(offset, scale=width)
        galaxy = exponnorm.logpdf(excess, LARGER / spread, scale=spread)
        galaxy += norm.logpdf(offset, MORE_CONCENTRATED, np.hypot(width, CONCENTRATIONS))
        return 1 / (1 + np.exp(np.clip(galaxy - point, -50, 50)))


def unresolved(
    measures: StampMeasurements, signal: np.ndarray, probability: np.ndarray, typical: PointSource | None
) -> np.ndarray:
    """Whether sources show too little to be classified.

    Those with a signal-to-noise below `LEAST_SIGNAL`, and, where the tile's point sources are known, those that are
    not larger than `RESOLVED` times them or are `LIKELY` one of them.

    Parameters
    ----------
    measures, signal, typical : as for `point_like`.
    probability : [n], as from `point_like`.

    Returns
    -------
    bool [n].
    """
    faint = signal < LEAST_SIGNAL
    if typical is None:
        return faint
    return faint | (measures.size < RESOLVED * typical.size) | (probability > LIKELY)


def _candidates(strip: Strip, left: int) -> tuple[StampMeasurements, np.ndarray] | None:
    """Bright round sources on some columns of a strip, and their widths in the bands, [n, 3]."""
    tile = strip.tile
    # The tile's grid is that of its first band.
    band = tile.channels[1] if tile.aligned and tile.channels[1] in tile.bands else tile.bands[0]
    plane = np.array(strip.flux[band][:, left : left + COLUMNS], dtype="float32", order="C")
    bad = np.isnan(plane)
    some = plane[::7, ::7][~bad[::7, ::7]]
    if some.size < 100:
        return None
    sky = float(np.median(some))
    noise = 1.4826 * float(np.median(np.abs(some - sky)))
    plane -= sky
    plane[bad] = 0
    if noise <= 0:
        return None
    try:
        sources = sep.extract(
            plane, THRESHOLD * noise, mask=bad, minarea=MIN_AREA, filter_kernel=None, deblend_cont=1.0
        )
    except Exception:  # sep raises bare Exception where its pixel stack overflows
        return None
    sources = sources[(sources["flag"] == 0) & (sources["b"] > 0.6 * sources["a"])][:ENOUGH]
    if not len(sources):
        return None
    radius, _ = sep.flux_radius(
        plane, sources["x"], sources["y"], np.maximum(6 * sources["a"], 4), 0.5, mask=bad, subpix=5
    )
    x, y = sources["x"] + left, sources["y"] + strip.start
    stamps, flags = cut_from(strip, x, y, radius)
    found, width = measure(stamps, radius), full_widths(stamps, radius)
    signal = np.nanmax(np.nan_to_num(found.flux / found.flux_err), axis=1)
    # Point sources of sharp images are small.
    good = ((flags & ~int(Flag.MISSING_BAND | Flag.TOO_SMALL)) == 0) & (signal > SIGNAL) & (found.ellipticity < ROUND)
    good &= np.isfinite(width).any(axis=1) & np.isfinite(found.concentration) & (found.size > 0)
    return found.of(good), width[good]


def _locus(size: np.ndarray, width: np.ndarray, concentration: np.ndarray) -> PointSource | None:
    """The smallest size that many candidates share; None where there is none."""
    order = np.argsort(size)
    logarithm = np.log(size[order])
    ends = np.searchsorted(logarithm, logarithm + BAND, side="right")
    beyond = np.searchsorted(logarithm, logarithm + 4 * BAND, side="right")
    starts = np.arange(len(order))
    count, above = ends - starts, (beyond - ends) / 3
    band = (count >= LEAST) & (count >= 2 * above) & (starts <= np.maximum(2, 0.15 * len(order)))
    if not band.any():
        return None
    first = int(np.argmax(np.where(band, count, 0)))
    chosen = order[first : ends[first]]
    return PointSource(
        tuple(
            float(np.median(each[seen])) if (seen := np.isfinite(each)).any() else np.nan for each in width[chosen].T
        ),
        float(np.median(size[chosen])),
        max(scatter(np.log(size[chosen])), 0.01),
        float(np.median(concentration[chosen])),
        max(scatter(concentration[chosen]), 0.02),
    )
