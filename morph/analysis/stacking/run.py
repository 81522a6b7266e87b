"""`morph stack` whole: choose galaxies, measure tile by tile, combine, check, and write.

What a tile gave is kept until the stack is written, so that the same command goes on where it was stopped.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from morph import __version__
from morph.analysis.stacking.checks import run_checks, survey_sky
from morph.analysis.stacking.combine import KINDS, Profile, combine
from morph.analysis.stacking.comparisons import Check
from morph.analysis.stacking.measured import Measured
from morph.analysis.stacking.products import combined_images, galaxies_table, write_images
from morph.analysis.stacking.profile import Result, make_profile, profile_table
from morph.analysis.stacking.report import write_page
from morph.analysis.stacking.sample import FEWEST, Chosen, Sample, choose
from morph.analysis.stacking.targets import REASONS, Plan
from morph.analysis.stacking.tiles import digest, measure_all
from morph.atomic import atomic_files
from morph.console import counted, listed
from morph.errors import InputError
from morph.output_lock import output_lock
from morph.surveys import get_survey
from morph.tiles.discovery import find_tiles, survey_of
from morph.tiles.tile import Tile

#: Reach of the cutouts if it is not given, in half-light radii and in kpc.
REACH = {"radius": 15.0, "kpc": 150.0}
#: The least reach in half-light radii: a smaller one has no sky in it.
LEAST_REACH = 10.0
#: Side of the mesh in which most surveys' pipelines measure the sky, pixels.
MESH = 256
#: The files that are written, and the folder of what is kept meanwhile.
FILES = ("stack.fits", "profile.parquet", "galaxies.parquet", "report.html")
PARTS = ".parts"


@dataclass(frozen=True)
class Summary:
    """A stack that was made.

    Attributes
    ----------
    galaxies : in it.
    result, null : the profile, and that of the random points.
    checks : the nine.
    notes : what was assumed or left out, one sentence each.
    """

    galaxies: int
    result: Result
    null: Profile
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


def stack(
    scores: str | Path,
    tiles: str | Path | Sequence[str | Path],
    to: str | Path,
    where: str = "",
    scale: str = "radius",
    align: bool = False,
    bands: str = "",
    kind: str = "clipped",
    reach: float | None = None,
    mesh: int = MESH,
    redshifts: str | Path | None = None,
    seed: int = 0,
    processes: int | None = None,
    progress: bool = True,
) -> Summary:
    """Stack the galaxies of a table that pass a selection, and write the images, the profile and a page of checks.

    Parameters
    ----------
    scores : a folder of score files, or any table with positions and half-light radii.
    tiles : the survey's images: files, folders or globs.
    to : the folder to write into.
    where : which galaxies, see `morph.catalogs.row_filter.Selection`.
    scale : "radius", in half-light radii, or "kpc", by the redshift.
    align : turn galaxies by their position angles.
    bands : such as "gri"; those of the first tile if not given.
    kind : "mean", "median" or "clipped".
    reach : half-light radii or kpc from the centre; 15 or 150 if not given.
    mesh : pixels of the mesh in which the survey subtracted its sky, 0 if it did not.
    redshifts : a table of ids and redshifts, where `scores` has none.
    seed : of the random points.
    processes : that measure tiles; as many as there are cores and memory allows if not given.
    progress : whether to show a progress bar.

    Raises
    ------
    InputError : an option or a column is wrong, fewer than 10 galaxies pass or are on the tiles, the tiles are of
        another survey, or the folder cannot be written.

    Examples
    --------
    >>> made = stack("scores", "tile", "stack", where="smooth > 0.999")
    Traceback (most recent call last):
    morph.errors.InputError: ...a stack needs at least 10, so choose more.
    """
    if kind not in KINDS:
        raise InputError(f"--combine is '{kind}'; use {', '.join(KINDS[:-1])} or {KINDS[-1]}.")
    chosen = choose(scores, where, scale, align, redshifts)
    groups = find_tiles(tiles if isinstance(tiles, (str, Path)) else list(tiles))
    survey = _survey(groups, chosen.survey)
    plan = Plan(_bands(groups, survey, bands), _reach(scale, reach), align, _mesh(mesh), seed, survey)
    to = Path(to)
    with output_lock(to, "stack is being made in", "--to"):
        notes = [*chosen.notes]
        folder = to / PARTS / digest(chosen.sample, plan)
        parts = measure_all(groups, chosen.sample, plan, folder, processes, progress, notes)
        return _finish(to, parts, chosen, plan, notes, {"selection": where, "scale": scale, "combine": kind})


def _finish(
    to: Path,
    parts: Sequence[tuple[str, Path]],
    chosen: Chosen,
    plan: Plan,
    notes: list[str],
    asked: dict[str, str],
) -> Summary:
    """Combine what the tiles gave, check and write it."""
    measured = Measured.read(parts, chosen.sample, plan)
    try:
        _check_found(measured, chosen.sample, notes)
    except InputError:
        # The same command would say the same again.
        shutil.rmtree(to / PARTS, ignore_errors=True)
        raise
    notes += _assumptions(plan, asked["scale"])
    result = make_profile(measured, asked["combine"])
    null = combine(measured.null_cells(), asked["combine"])
    checks = tuple(run_checks(result, null))
    notes += [*result.notes, survey_sky(result)[1]]
    summary = Summary(int(measured.chosen.sum()), result, null, checks, tuple(filter(None, notes)))
    _write(to, summary, chosen.sample, _about(chosen, plan, measured, asked))
    shutil.rmtree(to / PARTS, ignore_errors=True)
    return summary


def _write(to: Path, summary: Summary, sample: Sample, about: dict[str, Any]) -> None:
    """Write all files; all appear, or none."""
    measured = summary.result.measured
    images = combined_images(measured, summary.result.kind)
    table = profile_table(summary.result, summary.null, str(about["radius"]))
    metadata = {b"morph": json.dumps({**about, "notes": summary.notes, "checks": _figures(summary.checks)}).encode()}
    with atomic_files(*(to / name for name in FILES), what="The stack") as (fits_file, profile, galaxies, page):
        write_images(fits_file, images, measured, about)
        pq.write_table(table.replace_schema_metadata(metadata), profile, compression="zstd")
        pq.write_table(
            galaxies_table(sample, measured).replace_schema_metadata(metadata), galaxies, compression="zstd"
        )
        write_page(page, summary, images, about)


def _figures(checks: Sequence[Check]) -> dict[str, Any]:
    return {check.name: {"passed": check.passed, "text": check.text, **_plain(check.values)} for check in checks}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Values as JSON has them: nothing that is not a number."""
    return json.loads(json.dumps(values, default=float).replace("NaN", "null").replace("Infinity", "null"))


