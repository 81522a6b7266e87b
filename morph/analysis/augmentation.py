"""Filling a spectroscopic training set where it lacks galaxies, with samples of a model's latent prior.

Spectroscopic samples are bright and near; the galaxies that need a photometric redshift are not (Moskowitz et al. 2024
fill the gaps with simulated galaxies). Both are counted in cells of magnitude and colours. Where a cell has fewer
spectroscopic galaxies than its share of the photometric ones, galaxies are sampled, each with the magnitudes and the
radius of a photometric galaxy of the cell; the model says what they look like and at which redshift they are. A sample
that looks like no photometric galaxy is left out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.atomic import atomic
from morph.console import track
from morph.dataset import Galaxies, dataset_name, tables_of
from morph.dataset_writer import check_target
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.conditions import encode_conditions
from morph.model.experts import MEASUREMENTS
from morph.model.store import load_model
from morph.simulation.sampling.draw import BATCH, Request, Sampler
from morph.stamps.stretch import centre_crop
from morph.surveys import get_survey

#: Sides of a cell: magnitudes in r, in g - r and in r - i.
CELL = (0.5, 0.1, 0.1)
#: Photometric galaxies that a cell needs before anything is sampled into it.
FEWEST = 3
#: Samples farther from their nearest photometric galaxies than this share of these is from each other are left out.
SUPPORT = 0.99
#: Photometric galaxies that samples are compared with.
COMPARED = 5000
#: Times that galaxies are sampled in place of those left out.
TRIES = 4

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


@dataclass(frozen=True)
class Cells:
    """The numbers of galaxies in cells of magnitude and colours.

    Attributes
    ----------
    of_photometric, of_spectroscopic : the cell of each galaxy, int; those outside all photometric cells are -1.
    photometric, spectroscopic : galaxies in each cell.
    """

    of_photometric: np.ndarray
    of_spectroscopic: np.ndarray
    photometric: np.ndarray
    spectroscopic: np.ndarray

    @classmethod
    def of(cls, photometric: np.ndarray, spectroscopic: np.ndarray) -> "Cells":
        """Count galaxies.

        Parameters
        ----------
        photometric, spectroscopic : magnitudes in g, r, i, [n, 3] each.

        Examples
        --------
        >>> cells = Cells.of(np.array([[18.0, 17.1, 16.8]] * 3 + [[20.0, 19.1, 18.8]]), np.array([[18.0, 17.1, 16.8]]))
        >>> cells.photometric.tolist(), cells.spectroscopic.tolist(), cells.of_spectroscopic.tolist()
        ([3, 1], [1, 0], [0])
        """
        known, numbers = np.unique(_places(photometric), axis=0, return_inverse=True)
        index = {tuple(place): number for number, place in enumerate(known.tolist())}
        theirs = np.array([index.get(tuple(place), -1) for place in _places(spectroscopic).tolist()], int)
        counts = np.bincount(theirs[theirs >= 0], minlength=len(known))
        return cls(numbers.ravel(), theirs, np.bincount(numbers.ravel()), counts)

    def wanted(self, number: int | None = None) -> np.ndarray:
        """How many galaxies to sample in each cell.

        Parameters
        ----------
        number : of all samples; by default as many as give each cell the density of the cells where the typical
            spectroscopic galaxy is.
        """
        filled = self.photometric >= FEWEST
        if not filled.any():
            return np.zeros(len(filled))
        if number is None:
            ratio = self.spectroscopic / self.photometric
            order = np.argsort(ratio)
            half = np.searchsorted(np.cumsum(self.spectroscopic[order]), 0.5 * self.spectroscopic.sum())
            return np.where(
                filled, np.maximum(np.rint(ratio[order[half]] * self.photometric) - self.spectroscopic, 0), 0
            )
        low, high = 0.0, (number + self.spectroscopic.sum()) / max(self.photometric[filled].min(initial=1), 1)
        for _ in range(60):
            density = 0.5 * (low + high)
            lacking = np.where(filled, np.maximum(density * self.photometric - self.spectroscopic, 0), 0)
            low, high = (density, high) if lacking.sum() < number else (low, density)
        return _rounded(lacking, number)


def _places(magnitudes: np.ndarray) -> np.ndarray:
    """The cell of each galaxy along magnitude and colours, int [n, 3]."""
    g, r, i = magnitudes.T
    return np.floor(np.stack([r, g - r, r - i], axis=1) / CELL).astype(int)


def _rounded(values: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers with this sum, by the largest remainders."""
    whole = np.floor(values)
    rest = max(0, total - int(whole.sum()))
    whole[np.argsort(whole - values, kind="stable")[:rest]] += 1
    return whole


