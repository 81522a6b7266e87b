"""A whole survey tile: files as the Dark Energy Survey releases its coadds, with their catalogue.

A tile holds the galaxies that a catalogue would keep, the fainter ones and the stars around them, saturated
stars and a satellite trail with their mask bits, and the noise of a coadd. What volunteers would say about the
catalogue's galaxies goes into a file of its own, as no survey has it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from rich.console import Console
from rich.progress import Progress

from morph.beforehand import check_folder
from morph.errors import BadInput
from morph.questions import ANSWERS
from morph.simulation.coadd import Mask, Tilename, write_band
from morph.simulation.observe import add_noise, blurred_light
from morph.simulation.population import FIELD_MIX, draw_scene
from morph.simulation.scenes import Scene
from morph.simulation.sky import add_galaxies, add_star, add_stars
from morph.simulation.votes import answer_probabilities, draw_votes
from morph.surveys import NANOMAGGY_ZERO_POINT, Survey, get_simulated

#: The tile that is simulated if no other is named: the one of the real cutout that the layout was read from.
TILENAME = "DES0356-5248"

#: Processing run in the files' names.
RUN = "r4163p01"

#: Catalogue galaxies per square arcsec if their number is not given: those with r < 20.5 or so.
DENSITY = 5.4e-4

#: Magnitudes in r of the catalogue's galaxies.
MAGNITUDES = (15.5, 20.5)

#: Smallest and largest tile, pixels on a side: the field of one galaxy; a DES tile.
SMALLEST, LARGEST = 128, 10000

#: Stars brighter than this saturate the detector, and their number per square arcsec at high latitude.
SATURATED = 15.0
SATURATED_DENSITY = 1.6e-5

#: Half-light radii across the stamp on which a galaxy is drawn before it is put on the tile.
STAMP_RADII = 20.0

#: First of the catalogue's identifiers, as long as those of DES DR2.
FIRST_ID = 1_500_000_000


@dataclass(frozen=True)
class SimulatedTile:
    """Where a simulated tile is: its bands' files, its catalogue, the truth, and how many galaxies they list."""

    paths: tuple[Path, ...]
    catalogue: Path
    truth: Path
    galaxies: int


