"""What one tile gives to a stack: its galaxies, random points, injected haloes, stars and sky.

The tile is read some rows at a time, so that memory does not grow with it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sep

from morph.analysis.stacking import injection, sky
from morph.analysis.stacking.cutouts import IMAGE, SECTORS, Window
from morph.analysis.stacking.sample import Sample
from morph.analysis.stacking.sky import Sky
from morph.analysis.stacking.sources import GROWTHS, MASK, USED, Sources, find_sources, find_stars
from morph.analysis.stacking.targets import STAR_REACH, STAR_RINGS, Plan, Targets, own_galaxies, star_edges
from morph.stamps.photometry import MOFFAT_HALF_LIGHT
from morph.tiles import saturation
from morph.tiles.footprints import Overlap
from morph.tiles.strip_reader import Strip, read_strips
from morph.tiles.tile import Tile

#: Pixels of a tile's rows that are measured together, the fewest rows, and rows beyond the cutouts in which sources
#: are whole.
PIXELS, FEWEST_ROWS, MARGIN = 8_000_000, 128, 64
#: Random points for each galaxy that become a null stack, and the fewest of a tile.
NULLS, FEWEST_NULLS = 1.0, 4
#: The share of these points, and the most of a tile, that are measured again with a halo.
INJECTED, MOST_INJECTED = 0.34, 40
#: Stars of a strip.
STARS = 24


@dataclass
class _Found:
    """What is measured at some places, in the order in which it is found."""

    rows: list[int] = field(default_factory=list)
    mean: list[np.ndarray] = field(default_factory=list)
    cover: list[np.ndarray] = field(default_factory=list)
    image: list[np.ndarray] = field(default_factory=list)


def measure_tile(group: Sequence[Path], sample: Sample, plan: Plan, overlap: Overlap | None) -> dict[str, np.ndarray]:
    """All that a tile gives to a stack.

    Parameters
    ----------
    group : its files.
    sample : galaxies; those of other tiles are left out.
    plan : how cutouts are made.
    overlap : with its neighbours.

    Returns
    -------
    dict of arrays. ``rows``, ``reason`` [n]: which galaxies of the sample are its own, and why one has no cutout.
        ``galaxy_``, ``null_``, ``injected_`` and ``star_`` each with ``rows`` [m], and ``mean`` and ``cover`` as
        `Window.cells` returns them, the sky subtracted; ``galaxy_image`` and ``null_image`` float16 [m, bands,
        `IMAGE`, `IMAGE`]; ``injected_truth``, ``injected_others`` and ``injected_eaten`` [m, bands, rings, sectors];
        ``sky_error``, ``sky_scatter``, ``sky_points`` [bands]; ``simulated``.

    Raises
    ------
    InputError : a file is damaged, or too crowded to be masked.
    """
    with Tile.open(group, plan.survey, overlap) as tile:
        return _Part(tile, sample, plan).measure()


class _Part:
    """One tile being measured."""

    def __init__(self, tile: Tile, sample: Sample, plan: Plan):
        self.tile, self.plan = tile, plan
        digest = hashlib.sha256(f"{tile.name} {plan.seed}".encode()).digest()
        self.rng = np.random.default_rng(list(digest))
        self.rows, self.reason, self.galaxies = own_galaxies(tile, sample, plan)
        self.nulls = self._random(max(FEWEST_NULLS, round(NULLS * len(self.galaxies)))) if len(self.galaxies) else None
        self.points = self.rng.uniform(0, 1, (int(np.prod(tile.shape) / sky.PIXELS_PER_POINT) + 8, 2)) * tile.shape
        self.levels = np.full((len(self.points), len(plan.bands)), np.nan)
        self.found = {name: _Found() for name in ("galaxy", "null", "injected", "star")}
        self.star_places: list[tuple[float, float]] = []
        self.truth: list[np.ndarray] = []
        self.others: list[np.ndarray] = []
        self.eaten: list[np.ndarray] = []

    def _random(self, count: int) -> Targets:
        """Random places, each with the size and angle of a galaxy of this tile."""
        x, y = np.empty(0), np.empty(0)
        height, width = self.tile.shape
        for _ in range(50):
            some_x, some_y = self.rng.uniform(0, width - 1, 4 * count), self.rng.uniform(0, height - 1, 4 * count)
            own = self.tile.answers_for(*self.tile.sky(some_x, some_y))
            x, y = np.append(x, some_x[own]), np.append(y, some_y[own])
            if len(x) >= count:
                break
        like = self.galaxies.take(self.rng.permutation(np.resize(np.arange(len(self.galaxies)), len(x[:count]))))
        return Targets(x[:count], y[:count], like.unit, like.radius, like.angle)

    def measure(self) -> dict[str, np.ndarray]:
        if self.nulls is None or not len(self.nulls):
            return self._result([])
        height = self.tile.shape[0]
        margin = int(self.plan.reach * max(self.galaxies.unit.max(), self.nulls.unit.max())) + MARGIN
        rows = max(FEWEST_ROWS, PIXELS // self.tile.shape[1] - 2 * margin)
        starts = np.arange(0, height, rows)
        stops = np.minimum(starts + rows, height)
        low, high = np.maximum(starts - margin, 0), np.minimum(stops + margin, height)
        for strip, ready in read_strips(self.tile, low, high, step=256):
            for k in ready.tolist():
                part = strip.part(int(low[k]), int(high[k]))
                saturation.mark_saturated(part)
                self._look(part, int(starts[k]), int(stops[k]))
        return self._result(
            [Sky.fit(self.points[:, 1], self.points[:, 0], level, self.tile.shape) for level in self.levels.T]
        )

    def _look(self, strip: Strip, start: int, stop: int) -> None:
        """Measure what has its centre between two rows."""
        assert self.nulls is not None
        sources = find_sources(strip)
        self._cut("galaxy", strip, sources, self.galaxies, start, stop)
        self._cut("null", strip, sources, self.nulls, start, stop)
        self._star(strip, sources, start, stop)
        self._sky(strip, sources, start, stop)
        self._inject(strip, sources, start, stop)

    def _cut(self, what: str, strip: Strip, sources: Sources, targets: Targets, start: int, stop: int) -> None:
        """The galaxies, random points or injected haloes in some rows."""
        found = self.found[what]
        for k in np.flatnonzero((targets.y >= start - 0.5) & (targets.y < stop - 0.5)).tolist():
            x, y, unit, radius, angle = (float(values[k]) for values in vars(targets).values())
            half = int(np.ceil(self.plan.reach * unit)) + 2
            others = sources if what == "null" else sources.without(x, y, radius)
            window = Window.around(strip, self.plan.bands, others, x, y, half)
            mean, cover = window.cells(self.plan.edges, unit, angle)
            found.rows.append(k)
            found.mean.append(mean)
            found.cover.append(cover)
            if what != "injected":
                found.image.append(window.image(self.plan.reach * unit, angle))

    def _star(self, strip: Strip, sources: Sources, start: int, stop: int) -> None:
        """The PSF's rings from the brightest stars in some rows."""
        found, scale = self.found["star"], self.tile.pixel_scale
        half = int(STAR_REACH / scale) + 2
        here = sources.select((sources.y >= start) & (sources.y < stop))
        for k in find_stars(here, STARS).tolist():
            x, y = float(here.x[k]), float(here.y[k])
            window = Window.around(strip, self.plan.bands, sources.without(x, y, float(here.size[k])), x, y, half)
            mean, cover = window.cells(star_edges(), 1 / scale, sectors=1)
            found.rows.append(len(found.rows))
            found.mean.append(mean[USED, ..., 0])
            found.cover.append(cover[USED, ..., 0])
            self.star_places.append((x, y))

    def _sky(self, strip: Strip, sources: Sources, start: int, stop: int) -> None:
        """The levels at the random points in some rows."""
        here = np.flatnonzero((self.points[:, 0] >= start) & (self.points[:, 0] < stop))
        mask = np.zeros((strip.stop - strip.start, self.tile.shape[1]), dtype=bool)
        if len(sources):
            growth = MASK * GROWTHS[USED]
            sep.mask_ellipse(mask, sources.x, sources.y - strip.start, sources.a, sources.b, sources.theta, r=growth)
        for column, band in enumerate(self.plan.bands):
            if band in strip.flux:
                plane = np.where(mask, np.nan, strip.window(band, 0, strip.start, mask.shape))
                level = sky.box_levels(plane[None], self.points[here, 1], self.points[here, 0] - strip.start)
                self.levels[here, column] = level[:, 0] / self.tile.pixel_scale**2

    def _inject(self, strip: Strip, sources: Sources, start: int, stop: int) -> None:
        """Put haloes at some of the random points in some rows, and measure there again."""
        assert self.nulls is not None
        most = min(MOST_INJECTED, int(np.ceil(INJECTED * len(self.nulls))))
        here = (self.nulls.y >= start - 0.5) & (self.nulls.y < stop - 0.5) & (np.arange(len(self.nulls)) < most)
        chosen = np.flatnonzero(here)
        if not len(chosen):
            return
        there, bands, scale = self.nulls.take(chosen), self.plan.bands, self.tile.pixel_scale
        planes = np.zeros((len(bands), strip.stop - strip.start, self.tile.shape[1]), dtype="float32")
        stars = sources.size[find_stars(sources, STARS)]
        seeing = float(np.median(stars)) / MOFFAT_HALF_LIGHT if len(stars) else 1.0 / scale
        models = []
        for x, y, unit, radius, _ in zip(*vars(there).values(), strict=True):
            half = int(np.ceil(injection.BEYOND * self.plan.reach * unit)) + 2
            models.append(injection.model(float(x), float(y), half, float(radius), scale, bands, seeing))
            injection.add(planes, models[-1], float(x), float(y) - strip.start)
        filled = injection.with_models(strip, bands, planes)
        again = find_sources(filled)
        found = self.found["injected"]
        before = len(found.rows)
        self._cut("injected", filled, again, there, start, stop)
        found.rows[before:] = chosen.tolist()
        light = Strip(self.tile, strip.start, strip.stop, dict(zip(bands, planes * scale**2, strict=True)), {}, {})
        for k, model in enumerate(models):
            self._compare(light, again, there.take(np.array([k])), model)
        if self.plan.mesh:
            self._eat(strip, planes, there)

    def _compare(self, light: Strip, sources: Sources, there: Targets, model: np.ndarray) -> None:
        """What was put at a place, and what the others that were put on the strip bring there."""
        x, y, unit, radius, angle = (float(values[0]) for values in vars(there).values())
        half, middle = int(np.ceil(self.plan.reach * unit)) + 2, len(model[0]) // 2
        part = slice(middle - half, middle + half + 1)
        together = Window.around(light, self.plan.bands, sources.without(x, y, radius), x, y, half)
        alone = Window(model[:, part, part], np.zeros_like(together.levels), together.x, together.y)
        there_too = np.where(np.isfinite(together.flux), alone.flux, np.nan)
        masked = Window(there_too, together.levels, together.x, together.y)
        every, own, whole = (each.cells(self.plan.edges, unit, angle)[0][USED] for each in (together, masked, alone))
        self.truth.append(whole)
        self.others.append(every - own)

    def _eat(self, strip: Strip, planes: np.ndarray, there: Targets) -> None:
        """What the survey's subtraction of the sky would have taken of the haloes in `planes`, more than elsewhere."""
        lost = np.zeros_like(planes)
        for column, band in enumerate(self.plan.bands):
            if band in strip.flux:
                own = strip.window(band, 0, strip.start, planes.shape[1:]) / np.float32(self.tile.pixel_scale**2)
                lost[column] = injection.eaten(own, planes[column], self.plan.mesh)
                # Random points lose light too, and the sky is measured there.
                lost[column] -= lost[column].mean()
        lost *= np.float32(self.tile.pixel_scale**2)
        taken = Strip(self.tile, strip.start, strip.stop, dict(zip(self.plan.bands, lost, strict=True)), {}, {})
        nothing = Sources(*(np.empty(0) for _ in range(7)))
        for x, y, unit, _, angle in zip(*vars(there).values(), strict=True):
            half = int(np.ceil(self.plan.reach * unit)) + 2
            window = Window.around(taken, self.plan.bands, nothing, float(x), float(y), half)
            self.eaten.append(window.cells(self.plan.edges, float(unit), float(angle))[0][USED])

    def _result(self, skies: list[Sky]) -> dict[str, np.ndarray]:
        """The arrays to be kept, the sky subtracted."""
        bands, rings, sectors = len(self.plan.bands), len(self.plan.edges) - 1, SECTORS
        result: dict[str, np.ndarray] = {"rows": self.rows, "reason": self.reason}
        result["simulated"] = np.array(self.tile.simulated)
        result["sky_error"] = np.array([each.error for each in skies] or [np.nan] * bands)
        result["sky_scatter"] = np.array([each.scatter for each in skies] or [np.nan] * bands)
        result["sky_points"] = np.array([each.points for each in skies] or [0] * bands)
        for what, found in self.found.items():
            shape = (len(GROWTHS), bands, rings, sectors) if what != "star" else (bands, STAR_RINGS)
            mean = np.array(found.mean, dtype="float32").reshape(-1, *shape)
            cover = np.array(found.cover, dtype="float32").reshape(-1, *shape)
            level = self._levels(what, found, skies)
            # One level a place and band, whatever else there is.
            mean -= np.expand_dims(
                level, tuple(n for n in range(mean.ndim) if n not in (0, 1 if what == "star" else 2))
            )
            # A cell with nothing in it has no brightness.
            mean[cover == 0] = 0
            result |= {f"{what}_rows": np.array(found.rows, dtype=int), f"{what}_mean": mean, f"{what}_cover": cover}
            if what in ("galaxy", "null"):
                images = np.array(found.image, dtype="float32").reshape(-1, bands, IMAGE, IMAGE)
                result[f"{what}_image"] = (images - level[:, :, None, None]).astype("float16")
        flat = (-1, bands, rings, sectors)
        for name, values in (("truth", self.truth), ("others", self.others), ("eaten", self.eaten)):
            result[f"injected_{name}"] = np.array(values, dtype="float32").reshape(flat)
        return result

    def _levels(self, what: str, found: _Found, skies: list[Sky]) -> np.ndarray:
        """The sky at the places that were measured: [m, bands]."""
        if not skies:
            return np.zeros((0, len(self.plan.bands)))
        if what == "star":
            x, y = np.array(self.star_places).reshape(-1, 2).T
        else:
            targets = self.galaxies if what == "galaxy" else self.nulls
            assert targets is not None
            x, y = targets.x[found.rows], targets.y[found.rows]
        return np.stack([each.at(x, y) for each in skies], axis=1) if len(x) else np.zeros((0, len(skies)))
