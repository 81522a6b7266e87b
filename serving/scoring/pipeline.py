"""Tiles scored one after the other: while the model answers for some galaxies, the next are read and cut.

A thread walks the tiles' rows and hands over galaxies in full batches; it is at most `WAITING` batches ahead of the
model, so memory does not grow with the tiles. A batch never holds galaxies of two tiles: a tile's scores are the same
to the last bit whichever tiles were scored before it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from morph.catalogs.detection import detect
from morph.errors import InputError, first_line
from morph.fits.images import verify
from morph.parallel import map_threads, prefetch
from morph.sizes import FIELD
from morph.stamps.cutting import Flag
from morph.stamps.image_statistics import STATISTICS, measure
from morph.stamps.signal_to_noise import signal_to_noise
from morph.stamps.stamp_stream import StampBatch, stream_stamps
from morph.tiles.overlaps import area
from morph.tiles.prefetch import Readers
from morph.tiles.tile import Tile, tile_name
from serving.protocol import OUTPUTS
from serving.scores.schema import PROPERTIES, Scores, masked_part, write_scores
from serving.scores.summary import Elsewhere, Failed, Result, Scored, summarise
from serving.scores.thumbnails import MostAnomalous
from serving.scoring.backends import Answers, Backend
from serving.scoring.job import Job
from serving.scoring.light import Light
from serving.scoring.output_lock import held_by
from serving.scoring.resume import fingerprint

#: Galaxies that are answered together, and how many such batches may wait for the model: 100 MB of stamps, and time
#: enough to read the first rows of the next tile.
BATCH = 256
WAITING = 8

#: A tile's first batches are smaller: until the first is full, the model has nothing to do.
FIRST = (64, 128)

#: Galaxies of a tile whose pixels are measured, for the question how far the survey is from the model's.
MEASURED = 200

#: Called with the number of tiles and of galaxies that have been finished since the last call.
Advance = Callable[[int, int], None]


def score_tiles(
    groups: Iterable[list[Path]], job: Job, backend: Backend, advance: Advance, readers: Readers | None = None
) -> Iterator[Result]:
    """Score tiles one after the other in this process, each as it is finished; their rows are read by `readers`.

    InputError when the answerer fails or a file cannot be written; what is wrong with a tile is its result.
    """

    # A worker may compute by another engine than the process that started the job.
    engine = backend.description.get("engine", "server")
    job = replace(job, description={**job.description, "engine": engine})

    def answered(item: "_Batch | _Sheet | Failed | Elsewhere"):
        if isinstance(item, _Batch):
            return item, backend.answer(item.stamps)
        return item, None

    for item, outputs in map_threads(answered, prefetch(_walk(groups, job, readers), WAITING), backend.at_once):
        if isinstance(item, _Batch):
            assert outputs is not None
            item.sheet.fill(item, outputs)
            advance(0, len(item.rows))
            continue
        result: Result = _write(item, job) if isinstance(item, _Sheet) else item
        advance(1, item.silent if isinstance(item, _Sheet) else 0)
        yield result


@dataclass
class _Sheet:
    """A tile's rows, filled in as its galaxies are cut and answered.

    `about` is what the score file says of the tile, `detected` whether its galaxies were found on it. What is not
    known of a row is NaN.
    """

    tile: str
    galaxies: Table
    about: dict[str, Any]
    light: Light
    detected: bool
    flags: np.ndarray
    radius: np.ndarray
    snr: np.ndarray
    masked: np.ndarray
    appearance: np.ndarray
    outputs: dict[str, np.ndarray]
    order: list[np.ndarray] = field(default_factory=list)
    strangest: MostAnomalous = field(default_factory=MostAnomalous)

    @classmethod
    def blank(
        cls, tile: Tile, galaxies: Table, about: dict[str, Any], description: dict[str, Any], detected: bool
    ) -> "_Sheet":
        count = len(galaxies)
        answers = sum(len(question["answers"]) for question in description["questions"])
        widths = dict.fromkeys(("probabilities", "tree_probabilities", "concentration"), answers)
        widths["embedding"] = int(description["embedding_size"])

        def unknown(*width: int) -> np.ndarray:
            return np.full((count, *width), np.nan, dtype="float32")

        outputs = {name: unknown(widths[name]) if name in widths else unknown() for name in OUTPUTS}
        return cls(
            tile.name,
            galaxies,
            about,
            Light(tile, galaxies, detected),
            detected,
            flags=np.zeros(count, dtype="int32"),
            radius=np.full(count, np.nan),
            snr=unknown(),
            masked=unknown(),
            appearance=unknown(len(STATISTICS)),
            outputs=outputs,
        )

    @property
    def silent(self) -> int:
        """Galaxies that the model was not asked about."""
        return int(((self.flags & Flag.NO_DATA) != 0).sum())

    def note(self, cut: StampBatch, pixel_scale: float) -> None:
        """Keep what the pixels say of some galaxies."""
        self.radius[cut.rows] = cut.radius * pixel_scale
        self.snr[cut.rows] = signal = signal_to_noise(cut.stamps, cut.radius)
        self.flags[cut.rows] = cut.flags | self.light.note(cut, signal)
        self.masked[cut.rows] = masked_part(cut.stamps)
        every = max(1, len(self.galaxies) // MEASURED)
        chosen = np.flatnonzero((self.flags[cut.rows] == 0) & (cut.rows % every == 0))
        if len(chosen):
            scale = self.radius[cut.rows[chosen]] * FIELD / cut.stamps.shape[1]
            self.appearance[cut.rows[chosen]] = measure(cut.stamps[chosen], scale)

    def fill(self, batch: "_Batch", outputs: Answers) -> None:
        """Keep what the model says of some galaxies."""
        for name in OUTPUTS:
            self.outputs[name][batch.rows] = outputs[name]
        self.order.append(batch.rows)
        told = {name: np.asarray(outputs[name], dtype=float) for name in ("anomaly_score", "reconstruction_error")}
        self.strangest.add(batch.stamps, self.flags[batch.rows], told)

    def pictures(self) -> list[bytes | None]:
        """JPEG files of the strangest galaxies, None for the others."""
        found: list[bytes | None] = [None] * len(self.galaxies)
        for row, picture in zip(np.concatenate([*self.order, []]), self.strangest.column(), strict=True):
            found[int(row)] = picture
        return found


@dataclass(frozen=True)
class _Batch:
    """Galaxies with something to see, in the rows `rows` of their tile's sheet."""

    sheet: _Sheet
    rows: np.ndarray
    stamps: np.ndarray