def simulate_tile(
    out_dir: str | Path,
    size: int = 2000,
    survey: str = "des",
    galaxies: int | None = None,
    seed: int = 0,
    name: str = TILENAME,
    progress: bool = True,
) -> SimulatedTile:
    """Write a tile, its catalogue and the truth into `out_dir`.

    Parameters
    ----------
    out_dir : folder; files of the same names in it are replaced.
    size : pixels on a side.
    survey : whose camera; files are in the DES layout whatever the survey.
    galaxies : how many the catalogue lists; as many as the sky has if not given.
    name : the tile's name, DES followed by its centre as HHMM+DDMM.

    Raises BadInput on an unknown survey, a size out of range, fewer than one galaxy, or a name of another form.
    """
    camera = get_simulated(survey)
    if not SMALLEST <= size <= LARGEST:
        raise BadInput(f"A tile of {size} pixels cannot be made; give {SMALLEST} to {LARGEST} pixels on a side.")
    area = (size * camera.pixel_scale) ** 2
    count = max(1, round(DENSITY * area)) if galaxies is None else galaxies
    if count < 1:
        raise BadInput(f"The number of galaxies is {count}; it must be at least 1.")
    tilename = Tilename(name)
    out_dir = Path(out_dir)
    check_folder(out_dir)

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (progress and console.is_terminal)) as bar:
        task = bar.add_task(f"simulating tile {name}", total=count + 6)
        image, mask, rows = _fill(camera, size, area, count, seed, lambda: bar.advance(task))
        building = out_dir.with_name(f".{out_dir.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        wcs = tilename.wcs(size, camera.pixel_scale)
        for band, letter in enumerate(camera.bands):
            path = building / f"{name}_{RUN}_{letter}.fits.fz"
            write_band(path, image[..., band], mask, camera, band, tilename, wcs)
            bar.advance(task)
        _write_catalogue(building / f"{name}_catalogue.fits", rows, name, wcs)
        _write_truth(building / f"{name}_truth.parquet", rows, camera, seed)
        bar.advance(task, 3)
    out_dir.mkdir(parents=True, exist_ok=True)
    for file in building.iterdir():
        file.replace(out_dir / file.name)
    building.rmdir()
    paths = tuple(out_dir / f"{name}_{RUN}_{letter}.fits.fz" for letter in camera.bands)
    return SimulatedTile(paths, out_dir / f"{name}_catalogue.fits", out_dir / f"{name}_truth.parquet", count)


@dataclass(frozen=True, eq=False)
class _Row:
    """A galaxy of the catalogue: its place (pixels, 0-based), and what was measured on its light without noise."""

    scene: Scene
    x: float
    y: float
    fluxes: np.ndarray
    radii: np.ndarray
    axes: tuple[float, float, float]


def _fill(camera: Survey, size: int, area: float, count: int, seed: int, advance) -> tuple:
    """The tile's light with noise [size, size, 3] (nanomaggies), its mask, and its catalogue's rows."""
    rng = np.random.default_rng([seed, size])
    seeing = np.asarray(camera.seeing) * rng.lognormal(0, 0.02, 3)
    image = np.zeros((size, size, 3), dtype="float32")
    mask = np.zeros((size, size), dtype="int32")
    rows = []
    for index in range(count):
        scene = draw_scene(np.random.default_rng([seed, index, 7]), camera, FIELD_MIX, MAGNITUDES)
        x, y = rng.uniform(0, size - 1, 2)
        rows.append(_put(image, scene, camera, seeing, float(x), float(y), rng))
        advance()
    add_galaxies(image, camera, seeing, rng, brightest=MAGNITUDES[1])
    add_stars(image, camera, seeing, rng, brightest=SATURATED)
    for _ in range(rng.poisson(SATURATED_DENSITY * area)):
        _saturated_star(image, mask, rng.triangular(10.5, SATURATED, SATURATED), camera, seeing, rng)
    if rng.random() < 0.5:
        _trail(image, mask, camera, rng)
    add_noise(image, camera, rng)
    return image, mask, rows


def _put(image: np.ndarray, scene: Scene, camera: Survey, seeing: np.ndarray, x: float, y: float, rng) -> _Row:
    """Add a galaxy to the tile and measure it there."""
    column, row = round(x), round(y)
    # The middle of an even stamp is between pixels, half a pixel before the one that counts as its centre.
    place = (x - column + 0.5) * camera.pixel_scale, (y - row + 0.5) * camera.pixel_scale
    field = STAMP_RADII * float(np.hypot(scene.radius, 0.5 * max(camera.seeing)))
    light, fluxes = blurred_light(scene, camera, seeing, rng, *place, field=field)
    # What is left of the wings at the border would show as a square on the sky.
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    light = np.maximum(light - np.percentile(border, 90, axis=0), 0).astype("float32")
    half = light.shape[0] // 2
    left, top = column - half, row - half
    tile_rows = slice(max(top, 0), min(top + 2 * half, image.shape[0]))
    tile_columns = slice(max(left, 0), min(left + 2 * half, image.shape[1]))
    inner = light[tile_rows.start - top : tile_rows.stop - top, tile_columns.start - left : tile_columns.stop - left]
    image[tile_rows, tile_columns] += inner
    dy, dx = np.mgrid[: 2 * half, : 2 * half]
    dx, dy = dx - (x - left), dy - (y - top)
    radii = np.array([_half_light(light[..., band], dx, dy) for band in range(3)])
    return _Row(scene, x, y, fluxes, radii, _axes(light[..., 1], dx, dy, 3 * radii[1]))


def _half_light(light: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> float:
    """The radius (pixels) of the circle that holds half of the light."""
    distance = np.hypot(dx, dy).ravel()
    order = np.argsort(distance)
    growth = np.cumsum(light.ravel()[order])
    return float(distance[order][np.searchsorted(growth, growth[-1] / 2)])


def _axes(light: np.ndarray, dx: np.ndarray, dy: np.ndarray, within: float) -> tuple[float, float, float]:
    """Standard deviations along the major and the minor axis (pixels) and its angle (degrees) from x towards y."""
    weight = np.where(np.hypot(dx, dy) < within, np.maximum(light, 0), 0)
    weight = weight / max(float(weight.sum()), 1e-20)
    xx, yy, xy = ((weight * product).sum() for product in (dx * dx, dy * dy, dx * dy))
    mean, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))
    return float(np.sqrt(mean + spread)), float(np.sqrt(max(mean - spread, 0.05))), float(angle)


