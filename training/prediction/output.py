"""The catalogue of what was predicted: one row a galaxy, as Parquet, FITS or CSV."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from morph import __version__
from morph.atomic import atomic_files
from morph.catalogs.table_files import check_table, write_table
from morph.dataset import Galaxies, dataset_name
from morph.decision_tree import ANSWER_COLUMNS, TREE
from morph.model.store import load_model
from morph.votes import difference, one_kind
from training.metrics import photoz
from training.metrics import votes as metrics
from training.prediction.predict import (
    BANDS,
    DRAWS,
    MODALITIES,
    Predicted,
    choose,
    described,
    known,
    predict,
    values,
    words,
)
from training.prediction.qp_output import write_qp

#: The probabilities at which a redshift's posterior is tabulated, as `qp` and the LSST tools take them.
LEVELS = np.arange(1, 100) / 100
#: The middle 68 %: a Gaussian's mean plus and minus one standard deviation.
LOW, HIGH = 0.16, 0.84


def table(predicted: Predicted, about: dict[str, Any]) -> pa.Table:
    """The catalogue, with units and descriptions as metadata of its columns and `about` as that of the whole.

    - redshift: ``redshift_median``, ``redshift_mean``, ``redshift_sigma`` (half of the middle 68 %), and
      ``redshift_quantiles``, a list of the posterior's quantiles at `LEVELS`;
    - photometry and radius: ``mag_g_median``, ``mag_g_low`` and ``mag_g_high`` (the middle 68 %), and so on;
    - votes: the probability of each answer, ``<question>_<answer>``, and ``concentration``, a list of Dirichlet
      concentrations in the same order;
    - similarity: ``similarity``, a list.
    """
    fields = [
        _field("id", pa.string(), "the galaxy's name in its dataset"),
        _field("predicted_from", pa.string(), "what was known of this galaxy; prior where nothing was"),
    ]
    arrays = [pa.array(predicted.ids.astype(str)), pa.array(described(predicted.used))]
    for modality, inferred in predicted.values.items():
        for field, array in _COLUMNS[modality](inferred) if modality in _COLUMNS else ():
            fields.append(field)
            arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"morph": json.dumps(about)}))


def _redshift(draws: np.ndarray) -> Iterator[tuple[pa.Field, pa.Array]]:
    quantiles = np.quantile(draws, [*LEVELS, LOW, HIGH], axis=1).T.astype("float32")
    posterior, (low, high) = quantiles[:, : len(LEVELS)], quantiles[:, len(LEVELS) :].T
    yield _numbers("redshift_median", np.median(draws, axis=1), "median of the posterior")
    yield _numbers("redshift_mean", draws.mean(axis=1), "mean of the posterior")
    yield _numbers("redshift_sigma", (high - low) / 2, "half of the distance from the 16th to the 84th percentile")
    levels = {"levels": json.dumps(LEVELS.tolist())}
    yield _list("redshift_quantiles", posterior, "quantiles of the posterior at the probabilities in 'levels'", levels)


def _photometry(draws: np.ndarray) -> Iterator[tuple[pa.Field, pa.Array]]:
    for j, band in enumerate(BANDS):
        yield from _interval(f"mag_{band}", draws[..., j], "mag")


def _radius(draws: np.ndarray) -> Iterator[tuple[pa.Field, pa.Array]]:
    yield from _interval("radius", draws, "arcsec")


def _interval(name: str, draws: np.ndarray, unit: str) -> Iterator[tuple[pa.Field, pa.Array]]:
    low, median, high = np.quantile(draws, [LOW, 0.5, HIGH], axis=1)
    yield _numbers(f"{name}_median", median, "median of the posterior", unit)
    yield _numbers(f"{name}_low", low, "16th percentile of the posterior", unit)
    yield _numbers(f"{name}_high", high, "84th percentile of the posterior", unit)


def _votes(concentration: np.ndarray) -> Iterator[tuple[pa.Field, pa.Array]]:
    p = probabilities(concentration)
    for j, answer in enumerate(ANSWER_COLUMNS):
        yield _numbers(answer, p[:, j], "probability of this answer, given that the question is asked")
    order = {"order": json.dumps(ANSWER_COLUMNS)}
    yield _list("concentration", concentration, "Dirichlet concentrations of the answers in 'order'", order)


def _similarity(vectors: np.ndarray) -> Iterator[tuple[pa.Field, pa.Array]]:
    order = {"order": json.dumps(list(range(vectors.shape[1])))}
    yield _list("similarity", vectors, "unit vector of the shape, however the galaxy is turned", order)


def probabilities(concentration: np.ndarray) -> np.ndarray:
    """Expected vote fractions of Dirichlet concentrations [n, answers]; each question's sum to one."""
    p = np.empty_like(concentration)
    for part in TREE.slices.values():
        p[:, part] = concentration[:, part] / concentration[:, part].sum(axis=1, keepdims=True)
    return p


