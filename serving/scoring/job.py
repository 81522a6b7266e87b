"""A scoring job: what all of its tiles share, and which of them an earlier run has scored."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from morph import __version__
from morph.catalogs.spatial_index import SpatialIndex
from morph.checks import FORMAT, SCORES_FORMAT
from morph.errors import InputError
from morph.fits.zero_points import HEADERS, Calibration
from morph.tiles.footprints import Overlap, on_any
from morph.tiles.tile import tile_name
from serving.scores.score_files import read_about, readable
from serving.scores.summary import Scored, ScoresSummary, summarise_file
from serving.scoring.backends import ModelRef

#: Entries of the provenance that must agree for a score file to be the one that a run would make, and their names.
SAME = {
    "survey": "survey",
    "model": "model",
    "model_version": "model version",
    "catalogue": "catalogue",
    "selection": "selection",
    "calibration": "zero point, unit or bands",
}

#: The last bytes of a Parquet file.
MAGIC = b"PAR1"

_DAMAGED = "'%s' is damaged; its tile is scored again."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """All that scoring a tile needs besides the tile; it can be pickled for another process.

    Attributes
    ----------
    source : the model that answers.
    description : of that model.
    catalogue : the galaxies; None where they are to be detected.
    overlaps : with which others the tiles overlap whose edges decide which galaxies are theirs, by name.
    verify : whether files are compared with their checksums first.
    calibration, bands : of the images, in place of their headers'; see `Tile.open`.
    token : of the run that holds the lock of the folder `out` (see `morph.output_lock`); empty without one.
    """

    source: ModelRef
    description: dict[str, Any]
    out: Path
    survey: str
    catalogue: SpatialIndex | None = None
    overlaps: Mapping[str, Overlap] = field(default_factory=dict)
    verify: bool = False
    token: str = ""
    calibration: Calibration = HEADERS
    bands: tuple[str, ...] = ()

    def path(self, tile: str) -> Path:
        return self.out / f"{tile}.parquet"

    def about(self) -> dict[str, Any]:
        """The provenance that all of a run's files share."""
        catalogue, selection = None, ""
        if self.catalogue is not None:
            catalogue, selection = self.catalogue.about(), self.catalogue.where
        return {
            FORMAT: SCORES_FORMAT,
            "software": f"morph {__version__}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "survey": self.survey,
            "model": self.description["name"],
            "model_version": str(self.description["version"]),
            "engine": self.description.get("engine", "server"),
            "model_survey": self.description["survey"],
            "run": self.description.get("run"),
            "weights": self.description.get("weights"),
            "source": repr(self.source),
            "catalogue": catalogue,
            "selection": selection,
            "calibration": " ".join([str(self.calibration), *self.bands]).strip(),
            "verified": self.verify,
        }


def leave_out_done(
    groups: list[list[Path]], job: Job, summary: ScoresSummary, advance: Callable[[int, int], None]
) -> list[list[Path]]:
    """The tiles to score: those with a score file of this job go into the summary instead.

    Parameters
    ----------
    groups : the tiles' files.
    advance : called with 1 and 0 for each tile that is done.

    Returns
    -------
    The files of the tiles that have no score file, a damaged one, or one of other images or neighbours.

    Raises
    ------
    InputError : a file is of another job.
    """
    left, others = [], []
    wanted = job.about()
    for group in groups:
        name = tile_name(group)
        path = job.path(name)
        if not path.exists():
            left.append(group)
            continue
        if not _is_complete(path):
            logger.warning(_DAMAGED, path)
            left.append(group)
            continue
        about = read_about(path)
        different = [name for name in SAME if _key(about.get(name, "")) != _key(wanted[name])]
        if different:
            others.append((path, different, about))
        elif about.get("images") != fingerprint(group, job.overlaps.get(name)):
            summary.changed.append(name)
            left.append(group)
        elif (done := _summarised(path, about)) is None:
            left.append(group)
        else:
            summary.add(done)
            advance(1, 0)
    if others:
        path, different, about = others[0]
        what = " and ".join(SAME[name] for name in different)
        files = "A score file is" if len(others) == 1 else f"{len(others):,} score files are"
        raise InputError(
            f"{files} in '{job.out}' from another {what} (the first is '{path.name}', by "
            f"{about.get('model')} {about.get('model_version')}); choose another --out, or --overwrite them."
        )
    return left


def warn_of_duplicates(groups: list[list[Path]], job: Job) -> None:
    """Warn where the folder's scores of tiles that are not given have galaxies on tiles that are.

    Edges separate the tiles that are given together, and no others; a survey's rule separates all. InputError when a
    table there is damaged or not a score file: the run's catalogue could not be made in the end.
    """
    given = {tile_name(group) for group in groups}
    sky = [overlap.own for overlap in job.overlaps.values()]
    found: dict[str, int] = {}
    for path in sorted(job.out.glob("*.parquet")):
        if path.stem in given or path.name[0] in "._":
            continue
        read_about(path)
        if not sky:
            continue
        with readable(path):
            places = pq.read_table(path, columns=["ra", "dec"])
        count = int(on_any(sky, *(np.asarray(places[name].to_numpy(), dtype=float) for name in ("ra", "dec"))).sum())
        if count:
            found[path.stem] = count
    if found:
        logger.warning(
            "'%s' has scores of other tiles than those given ('%s' is the first of %d), and %d of their galaxies lie "
            "on these, so that they may be there twice. Give all tiles at once: the same command then corrects it.",
            job.out,
            next(iter(found)),
            len(found),
            sum(found.values()),
        )


def fingerprint(group: Sequence[Path], overlap: Overlap | None = None) -> str:
    """A hash that changes when a tile's files do, or the tiles that share its sky.

    It is of the files' names, sizes and times: reading them would take as long as scoring them.
    """
    states: list[Any] = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(group) if p.exists()]
    if overlap is not None:
        states += [astuple(other) for other in overlap.others]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def _is_complete(path: Path) -> bool:
    """Whether a Parquet file ends as it should; after a power failure it may not."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(MAGIC), 0))
        return file.read() == MAGIC


def _summarised(path: Path, about: dict[str, Any]) -> Scored | None:
    """The summary of a score file that ends as it should; None where its rows cannot be read all the same."""
    try:
        return summarise_file(path, about)
    except InputError:
        logger.warning(_DAMAGED, path)
        return None


def _key(value: Any) -> Any:
    """The part of a provenance entry that identifies it: of a catalogue the digest, wherever the file lies."""
    return value.get("digest") if isinstance(value, dict) else value