def _walk(
    groups: Iterable[list[Path]], job: Job, readers: Readers | None
) -> Iterator[_Batch | _Sheet | Failed | Elsewhere]:
    """Every tile's batches and then its sheet; or what there is instead of scores."""
    for group in groups:
        try:
            yield from _walk_one(group, job, readers)
        except InputError as error:
            yield Failed(tile_name(group), str(error), str(group[0]))
        # Whatever is wrong with one tile of thousands, the others are scored.
        except Exception as error:
            first = first_line(error)
            reason = f"{type(error).__name__} in '{group[0]}': {first}."
            yield Failed(tile_name(group), reason, str(group[0]))


def _walk_one(group: list[Path], job: Job, readers: Readers | None) -> Iterator[_Batch | _Sheet | Elsewhere]:
    overlap = job.overlaps.get(tile_name(group))
    images = fingerprint(group, overlap)
    with Tile.open(group, job.survey, overlap, job.calibration, job.bands) as tile:
        listed = None if job.catalogue is None else job.catalogue.of(tile)
        if listed is not None and not len(listed):
            yield Elsewhere(tile.name)
            return
        for path in tile.files if job.verify else ():
            verify(path)
        galaxies = detect(tile, readers=readers) if listed is None else listed
        about = {
            "tile": tile.name,
            "tilename": tile.tilename,
            "files": {band: path.name for band, path in tile.paths.items()},
            "images": images,
            "bands": list(tile.bands),
            "channels": list(tile.channels),
            "zero_points": {
                band: {"magnitude": point.magnitude if point.known else None, "source": point.source}
                for band, point in tile.zero_points.items()
            },
            "pixel_scale": tile.pixel_scale,
            "area": area(tile),
            "resampled": tile.resampled,
            "notes": list(tile.notes),
            "simulated": tile.simulated,
        }
        sheet = _Sheet.blank(tile, galaxies, about, job.description, listed is None)
        radius = np.asarray(galaxies["radius"], dtype=float) / tile.pixel_scale
        size = int(job.description["size"])
        # Where no process reads, one thread takes the least time of the processors, which the model keeps busy.
        look = sheet.light.look
        cut = stream_stamps(tile, galaxies["x"], galaxies["y"], radius, size, threads=1, readers=readers, look=look)
        yield from _batches(sheet, cut, tile.pixel_scale)
        yield sheet


