"""The plan of a scoring run: its time, memory and disk, from costs measured on this machine.

Only temporary files are written. The plan says what is assumed and not measured.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morph.catalogs.catalog import Catalog
from morph.catalogs.spatial_index import SpatialIndex
from morph.console import counted
from morph.errors import InputError
from morph.fits.zero_points import HEADERS, Calibration
from morph.surveys import UNKNOWN, get_survey
from morph.tiles.discovery import wanted_bands
from morph.tiles.layouts import Content, parse_name
from morph.tiles.tile import Tile, tile_name
from serving.scoring.backends import ModelRef
from serving.scoring.costs import CostEstimate, Costs, in_words, measure
from serving.scoring.tile_list import TileList, example

#: Tiles that are opened to find their size and number of galaxies.
SAMPLED = 24

#: Bits a second of the network link that feeds a GPU's server; its network keeps up with that
#: (docs/explanation/performance.md, Sizing).
LINK = 10e9
#: Bytes of a message beside its pixels, a galaxy.
BESIDE = 50


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes
    ----------
    tiles : their number; done : how many more have scores already.
    galaxies : their number; counted : the source of that number, in words.
    pixels : of a tile; read : bytes of all tiles' files.
    costs : measured on `measured`.
    workers : processes; gpus : of a cluster, 0 for this machine alone.
    """

    tiles: int
    done: int
    galaxies: float
    counted: str
    pixels: float
    read: float
    costs: Costs
    measured: str
    workers: int = 1
    gpus: int = 0

    @property
    def reading(self) -> float:
        """CPU seconds to read, decompress and, without a catalogue, to detect."""
        return self.tiles * self.pixels * (self.costs.pixel + self.costs.detection)

    @property
    def cutting(self) -> float:
        """CPU seconds."""
        return self.galaxies * self.costs.galaxy

    @property
    def answering(self) -> float:
        """Seconds, on all of this machine's cores or on the servers."""
        return self.galaxies / self.costs.answers

    @property
    def seconds(self) -> float:
        """Wall time: the cores share all work, and servers answer while the cores read and cut."""
        on_cores = (self.reading + self.cutting) / self.costs.cores
        return max(on_cores, self.answering) if self.costs.remote else on_cores + self.answering

    @property
    def gpu_rate(self) -> float:
        """Galaxies a second that fit through the link to a GPU's server."""
        return LINK / 8 / (self.costs.size**2 * 3 * 4 + BESIDE)


