"""Scoring: survey tiles in, one catalogue of answers a tile out.

A tile is one task. Its file appears whole or not at all, so a run that is stopped goes on where it was, and a tile
that cannot be used stops no other. A tile whose images have changed since is scored again. While the model answers for
some galaxies, a thread reads and cuts the next.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.table import Table

from morph import __version__
from morph.errors import BadInput
from morph.images.appearance import STATISTICS, measure
from morph.images.cutouts import Flag, cut
from morph.images.sources import detect, locate, read_catalogue
from morph.images.tiles import Tile, find_tiles, tile_name
from morph.stamps import FIELD
from morph.surveys import get_survey
from serving.answerers import OUTPUTS, Answerer, Source
from serving.catalogue import Scores, read_about, write_scores
from serving.summary import Elsewhere, Failed, Result, Scored, Summary, summarise

#: Galaxies that are cut and answered together, and how many such pieces may wait for the model: 200 MB of stamps,
#: and time enough to read the next tile.
PIECE = 512
WAITING = 8

#: Galaxies of a tile whose pixels are measured, for the question how far the survey is from the model's.
MEASURED = 200

#: What must agree for a score file to be what a run would make again.
SAME = ("survey", "model", "model_version", "catalogue")

Advance = Callable[[int, int], None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Job:
    """All that scoring a tile needs beside the tile; it can be sent to another process.

    Attributes
    ----------
    description : that of the source's model.
    catalogue : as `read_catalogue` makes it; None to detect the galaxies.
    """

    source: Source
    description: dict[str, Any]
    out: Path
    survey: str
    catalogue: Table | None = None

    def path(self, tile: str) -> Path:
        return self.out / f"{tile}.parquet"

    def about(self) -> dict[str, Any]:
        """The provenance that all of a run's files share."""
        catalogue = None
        if self.catalogue is not None:
            catalogue = {name: self.catalogue.meta.get(name, "") for name in ("source", "digest", "radius_column")}
        return {
            "software": f"morph {__version__}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "survey": self.survey,
            "model": self.description["name"],
            "model_version": str(self.description["version"]),
            "model_survey": self.description["survey"],
            "run": self.description.get("run"),
            "source": repr(self.source),
            "catalogue": catalogue,
        }


def score(
    tiles: str | Path | Sequence[str | Path] | list[list[Path]],
    catalogue: str | Path | Table | None,
    source: Source,
    out: str | Path,
    survey: str = "des",
    workers: int = 1,
    overwrite: bool = False,
    advance: Advance = lambda tiles, galaxies: None,
) -> Summary:
    """Score tiles: one Parquet file each in the folder `out` (see `serving.catalogue`).

    Parameters
    ----------
    tiles : files, folders or globs, or the groups of files that `find_tiles` makes of them.
    catalogue : the galaxies, by file or as `read_catalogue` makes it; None to detect them on the tiles.
    source : who answers: `LocalModel` or `RemoteModel`.
    survey : the tiles' survey.
    workers : processes; with more than one, tiles are spread over them by Dask.
    overwrite : score again what is there already.
    advance : called with the number of tiles and galaxies that have been finished since the last call; first, with
        zeros, when the model is ready.

    Raises
    ------
    BadInput : there is no such tile, catalogue, model or server; two tiles have one name; a file in `out` was made
        by another model, or from another catalogue or survey; no galaxy of the catalogue lies on any tile; the
        model fails, or a file cannot be written. What is wrong with single tiles is in the summary's `failed`.
    """
    out = Path(out)
    survey = get_survey(survey).name
    groups = _groups(tiles)
    table = read_catalogue(catalogue, survey) if isinstance(catalogue, (str, Path)) else catalogue
    if out.exists() and not out.is_dir():
        raise BadInput(f"'{out}' is a file; --out names a folder.")
    summary = Summary()
    with source.open() as answerer:
        summary.remembered = answerer.remembered
        job = Job(source, answerer.description, out, survey, table)
        advance(0, 0)
        if not overwrite:
            groups = _leave_out_done(groups, job, summary, advance)
        out.mkdir(parents=True, exist_ok=True)
        if workers > 1 and len(groups) > 1:
            from serving.cluster import score_on_cluster

            results = score_on_cluster(groups, job, workers, advance)
        else:
            results = score_tiles(groups, job, answerer, advance)
        for result in results:
            summary.add(result)
    if table is not None:
        summary.nowhere = len(table) - _distinct(summary)
    if table is not None and summary.elsewhere and not summary.scored and not summary.failed:
        raise BadInput(
            f"None of the {len(table):,} galaxies of '{table.meta.get('source', 'the catalogue')}' lies on "
            f"{_tiles_in_words(summary.elsewhere)}; check its positions (degrees) and tile names."
        )
    return summary


