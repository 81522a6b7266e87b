"""A sample of transients on hosts, written as Parquet: images and the truth, one row an epoch."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.atomic import atomic
from morph.checks import check_folder
from morph.console import track
from morph.dataset import Galaxies
from morph.dataset_writer import Galaxy
from morph.errors import InputError
from morph.parallel import process_pool
from morph.simulation.supernovae.host_light import prepare, why_not
from morph.simulation.supernovae.scene import EXPOSURES, OTHER_KINDS, TRACED, Plan, Triplet, observe_scene
from morph.surveys import CHANNELS, NANOMAGGY_ZERO_POINT, Survey, get_simulated

#: What a sample says that it was made by.
SOURCE = "morph simulate supernovae"
#: Scenes that a process makes at a time, and rows of a file.
BATCH, ROWS = 16, 512
#: Sizes of scenes, pixels.
SIZES = (32, 256)
#: How a scene's own random numbers differ from others of its seed.
STREAM = 4


@dataclass(frozen=True)
class Sample:
    """What was made: scenes, rows (epochs), and how many scenes of each kind; the hosts left out, by reason."""

    scenes: int
    rows: int
    kinds: dict[str, int]
    left_out: dict[str, int]


def check_plan(plan: Plan) -> None:
    """InputError unless a plan can be carried out."""
    total = sum(plan.shares.values())
    if any(not 0 <= share <= 1 for share in plan.shares.values()) or total > 1:
        raise InputError(f"The shares of {', '.join(plan.shares)} are 0 to 1 and add up to 1 at most, not {total:g}.")
    if unknown := set(plan.shares) - set(OTHER_KINDS):
        raise InputError(f"Unknown kind '{min(unknown)}'; use {', '.join(OTHER_KINDS)}.")
    if plan.trace and plan.trace not in TRACED:
        raise InputError(f"Unknown light '{plan.trace}' to trace; use {' or '.join(TRACED)}.")
    if not SIZES[0] <= plan.size <= SIZES[1] or plan.size % 2:
        raise InputError(f"A scene must have an even number of {SIZES[0]} to {SIZES[1]} pixels, not {plan.size}.")
    if plan.epochs < 1:
        raise InputError(f"The number of epochs is {plan.epochs}; it must be at least 1.")
    if plan.magnitudes and not 5 < plan.magnitudes[0] <= plan.magnitudes[1] < 35:
        raise InputError(
            f"Magnitudes run from bright to faint, such as 18,24, not {plan.magnitudes[0]:g},{plan.magnitudes[1]:g}."
        )
    if not plan.misregistration >= 0:
        raise InputError(f"The misregistration is {plan.misregistration:g} pixels; it cannot be negative.")


def schema(plan: Plan, about: dict) -> pa.Schema:
    """The columns of the table; units in their metadata.

    Parameters
    ----------
    plan : which gives the size of the images.
    about : what is known of the whole sample.
    """
    number, image = pa.float64(), pa.fixed_shape_tensor(pa.float32(), [plan.size, plan.size, len(CHANNELS)])

    def column(name: str, kind: pa.DataType, unit: str, what: str) -> pa.Field:
        return pa.field(name, kind, metadata={"unit": unit, "description": what})

    fields = [
        column("id", pa.string(), "", "scene and epoch"),
        column("scene", pa.string(), "", "epochs of one scene share it"),
        column("epoch", pa.int32(), "", "number of the epoch in its scene"),
        column("survey", pa.string(), "", "that observes"),
        column("kind", pa.string(), "", "ia, ibc, ii, the same after hostless, variable, moving, none"),
        column("host", pa.string(), "", "id of the galaxy that the transient belongs to; null: none"),
        column("redshift", number, "", "of the transient; null: none, or not known"),
        column("x", number, "pix", "place of the transient, 0-based"),
        column("y", number, "pix", "place of the transient, 0-based"),
        column("d_dlr", number, "", "distance from the host in directional light radii"),
        column("fractional_light_rank", number, "", "share of the traced light in fainter pixels"),
        column("peak_mag_r", number, "mag", "at the peak in r"),
        column("day", number, "d", "observed days after the peak"),
    ]
    for band in CHANNELS:
        fields += [
            column(f"flux_{band}", number, "nanomaggy", f"true change of flux in {band}"),
            column(f"mag_{band}", number, "mag", f"of that; null where it is not positive, {band}"),
            column(f"difference_flux_{band}", number, "nanomaggy", f"measured in the difference, {band}"),
            column(f"difference_flux_err_{band}", number, "nanomaggy", f"its standard error, {band}"),
            column(f"template_fwhm_{band}", number, "arcsec", f"of the template's point-spread function, {band}"),
            column(f"search_fwhm_{band}", number, "arcsec", f"of the search image's, {band}"),
        ]
    fields += [
        column("template", image, "nanomaggy/pix", "earlier image, without the transient"),
        column("search", image, "nanomaggy/pix", "image with the transient"),
        column("difference", image, "", "search minus template (Zackay et al. 2016) in units of its noise"),
    ]
    return pa.schema(fields, metadata={"morph": json.dumps(about)})


def simulate_supernovae(
    hosts: str | Path,
    path: str | Path,
    plan: Plan,
    survey: str = "des",
    number: int | None = None,
    seed: int = 0,
    processes: int = 2,
    progress: bool = True,
) -> Sample:
    """Put transients on galaxies and observe them before and after.

    Parameters
    ----------
    hosts : a dataset of fluxes.
    path : the folder to write; it appears whole or not at all.
    plan : what to put there.
    survey : that observes, a name in `morph.surveys.SIMULATED`.
    number : scenes; by default one for every host. Hosts are used again in turn.
    seed : scene `i` of a seed is the same, by however many processes.
    processes : to use.
    progress : whether to show a progress bar on a terminal.

    Returns
    -------
    Sample

    Raises
    ------
    InputError : the hosts are pictures, or none can be used; an impossible plan; the folder exists and is no sample.
    """
    check_plan(plan)
    check_sample_target(Path(path))
    observer = get_simulated(survey)
    galaxies = Galaxies.open(hosts)
    usable, left_out = _usable(galaxies, observer, plan)
    number = len(usable) if number is None else number
    if number < 1:
        raise InputError(f"The number of scenes is {number}; it must be at least 1.")
    about = {
        "simulated": True,
        "source": SOURCE,
        "seed": seed,
        "survey": observer.name,
        "hosts": str(hosts),
        "hosts_digest": galaxies.digest,
        "hosts_simulated": galaxies.simulated,
        "cosmology": "Planck18",
        "exposures_of_a_coadd": EXPOSURES,
        "plan": asdict(plan),
    }
    scenes = _batches(galaxies.select(usable), number, observer.name, plan, seed, processes)
    made = track(chain.from_iterable(scenes), "simulating supernovae", number, show=progress)
    with atomic(path) as building:
        building.mkdir()
        kinds, written = _write_all(made, schema(plan, about), building, left_out)
        if not written:
            raise InputError(f"None of the galaxies of '{hosts}' can be a host: {_sentence(left_out)}.")
    return Sample(sum(kinds.values()), written, dict(sorted(kinds.items())), dict(left_out))


def _write_all(
    made: Iterable[list[dict] | None], table: pa.Schema, folder: Path, left_out: Counter[str]
) -> tuple[Counter[str], int]:
    """Write scenes; returns how many there are of each kind, and how many rows."""
    kinds: Counter[str] = Counter()
    written, pending = 0, []
    for scene in made:
        if scene is None:
            left_out["no light stands out of its noise"] += 1
            continue
        kinds[scene[0]["kind"]] += 1
        pending += scene
        if len(pending) >= ROWS:
            written, pending = _write(pending, table, folder, written), []
    return kinds, _write(pending, table, folder, written)


def check_sample_target(path: Path) -> None:
    """InputError unless a sample can be written at `path`, in place of an older one or of nothing."""
    check_folder(path)
    if path.exists() and not _is_sample(path):
        raise InputError(f"'{path}' exists and is not a sample of supernovae; choose another name.")


def _is_sample(path: Path) -> bool:
    files = list(path.iterdir()) if path.is_dir() else []
    try:
        abouts = [json.loads((pq.read_schema(file).metadata or {})[b"morph"]) for file in files]
    except (pa.ArrowInvalid, OSError, KeyError, ValueError):
        return False
    return bool(abouts) and all(about.get("source") == SOURCE for about in abouts)


def _usable(galaxies: Galaxies, survey: Survey, plan: Plan) -> tuple[np.ndarray, Counter[str]]:
    """The rows of galaxies that can be hosts, and why others cannot."""
    if galaxies.kind != "flux":
        raise InputError(
            f"'{galaxies.about.get('path')}' holds colour pictures, which have no fluxes; give a dataset of fluxes, "
            "from `morph import` of FITS cutouts or `morph simulate galaxies`."
        )
    left_out: Counter[str] = Counter()
    kept = []
    for row, galaxy in enumerate(galaxies):
        why = why_not(galaxy, survey)
        if not why and plan.magnitudes is None and not (galaxy.properties or {})["redshift"] > 0:
            why = "its redshift is not known, and --magnitudes is not given"
        if why:
            left_out[why] += 1
        else:
            kept.append(row)
    if not kept:
        raise InputError(
            f"None of the {len(galaxies):,} galaxies of '{galaxies.about.get('path')}' can be a host: "
            f"{_sentence(left_out)}."
        )
    return np.array(kept), left_out


def _sentence(left_out: Counter[str]) -> str:
    return "; ".join(f"of {count:,} {why}" for why, count in left_out.most_common()) or "the dataset is empty"


def _batches(
    galaxies: Galaxies, number: int, survey: str, plan: Plan, seed: int, processes: int
) -> Iterator[list[list[dict] | None]]:
    rows = list(galaxies)
    tasks = (
        ([(index, rows[index % len(rows)]) for index in range(k, min(k + BATCH, number))], survey, plan, seed)
        for k in range(0, number, BATCH)
    )
    if processes == 1 or number <= 2 * BATCH:
        yield from map(_batch, tasks)
        return
    with process_pool(processes) as pool:
        yield from pool.map(_batch, list(tasks))


def _batch(task: tuple[list[tuple[int, Galaxy]], str, Plan, int]) -> list[list[dict] | None]:
    galaxies, survey, plan, seed = task
    return [_scene(index, galaxy, get_simulated(survey), plan, seed) for index, galaxy in galaxies]


def _scene(index: int, galaxy: Galaxy, survey: Survey, plan: Plan, seed: int) -> list[dict] | None:
    """The rows of scene number `index` of a seed; None where the galaxy cannot be a host."""
    rng = np.random.default_rng([seed, index, STREAM])
    host = prepare(galaxy, survey, plan.size, rng)
    if host is None:
        return None
    name = f"sn-{survey.name}-{seed}-{index:06d}"
    return [_row(name, survey, triplet) for triplet in observe_scene(host, survey, plan, rng)]


def _row(scene: str, survey: Survey, found: Triplet) -> dict:
    event = found.event
    row = {
        "id": f"{scene}-{found.epoch:02d}",
        "scene": scene,
        "epoch": found.epoch,
        "survey": survey.name,
        "kind": event.kind,
        "host": event.host or None,
        "redshift": event.redshift,
        "x": found.x,
        "y": found.y,
        "d_dlr": event.distance,
        "fractional_light_rank": event.rank,
        "peak_mag_r": event.peak,
        "day": found.day,
        "template": found.template,
        "search": found.search,
        "difference": found.difference,
    }
    for number, band in enumerate(CHANNELS):
        flux = float(found.flux[number])
        row[f"flux_{band}"] = flux
        row[f"mag_{band}"] = NANOMAGGY_ZERO_POINT - 2.5 * np.log10(flux) if flux > 0 else np.nan
        row[f"difference_flux_{band}"] = found.measured[number]
        row[f"difference_flux_err_{band}"] = found.error[number]
        row[f"template_fwhm_{band}"] = found.template_fwhm[number]
        row[f"search_fwhm_{band}"] = found.search_fwhm[number]
    return row


def _write(rows: list[dict], table: pa.Schema, folder: Path, written: int) -> int:
    """Write rows as one file; returns how many are written now."""
    if not rows:
        return written
    columns = []
    for column in table:
        values = [row[column.name] for row in rows]
        if isinstance(column.type, pa.FixedShapeTensorType):
            columns.append(pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(np.stack(values))))
        else:
            columns.append(pa.array(values, column.type, from_pandas=True))
    part = pa.Table.from_arrays(columns, schema=table)
    pq.write_table(part, folder / f"part-{written // ROWS:05d}-{written:07d}.parquet", compression="zstd")
    return written + len(rows)
