"""Datasets of sampled galaxies, which are written part by part, so that a run resumes where it stopped."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from morph.atomic import atomic
from morph.console import track
from morph.dataset import Galaxies, dataset_name
from morph.dataset_writer import check_target
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.store import load_model
from morph.output_lock import output_lock
from morph.simulation.sampling.draw import BATCH, Request, Sampler
from morph.simulation.sampling.population import Population
from morph.votes import RAW

#: The file of an unfinished dataset that says what is drawn into it.
_REQUEST = "request.json"


@dataclass(frozen=True)
class SampledDataset:
    """A dataset of sampled galaxies.

    Attributes
    ----------
    path : its folder.
    rows, resumed : galaxies in it, and how many of them an earlier run had drawn.
    effective_size : the effective number of galaxies of the population that are like those asked for.
    population : what that population is, in words.
    """

    path: Path
    rows: int
    resumed: int
    effective_size: float
    population: str


def sample_dataset(
    model: str | Path, path: str | Path, n: int, request: Request, seed: int = 0, like: str | Path | None = None
) -> SampledDataset:
    """Write galaxies that a model's latent prior draws as a dataset of fluxes.

    Parameters
    ----------
    model : its name.
    path : the dataset's folder. It appears when it is whole; what a killed run had drawn stands in ``.NAME.sampling``
        beside it, and the same request goes on from there.
    n : how many galaxies; memory does not grow with their number.
    request : what to draw.
    seed : the same seed, number and request always give the same galaxies.
    like : a dataset whose galaxies' properties the samples have; the model's own population if not given.

    Raises
    ------
    InputError : `n` < 1, the model has no latent prior for the survey, too few galaxies are like those asked for, or
        `path` exists and is not a dataset.

    Examples
    --------
    >>> from morph.given import Given
    >>> request = Request("des", Given.parse("mag_r=18"), observed=True)
    >>> sample_dataset("models:/morph@sdss", "sampled", 3, request, seed=1).rows
    3
    """
    if n < 1:
        raise InputError(f"The number of galaxies is {n}; it must be at least 1.")
    path = Path(path)
    check_target(path)
    classifier = load_model(model)
    sampler = Sampler(classifier, request, Population.of_dataset(like) if like else None)
    about = _about(classifier, str(model), sampler, seed, like)
    with unfinished(path, {**about, "n": n}) as folder:
        resumed = 0
        for number in track(range(-(-n // BATCH)), "Sampling", -(-n // BATCH)):
            count = min(BATCH, n - number * BATCH)

            def drawn(number: int = number, count: int = count) -> pa.Table:
                return sampler.batch(seed, number, count, about=about)

            resumed += count * write_part(folder, number, drawn)
        with atomic(path) as building:
            building.mkdir()
            for part in folder.glob("part-*.parquet"):
                part.rename(building / part.name)
    return SampledDataset(path, n, resumed, sampler.effective_size, sampler.population.name)


@contextmanager
def unfinished(path: Path, request: dict) -> Iterator[Path]:
    """Hold the folder of what is drawn for a dataset, with what a killed run of the same request has left in it.

    Parameters
    ----------
    path : the dataset's; the folder is ``.NAME.sampling`` beside it, and is removed when the block ends.
    request : what is drawn, JSON-able. InputError where the folder holds galaxies of something else.
    """
    folder = path.with_name(f".{path.name}.sampling")
    with output_lock(folder, "job is sampling into", "--to"):
        _check_request(folder, request)
        yield folder
        (folder / _REQUEST).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def write_part(folder: Path, number: int, drawn: Callable[[], pa.Table]) -> bool:
    """Write one part of what is drawn, unless a killed run has; returns whether it has.

    Parameters
    ----------
    folder : see `unfinished`.
    number : of the part.
    drawn : gives its rows.
    """
    part = part_path(folder, number)
    if part.exists():
        return True
    with atomic(part) as building:
        pq.write_table(drawn(), building, compression="zstd")
    return False


def part_path(folder: Path, number: int) -> Path:
    """The file of part `number`."""
    return folder / f"part-{number:05d}.parquet"


def _about(classifier: Classifier, model: str, sampler: Sampler, seed: int, like: str | Path | None) -> dict:
    """What the dataset says of itself."""
    request = sampler.request
    free = (
        f"drawn together with those of {sampler.population.name}" if like else "drawn by the model, given the others"
    )
    return {
        "simulated": True,
        "source": "morph sample",
        "model": model,
        "weights": classifier.digest,
        "decoder": sampler.decoder,
        "survey": request.survey,
        "seed": seed,
        "given": str(request.given),
        "uniform": str(request.uniform),
        "free properties": free,
        "like": dataset_name(Galaxies.open(like, images=False)) if like else None,
        "observed": request.observed,
        "size": request.size,
        "effective_sample_size": round(sampler.effective_size, 1),
        "votes": classifier.about.get("votes", RAW),
    }


def _check_request(folder: Path, request: dict) -> None:
    """Write down what is drawn into a folder; InputError where it holds galaxies of something else."""
    path = folder / _REQUEST
    if path.exists():
        if json.loads(path.read_text()) != json.loads(json.dumps(request)):
            count = len(list(folder.glob("part-*.parquet")))
            raise InputError(
                f"'{folder}' holds {count * BATCH:,} galaxies of another request that was not finished; give that "
                "request again to go on, or remove the folder."
            )
        return
    for part in folder.glob("part-*.parquet"):
        part.unlink()
    with atomic(path) as building:
        building.write_text(json.dumps(request))
