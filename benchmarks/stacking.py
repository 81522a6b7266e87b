"""How well `morph stack` recovers haloes: simulated tiles of the Dark Energy Survey, and a simulated classifier.

    python benchmarks/stacking.py FOLDER [--tiles 20] [--where "smooth > 0.8"]

Makes tiles of 2,000 pixels whose ellipticals have double Sersic haloes and whose point-spread function has an aureole
(kept in FOLDER), and a table of scores with calibrated probabilities, errors of 5 % in the radii, and 5 % wrong types
among the galaxies that are chosen. Stacks them and compares with the truth. Everything here is simulated.
"""

import resource
import shutil
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sep
from astropy.io import fits
from astropy.table import Table
from matplotlib.figure import Figure

from morph.analysis.stacking.figures import FAINTEST, picture
from morph.analysis.stacking.measured import Measured
from morph.analysis.stacking.profile import Result, make_profile, surface_brightness
from morph.analysis.stacking.run import Summary, stack
from morph.atomic import atomic
from morph.reports.style import COLOURS, style
from morph.simulation.coadd_files import Tilename, write_band
from morph.simulation.haloes import PROFILE, sersic
from morph.simulation.tile import simulate_tile
from morph.surveys import get_survey
from morph.tiles.discovery import find_tiles
from morph.tiles.tile import Tile

#: Surface brightnesses at which profiles are compared with the truth, mag per square arcsec.
LEVELS = (27.0, 29.0, 30.5)
#: Galaxies of a tile's catalogue, and the tile's side, pixels.
GALAXIES, SIZE = 250, 2000


def simulate(folder: Path, number: int) -> Path:
    """The tiles that are not there yet; their folder."""
    tiles = folder / "tiles"
    for k in range(number):
        name = f"DES{k // 10 + 1:02d}{6 * (k % 10):02d}-3000"
        if not (tiles / f"{name}_catalogue.fits").exists():
            simulate_tile(
                tiles, SIZE, "des", GALAXIES, seed=100 + k, name=name, progress=False, processes=1, haloes=True
            )
    return tiles


def without_sky(tiles: Path, out: Path, mesh: int) -> Path:
    """The tiles as a survey leaves them that subtracts its sky in a mesh of so many pixels; their folder."""
    out.mkdir(parents=True, exist_ok=True)
    survey = get_survey("des")
    for group in find_tiles(tiles):
        with Tile.open(group) as tile:
            for number, band in enumerate(tile.bands):
                path = out / tile.paths[band].name
                if path.exists():
                    continue
                flux = tile.plane(band).copy()
                bad = np.isnan(flux)
                flux[bad] = 0
                flux -= sep.Background(flux, mask=bad, bw=mesh, bh=mesh).back()
                with fits.open(tile.paths[band]) as units:
                    mask = units["MSK"].data.astype("int32")
                with atomic(path) as building:
                    write_band(building, flux, mask, survey, number, Tilename(tile.tilename), tile.wcs)
        for file in tiles.glob(f"{tile.tilename}_*"):
            if not file.name.endswith(".fits.fz"):
                shutil.copy(file, out)
    return out


def scores(tiles: Path, path: Path, seed: int = 1) -> pa.Table:
    """A table as `morph score` writes it, with the truth beside it, from the catalogues of simulated tiles."""
    rng, parts = np.random.default_rng(seed), []
    scale = get_survey("des").pixel_scale
    for file in sorted(tiles.glob("*_catalogue.fits")):
        table = Table.read(file)
        truth = pq.read_table(str(file).replace("_catalogue.fits", "_truth.parquet"))
        theta = np.radians(np.asarray(table["THETA_IMAGE"], dtype=float))
        columns = {
            "id": [f"{table['TILENAME'][0]}-{k}" for k in range(len(table))],
            "ra": np.asarray(table["RA"]),
            "dec": np.asarray(table["DEC"]),
            "tile": [str(name) for name in table["TILENAME"]],
            "radius": table["FLUX_RADIUS_R"] * scale * rng.lognormal(0, 0.05, len(table)),
            "mag_r": np.asarray(table["MAG_AUTO_R"], dtype=float),
            # The x axis points west.
            "position_angle": np.degrees(np.arctan2(-np.cos(theta), np.sin(theta))) % 180,
            "ellipticity": 1 - np.asarray(table["B_IMAGE"] / table["A_IMAGE"], dtype=float),
            **{name: truth[name] for name in ("kind", "redshift", "angle")},
            **{f"{part}_{name}": truth[f"{part}_{name}"] for part in ("body", "halo") for name in PROFILE},
        }
        parts.append(pa.table({name: _native(values) for name, values in columns.items()}))
    table = pa.concat_tables(parts)
    # Disturbed ellipticals have no halo here, and are neither type.
    halo = np.isfinite(table["halo_radius"].to_numpy())
    table = table.filter(halo | (np.array(table["kind"].to_pylist()) != "elliptical"))
    halo = np.isfinite(table["halo_radius"].to_numpy())
    table = table.append_column("smooth_or_featured_smooth", pa.array(probabilities(halo, rng)))
    pq.write_table(table.replace_schema_metadata({"morph": '{"survey": "des"}'}), path)
    return table


