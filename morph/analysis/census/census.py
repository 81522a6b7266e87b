"""A census: what share of a survey's galaxies has each morphology, by magnitude and redshift."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from morph import __version__
from morph.analysis.census.bins import Bins
from morph.analysis.census.classes import index_of
from morph.analysis.census.correction import Correction
from morph.analysis.census.labelled import open_labelled, save_labelled
from morph.analysis.census.redshifts import Redshifts
from morph.analysis.census.rows import RADIUS, SEEING, SNR, Scores, seeing_of
from morph.analysis.census.sums import Sums
from morph.analysis.census.table import Row, as_table, rows_of, sentence_of
from morph.analysis.census.volume import COSMOLOGY, Volume, find_cosmology
from morph.atomic import atomic
from morph.catalogs.table_files import write_table
from morph.checks import check_folder
from morph.console import counted, listed, track
from morph.errors import InputError

#: Columns of the galaxies that are shown as examples.
SHOWN = ("id", "tile", "x", "y", "picture")

#: What the files in the folder are called, beside the report's.
TABLE, LABELLED = "census", "labelled.parquet"

#: How long a Dask scheduler may take to answer.
PATIENCE = "20s"


@dataclass(frozen=True)
class Request:
    """What a census is asked for.

    Attributes
    ----------
    by, bins : quantities to divide by, with commas between, and their edges (`Bins.of`).
    where : which galaxies, in the language of ``--where``.
    weights : empty: every galaxy counts alike; ``vmax``: by 1/Vmax.
    limit : the faintest magnitude of the sample, for ``vmax``.
    cosmology : one of astropy's.
    correct, model : the labelled galaxies, and the model that made the scores.
    redshifts : a table of redshifts by id.
    tiles : the tiles that were scored, from which pictures are cut; without, those of the score files are shown.
    scheduler : address of a Dask scheduler whose workers read the score files; empty: this process does.
    seed : of the resamples.
    """

    by: str = ""
    bins: Sequence[str] = ()
    where: str = ""
    weights: str = ""
    limit: float | None = None
    cosmology: str = COSMOLOGY
    correct: str = ""
    model: str = ""
    redshifts: str = ""
    tiles: Sequence[str] = ()
    scheduler: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Census:
    """A census.

    Attributes
    ----------
    bins, sums : the grid, and what was summed in it.
    rows : of every bin; the first of all bins together.
    notes : what a user should know, in sentences.
    about : provenance.
    """

    bins: Bins
    sums: Sums
    rows: list[list[Row]]
    notes: list[str]
    about: dict[str, Any]

    @property
    def table(self) -> pa.Table:
        """The long table, with the provenance in its metadata."""
        flat = [row for rows in self.rows for row in rows]
        about = {**self.about, "notes": self.notes, "made_by": _history(self.about)}
        return as_table(flat, self.bins, _marks(self.about)).replace_schema_metadata(
            {b"morph": json.dumps(about).encode()}
        )

    def sentences(self, names: Sequence[str] = ()) -> list[str]:
        """One sentence a class that occurs, or for each of some: its fraction and its limit."""
        whole = self.rows[0]
        shown = [index_of(name) for name in names] or [i for i, row in enumerate(whole) if row.raw > 0]
        return [sentence_of([rows[i] for rows in self.rows], self.bins) for i in shown]


def take_census(scores: str | Path, to: str | Path, request: Request | None = None) -> Census:
    """Take a census of some scores, and write it to a folder.

    Parameters
    ----------
    scores : a folder of `morph score`, or a table with a column for every answer.
    to : the folder to write: ``census.parquet``, ``.fits`` and ``.csv``, the figure, the report, and the labelled
        galaxies where there are any. It appears whole or not at all.
    request : what is wanted; all galaxies in one bin, uncorrected, if not given.

    Raises
    ------
    InputError : the scores, the request or the labelled galaxies cannot be used, or no galaxy is left.

    Examples
    --------
    >>> census = take_census("scores", "census", Request(by="magnitude", bins=["magnitude=14,18,22"]))
    >>> census.rows[0][0].count > 0
    True
    """
    from morph.analysis.census.pictures import cut_pictures
    from morph.analysis.census.report import write_report

    request = request or Request()
    to = Path(to)
    check_folder(to)
    if to.exists() and not (to / f"{TABLE}.parquet").is_file() and any(to.iterdir()):
        raise InputError(f"'{to}' exists and is not a census; choose another --to.")
    opened = Scores.open(scores, request.where)
    reading = _Reading.of(opened, request)
    sums = _summed(reading, request.scheduler)
    if not sums.count.sum():
        raise InputError(_nothing(opened, sums))
    # What takes minutes comes after all that may be wrong with the scores.
    labelled, notes = open_labelled(request.correct, request.model, opened) if request.correct else (None, [])
    correction = Correction(labelled) if labelled is not None else None
    rows = list(rows_of(reading.bins, sums, correction, request.seed))
    if request.tiles:
        survey = opened.surveys[0] if len(opened.surveys) == 1 else None
        sums.examples, said = cut_pictures(sums.examples, request.tiles, survey)
        notes += said
    notes = [*notes, *reading.notes(), *_left_out(sums), *_uncorrected(opened, correction)]
    census = Census(reading.bins, sums, rows, notes, _about(opened, request, labelled, sums))
    with atomic(to, "The census") as building:
        building.mkdir()
        for suffix in ("parquet", "fits", "csv"):
            write_table(census.table, building / f"{TABLE}.{suffix}")
        if labelled is not None:
            save_labelled(labelled, building / LABELLED)
        write_report(census, building)
    return census


@dataclass(frozen=True)
class _Reading:
    """How rows of the scores become galaxies in bins; a worker of Dask gets it, and reads one file."""

    scores: Scores
    bins: Bins
    columns: dict[str, str]
    volume: Volume | None
    seeing: float
    redshifts: Redshifts | None
    pictured: bool

    @classmethod
    def of(cls, scores: Scores, request: Request) -> "_Reading":
        """Check what is asked for against the scores. InputError says what is missing."""
        bins = Bins.of(request.by, request.bins)
        redshifts = Redshifts(request.redshifts) if request.redshifts else None
        if redshifts is not None and "id" not in scores.columns:
            raise InputError(f"The scores in '{scores.path}' have no column 'id' to join --redshifts by.")
        quantities = {*bins.names, *(("redshift", "mag_r") if request.weights else ())}
        columns = {
            name: "redshift" if redshifts is not None and name in ("redshift", "z") else scores.column_of(name)
            for name in quantities
        }
        volume = _volume(request)
        seeing = seeing_of(scores)
        return cls(scores, bins, columns, volume, seeing, redshifts, not request.tiles)

    def sums(self, number: int) -> Sums:
        """The sums of one of the tables."""
        found = Sums.empty(self.bins.count, self.pictured)
        read = list(dict.fromkeys([*self.columns.values(), RADIUS, SNR, SEEING]))
        for rows, table in self.scores.part(number).batches(read, SHOWN):
            values = dict(rows.values)
            if self.redshifts is not None:
                values["redshift"] = self.redshifts.of(table["id"])
            quantities = {name: values[column] for name, column in self.columns.items()}
            place = self.bins.place(quantities) if self.bins.names else np.zeros(len(rows), dtype=int)
            seeing = np.where(np.isfinite(values[SEEING]), values[SEEING], self.seeing)
            found.add(rows, place, self._weight(quantities, place), values[RADIUS] / seeing, table)
        return found

    def _weight(self, quantities: dict[str, np.ndarray], place: np.ndarray) -> np.ndarray:
        if self.volume is None:
            return np.ones(len(place))
        name = next((each for each in self.bins.names if each in ("redshift", "z")), "")
        low, high = 0.0, np.inf
        limits = [self.bins.limits(number)[name] for number in range(self.bins.count)] if name else [(low, high)]
        edges = np.array(limits)[np.maximum(place, 0) if name else np.zeros(len(place), dtype=int)]
        return self.volume.weights(quantities["mag_r"], quantities["redshift"], edges[:, 0], edges[:, 1])

    def notes(self) -> list[str]:
        """What was assumed of the scores."""
        notes = []
        if self.volume is not None:
            notes.append(
                f"Weights are 1/Vmax for a limit of {self.volume.limit:g} mag in mag_r and the cosmology "
                f"{self.volume.cosmology}, without a K correction."
            )
        if not {RADIUS, SNR} <= self.scores.columns:
            notes.append(
                "The scores have no radius or no signal to noise: how well their galaxies are seen is not known."
            )
        elif SEEING not in self.scores.columns and np.isfinite(self.seeing):
            notes.append(
                f"The scores have no psf_fwhm; the survey's usual seeing of {self.seeing:.2f} arcsec is taken."
            )
        elif SEEING not in self.scores.columns:
            notes.append("The scores have no psf_fwhm and no survey: how well their galaxies are seen is not known.")
        return notes


def _volume(request: Request) -> Volume | None:
    if not request.weights:
        return None
    if request.weights.lower() != "vmax":
        raise InputError(f"There are no weights '{request.weights}'; use --weights vmax, or leave it out.")
    if request.limit is None:
        raise InputError("--weights vmax needs --limit, the faintest magnitude (mag_r) of the complete sample.")
    find_cosmology(request.cosmology)
    return Volume(request.limit, request.cosmology)


def _summed(reading: _Reading, scheduler: str) -> Sums:
    """The sums of all tables, here or by the workers of a Dask scheduler."""
    numbers = range(len(reading.scores.tables))
    each = _by_dask(reading, scheduler) if scheduler else (reading.sums(number) for number in numbers)
    whole = Sums.empty(reading.bins.count, reading.pictured)
    for part in track(each, "reading scores", len(numbers)):
        whole.merge(part)
    return whole


def _by_dask(reading: _Reading, scheduler: str) -> Iterator[Sums]:
    from distributed import Client, as_completed

    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"There is no Dask scheduler at '{scheduler}' ({type(error).__name__}); give --scheduler tcp://HOST:PORT."
        ) from None
    absolute = replace(reading, scores=replace(reading.scores, path=reading.scores.path.absolute()))
    with client:
        futures = client.map(absolute.sums, range(len(reading.scores.tables)), pure=False)
        for future in as_completed(futures):
            yield future.result()
            future.release()


def _nothing(scores: Scores, sums: Sums) -> str:
    why = _left_out(sums)
    return f"No galaxy of '{scores.path}' is left for a census. " + (
        " ".join(why) if why else "Choose others by --where, or score tiles with galaxies."
    )


def _left_out(sums: Sums) -> list[str]:
    said = [
        (sums.flagged, "something wrong with the stamp (flags), or no answers"),
        (sums.unknown, "no value to bin by"),
        (sums.outside, "a value outside all bins"),
        (sums.unweighted, "no weight: fainter than the limit, or without a magnitude or redshift"),
    ]
    return [f"{counted(count, 'galaxy is', 'galaxies are')} left out for {why}." for count, why in said if count]


def _uncorrected(scores: Scores, correction: Correction | None) -> list[str]:
    notes = []
    if len(scores.surveys) > 1:
        notes.append(f"These are scores of several surveys: {listed(scores.surveys)}.")
    if correction is None:
        notes.append(
            "The fractions are not corrected, and their limits are not known: give labelled galaxies of this survey "
            "with --correct."
        )
        others = [str(each) for each in scores.about.get("model_survey", []) if each not in scores.surveys]
        if others and scores.surveys:
            notes.append(
                f"The model was calibrated on {others[0]} and these are galaxies of {scores.surveys[0]}: its "
                "probabilities are not calibrated for them."
            )
    if scores.simulated:
        notes.append("Some of these scores are of simulated galaxies.")
    if correction is not None and correction.labelled.about.get("simulated"):
        notes.append("The labelled galaxies are simulated.")
    return notes


def _about(scores: Scores, request: Request, labelled: Any, sums: Sums) -> dict[str, Any]:
    """The provenance: model digest, tiles, selection, labelled galaxies and options."""
    options = {
        name: value
        for name, value in vars(request).items()
        if value not in ("", None, ()) and name not in ("seed", "scheduler")
    }
    return {
        "software": f"morph {__version__}",
        "scores": str(scores.path),
        "scores_digest": scores.digest,
        "tiles": scores.tiles,
        "galaxies": int(sums.count.sum()),
        **{name: values[0] if len(values) == 1 else values for name, values in scores.about.items()},
        "options": {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
        "labelled": None if labelled is None else labelled.about,
        "simulated": scores.simulated,
    }


def _marks(about: dict[str, Any]) -> dict[str, str]:
    """The provenance that every row bears, since CSV has no header for it."""
    model = [about.get(name) for name in ("model", "model_version", "weights")]
    chosen = [about.get("selection"), about["options"].get("where")]
    return {
        "model": " ".join(str(each) for each in model if each),
        "selection": " and ".join(str(each) for each in chosen if each),
        "scores_digest": str(about["scores_digest"]),
    }


def _history(about: dict[str, Any]) -> list[str]:
    """The provenance as lines of a FITS header."""
    lines = [f"{name}: {json.dumps(value)}" for name, value in about.items()]
    return [line[start : start + 70] for line in lines for start in range(0, len(line), 70)]
