"""Filling a spectroscopic training set where it lacks galaxies, with samples of a model's latent prior.

Spectroscopic samples are bright and near; the galaxies that need a photometric redshift are not (Moskowitz et al. 2024
fill the gaps with simulated galaxies). Both are counted in cells of magnitude and colours. Where a cell has fewer
spectroscopic galaxies than its share of the photometric ones, galaxies are sampled, each with the magnitudes and the
radius of a photometric galaxy of the cell, and with a redshift by the spectra's trend, or by the model; the model says
what they look like. A sample that looks like no photometric galaxy is left out.

Samples are drawn part by part into files, as `morph sample` does; the weights, which need all of them, are added when
the dataset is put together. So memory grows with the number of galaxies only by their properties.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.analysis.augmentation.cells import CELL, FEWEST, Cells
from morph.analysis.augmentation.sets import Sets, magnitudes
from morph.analysis.augmentation.support import COMPARED, Support
from morph.analysis.augmentation.trend import Trend
from morph.atomic import atomic
from morph.console import track
from morph.dataset import Galaxies, dataset_name, tables_of
from morph.dataset_writer import check_target
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.conditions import CONDITIONS, encode_conditions
from morph.model.experts import MEASUREMENTS
from morph.model.store import load_model
from morph.simulation.sampling.draw import BATCH, Request, Sampler
from morph.simulation.sampling.files import part_path, unfinished, write_part

#: Times that galaxies are sampled in place of those left out.
TRIES = 4

#: Where the samples' redshifts are from: the trend of the spectra (`Trend`), or the model.
TREND, MODEL = "trend", "model"
SPECTROSCOPIC, SAMPLED = "spectroscopic", "sampled"
#: What every row of an augmented set states beside the columns of a sampled one.
STATED = pa.schema(
    [
        pa.field("provenance", pa.string(), metadata={"description": f"{SPECTROSCOPIC} or {SAMPLED}"}),
        pa.field(
            "weight",
            pa.float64(),
            metadata={"description": "number of galaxies it stands for among the photometric ones, relative; mean 1"},
        ),
    ]
)
#: The column of an unfinished part that says which samples look like photometric galaxies.
_ALIKE = "alike"


@dataclass(frozen=True)
class Augmented:
    """A training set with samples beside its spectroscopic galaxies.

    Attributes
    ----------
    path : its folder.
    spectroscopic, sampled : galaxies of each kind in it.
    resumed : how many samples an earlier run had drawn.
    left_out : spectroscopic galaxies without a redshift or a magnitude.
    outside : spectroscopic galaxies in cells without photometric ones; their weight is 0.
    unlike : samples left out because they looked like no photometric galaxy.
    empty : the share of photometric galaxies in cells without a spectroscopic one, before.
    redshifts, weights, is_sampled : of every row.
    """

    path: Path
    spectroscopic: int
    sampled: int
    resumed: int
    left_out: int
    outside: int
    unlike: int
    empty: float
    redshifts: np.ndarray
    weights: np.ndarray
    is_sampled: np.ndarray


def augment(
    model: str | Path,
    spectroscopic: str | Path,
    photometric: str | Path,
    path: str | Path,
    number: int | None = None,
    seed: int = 0,
    redshifts: str = TREND,
) -> Augmented:
    """Write a training set of spectroscopic galaxies and of samples where these are missing.

    Parameters
    ----------
    model : its name; its latent prior must be fitted on the survey.
    spectroscopic : a flux dataset with magnitudes and redshifts.
    photometric : a flux dataset of the same survey, with magnitudes; its redshifts are not read.
    path : the dataset to write. It appears when it is whole; what a killed run had drawn stands in ``.NAME.sampling``
        beside it, and the same call goes on from there.
    number : of samples (see `Cells.wanted`).
    seed : of the samples.
    redshifts : of the samples: `TREND` or `MODEL`.

    Raises
    ------
    InputError : a dataset has no such galaxies, they are of different surveys, or pictures, nothing is missing, or the
        model cannot sample the survey.

    Examples
    --------
    >>> augment("models:/morph@sdss", "bright", "all", "train", number=200, seed=1)  # doctest: +SKIP
    """
    path = Path(path)
    check_target(path)
    if number is not None and number < 1:
        raise InputError(f"The number of samples is {number}; it must be at least 1.")
    sets = Sets.open(spectroscopic, photometric)
    cells = Cells.of(magnitudes(sets.targets), magnitudes(sets.known))
    rows = cells.rows(_lacking(cells, number, sets), np.random.default_rng(seed))
    classifier = load_model(model)
    sampler = Sampler(classifier, Request(sets.known.survey, observed=True, size=sets.known.size))
    asked = _conditions(sets.targets)[rows]
    if redshifts == TREND:
        drawn = Trend(sets.known).draw(sets.targets.select(rows), np.random.default_rng([seed, 2]))
        asked[:, CONDITIONS.index("redshift")] = drawn
    about = _about(classifier, str(model), sets, seed, len(rows)) | {"redshifts": redshifts}
    with unfinished(path, {**about, "conditions": hashlib.sha256(asked.tobytes()).hexdigest()}) as folder:
        parts, resumed = _draw(folder, sampler, sets, asked, seed)
        samples = pa.concat_tables([pq.read_table(part, columns=[_ALIKE, *MEASUREMENTS]) for part in parts])
        alike = samples[_ALIKE].to_numpy()
        measured = np.stack([samples[name].to_numpy() for name in MEASUREMENTS], axis=1).astype(float)[alike]
        weights = cells.weights(cells.find(measured[:, :3]))
        _write(path, sets, parts, weights, about)
    return _augmented(path, sets, cells, measured[:, -1], weights, resumed=resumed, unlike=int((~alike).sum()))


def _augmented(
    path: Path, sets: Sets, cells: Cells, redshifts: np.ndarray, weights: np.ndarray, **counts: int
) -> Augmented:
    """What `augment` returns; `redshifts` are those of the samples, and `weights` those of all rows."""
    return Augmented(
        path=path,
        spectroscopic=len(sets.known),
        sampled=len(redshifts),
        left_out=int((~sets.is_known).sum()),
        outside=int((cells.of_spectroscopic < 0).sum()),
        empty=float(cells.photometric[cells.spectroscopic == 0].sum() / cells.photometric.sum()),
        redshifts=np.concatenate([sets.known.properties["redshift"], redshifts]),
        weights=weights,
        is_sampled=np.arange(len(weights)) >= len(sets.known),
        **counts,
    )


def _lacking(cells: Cells, number: int | None, sets: Sets) -> np.ndarray:
    """`Cells.wanted`. InputError where that is nothing."""
    wanted = cells.wanted(number)
    if cells.photometric.max() < FEWEST:
        raise InputError(
            f"No cell of magnitude and colour has {FEWEST} galaxies of '{sets.photometric}', so nothing can be "
            "sampled; give a larger photometric set."
        )
    if not wanted.sum():
        raise InputError(
            f"Every cell of magnitude and colour has its share of '{sets.spectroscopic}' already; give --number to "
            "sample more galaxies."
        )
    return wanted


def _conditions(galaxies: Galaxies) -> np.ndarray:
    """What samples share with photometric galaxies: magnitudes and radius; float32 [n, conditions]."""
    measured = np.stack([galaxies.properties[name] for name in MEASUREMENTS], axis=1).astype("float32")
    measured[:, MEASUREMENTS.index("redshift")] = np.nan
    return encode_conditions(len(galaxies), measurements=measured, surveys=galaxies.surveys, kind="flux")


def _draw(folder: Path, sampler: Sampler, sets: Sets, asked: np.ndarray, seed: int) -> tuple[list[Path], int]:
    """Draw samples into files; those that look like no photometric galaxy are drawn again.

    Parameters
    ----------
    folder : of the files.
    sampler : of observed galaxies of the survey.
    sets : whose photometric galaxies the samples should look like.
    asked : conditions of the samples.
    seed : of the samples.

    Returns
    -------
    The files, and how many of the samples that are kept an earlier run had drawn.
    """
    support = Support(sampler.classifier, sets.images(COMPARED, np.random.default_rng([seed, 1])))
    parts: list[Path] = []
    resumed = 0
    rows = np.arange(len(asked))
    for _ in range(TRIES):
        left = []
        for start in track(range(0, len(rows), BATCH), "Sampling", -(-len(rows) // BATCH)):
            part, number = rows[start : start + BATCH], len(parts)

            def drawn(part: np.ndarray = part, number: int = number) -> pa.Table:
                table = sampler.batch(seed, number, len(part), asked[part])
                return table.append_column(_ALIKE, pa.array(support.contains(_images(table))))

            before = write_part(folder, number, drawn)
            parts.append(part_path(folder, number))
            alike = pq.read_table(parts[-1], columns=[_ALIKE])[_ALIKE].to_numpy()
            resumed += int(alike.sum()) * before
            left.append(part[~alike])
        rows = np.concatenate(left)
        if not len(rows):
            break
    return parts, resumed


def _images(table: pa.Table) -> np.ndarray:
    return table["image"].combine_chunks().to_numpy_ndarray()


def _about(classifier: Classifier, model: str, sets: Sets, seed: int, wanted: int) -> dict:
    """What the dataset says of itself."""
    return {
        "simulated": True,
        "source": "morph photoz augment",
        "model": model,
        "weights": classifier.digest,
        "seed": seed,
        "spectroscopic": dataset_name(sets.known),
        "photometric": dataset_name(sets.targets),
        "cell": dict(zip(("mag_r", "g-r", "r-i"), CELL, strict=True)),
        "wanted": wanted,
    }


def _write(path: Path, sets: Sets, parts: list[Path], weights: np.ndarray, about: dict) -> None:
    """Put the dataset together: spectroscopic galaxies as they are, then samples.

    Parameters
    ----------
    path : its folder.
    sets : the spectroscopic galaxies.
    parts : files of the samples.
    weights : of all rows.
    about : of the dataset.
    """
    drawn = pq.read_schema(parts[0])
    fields = [field for field in drawn if field.name != _ALIKE]
    format_ = json.loads(drawn.metadata[b"morph"])
    schema = pa.schema([*fields, *STATED], metadata={"morph": json.dumps({**format_, **about})})
    start = 0
    with atomic(path) as building:
        building.mkdir()
        tables = (pq.read_table(part) for part in parts)
        samples = ((table.filter(table[_ALIKE]).drop_columns(_ALIKE), SAMPLED) for table in tables)
        spectra = ((table, SPECTROSCOPIC) for table in _spectroscopic(sets, schema))
        for number, (table, provenance) in enumerate(chain(spectra, samples)):
            table = _stated(table, provenance, weights[start : start + len(table)])
            start += len(table)
            pq.write_table(table.select(schema.names).cast(schema), part_path(building, number), compression="zstd")


def _spectroscopic(sets: Sets, schema: pa.Schema) -> Iterator[pa.Table]:
    """The spectroscopic galaxies, some at a time, with all columns of the dataset but `STATED`."""
    start = 0
    for table in tables_of(sets.spectroscopic, BATCH):
        own = sets.is_known[start : start + len(table)]
        start += len(table)
        table = table.filter(pa.array(own))
        # A dataset of an earlier morph may lack a column; it says nothing of where its galaxies come from.
        for field in schema:
            if field.name not in {*table.column_names, *STATED.names}:
                unknown = pa.nulls(len(table), field.type)
                known = pa.array([False] * len(table)) if field.name == "simulated" else unknown
                table = table.append_column(field, known)
        yield table


def _stated(table: pa.Table, provenance: str, weights: np.ndarray) -> pa.Table:
    columns = (pa.array([provenance] * len(table), pa.string()), pa.array(weights, pa.float64()))
    for field, values in zip(STATED, columns, strict=True):
        table = table.append_column(field, values)
    return table