_COLUMNS = {
    "redshift": _redshift,
    "photometry": _photometry,
    "radius": _radius,
    "votes": _votes,
    "similarity": _similarity,
}


def _field(name: str, kind: pa.DataType, description: str, unit: str = "", more: dict | None = None) -> pa.Field:
    metadata = {"description": description, **({"unit": unit} if unit else {}), **(more or {})}
    return pa.field(name, kind, metadata=metadata)


def _numbers(name: str, values: np.ndarray, description: str, unit: str = "") -> tuple[pa.Field, pa.Array]:
    return _field(name, pa.float32(), description, unit), pa.array(values.astype("float32"))


def _list(name: str, values: np.ndarray, description: str, more: dict[str, str]) -> tuple[pa.Field, pa.Array]:
    array = pa.FixedSizeListArray.from_arrays(pa.array(values.astype("float32").ravel()), values.shape[1])
    return _field(name, array.type, description, more=more), array


def write_predictions(
    predicted: Predicted, galaxies: Galaxies, classifier, about: dict[str, Any], to: Path
) -> list[Path]:
    """Write a catalogue and, where images are predicted, ``NAME_images.npy`` and ``NAME_images.png`` beside it.

    The files appear whole or not at all, the catalogue last.

    Parameters
    ----------
    predicted : what to write; stamps are float32 [n, size, size, 3] in the order of the catalogue's rows.
    galaxies : the same, in the same order.
    classifier : which predicted them.
    about : metadata of the catalogue.
    to : its path; the ending sets the format.

    Returns
    -------
    The paths that were written.

    Raises
    ------
    InputError : they cannot be written.
    """
    wanted = {to: lambda path: write_table(table(predicted, about), path)}
    if "image" in predicted.values:
        from training.prediction.contact_sheet import sheet

        simulated = " (simulated)" if galaxies.simulated else ""
        picture = sheet(classifier, predicted, galaxies, simulated)
        wanted = {
            to.with_name(f"{to.stem}_images.npy"): lambda path: np.save(path, predicted.values["image"]),
            to.with_name(f"{to.stem}_images.png"): lambda path: picture.savefig(path, dpi=130),
        } | wanted
    with atomic_files(*wanted, what="The predictions") as building:
        for save, path in zip(wanted.values(), building, strict=True):
            save(path)
    return [*wanted]