def plan(
    tiles: list[list[Path]] | TileList,
    catalogue: str | Path | None,
    source: ModelRef,
    survey: str,
    where: str | None = None,
    per_tile: float | None = None,
    workers: int = 1,
    gpus: int = 0,
    out: Path | None = None,
    calibration: Calibration = HEADERS,
) -> Plan:
    """Plan the scoring of tiles.

    Parameters
    ----------
    tiles : groups of files, as `find_tiles` makes them, or a list of tiles that are not on disk.
    catalogue, source, survey, where, workers, out, calibration : as for `serving.scoring.run.score`; nothing is
        written to `out`.
    per_tile : galaxies on a tile, where no catalogue counts them.
    gpus : of a cluster to plan for as well.

    Raises
    ------
    InputError : as `score` before it begins; or the number of galaxies on tiles that are not on disk is not given.
    """
    if catalogue is None and where:
        raise InputError("--where chooses from a catalogue; give one with --catalog.")
    if isinstance(tiles, TileList):
        return _of_list(tiles, catalogue, source, survey, where, per_tile, workers, gpus)
    names = [tile_name(group) for group in tiles]
    left = [g for g, name in zip(tiles, names, strict=True) if out is None or not (out / f"{name}.parquet").exists()]
    if not left:
        raise InputError(f"All {len(tiles)} tiles have scores in '{out}' already; there is nothing to plan.")
    with tempfile.TemporaryDirectory() as folder:
        galaxies = None
        if catalogue is not None and per_tile is None:
            galaxies = SpatialIndex.read(catalogue, survey, where, names, Path(folder) / "galaxies.arrow")
        opened = _sample(left, survey, galaxies, calibration)
        middle = opened[len(opened) // 2]
        find = catalogue is None and per_tile is None
        costs = measure(middle.group, survey, galaxies, source, find, calibration)
    each, counted = _count_galaxies(opened, len(left), per_tile, galaxies, costs)
    return Plan(
        tiles=len(left),
        done=len(tiles) - len(left),
        galaxies=each * len(left),
        counted=counted,
        pixels=float(np.mean([tile.pixels for tile in opened])),
        read=float(sum(_size(group, survey) for group in left)),
        costs=costs,
        measured=f"on tile '{middle.name}'",
        workers=workers,
        gpus=gpus,
    )


def _count_galaxies(
    opened: list["_SampledTile"], tiles: int, per_tile: float | None, galaxies: SpatialIndex | None, costs: Costs
) -> tuple[float, str]:
    """Galaxies on a tile, and the source of that number in words."""
    middle = opened[len(opened) // 2]
    if per_tile is not None:
        return per_tile, f"{per_tile:,.0f} a tile, as given"
    if galaxies is not None:
        some = f"from {len(opened)} of the tiles, by the catalogue"
        return float(np.mean([tile.galaxies for tile in opened])), "in the catalogue" if len(opened) == tiles else some
    return costs.detected * middle.pixels, f"as many as were detected on '{middle.name}'"


def _of_list(
    tiles: TileList,
    catalogue: str | Path | None,
    source: ModelRef,
    survey: str,
    where: str | None,
    per_tile: float | None,
    workers: int,
    gpus: int,
) -> Plan:
    if survey == UNKNOWN.name:
        raise InputError("The survey of a list of tiles is unknown; name it with --survey.")
    if per_tile is not None:
        galaxies, counted = per_tile * len(tiles), f"{per_tile:,.0f} a tile, as given"
    elif catalogue is not None:
        galaxies = float(sum(len(chunk) for chunk in Catalog(catalogue, survey, where, tiles.names).chunks()))
        counted = "in the catalogue, as if all were on these tiles"
    else:
        raise InputError("No tile is on disk to count galaxies on; give --galaxies-per-tile or --catalog.")
    with tempfile.TemporaryDirectory() as folder:
        group, pixels = example(Path(folder), survey)
        costs = measure(group, survey, None, source)
        read = sum(path.stat().st_size for path in group) / pixels
    return Plan(
        tiles=len(tiles),
        done=0,
        galaxies=galaxies,
        counted=counted,
        pixels=tiles.pixels(get_survey(survey)),
        read=len(tiles) * tiles.pixels(get_survey(survey)) * read,
        costs=costs,
        measured="on simulated rows, which take fewer bytes than real ones",
        workers=workers,
        gpus=gpus,
    )


@dataclass(frozen=True)
class _SampledTile:
    group: list[Path]
    name: str
    pixels: int
    galaxies: int


def _sample(
    groups: list[list[Path]], survey: str, galaxies: SpatialIndex | None, calibration: Calibration
) -> list[_SampledTile]:
    """Some of the tiles, from the first to the last; those that cannot be opened are left out."""
    chosen = np.unique(np.linspace(0, len(groups) - 1, min(SAMPLED, len(groups))).astype(int))
    opened, problem = [], None
    for group in (groups[i] for i in chosen):
        try:
            with Tile.open(group, survey, calibration=calibration) as tile:
                count = 0 if galaxies is None else len(galaxies.of(tile))
                opened.append(_SampledTile(group, tile.name, tile.shape[0] * tile.shape[1], count))
        except InputError as error:
            problem = error
    if not opened:
        assert problem is not None
        raise problem
    return opened


def _size(group: Sequence[Path], survey: str) -> int:
    """Bytes of a tile's files, other bands than the survey's three left out."""
    wanted = (None, *wanted_bands(get_survey(survey)))
    names = ((path, parse_name(path)[1]) for path in group)
    return sum(p.stat().st_size for p, name in names if name.band in wanted and name.content is not Content.OTHER)


def lines(plan: Plan) -> list[str]:
    """The plan in sentences."""
    costs, cores = plan.costs, plan.costs.cores
    done = f" ({plan.done:,} more have scores already)" if plan.done else ""
    text = [
        f"Plan, nothing is scored: {counted(plan.tiles, 'tile')}{done}, {plan.galaxies:,.0f} galaxies "
        f"({plan.counted}).",
        f"Reads {_bytes(plan.read)}, writes about {_bytes(plan.galaxies * costs.stored)} of score files.",
        f"Measured {plan.measured}, on {counted(cores, 'core')}, now:",
        f"  a tile takes {plan.pixels * costs.pixel:.2g} CPU seconds to read",
        f"  a core cuts {1 / costs.galaxy:,.0f} galaxies a second",
        f"  {'the servers answer' if costs.remote else 'the model answers on all cores'} for {costs.answers:,.0f} "
        "galaxies a second",
    ]
    if costs.detection:
        text.append(f"  a tile takes {plan.pixels * costs.detection:.2g} CPU seconds to detect galaxies")
    if os.getloadavg()[0] > cores:
        text.append("  the machine is busy with other things: on an idle machine it would be faster")
    text += [
        f"Time: {in_words(plan.seconds / 3600)}; of it reading {in_words(plan.reading / cores / 3600)}, cutting "
        f"{in_words(plan.cutting / cores / 3600)}, answering {in_words(plan.answering / 3600)}.",
        f"Memory: about {_bytes(plan.workers * costs.memory)} for {counted(plan.workers, 'process', 'processes')}.",
    ]
    if plan.workers > cores:
        text.append(f"More than {cores} workers gain nothing on {counted(cores, 'core')}.")
    return text + (_on_gpus(plan) if plan.gpus else [])


def _on_gpus(plan: Plan) -> list[str]:
    estimate = CostEstimate(plan.galaxies, plan.gpu_rate, plan.gpus)
    on_cores = (plan.reading + plan.cutting) / (estimate.hours * 3600)
    cores = counted(max(1, round(on_cores)), "core")
    return [
        f"On {counted(plan.gpus, 'GPU')}: {in_words(estimate.hours)}, if {cores} like these read and cut for them.",
        f"  Assumed, not measured: a link of {LINK / 1e9:.0f} Gbit/s brings each GPU's server {plan.gpu_rate:,.0f} "
        "galaxies a second, and it keeps up with that.",
    ]


def _bytes(number: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"