def score_tiles(groups: Iterable[list[Path]], job: Job, answerer: Answerer, advance: Advance) -> Iterator[Result]:
    """Score tiles one after the other in this process, each as it is finished.

    BadInput when the answerer fails; what is wrong with a tile is its result.
    """
    parts: list[tuple[_Piece, dict[str, np.ndarray]]] = []
    for item in ahead(_pieces(groups, job), WAITING):
        if not isinstance(item, _Piece):
            result: Result = item
        else:
            parts.append((item, _answer(item, answerer)))
            advance(0, len(item.rows))
            if not item.last:
                continue
            result = _write([piece for piece, _ in parts], [outputs for _, outputs in parts], job)
        parts = []
        advance(1, 0)
        yield result


def ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The items, of which a thread makes up to `count` in advance."""
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        coming = deque(pool.submit(next, items, end) for _ in range(count))
        while (item := coming.popleft().result()) is not end:
            coming.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]  # `end` is excluded above
    finally:
        pool.shutdown(cancel_futures=True)


# --- What there is to do ---------------------------------------------------------------------------------


def _groups(tiles) -> list[list[Path]]:
    if isinstance(tiles, (str, Path)) or not tiles or isinstance(tiles[0], (str, Path)):
        tiles = find_tiles(tiles)
    names = Counter(tile_name(group) for group in tiles)
    name, count = names.most_common(1)[0]
    if count > 1:
        places = " and ".join(sorted(f"'{group[0].parent}'" for group in tiles if tile_name(group) == name)[:2])
        raise BadInput(f"{count} tiles are called '{name}' (in {places}); score them into different folders.")
    return tiles


def _leave_out_done(groups: list[list[Path]], job: Job, summary: Summary, advance: Advance) -> list[list[Path]]:
    """The tiles without a score file; the others go into the summary. BadInput when a file is not this job's."""
    left, others = [], []
    for group in groups:
        path, images = job.path(tile_name(group)), _fingerprint(group)
        if not path.exists():
            left.append(group)
            continue
        about, wanted = read_about(path), job.about()
        different = [name for name in SAME if _key(about.get(name)) != _key(wanted[name])]
        if different:
            others.append((path, different, about))
        # A file of an earlier version does not say which images it was made from.
        elif about.get("images", images) != images:
            summary.changed.append(tile_name(group))
            left.append(group)
        else:
            summary.add(summarise(path, pq.read_table(path), before=True))
            advance(1, 0)
    if others:
        path, different, about = others[0]
        what = " and ".join(name.replace("_", " ") for name in different)
        raise BadInput(
            f"{len(others)} score files in '{job.out}' come from another {what} (the first is '{path.name}', by "
            f"{about.get('model')} {about.get('model_version')}); choose another --out, or --overwrite them."
        )
    return left


def _fingerprint(group: Sequence[Path]) -> str:
    """What changes when a tile's files do: a hash of their names, sizes and times, for reading them takes as long as
    scoring them."""
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(group) if path.exists()]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def _distinct(summary: Summary) -> int:
    """How many of the catalogue's galaxies have scores; one on two tiles counts once."""
    ids = [pq.read_table(tile.path, columns=["id"]) for tile in summary.scored]
    return pc.count_distinct(pa.concat_tables(ids)["id"]).as_py() if ids else 0


def _key(value: Any) -> Any:
    """What identifies an entry of the provenance: of a catalogue its content, wherever it was read from."""
    return value.get("digest") if isinstance(value, dict) else value


