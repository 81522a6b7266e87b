"""Simulated supernovae: places, fluxes, differences, hosts, speed, and a small network trained on them.

    python benchmarks/supernovae.py HOSTS [--number 5000] [--rows places,hosts,speed,network]

HOSTS is a dataset of fluxes: simulated, sampled or real. The network, two convolutions on template, search and
difference, tells transients of a signal to noise above 5 from what noise and a misregistration of a fifth of a pixel
leave, on scenes of galaxies that it was not trained on; the completeness is compared with that of the signal to noise
in theory.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from rich.console import Console
from scipy.stats import kstest

from morph.analysis.hosts import Places, rank_hosts
from morph.dataset import Galaxies, split_position
from morph.errors import InputError
from morph.simulation.supernovae.host_light import draw_place, prepare, why_not
from morph.simulation.supernovae.sample import simulate_supernovae
from morph.simulation.supernovae.scene import Plan
from morph.surveys import get_simulated

SHARES = {"hostless": 0.05, "variable": 0.1, "moving": 0.05, "none": 0.3}
#: Pixels on a side that the network sees around a place.
CUT = 24
#: Galaxies per square arcmin down to r = 24, roughly, and the median of their half-light radii (arcsec).
DENSITY, RADIUS = 18.0, 0.6


def places(table: pa.Table, console: Console) -> None:
    """Ranks in the light, pulls of the fluxes, noise of empty differences."""
    kind = np.array(table["kind"].to_pylist())
    ranks = table["fractional_light_rank"].drop_null().to_numpy()
    console.print(f"fractional-light ranks of {len(ranks):,}: KS p = {kstest(ranks, 'uniform').pvalue:.2f}")
    near = table["d_dlr"].to_numpy() < 0.3
    for band in "gri":
        true, measured, error = (
            table[f"{name}_{band}"].to_numpy() for name in ("flux", "difference_flux", "difference_flux_err")
        )
        pulls = (measured - true) / error
        usable = np.isfinite(pulls) & (kind != "moving")
        for name, some in (("all", usable), ("on the nucleus", usable & near)):
            console.print(
                f"pulls in {band}, {name} ({some.sum():,}): mean {pulls[some].mean():+.3f}, "
                f"width {pulls[some].std():.3f}"
            )
    empty = table.filter(kind == "none")["difference"].combine_chunks().to_numpy_ndarray()
    console.print(f"χ² a pixel of {len(empty):,} empty differences: {(empty**2).mean():.4f}")


def crowded_field(rng: np.random.Generator, count: int) -> tuple[Places, np.ndarray]:
    """Exponential galaxies of a field, as they are, and their fluxes; the brighter ones are larger."""
    side = np.sqrt(count / DENSITY) / 60
    flux = rng.pareto(1.0, count) + 1
    radius = RADIUS * rng.lognormal(0, 0.4, count) * flux**0.3
    ratio, angle = rng.uniform(0.3, 1, count), rng.uniform(0, 180, count)
    ra, dec = 10 + rng.uniform(0, side, count), rng.uniform(0, side, count)
    ids = np.array([f"{n}" for n in range(count)], dtype=object)
    return Places(ids, ra, dec, radius, ratio, angle, 24 - 2.5 * np.log10(flux)), flux


def measured(galaxies: Places, rng: np.random.Generator) -> Places:
    """Galaxies as a catalogue has them: sizes and shapes have errors of 10 %."""
    radius, ratio = (each * rng.lognormal(0, 0.1, len(each)) for each in (galaxies.radius, galaxies.axis_ratio))
    return replace(galaxies, radius=radius, axis_ratio=np.clip(ratio, 0.1, 1))


def hosts(console: Console, count: int = 3000) -> None:
    """Events that trace exponential galaxies of a crowded field, found again."""
    rng = np.random.default_rng(0)
    field, flux = crowded_field(rng, count)
    galaxies = measured(field, rng)
    which = rng.choice(count, count, p=flux / flux.sum())
    turn, apart = rng.uniform(0, 2 * np.pi, count), rng.gamma(2, 1 / 1.678, count) * field.radius[which]
    ratio, angle = field.axis_ratio[which], np.radians(field.angle[which])
    major, minor = apart * np.cos(turn) / np.sqrt(ratio), apart * np.sin(turn) * np.sqrt(ratio)
    east, north = major * np.sin(angle) + minor * np.cos(angle), major * np.cos(angle) - minor * np.sin(angle)
    found_again(console, "hosts", galaxies, field.ids, which, east, north)


def own_hosts(path: Path, console: Console, count: int = 3000) -> None:
    """Events in the light of the galaxies of a dataset, each at a random place of a crowded field, found again."""
    rng, survey = np.random.default_rng(0), get_simulated("des")
    dataset = Galaxies.open(path)
    found = []
    for galaxy, mag in zip(dataset, dataset.properties["mag_r"].tolist(), strict=True):
        host = None if why_not(galaxy, survey) else prepare(galaxy, survey, Plan().size, rng)
        if host is not None and np.isfinite(mag):
            found.append((host, mag))
        if len(found) == count:
            break
    if not found:
        raise InputError(f"None of the galaxies of '{path}' can be a host with a magnitude.")
    field, _ = crowded_field(rng, count)
    # One host after the other, far fewer of them than of the field's galaxies, so that they do not crowd each other.
    number = len(found) * max(count // 10 // len(found), 1)
    ids = np.array([f"host {n}" for n in range(number)], dtype=object)
    ra, dec = (rng.uniform(along.min(), along.max(), number) for along in (field.ra, field.dec))
    each = [found[n % len(found)] for n in range(number)]
    scale = survey.pixel_scale
    # The x axis of a stamp points west, its y axis north.
    angle = [np.degrees(np.arctan2(-np.cos(host.angle), np.sin(host.angle))) % 180 for host, _ in each]
    shapes = np.array([(scale * host.radius, host.axis_ratio, mag) for host, mag in each])
    own = Places(ids, ra, dec, shapes[:, 0], shapes[:, 1], np.array(angle), shapes[:, 2])
    both = Places(**{name: np.concatenate([getattr(own, name), getattr(field, name)]) for name in COLUMNS})
    places_ = [draw_place(host.light[..., 1], rng)[:2] for host, _ in each]
    east = np.array([-scale * (x - host.x) for (x, _), (host, _) in zip(places_, each, strict=True)])
    north = np.array([scale * (y - host.y) for (_, y), (host, _) in zip(places_, each, strict=True)])
    name = f"{len(found):,} hosts of {path.name}"
    found_again(console, name, measured(both, rng), ids, np.arange(number), east, north)


#: The columns of galaxies' places.
COLUMNS = ("ids", "ra", "dec", "radius", "axis_ratio", "angle", "mag")


def found_again(
    console: Console,
    name: str,
    galaxies: Places,
    ids: np.ndarray,
    which: np.ndarray,
    east: np.ndarray,
    north: np.ndarray,
) -> None:
    """Print how many events' hosts are found again.

    Parameters
    ----------
    galaxies : all that may be hosts; `which`, the row of each event's host.
    ids : of the events.
    east, north : of each event from its host, arcsec.
    """
    none = np.full(len(ids), np.nan)
    ra, dec = galaxies.ra[which] + east / 3600, galaxies.dec[which] + north / 3600
    ranked = rank_hosts(Places(ids, ra, dec, none, none, none, none), galaxies, hostless=0.02).to_pandas()
    ranked = ranked[ranked["rank"] > 0]
    truth = dict(zip(ids, galaxies.ids[which], strict=True))
    for how, best in (
        ("nearest in directional light radii", ranked[ranked["rank"] == 1]),
        ("most probable", ranked.loc[ranked.groupby("event").p_host.idxmax()]),
    ):
        right = (best.galaxy == best.event.map(truth)).to_numpy()
        sure = (best.p_host > 0.5).to_numpy()
        console.print(
            f"{name}, {how}: {right.sum() / len(ids):.1%} of all found again; {1 - right[sure].mean():.1%} wrong "
            f"among the {sure.mean():.1%} with p_host above one half"
        )


def cut(table: pa.Table, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Places of events, or any place in the middle where nothing happens: float32 [n, CUT, CUT, 9], and the kinds."""
    size = table["search"].type.shape[0]
    x, y = (np.array(table[name].to_numpy(zero_copy_only=False), dtype=float) for name in ("x", "y"))
    lost = ~np.isfinite(x)
    x[lost], y[lost] = (rng.normal(size / 2, size / 12, lost.sum()) for _ in range(2))
    left, top = (np.clip(np.round(v).astype(int) - CUT // 2, 0, size - CUT) for v in (x, y))
    images = np.concatenate(
        [table[name].combine_chunks().to_numpy_ndarray() for name in ("template", "search", "difference")], -1
    )
    images = np.stack([image[t : t + CUT, le : le + CUT] for image, t, le in zip(images, top, left, strict=True)])
    scale = np.std(images[:, :3], axis=(1, 2), keepdims=True) + 1e-6
    return np.arcsinh(images / scale).astype("float32"), np.array(table["kind"].to_pylist())


def network(table: pa.Table, console: Console) -> None:
    """Train on some galaxies' scenes, test on others'."""
    import keras

    keras.utils.set_random_seed(0)
    images, kind = cut(table, np.random.default_rng(0))
    flux, error = (table[name].to_numpy() for name in ("flux_r", "difference_flux_err_r"))
    snr = np.where(np.isfinite(error), flux / np.where(error > 0, error, 1), 0)
    supernova = np.isin(kind, ("ia", "ibc", "ii", "hostless ia", "hostless ibc", "hostless ii"))
    real = supernova | (kind == "moving")
    usable = (real & (snr > 5)) | (kind == "none")
    names = np.array(
        [host or scene for host, scene in zip(*(table[n].to_pylist() for n in ("host", "scene")), strict=True)]
    )
    test = split_position(names, 0) < 0.3
    model = keras.Sequential(
        [
            keras.layers.Input(images.shape[1:]),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(2e-3), "binary_crossentropy")
    learn = usable & ~test
    turned = np.concatenate([np.rot90(images[learn], turns, axes=(1, 2)) for turns in range(4)])
    model.fit(turned, np.tile(real[learn].astype("float32"), 4), epochs=15, batch_size=64, verbose=0)
    said = model.predict(images, verbose=0, batch_size=256)[:, 0] > 0.5
    right = (said == real)[usable & test]
    console.print(f"a small network on {right.size:,} places on other galaxies: {right.mean():.1%} right")
    for name, found in (("network", said), ("S/N above 5", _measured(table) > 5)):
        console.print(
            f"50 % completeness against theory, {name}: {_completeness(found, supernova, snr, test):+.2f} mag"
        )


def _measured(table: pa.Table) -> np.ndarray:
    flux, error = (table[name].to_numpy() for name in ("difference_flux_r", "difference_flux_err_r"))
    return np.nan_to_num(flux / np.where(error > 0, error, np.nan))


def _completeness(found: np.ndarray, supernova: np.ndarray, snr: np.ndarray, test: np.ndarray) -> float:
    """The magnitude by which the place of 50 % completeness differs from a signal to noise of 5, faint is positive."""
    some = supernova & test & (snr > 0.5) & (snr < 50)
    depth = 2.5 * np.log10(5 / snr[some])
    order = np.argsort(depth)
    depth, got = depth[order], found[some][order]
    # A logistic curve's middle: where as many are missed on its bright side as are found on its faint one.
    edges = np.linspace(-1.5, 1.5, 301)
    cost = [(~got[depth < edge]).sum() + got[depth >= edge].sum() for edge in edges]
    return float(edges[int(np.argmin(cost))])


def speed(path: Path, folder: Path, console: Console) -> None:
    """Triplets a second of processor time."""
    start = time.process_time()
    made = simulate_supernovae(path, folder / "speed", Plan(), number=800, processes=1, progress=False)
    took = time.process_time() - start
    console.print(f"{made.rows / took:.0f} triplets a second of one core's time, in three bands, written as Parquet")


@click.command()
@click.argument("path", metavar="HOSTS", type=click.Path(path_type=Path))
@click.option("--number", default=5000, show_default=True, help="Scenes.")
@click.option("--rows", default="places,hosts,speed,network", show_default=True, help="What to measure.")
def command(path: Path, number: int, rows: str) -> None:
    """Measure simulated supernovae on HOSTS."""
    console = Console(highlight=False, width=120)
    wanted = rows.split(",")
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if "speed" in wanted:
                speed(path, folder, console)
            if "hosts" in wanted:
                hosts(console)
                own_hosts(path, console)
            for row, misregistration in ((places, 0.0), (network, 0.2)):
                if row.__name__ in wanted:
                    plan = Plan(shares=SHARES, magnitudes=(19.0, 24.5), misregistration=misregistration)
                    simulate_supernovae(path, folder / "set", plan, number=number, progress=False)
                    row(ds.dataset(folder / "set", format="parquet").to_table(), console)
    except InputError as error:
        sys.exit(f"supernovae: {error}")


if __name__ == "__main__":
    command()
