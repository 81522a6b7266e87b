"""From the rings of galaxies to a table: surface brightness, ellipticity and colour, each with its 16 and 84 %."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from morph.analysis.stacking.combine import Profile, at_certainty, combine, draw, standard_error
from morph.analysis.stacking.cutouts import SECTORS
from morph.analysis.stacking.measured import Measured
from morph.analysis.stacking.psf import DRAWS, StarStack, carried, in_units
from morph.analysis.stacking.sample import FEWEST
from morph.analysis.stacking.targets import star_edges
from morph.surveys import NANOMAGGY_ZERO_POINT

#: Light beyond so many units (or this part of the reach in kpc) is the halo's, when what the sky's subtraction takes
#: is scaled to the galaxies.
HALO = 0.2
#: Axis ratios that are tried, minor over major; above 1 the other axis is the longer.
RATIOS = np.geomspace(0.2, 5.0, 81)
#: Sectors around the major axis; the others are around the minor one.
MAJOR = np.isin(np.arange(SECTORS), (0, 3, 4, 7))


@dataclass(frozen=True)
class Result:
    """A stack's profile.

    Attributes
    ----------
    measured : what it was made from.
    kind : how galaxies were combined.
    stacked : as stacked.
    stars : {band: stack of stars}; None where there are too few.
    wings, wings_error : [bands, rings], what the point-spread function carried there.
    impurity, impurity_error : [bands, rings], what wrong types changed, which is added, and what is not known of it.
    influence : [n, bands, rings], of the corrected profile.
    sky_error : [bands], standard error of the sky's level.
    lost : [bands, rings], what a subtraction of the sky in the survey's mesh would have taken; NaN where not asked.
    notes : what was left out, one sentence each.
    """

    measured: Measured
    kind: str
    stacked: Profile
    stars: dict[str, StarStack | None]
    wings: np.ndarray
    wings_error: np.ndarray
    impurity: np.ndarray
    impurity_error: np.ndarray
    influence: np.ndarray
    sky_error: np.ndarray
    lost: np.ndarray
    notes: tuple[str, ...]

    @property
    def bands(self) -> tuple[str, ...]:
        return self.measured.plan.bands

    @property
    def edges(self) -> np.ndarray:
        return self.measured.plan.edges

    @property
    def radius(self) -> np.ndarray:
        """Of the rings: the mean of their area's radius squared, as a radius."""
        return np.sqrt((self.edges[:-1] ** 2 + self.edges[1:] ** 2) / 2)

    @property
    def areas(self) -> np.ndarray:
        return np.pi * np.diff(self.edges**2)

    @property
    def flux(self) -> np.ndarray:
        """The profile, corrected for the wings and for wrong types: [bands, rings]."""
        return self.stacked.flux - self.wings + self.impurity

    @property
    def error(self) -> np.ndarray:
        """Its standard error: galaxies, sky, wings and types."""
        others = self.sky_error[:, None] ** 2 + self.wings_error**2 + self.impurity_error**2
        return np.sqrt(standard_error(self.influence) ** 2 + others)

    def draws(self) -> np.ndarray:
        """The corrected profile as often as its error is drawn: [draws, bands, rings]."""
        found = self.flux + draw(self.influence)
        rng = np.random.default_rng(1)
        for error in (self.sky_error[:, None], self.wings_error, self.impurity_error):
            # Each moves all rings together.
            found += rng.standard_normal((len(found), len(self.bands), 1)) * error
        return found