# --- One tile --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """Some of a tile's galaxies; `about` is what the score file says of the tile.

    `appearance` is NaN except where pixels were measured.
    """

    tile: str
    rows: Table
    stamps: np.ndarray
    flags: np.ndarray
    appearance: np.ndarray
    last: bool
    about: dict[str, Any]


def _pieces(groups: Iterable[list[Path]], job: Job) -> Iterator[_Piece | Failed | Elsewhere]:
    for group in groups:
        try:
            yield from _pieces_of(group, job)
        except BadInput as error:
            yield Failed(tile_name(group), str(error))
        # Whatever is wrong with one tile of thousands, the others are scored.
        except Exception as error:
            first = (str(error).strip() or "no reason given").splitlines()[0]
            yield Failed(tile_name(group), f"{type(error).__name__} in '{group[0]}': {first}.")


def _pieces_of(group: list[Path], job: Job) -> Iterator[_Piece | Elsewhere]:
    with Tile.open(group, job.survey) as tile:
        rows = detect(tile) if job.catalogue is None else locate(tile, job.catalogue)
        if job.catalogue is not None and not len(rows):
            yield Elsewhere(tile.name)
            return
        about = {
            "tile": tile.name,
            "tilename": tile.tilename,
            "files": {band: path.name for band, path in tile.paths.items()},
            "images": _fingerprint(group),
            "pixel_scale": tile.pixel_scale,
            "simulated": tile.simulated,
        }
        for start in range(0, max(len(rows), 1), PIECE):
            some = rows[start : start + PIECE]
            radius = np.asarray(some["radius"], dtype=float) / tile.pixel_scale
            stamps, flags = cut(tile, some["x"], some["y"], radius, job.description["size"])
            last = start + PIECE >= len(rows)
            appearance = _appearance(some, stamps, flags, max(1, len(rows) // MEASURED))
            yield _Piece(tile.name, some, stamps, flags, appearance, last, about)


def _appearance(rows: Table, stamps: np.ndarray, flags: np.ndarray, every: int) -> np.ndarray:
    """`morph.images.appearance.measure` of one in `every` stamps with nothing wrong, NaN for the others."""
    found = np.full((len(rows), len(STATISTICS)), np.nan, dtype="float32")
    chosen = np.flatnonzero(flags == 0)[::every]
    scale = np.asarray(rows["radius"], dtype=float)[chosen] * FIELD / stamps.shape[1]
    found[chosen] = measure(stamps[chosen], scale)
    return found


def _answer(piece: _Piece, answerer: Answerer) -> dict[str, np.ndarray]:
    """The answers for a piece's galaxies; NaN for those without data, which are not asked about."""
    asked = (piece.flags & Flag.NO_DATA) == 0
    description = answerer.description
    answers = sum(len(question["answers"]) for question in description["questions"])
    widths = {
        "probabilities": (answers,),
        "tree_probabilities": (answers,),
        "concentration": (answers,),
        "embedding": (description["embedding_size"],),
    }
    outputs = {name: np.full((len(asked), *widths.get(name, ())), np.nan, dtype="float32") for name in OUTPUTS}
    if asked.any():
        for name, values in answerer.answer(piece.stamps[asked]).items():
            outputs[name][asked] = values
    return outputs


def _write(pieces: list[_Piece], outputs: list[dict[str, np.ndarray]], job: Job) -> Scored:
    def column(name: str) -> np.ndarray:
        return np.concatenate([np.asarray(piece.rows[name], dtype=float) for piece in pieces])

    flags = np.concatenate([piece.flags for piece in pieces])
    scores = Scores(
        ids=[str(name) for piece in pieces for name in piece.rows["id"]],
        ra=column("ra"),
        dec=column("dec"),
        x=column("x"),
        y=column("y"),
        flags=flags,
        appearance=np.concatenate([piece.appearance for piece in pieces]),
        outputs={name: np.concatenate([part[name] for part in outputs]) for name in OUTPUTS},
        answered=(flags & Flag.NO_DATA) == 0,
    )
    path = job.path(pieces[0].tile)
    about = {**job.about(), **pieces[0].about}
    return summarise(path, write_scores(path, pieces[0].tile, scores, job.description, about))


def _tiles_in_words(tiles: Sequence[Elsewhere]) -> str:
    return f"tile '{tiles[0].tile}'" if len(tiles) == 1 else f"any of the {len(tiles)} tiles"