def _native(values) -> np.ndarray:
    """An array in the byte order of this machine: FITS has the other."""
    values = np.asarray(values)
    return values.astype(values.dtype.newbyteorder("="))


def probabilities(halo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Calibrated probabilities: among galaxies with p, a share of p has a halo."""
    sure, low = (9.0, 0.55), (0.6, 6.0)
    high, base = (a / (a + b) for a, b in (sure, low))
    share = (halo.mean() - base) / (high - base)
    found = np.empty(len(halo))
    for k, true in enumerate(halo):
        while True:
            p = rng.beta(*(sure if rng.random() < share else low))
            if rng.random() < (p if true else 1 - p):
                found[k] = p
                break
    return found


def true_profile(table: pa.Table, edges: np.ndarray, band: str) -> np.ndarray:
    """The true brightness of galaxies in rings of their scaled radius, without any blurring: [n, rings].

    Parameters
    ----------
    table : of `scores`.
    edges : of the rings, half-light radii.
    band : g, r or i.
    """
    steps = 6
    inner = np.maximum(edges[:-1], 0)
    # Equal areas within a ring.
    part = (np.arange(steps) + 0.5) / steps
    radius = np.sqrt(inner[:, None] ** 2 + part * (edges[1:] ** 2 - inner**2)[:, None])
    turn = 2 * np.pi * (np.arange(24) + 0.5) / 24
    found = []
    for row in table.to_pylist():
        distance = radius[..., None] * row["radius"]
        major, minor = distance * np.cos(turn), distance * np.sin(turn)
        light = sum(
            row[f"{part}_flux_{band}"]
            * sersic(major, minor, row[f"{part}_radius"], row[f"{part}_index"], row[f"{part}_axis_ratio"])
            for part in ("body", "halo")
        )
        found.append(np.asarray(light).mean(axis=(1, 2)))
    return np.array(found)


def of_truth(table: pa.Table, measured: Measured) -> pa.Table:
    """The rows of the scores that are chosen and truly have a halo, in the order of the stack."""
    place = {name: row for row, name in enumerate(table["id"].to_pylist())}
    rows = table.take([place[name] for name in measured.sample.ids[measured.chosen]])
    return rows.filter(np.isfinite(rows["halo_radius"].to_numpy()))


def part_of(measured: Measured, rows: np.ndarray) -> Measured:
    """Some of the galaxies, with all stars and random points."""
    return replace(
        measured,
        sample=measured.sample.select(rows),
        tile=measured.tile[rows],
        mean=measured.mean[rows],
        cover=measured.cover[rows],
    )


def at_level(radius: np.ndarray, true: np.ndarray, found: np.ndarray, level: float) -> float:
    """How much fainter a profile is than the truth where the truth has a surface brightness, mag."""
    brightness = 22.5 - 2.5 * np.log10(true)
    place = np.interp(level, brightness, np.arange(len(radius)))
    ratio = np.interp(place, np.arange(len(radius)), found / true)
    return float(-2.5 * np.log10(max(ratio, 1e-3)))


def compare(summary: Summary, table: pa.Table, echo=click.echo) -> None:
    """Print the recovered profile beside the truth."""
    result = summary.result
    rows = of_truth(table, result.measured)
    wrong = 1 - len(rows) / summary.galaxies
    number = len(result.measured.names)
    echo(f"{summary.galaxies:,} simulated galaxies, {wrong:.1%} of them wrong types, on {number} tiles")
    truths = {band: true_profile(rows, result.edges, band) for band in result.bands}
    pulls = []
    for k, band in enumerate(result.bands):
        true = truths[band].mean(axis=0)
        words = []
        for level in LEVELS:
            off = at_level(result.radius, true, result.flux[k], level)
            place = int(np.argmin(abs(22.5 - 2.5 * np.log10(true) - level)))
            words.append(f"{off:+.3f} ± {1.0857 * result.error[k, place] / true[place]:.3f} mag at {level:g}")
        if np.isfinite(result.lost[k]).all():
            found = result.flux[k] + result.lost[k]
            kept = ", ".join(f"{at_level(result.radius, true, found, level):+.3f}" for level in LEVELS)
            words.append(f"with what the mesh took of injected haloes {kept}")
        echo(f"{band}: fainter than the truth by {', '.join(words)}")
        # The disk and the inner rings are the seeing's.
        pulls.append((result.flux[k, FIRST:] - true[FIRST:]) / result.error[k, FIRST:])
    echo(f"pulls of {np.size(pulls)} rings: mean {np.mean(pulls):+.2f}, width {np.std(pulls):.2f}")
    subsets(result, table, echo)
    for check in summary.checks:
        echo(f"{check.name}: {check.passed}. {check.text}")


#: The first ring beyond the seeing.
FIRST = 8
#: Subsets of the galaxies whose profiles are compared with that of all.
SUBSETS = 8


def subsets(result: Result, table: pa.Table, echo) -> None:
    """Pulls of stacks of an eighth of the galaxies against the truth of all galaxies, which has their scatter too."""
    measured = result.measured
    order = np.random.default_rng(0).permutation(len(measured.sample))
    true = {band: true_profile(of_truth(table, measured), result.edges, band).mean(axis=0) for band in result.bands}
    pulls = []
    for rows in np.array_split(order, SUBSETS):
        part = make_profile(part_of(measured, rows), result.kind)
        pulls.append([(part.flux[k] - true[b])[FIRST:] / part.error[k, FIRST:] for k, b in enumerate(result.bands)])
    # A subset is part of the whole, which makes it nearer to it.
    pulls = np.array(pulls) / np.sqrt(1 - 1 / SUBSETS)
    echo(f"pulls of {SUBSETS} subsets, {pulls.size} rings: mean {pulls.mean():+.2f}, width {pulls.std():.2f}")


def draw(summary: Summary, table: pa.Table, out: Path, path: Path) -> None:
    """The stack, the random points and the profile beside the truth, as a picture."""
    result = summary.result
    with fits.open(out / "stack.fits") as units, style():
        images = [picture(units[name].data, units["SIGMA"].data, units["STACK"].data) for name in ("STACK", "NULL")]
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.5])
        reach = result.edges[-1]
        words = (f"{summary.galaxies:,} simulated galaxies", "Random points")
        for axis, image, title in zip(axes, images, words, strict=False):
            axis.imshow(image, extent=(-reach, reach, -reach, reach))
            axis.set_title(title)
            axis.set_xlabel("half-light radii")
        for k, band in enumerate(result.bands):
            true = true_profile(of_truth(table, result.measured), result.edges, band).mean(axis=0)
            low, high = np.quantile(result.draws()[:, k], [0.16, 0.84], axis=0)
            bounds = (np.minimum(surface_brightness(each), FAINTEST) for each in (high, low))
            axes[2].fill_between(result.radius, *bounds, color=COLOURS[k], alpha=0.25, linewidth=0)
            axes[2].plot(result.radius, surface_brightness(result.flux[k]), "o", ms=3, color=COLOURS[k], label=band)
            axes[2].plot(result.radius, surface_brightness(true), color=COLOURS[k], linewidth=1)
        axes[2].set_xscale("log")
        axes[2].set_ylim(33, 20)
        axes[2].set_title("Recovered (dots) and true")
        axes[2].set_xlabel("half-light radii")
        axes[2].set_ylabel("mag / arcsec²")
        axes[2].legend()
        figure.savefig(path, dpi=100)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--tiles", "number", default=20, show_default=True, help="How many tiles.")
@click.option("--where", default="smooth > 0.8", show_default=True, help="Which galaxies.")
@click.option("--combine", "kind", default="clipped", show_default=True, help="mean, median or clipped.")
@click.option("--processes", default=2, show_default=True, help="Processes to use.")
@click.option("--mesh", default=0, help="First subtract the sky in a mesh of so many pixels.  [default: not]")
@click.option("--picture", "drawn", type=click.Path(path_type=Path), help="Also draw the stack beside the truth, PNG.")
def main(folder: Path, number: int, where: str, kind: str, processes: int, mesh: int, drawn: Path | None) -> None:
    """Simulate tiles with haloes, stack their ellipticals, and compare with the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    tiles = simulate(folder, number)
    if mesh:
        tiles = without_sky(tiles, folder / f"mesh-{mesh}", mesh)
    table = scores(tiles, folder / "scores.parquet")
    out = folder / "stack"
    shutil.rmtree(out, ignore_errors=True)
    start, before = time.perf_counter(), time.process_time()
    summary = stack(folder / "scores.parquet", tiles, out, where=where, kind=kind, mesh=mesh, processes=processes)
    wall = time.perf_counter() - start
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    busy = time.process_time() - before + children.ru_utime + children.ru_stime
    click.echo(
        f"{wall:.0f} s with {processes} processes, {busy:.0f} s of CPU in all; at most "
        f"{own.ru_maxrss / 1e6:.2f} GB here and {children.ru_maxrss / 1e6:.2f} GB in each"
    )
    if drawn:
        draw(summary, table, out, drawn)
    compare(summary, table)


if __name__ == "__main__":
    main()