def surface_brightness(flux: np.ndarray) -> np.ndarray:
    """Mag per square arcsec of nanomaggies per square arcsec; infinite where there is no light."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(
            flux > 0, NANOMAGGY_ZERO_POINT - 2.5 * np.log10(flux), np.where(np.isnan(flux), np.nan, np.inf)
        )


def make_profile(measured: Measured, kind: str) -> Result:
    """The profile of the chosen galaxies, corrected for the wings of the point-spread function and for wrong types.

    Parameters
    ----------
    measured : of all tiles.
    kind : "mean", "median" or "clipped".
    """
    notes: list[str] = []
    cells, members = measured.cells(), measured.chosen
    stacked = combine(cells, kind, members)
    impurity, impurity_error, influence = _impurity(measured, kind, stacked, notes)
    stars: dict[str, StarStack | None] = {}
    wings, wings_error = np.zeros_like(stacked.flux), np.zeros_like(stacked.flux)
    light = _light(measured)
    units = measured.sample.unit[members]
    for k, band in enumerate(measured.plan.bands):
        stars[band] = StarStack.of(measured.star_mean[:, k], measured.star_cover[:, k], star_edges())
        if stars[band] is None:
            notes.append(f"There are too few stars in {band}: the profile is not corrected for the PSF's wings.")
        elif np.isfinite(stacked.flux[k]).all():
            flux = stacked.flux[k] + impurity[k]
            wings[k], wings_error[k] = _wings(measured, k, flux, stacked.error[k], units, light)
    return Result(
        measured=measured,
        kind=kind,
        stacked=stacked,
        stars=stars,
        wings=wings,
        wings_error=wings_error,
        impurity=impurity,
        impurity_error=impurity_error,
        influence=influence,
        sky_error=measured.sky_level_error(measured.tile[members]),
        lost=_lost(measured, stacked.flux),
        notes=tuple(notes),
    )


def _impurity(
    measured: Measured, kind: str, stacked: Profile, notes: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What wrong types changed, what is not known of that, and the influence of the profile without them.

    Other types' brightness differs from the stack's by about as much as the stack's own, before anything is measured:
    where the galaxies say less than that, the correction is smaller.
    """
    nothing = np.zeros_like(stacked.flux)
    if not measured.sample.of_smooth or kind == "median":
        why = "a median is not a mean of types" if kind == "median" else "not all galaxies are chosen as smooth"
        notes.append(f"The profile is not corrected for wrong types: {why}.")
        return nothing, nothing, stacked.influence
    pure = at_certainty(measured.cells(), measured.sample.smooth, kind)
    wrong = float(1 - measured.sample.smooth[measured.chosen].mean())
    expected = wrong / (1 - wrong) * np.maximum(np.nan_to_num(stacked.flux), 0)
    scatter = standard_error(pure.influence - stacked.influence)
    known = np.isfinite(pure.flux) & (scatter > 0) & (expected > 0)
    share = np.where(known, expected**2 / np.where(known, expected**2 + scatter**2, 1), 0)
    if not known.any():
        notes.append("The probabilities are too much alike to correct for wrong types.")
    change = share * np.where(known, pure.flux - stacked.flux, 0)
    influence = stacked.influence + share * (pure.influence - stacked.influence)
    return change, expected * np.sqrt(1 - share), influence.astype("float32")