def predict_catalog(
    model: str,
    galaxies: Galaxies,
    to: Path,
    infer: Sequence[str],
    given: Sequence[str] | None = None,
    split: str = "all",
    draws: int = DRAWS,
    seed: int = 0,
    qp: Path | None = None,
) -> list[str]:
    """Infer properties of galaxies from others, and write them as a catalogue.

    Parameters
    ----------
    model : as every verb takes it.
    galaxies : a dataset or a part of it.
    to : the catalogue: Parquet, FITS or CSV.
    infer, given : names in `INFERABLE` and `MODALITIES`; by default all that the dataset holds is given, except
        `infer`.
    split : the name of the part, for the catalogue's header.
    draws, seed : draws from each galaxy's posterior, and their random seed.
    qp : where the redshifts' posteriors are also written as a qp ensemble.

    Returns
    -------
    Sentences on the predictions, galaxies that lack what is given, and known values.

    Raises
    ------
    InputError : nothing is given, the model cannot be loaded, or the catalogue cannot be written.

    Examples
    --------
    >>> galaxies = Galaxies.open("sample")
    >>> notes = predict_catalog("models:/morph@sdss", galaxies, Path("z.parquet"), ["redshift"], ["image"], draws=100)
    >>> notes[-1]
    'Wrote z.parquet.'
    """
    check_table(to)
    given = choose(galaxies, given, infer)
    votes = one_kind([galaxies], "be predicted from") if "votes" in (*infer, *given) else ""
    classifier = load_model(model)
    predicted = predict(classifier, galaxies, given, infer, draws, seed)
    made_by = f"morph predict {__version__}: {model}, {', '.join(infer)} from {', '.join(given)}"
    about: dict[str, Any] = {"made_by": made_by, "model": model, "split": split, "draws": draws, "seed": seed}
    about |= {"dataset": dataset_name(galaxies), "digest": galaxies.digest, "simulated": galaxies.simulated}
    written = write_predictions(predicted, galaxies, classifier, about, to)
    if qp is not None:
        written.append(write_qp(predicted.ids, predicted.values["redshift"], qp))
    kind = "simulated " if galaxies.simulated else ""
    lines = [f"Predicted {words(infer)} of {len(galaxies):,} {kind}galaxies from {words(given)}."]
    if votes and votes != classifier.about.get("votes", ""):
        lines.append(difference(classifier.about.get("votes", ""), votes, "the votes of this dataset"))
    lines += [*_missing_lines(predicted), *comparison_lines(predicted, galaxies)]
    return [*lines, f"Wrote {', '.join(map(str, written))}."]


def _missing_lines(predicted: Predicted) -> Iterator[str]:
    """Sentences on galaxies that lack some of what is given."""
    n = len(predicted.ids)
    for name, used in predicted.used.items():
        some = (~used & ~predicted.from_prior).sum()
        if some:
            yield f"{some:,} of {n:,} galaxies: no {MODALITIES[name]}, predicted from what else is given."
    if predicted.from_prior.any():
        yield f"{predicted.from_prior.sum():,} of {n:,} galaxies: nothing that is given, so that they get the prior."


def comparison_lines(predicted: Predicted, galaxies: Galaxies) -> list[str]:
    """A sentence for everything predicted that the dataset also holds, empty where it holds none of it.

    Galaxies predicted from the prior count: they are part of what the catalogue says.
    """
    found: list[str] = []
    for modality in (name for name in predicted.values if name in _COMPARISONS):
        have = known(galaxies, modality)
        if have.any():
            found += _COMPARISONS[modality](predicted.values[modality][have], values(galaxies, modality)[have])
    return found


def _compare_redshift(draws: np.ndarray, truth: np.ndarray) -> Iterator[str]:
    yield f"Photo-z: {photoz.line(photoz.measure(draws, truth))}"


def _compare_votes(concentration: np.ndarray, votes: np.ndarray) -> Iterator[str]:
    figures = metrics.measure(votes, probabilities(concentration), concentration)
    if "all/rms" in figures:
        rms = figures["all/rms"]
        yield (
            f"Vote fractions of {rms.n:,} galaxies are off by {rms.value:.3f} ({rms.low:.3f} to {rms.high:.3f}) root "
            f"mean square, each question weighted by how many volunteers reach it."
        )


def _compare_photometry(draws: np.ndarray, truth: np.ndarray) -> Iterator[str]:
    for j, band in enumerate(BANDS):
        yield f"Magnitude in {band}: {_scatter(draws[..., j], truth[:, j], ' mag')}"


def _compare_radius(draws: np.ndarray, truth: np.ndarray) -> Iterator[str]:
    yield f"Radius: {_scatter(np.log10(draws), np.log10(truth), ' dex')}"


_COMPARISONS = {
    "redshift": _compare_redshift,
    "votes": _compare_votes,
    "photometry": _compare_photometry,
    "radius": _compare_radius,
}


def _scatter(draws: np.ndarray, truth: np.ndarray, unit: str) -> str:
    """Scatter, bias and coverage of posteriors, draws [n, k], in words."""
    low, median, high = np.quantile(draws, [LOW, 0.5, HIGH], axis=1)
    error = median - truth
    inside = np.mean((low < truth) & (truth < high))
    return (
        f"scatter {photoz.sigma_mad(error):.3f}{unit} about a median error of {np.median(error):+.3f}{unit}; "
        f"{100 * inside:.0f} % of {len(truth):,} galaxies inside their 68 % interval."
    )