@dataclass(frozen=True)
class Augmented:
    """A training set with samples beside its spectroscopic galaxies.

    Attributes
    ----------
    path : its folder.
    spectroscopic, sampled : galaxies of each kind in it.
    left_out : spectroscopic galaxies without a redshift or a magnitude.
    outside : spectroscopic galaxies in cells without photometric ones; their weight is 0.
    unlike : samples left out because they looked like no photometric galaxy.
    empty : the share of photometric galaxies in cells without a spectroscopic one, before.
    redshifts, weights, is_sampled : of every row.
    """

    path: Path
    spectroscopic: int
    sampled: int
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
) -> Augmented:
    """Write a training set of spectroscopic galaxies and of samples where these are missing.

    Parameters
    ----------
    model : its name; its latent prior must be fitted on the survey.
    spectroscopic : a flux dataset with magnitudes and redshifts.
    photometric : a flux dataset of the same survey, with magnitudes; its redshifts are not read.
    path : the dataset to write, which appears whole or not at all.
    number : of samples (see `Cells.wanted`).
    seed : of the samples.

    Raises
    ------
    InputError : a dataset has no such galaxies, they are of different surveys, or pictures, nothing is missing, or the
        model cannot sample the survey.

    Examples
    --------
    >>> augment("models:/morph@sdss", "bright", "all", "train", number=200, seed=1)  # doctest: +SKIP
    """
    check_target(Path(path))
    if number is not None and number < 1:
        raise InputError(f"The number of samples is {number}; it must be at least 1.")
    known, targets, usable = _read(spectroscopic, photometric)
    cells = Cells.of(_magnitudes(targets), _magnitudes(known))
    wanted = _lacking(cells, number, spectroscopic, photometric)
    classifier = load_model(model)
    sampler = Sampler(classifier, Request(known.survey, observed=True, size=known.size))
    tables, unlike = _sampled(classifier, sampler, targets, cells, wanted, seed)
    samples = pa.concat_tables(tables)
    weights = _weights(cells, _cells_of(cells, targets, samples))
    about = _about(classifier, str(model), (known, targets), seed, int(wanted.sum()))
    _write(Path(path), spectroscopic, usable, samples, weights, about)
    return Augmented(
        path=Path(path),
        spectroscopic=len(known),
        sampled=len(samples),
        left_out=int((~usable).sum()),
        outside=int((cells.of_spectroscopic < 0).sum()),
        unlike=unlike,
        empty=float(cells.photometric[cells.spectroscopic == 0].sum() / cells.photometric.sum()),
        redshifts=np.concatenate([known.properties["redshift"], samples["redshift"].to_numpy()]),
        weights=weights,
        is_sampled=np.arange(len(known) + len(samples)) >= len(known),
    )


def _lacking(cells: Cells, number: int | None, spectroscopic: str | Path, photometric: str | Path) -> np.ndarray:
    """`Cells.wanted`. InputError where that is nothing.

    Parameters
    ----------
    cells, number : as there.
    spectroscopic, photometric : names of the two sets.
    """
    wanted = cells.wanted(number)
    if cells.photometric.max() < FEWEST:
        raise InputError(
            f"No cell of magnitude and colour has {FEWEST} galaxies of '{photometric}', so nothing can be sampled; "
            "give a larger photometric set."
        )
    if not wanted.sum():
        raise InputError(
            f"Every cell of magnitude and colour has its share of '{spectroscopic}' already; give --number to sample "
            "more galaxies."
        )
    return wanted


def _read(spectroscopic: str | Path, photometric: str | Path) -> tuple[Galaxies, Galaxies, np.ndarray]:
    """The usable galaxies of both sets, and which of the spectroscopic ones are usable. InputError where none are, or
    where the sets do not fit."""
    spec, phot = (Galaxies.open(each) for each in (spectroscopic, photometric))
    _check(spec, phot)
    usable = _with_magnitudes(spec) & np.isfinite(spec.properties["redshift"])
    known, targets = spec.select(np.flatnonzero(usable)), phot.select(np.flatnonzero(_with_magnitudes(phot)))
    if not len(known):
        raise InputError(f"'{spectroscopic}' has no galaxy with a redshift and magnitudes in g, r, i; import both.")
    if not len(targets):
        raise InputError(f"'{photometric}' has no galaxy with magnitudes in g, r, i; import it with a catalogue.")
    return known, targets, usable