def _survey(groups: Sequence[Sequence[Path]], of_scores: str) -> str | None:
    """The survey of the tiles, which must be that of the scores where both are known."""
    of_tiles = survey_of(groups)
    if of_tiles and of_scores and of_tiles not in (of_scores, "unknown") and of_scores != "unknown":
        raise InputError(
            f"The tiles are of survey {of_tiles} and the scores of {of_scores}; name the tiles that were scored."
        )
    return of_tiles or of_scores or None


def _bands(groups: Sequence[Sequence[Path]], survey: str | None, bands: str) -> tuple[str, ...]:
    """The bands that are stacked; InputError for one that the tiles do not have."""
    with Tile.open(groups[0], survey) as tile:
        there = tuple(band for band in tile.channels if band in tile.bands)
        if unknown := [band for band in there if not tile.zero_points[band].known]:
            raise InputError(f"The zero point of band {listed(unknown)} of tile '{tile.name}' is not known.")
    wanted = tuple(bands.replace(" ", "").split(",")) if "," in bands else tuple(bands.strip()) or there
    if bands.strip() in there:
        wanted = (bands.strip(),)
    known = get_survey(survey).bands if survey else there
    if wrong := [band for band in wanted if band not in (*known, *there)]:
        raise InputError(f"--bands '{bands}': tile '{tile.name}' has no band {wrong[0]}; it has {', '.join(there)}.")
    if len(set(wanted)) != len(wanted):
        raise InputError(f"--bands '{bands}' names a band twice.")
    return wanted


def _reach(scale: str, reach: float | None) -> float:
    if reach is None:
        return REACH[scale]
    if not (np.isfinite(reach) and reach > 0) or (scale == "radius" and reach < LEAST_REACH):
        least = f"{LEAST_REACH:g} half-light radii or more" if scale == "radius" else "more than 0 kpc"
        raise InputError(f"--reach is {reach:g}; give {least}, so that there is sky around the galaxies.")
    return float(reach)


def _mesh(mesh: int) -> int:
    if mesh and mesh < 16:
        raise InputError(f"--sky-mesh is {mesh} pixels; give 16 or more, or 0 where the sky was not subtracted.")
    return mesh


def _check_found(measured: Measured, sample: Sample, notes: list[str]) -> None:
    """InputError when too few galaxies have cutouts; notes on those that have none."""
    found = int(measured.chosen.sum())
    asked = int(sample.chosen.sum())
    missing = asked - int(sample.chosen[measured.found_rows].sum())
    lost = {REASONS[reason]: number for reason, number in measured.left_out.items()}
    if missing:
        lost["no tile shows it"] = missing
    words = [f"{number:,} of {asked:,} galaxies left out: {reason}." for reason, number in lost.items()]
    if found < FEWEST:
        raise InputError(
            f"{counted(found, 'of the chosen galaxies is', 'of the chosen galaxies are')} on the tiles with a usable "
            f"cutout, and a stack needs at least {FEWEST}. {' '.join(words)}"
        )
    notes += words


def _assumptions(plan: Plan, scale: str) -> list[str]:
    notes = []
    if scale == "kpc":
        notes.append("Kpc are those of astropy's Planck18 cosmology; surface brightness is as observed, not dimmed.")
    if plan.mesh:
        notes.append(
            f"The survey's sky is taken to have been subtracted in a mesh of {plan.mesh} pixels (--sky-mesh)."
        )
    return notes


def _about(chosen: Chosen, plan: Plan, measured: Measured, asked: dict[str, str]) -> dict[str, Any]:
    """The provenance of every file."""
    physical = asked["scale"] == "kpc"
    return {
        "software": f"morph {__version__}",
        "survey": plan.survey or "unknown",
        "models": list(chosen.models),
        **asked,
        "radius": "kpc" if physical else "half-light radii",
        "cosmology": "Planck18" if physical else "",
        "align": plan.align,
        "bands": "".join(plan.bands),
        "reach": plan.reach,
        "sky_mesh": plan.mesh,
        "seed": plan.seed,
        "galaxies": int(measured.chosen.sum()),
        "tiles": list(measured.names),
        "simulated": measured.simulated,
    }