def _light(measured: Measured) -> np.ndarray:
    """The light of each chosen galaxy in its own units, by which the point-spread functions are weighed: [n]."""
    rings = slice(0, len(measured.plan.edges) // 2)
    cells = measured.cells()
    middle = min(1, len(measured.plan.bands) - 1)
    areas = np.pi * np.diff(measured.plan.edges**2)
    return (cells.mean[measured.chosen][:, middle, rings].mean(axis=-1) * areas[rings]).sum(axis=-1)


def _wings(
    measured: Measured, band: int, flux: np.ndarray, error: np.ndarray, units: np.ndarray, light: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the point-spread function carries to each ring, and the scatter of that when stars are drawn anew."""
    mean, cover, edges = measured.star_mean[:, band], measured.star_cover[:, band], star_edges()
    rng = np.random.default_rng(0)
    found = []
    for number in range(DRAWS):
        rows = rng.integers(0, len(mean), len(mean)) if number else np.arange(len(mean))
        stack = StarStack.of(mean[rows], cover[rows], edges)
        if stack is not None:
            found.append(carried(flux, error, measured.plan.edges, *in_units(stack, units, light)))
    return found[0], np.std(found[1:], axis=0) if len(found) > 2 else np.zeros(len(flux))


def halo_rings(measured: Measured) -> np.ndarray:
    """Rings whose light is the halo's: bool [rings]."""
    return measured.plan.edges[:-1] >= HALO * measured.plan.reach


def _lost(measured: Measured, flux: np.ndarray) -> np.ndarray:
    """What a subtraction of the sky would have taken from the stack, as it takes from injected haloes."""
    if not len(measured.injected_eaten):
        return np.full_like(flux, np.nan)
    eaten = measured.injected_eaten.mean(axis=(0, -1))
    truth = measured.injected_truth.mean(axis=(0, -1))
    outer = halo_rings(measured) * np.pi * np.diff(measured.plan.edges**2)
    own, injected = (np.nansum(np.maximum(light, 0) * outer, axis=1) for light in (flux, truth))
    return eaten * (own / np.maximum(injected, 1e-30))[:, None]


def ellipticity(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """1 - b/a in each ring, and draws of it: [bands, rings], [draws, bands, rings].

    From the light around the major axis over that around the minor one, and how steeply the profile falls. Negative
    where the minor axis is the longer.
    """
    members, cells = result.measured.chosen, result.measured.cells()
    major, minor = (combine(cells, result.kind, members, sectors) for sectors in (MAJOR, ~MAJOR))
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = -np.gradient(np.log(np.maximum(result.stacked.flux, 1e-12)), np.log(result.radius), axis=1)
    value = _flattening(major.flux, minor.flux, slope)
    moved = (one.flux + draw(one.influence) for one in (major, minor))
    return value, _flattening(next(moved), next(moved), slope)


def _flattening(major: np.ndarray, minor: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The ellipticity for which the light in two pairs of quadrants has this ratio; NaN where there is no light."""
    turn = np.pi / 4 * (np.arange(16) + 0.5) / 16
    found = np.full(major.shape, np.nan)
    for band, ring in np.ndindex(slope.shape):
        steep = slope[band, ring]
        if not (np.isfinite(steep) and steep > 0.3):
            continue
        near, far = (
            (RATIOS[:, None] * np.cos(t) ** 2 + np.sin(t) ** 2 / RATIOS[:, None]) ** (-steep / 2)
            for t in (turn, turn + np.pi / 4)
        )
        ratio = np.log(near.mean(axis=1) / far.mean(axis=1))
        light, other = major[..., band, ring], minor[..., band, ring]
        known = (light > 0) & (other > 0)
        seen = np.log(np.where(known, light, 1) / np.where(known, other, 1))
        q = np.exp(np.interp(seen, ratio[::-1], np.log(RATIOS)[::-1]))
        found[..., band, ring] = np.where(known, np.where(q <= 1, 1 - q, 1 / q - 1), np.nan)
    return found


def _quantiles(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 16 and 84 % of draws over the first axis; NaN where most draws have no value."""
    enough = np.isfinite(draws).mean(axis=0) > 0.5
    filled = np.where(enough, draws, 0)
    low, high = np.nanquantile(filled, [0.16, 0.84], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


#: Units of the table's columns.
UNITS = {"flux": "nanomaggy arcsec-2", "mu": "mag arcsec-2", "colour": "mag"}


def profile_table(result: Result, null: Profile, unit: str) -> pa.Table:
    """A row a band and ring.

    Parameters
    ----------
    result : the profile.
    null : of the random points.
    unit : of the radius, for the metadata.
    """
    draws = result.draws()
    low, high = np.quantile(draws, [0.16, 0.84], axis=0)
    flat, flat_draws = ellipticity(result)
    flat_low, flat_high = _quantiles(flat_draws)
    colour, colour_low, colour_high = (np.full_like(result.flux, np.nan) for _ in range(3))
    names = [""] * len(result.bands)
    for k in range(len(result.bands) - 1):
        names[k] = f"{result.bands[k]}-{result.bands[k + 1]}"
        with np.errstate(divide="ignore", invalid="ignore"):
            colour[k] = -2.5 * np.log10(result.flux[k] / result.flux[k + 1])
            colour_low[k], colour_high[k] = _quantiles(-2.5 * np.log10(draws[:, k] / draws[:, k + 1]))
    rings = len(result.radius)

    def column(values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=float).reshape(-1)
        return np.where(np.isfinite(values), values, np.nan)

    columns = {
        "band": np.repeat(result.bands, rings),
        "radius": np.tile(result.radius, len(result.bands)),
        "radius_inner": np.tile(result.edges[:-1], len(result.bands)),
        "radius_outer": np.tile(result.edges[1:], len(result.bands)),
        "mu": column(surface_brightness(result.flux)),
        "mu_16": column(surface_brightness(high)),
        "mu_84": column(surface_brightness(low)),
        "flux": column(result.flux),
        "flux_16": column(low),
        "flux_84": column(high),
        "flux_err": column(result.error),
        "flux_stacked": column(result.stacked.flux),
        "flux_wings": column(result.wings),
        "flux_types": column(result.impurity),
        "flux_sky_lost": column(result.lost),
        "flux_null": column(null.flux),
        "flux_null_err": column(null.error),
        "ellipticity": column(flat),
        "ellipticity_16": column(flat_low),
        "ellipticity_84": column(flat_high),
        "colour_name": np.repeat(names, rings),
        "colour": column(colour),
        "colour_16": column(colour_low),
        "colour_84": column(colour_high),
        "galaxies": column(result.stacked.number),
        "few": result.stacked.number.reshape(-1) < FEWEST,
    }
    fields = [
        pa.field(name, pa.array(values[:1]).type, metadata={"unit": _unit(name, unit)})
        for name, values in columns.items()
    ]
    arrays = [pa.array(values, from_pandas=True) for values in columns.values()]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _unit(name: str, radius: str) -> str:
    if name.startswith("radius"):
        return radius
    first = name.split("_")[0]
    return "" if name == "colour_name" else UNITS.get(first, "")