def _check(spec: Galaxies, phot: Galaxies) -> None:
    """InputError unless the two sets can be parts of one."""
    for galaxies in (spec, phot):
        if galaxies.kind != "flux":
            raise InputError(
                f"'{dataset_name(galaxies)}' holds pictures, whose magnitudes cannot be rendered; import the survey's "
                "FITS images."
            )
        if len(set(galaxies.surveys)) > 1:
            raise InputError(f"'{dataset_name(galaxies)}' has galaxies of several surveys; give those of one.")
    if spec.survey != phot.survey:
        raise InputError(
            f"'{dataset_name(spec)}' is of {get_survey(spec.survey).name} and '{dataset_name(phot)}' of "
            f"{get_survey(phot.survey).name}, whose magnitudes are not the same; give two sets of one survey."
        )


def _magnitudes(galaxies: Galaxies) -> np.ndarray:
    return np.stack([galaxies.properties[name] for name in MEASUREMENTS[:3]], axis=1).astype(float)


def _with_magnitudes(galaxies: Galaxies) -> np.ndarray:
    return np.isfinite(_magnitudes(galaxies)).all(axis=1)


def _cells_of(cells: Cells, targets: Galaxies, samples: pa.Table) -> np.ndarray:
    """The cells of samples, int [n]; -1 for none."""
    index = dict(zip(map(tuple, _places(_magnitudes(targets)).tolist()), cells.of_photometric.tolist(), strict=True))
    places = _places(np.stack([samples[name].to_numpy() for name in MEASUREMENTS[:3]], axis=1).astype(float))
    return np.array([index.get(tuple(place), -1) for place in places.tolist()], int)


def _weights(cells: Cells, of_sampled: np.ndarray) -> np.ndarray:
    """The weight of every row, spectroscopic ones first: with them, each cell counts as it does among the photometric
    galaxies."""
    of = np.concatenate([cells.of_spectroscopic, of_sampled])
    there = np.bincount(of[of >= 0], minlength=len(cells.photometric))
    weights = np.where(of >= 0, cells.photometric[of] / np.maximum(there[of], 1), 0.0)
    return weights / weights.mean()