def _batches(sheet: _Sheet, strips: Iterable[StampBatch], pixel_scale: float) -> Iterator[_Batch]:
    """The galaxies with something to see, `BATCH` at a time, the first and the last ones fewer."""
    sizes = chain(FIRST, repeat(BATCH))
    size, count, rows, shown = next(sizes), 0, np.empty(0, dtype=int), None
    for cut in strips:
        sheet.note(cut, pixel_scale)
        asked = np.flatnonzero((cut.flags & Flag.NO_DATA) == 0)
        while len(asked):
            if shown is None:
                rows, shown = np.empty(size, dtype=int), np.empty((size, *cut.stamps.shape[1:]), cut.stamps.dtype)
            some, asked = np.split(asked, [size - count])
            end = count + len(some)
            rows[count:end] = cut.rows[some]
            # With another mode there would be a copy on the way.
            np.take(cut.stamps, some, axis=0, out=shown[count:end], mode="clip")
            count = end
            if count == size:
                yield _Batch(sheet, rows, shown)
                size, count, shown = next(sizes), 0, None
    if shown is not None:
        yield _Batch(sheet, rows[:count], shown[:count])


def _write(sheet: _Sheet, job: Job) -> Scored:
    flags, of_star = sheet.light.flags(sheet.snr, sheet.radius, sheet.flags)
    # A row that was found where there is no light, or on a saturated star's rays, is no source; a catalogue's stays.
    keep = np.flatnonzero(~(of_star | (sheet.snr < 0)) if sheet.detected else np.full(len(flags), True))
    galaxies, pictures = sheet.galaxies[keep], sheet.pictures()

    def column(name: str) -> np.ndarray:
        return np.asarray(galaxies[name], dtype=float)

    measured = {"radius": sheet.radius, "snr": sheet.snr, "masked": sheet.masked, **sheet.light.columns(sheet.snr)}
    scores = Scores(
        ids=[str(name) for name in galaxies["id"]],
        ra=column("ra"),
        dec=column("dec"),
        x=column("x"),
        y=column("y"),
        flags=flags[keep],
        appearance=sheet.appearance[keep],
        outputs={name: values[keep] for name, values in sheet.outputs.items()},
        answered=(flags[keep] & Flag.NO_DATA) == 0,
        properties={name: measured[name][keep] if name in measured else column(name) for name in PROPERTIES},
        pictures=[pictures[row] for row in keep.tolist()],
        bands=[sheet.light.bands[row] for row in keep.tolist()],
    )
    # A worker may outlive the job that it works for, and the folder may be another's by then.
    if job.token and held_by(job.out) != job.token:
        raise InputError(f"The job that scored tile '{sheet.tile}' does not hold '{job.out}' any more.")
    path = job.path(sheet.tile)
    seeing = sheet.light.psf_fwhm
    about = {**job.about(), **sheet.about, "psf_fwhm": float(seeing) if np.isfinite(seeing) else None}
    return summarise(path, write_scores(path, sheet.tile, scores, job.description, about))