def _saturated_star(image, mask, magnitude: float, camera: Survey, seeing, rng) -> None:
    """A star too bright for the detector: its core is flat, it bleeds along its column, and the mask says so."""
    height, width, _ = image.shape
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    add_star(image, x, y, magnitude, camera, seeing, rng)
    bright = 10 ** (0.4 * (SATURATED - magnitude))
    radius = 2.0 * bright**0.25 / camera.pixel_scale
    dx, dy = np.arange(width)[None, :] - x, np.arange(height)[:, None] - y
    near = np.hypot(dx, dy)
    mask[near < radius] |= Mask.SATURATED
    mask[near < 1.5 * radius] |= Mask.STAR
    bleed = (np.abs(dx) < 1.5) & (np.abs(dy) < 4 * radius * rng.uniform(1, 3))
    mask[bleed] |= Mask.SATURATED | Mask.BLEED
    image[bleed] = np.maximum(image[bleed], 20.0)


def _trail(image, mask, camera: Survey, rng) -> None:
    """A satellite crossed the field during one exposure."""
    height, width, _ = image.shape
    angle = rng.uniform(0, np.pi)
    dx = np.arange(width)[None, :] - rng.uniform(0.3, 0.7) * width
    dy = np.arange(height)[:, None] - rng.uniform(0.3, 0.7) * height
    across = np.abs(np.cos(angle) * dy - np.sin(angle) * dx) * camera.pixel_scale
    band = rng.integers(3)
    image[..., band] += (8 * camera.noise()[band] * np.exp(-0.5 * (across / 0.7) ** 2)).astype("float32")
    mask[across < 1.5] |= Mask.STREAK


def _write_catalogue(path: Path, rows: list[_Row], name: str, wcs: WCS) -> None:
    """The catalogue with the names and units of DES DR2's tables."""
    x, y = np.array([row.x for row in rows]), np.array([row.y for row in rows])
    ra, dec = wcs.all_pix2world(x, y, 0)
    table = Table(meta={"EXTNAME": "CATALOGUE"})
    table["COADD_OBJECT_ID"] = FIRST_ID + np.arange(len(rows), dtype="int64")
    table["TILENAME"] = [name] * len(rows)
    table["RA"], table["DEC"] = ra, dec
    # FITS counts pixels from one.
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = x + 1, y + 1
    for band, letter in enumerate("GRI"):
        flux = np.array([row.fluxes[band] for row in rows])
        table[f"MAG_AUTO_{letter}"] = (NANOMAGGY_ZERO_POINT - 2.5 * np.log10(flux)).astype("float32")
        table[f"FLUX_RADIUS_{letter}"] = np.array([row.radii[band] for row in rows], dtype="float32")
    for k, column in enumerate(("A_IMAGE", "B_IMAGE", "THETA_IMAGE")):
        table[column] = np.array([row.axes[k] for row in rows], dtype="float32")
    # 3 is "high-confidence galaxy" in DES DR2.
    table["EXTENDED_CLASS_COADD"] = np.full(len(rows), 3, dtype="int16")
    units = {"RA": "deg", "DEC": "deg", "THETA_IMAGE": "deg", "XWIN_IMAGE": "pix", "YWIN_IMAGE": "pix"}
    for column in table.colnames:
        if column.startswith("MAG"):
            units[column] = "mag"
        elif column.startswith("FLUX_RADIUS") or column in ("A_IMAGE", "B_IMAGE"):
            units[column] = "pix"
    for column, unit in units.items():
        table[column].unit = unit
    fits.table_to_hdu(table).writeto(path, overwrite=True)


def _write_truth(path: Path, rows: list[_Row], camera: Survey, seed: int) -> None:
    """What each galaxy is, its redshift and the votes it would get: Parquet, one row a galaxy of the catalogue."""
    probabilities = np.array([answer_probabilities(row.scene, camera) for row in rows])
    votes = np.array([draw_votes(p, np.random.default_rng([seed, k, 8])) for k, p in enumerate(probabilities)])
    columns = {
        "id": [str(FIRST_ID + k) for k in range(len(rows))],
        "kind": ["merger" if row.scene.companions else row.scene.kind for row in rows],
        "redshift": np.array([row.scene.redshift for row in rows], dtype="float32"),
    }
    columns |= {answer: pa.array(votes[:, k], mask=np.isnan(votes[:, k])) for k, answer in enumerate(ANSWERS)}
    pq.write_table(pa.table(columns), path)