def _sampled(
    classifier: Classifier, sampler: Sampler, targets: Galaxies, cells: Cells, wanted: np.ndarray, seed: int
) -> tuple[list[pa.Table], int]:
    """The samples, and how many were left out for looking like no photometric galaxy.

    Parameters
    ----------
    classifier : the model.
    sampler : of observed galaxies of the survey.
    targets : photometric galaxies.
    cells, wanted : how many to sample of each cell.
    seed : of everything.
    """
    random = np.random.default_rng(seed)
    support = _Support(classifier, targets, random)
    order = random.permutation(len(targets))
    members = np.split(
        order[np.argsort(cells.of_photometric[order], kind="stable")], np.cumsum(cells.photometric)[:-1]
    )
    rows = np.concatenate([np.resize(own, int(count)) for own, count in zip(members, wanted, strict=True) if count])
    tables: list[pa.Table] = []
    unlike, number = 0, 0
    for _ in range(TRIES):
        left = []
        for start in track(range(0, len(rows), BATCH), "Sampling", -(-len(rows) // BATCH)):
            part = rows[start : start + BATCH]
            table = sampler.batch(seed, number, len(part), _conditions(targets.select(part)))
            number += 1
            alike = support.contains(_images(table))
            tables.append(table.filter(pa.array(alike)))
            left.append(part[~alike])
        rows = np.concatenate(left)
        unlike += len(rows)
        if not len(rows):
            break
    return tables, unlike


def _conditions(galaxies: Galaxies) -> np.ndarray:
    """What samples share with photometric galaxies: magnitudes and radius; float32 [n, conditions]."""
    measured = np.stack([galaxies.properties[name] for name in MEASUREMENTS], axis=1).astype("float32")
    measured[:, MEASUREMENTS.index("redshift")] = np.nan
    return encode_conditions(len(galaxies), measurements=measured, surveys=galaxies.surveys, kind="flux")


def _images(table: pa.Table) -> np.ndarray:
    return table["image"].combine_chunks().to_numpy_ndarray()


class _Support:
    """Which images look like photometric galaxies: as near to one of them, in the embedding, as nearly all of these
    are to another."""

    def __init__(self, classifier: Classifier, targets: Galaxies, random: np.random.Generator):
        from sklearn.neighbors import NearestNeighbors

        self.classifier = classifier
        some = np.sort(random.permutation(len(targets))[:COMPARED])
        embedding = self._embedding(targets.select(some).images)
        # A stamp without data has none.
        embedding = embedding[np.isfinite(embedding).all(axis=1)]
        if len(embedding) < 2:
            raise InputError("Fewer than two photometric galaxies have data in their images; nothing can be compared.")
        self.scale = embedding.std(axis=0) + 1e-6
        self.nearest = NearestNeighbors(n_neighbors=1).fit(embedding / self.scale)
        others = NearestNeighbors(n_neighbors=2).fit(embedding / self.scale)
        self.reach = float(np.quantile(others.kneighbors(embedding / self.scale)[0][:, -1], SUPPORT))

    def _embedding(self, images: np.ndarray) -> np.ndarray:
        return self.classifier.answer(centre_crop(images, self.classifier.size))["embedding"]

    def contains(self, images: np.ndarray) -> np.ndarray:
        """bool [n]."""
        embedding = self._embedding(images) / self.scale
        known = np.isfinite(embedding).all(axis=1)
        distance, _ = self.nearest.kneighbors(np.where(known[:, None], embedding, 0.0))
        return known & (distance[:, 0] <= self.reach)


def _about(classifier: Classifier, model: str, sets: tuple[Galaxies, Galaxies], seed: int, wanted: int) -> dict:
    """What the dataset says of itself; `sets` are the spectroscopic and the photometric galaxies."""
    return {
        "simulated": True,
        "source": "morph photoz augment",
        "model": model,
        "weights": classifier.digest,
        "seed": seed,
        "spectroscopic": dataset_name(sets[0]),
        "photometric": dataset_name(sets[1]),
        "cell": dict(zip(("mag_r", "g-r", "r-i"), CELL, strict=True)),
        "wanted": wanted,
    }


def _write(
    path: Path, spectroscopic: str | Path, usable: np.ndarray, samples: pa.Table, weights: np.ndarray, about: dict
) -> None:
    """The dataset: spectroscopic galaxies as they are, then samples.

    Parameters
    ----------
    path : the folder.
    spectroscopic : the dataset of the former, and which of its rows are taken (`usable`).
    samples : the latter.
    weights : of all rows.
    about : of the dataset.
    """
    format_ = json.loads(samples.schema.metadata[b"morph"])
    schema = pa.schema([*samples.schema, *STATED], metadata={"morph": json.dumps({**format_, **about})})
    count = int(usable.sum())
    with atomic(path) as building:
        building.mkdir()
        parts = _spectroscopic(spectroscopic, usable, weights[:count], schema)
        samples = _stated(samples, SAMPLED, weights[count:])
        for number, table in enumerate([*parts, *_slices(samples)]):
            pq.write_table(table.cast(schema), building / f"part-{number:05d}.parquet", compression="zstd")


def _spectroscopic(path: str | Path, usable: np.ndarray, weights: np.ndarray, schema: pa.Schema) -> Iterator[pa.Table]:
    start, taken = 0, 0
    for table in tables_of(path, BATCH):
        own = usable[start : start + len(table)]
        start += len(table)
        table = table.filter(pa.array(own))
        # A dataset of an earlier morph may lack a column; it says nothing of where its galaxies come from.
        for field in schema:
            if field.name not in {*table.column_names, *STATED.names}:
                unknown = pa.nulls(len(table), field.type)
                table = table.append_column(
                    field, pa.array([False] * len(table)) if field.name == "simulated" else unknown
                )
        table = _stated(table, SPECTROSCOPIC, weights[taken : taken + len(table)])
        taken += len(table)
        yield table.select(schema.names)


def _stated(table: pa.Table, provenance: str, weights: np.ndarray) -> pa.Table:
    columns = (pa.array([provenance] * len(table), pa.string()), pa.array(weights, pa.float64()))
    for field, values in zip(STATED, columns, strict=True):
        table = table.append_column(field, values)
    return table


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, len(table), BATCH):
        yield table.slice(start, BATCH)
