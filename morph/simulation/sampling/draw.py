"""Galaxies drawn by a model's latent prior, as rows of a dataset."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from morph.dataset_writer import Galaxy, galaxies_table
from morph.decision_tree import VOTE_COLUMNS, column_name
from morph.errors import InputError
from morph.given import Given, complete_votes
from morph.model.classifier import Classifier
from morph.model.conditions import CONDITIONS, encode_conditions
from morph.model.experts import MEASUREMENTS
from morph.model.sampling import (
    DETAIL,
    MEASURED_COLUMNS,
    check_survey,
    choose_decoder,
    draw_measurements,
    draw_pictures,
    draw_shares,
    draw_z,
)
from morph.simulation.sampling.population import STEPS, Population, steps
from morph.simulation.sampling.rendering import pixel_scales, render
from morph.simulation.votes import draw_votes
from morph.sizes import STAMP_SIZE
from morph.surveys import get_survey
from morph.votes import RAW, VOTE_KINDS

#: Galaxies that are drawn together; those of a seed are the same however many there are.
BATCH = 512
#: What a sampled row states beside the columns of every dataset.
ORIGIN = pa.schema(
    [
        pa.field("simulated", pa.bool_(), metadata={"description": "whether the galaxy was sampled: always true"}),
        pa.field("weights", pa.string(), metadata={"description": "the digest of the model that drew it"}),
        pa.field("seed", pa.int64(), metadata={"description": "the random seed"}),
        pa.field("conditions", pa.string(), metadata={"description": "what was asked of this galaxy"}),
        pa.field("decoder", pa.string(), metadata={"description": "the decoder that drew it: plain or detail"}),
    ]
)


@dataclass(frozen=True)
class Request:
    """What galaxies to draw.

    Attributes
    ----------
    survey : the survey whose seeing, pixels, depth and population they have.
    given : conditions that they meet. A range is a part of the population, and keeps its proportions.
    uniform : ranges in which they are evenly spread, whatever the population.
    observed : whether they have the survey's noise, sky and neighbours.
    size : pixels on a side of the stamps.
    decoder : one of `morph.model.sampling.DECODERS`; by default that with detail, where the model has learned it.
    """

    survey: str
    given: Given = field(default_factory=lambda: Given({}))
    uniform: Given = field(default_factory=lambda: Given({}))
    observed: bool = False
    size: int = STAMP_SIZE
    decoder: str | None = None

    def __post_init__(self) -> None:
        for name, condition in self.uniform.conditions.items():
            if name in self.given.conditions:
                raise InputError(f"{column_name(name)} is both in --given and in --uniform; choose one.")
            if condition.sigma or condition.is_value:
                raise InputError(f"--uniform takes ranges such as redshift=0.02..0.6, not {name}={condition}.")

    def __str__(self) -> str:
        parts = [f"--survey {self.survey}", "--noise" if self.observed else ""]
        parts += [f'--{name} "{each}"' for name, each in (("given", self.given), ("uniform", self.uniform)) if each]
        return " ".join(filter(None, parts)) + f" --stamp-size {self.size}"


class Sampler:
    """Draws galaxies of one request.

    Parameters
    ----------
    classifier : with a latent prior.
    request : what to draw.
    like : the population whose properties they have; the model's own if not given.

    Attributes
    ----------
    effective_size : the effective number of galaxies of the population that are like those asked for.
    decoder : that draws them.

    Raises
    ------
    InputError : the prior has not been fitted on the survey, the model has not learned the detail that is asked for,
        or too few galaxies of the population are like those.
    """

    def __init__(self, classifier: Classifier, request: Request, like: Population | None = None):
        check_survey(classifier, request.survey)
        get_survey(request.survey).noise()
        self.decoder = choose_decoder(classifier, request.decoder)
        self.classifier, self.request = classifier, request
        self.own = like is None
        self.population = like or Population.of_prior(classifier, request.survey)
        self.effective_size = float(len(self.population))
        if request.given or request.uniform:
            self.effective_size = self.population.check(request.given, request.uniform)
        drawn = " --decoder detail" if self.decoder == DETAIL else ""
        about = f"{classifier.digest} {request}{drawn} {self.population.name}"
        self.name = hashlib.sha256(about.encode()).hexdigest()[:8]

    def conditions(self, n: int, random: np.random.Generator) -> np.ndarray:
        """What is asked of each of `n` galaxies: float32 [n, conditions], NaN where free.

        Values and Gaussians are as they are given, and `uniform` ranges evenly spread. A range of `given`, and with
        `like` every other property, is drawn from the population.
        """
        given, uniform = self.request.given.conditions, self.request.uniform.conditions
        exact = {name: each for name, each in given.items() if each.is_value or each.sigma} | dict(uniform)
        asked = Given(exact).rows(n, random, CONDITIONS)
        names = [name for name in given if name not in exact]
        if not self.own:
            names = [name for name in (*MEASUREMENTS, *VOTE_COLUMNS) if name not in exact]
        if names:
            columns = np.array([CONDITIONS.index(name) for name in names])
            for place, rows in self._places(asked):
                asked[np.ix_(rows, columns)] = self.population.draw(names, place, len(rows), random)
            complete_votes(asked, CONDITIONS)
        fixed = encode_conditions(n, surveys=[self.request.survey] * n, kind="flux")
        return np.where(np.isnan(fixed), asked, fixed).astype("float32")

    def _places(self, asked: np.ndarray) -> Iterator[tuple[Given, np.ndarray]]:
        """What is asked of galaxies beside `uniform` values like theirs, and their rows."""
        nearest = [
            np.rint((asked[:, CONDITIONS.index(name)] - each.low) / (each.high - each.low) * (STEPS - 1))
            for name, each in self.request.uniform.conditions.items()
        ]
        places, group = np.unique(np.stack([np.zeros(len(asked)), *nearest], axis=1), axis=0, return_inverse=True)
        for number, place in enumerate(places):
            values = steps(self.request.uniform, place[1:])
            yield Given({**self.request.given.conditions, **values}), np.flatnonzero(group.ravel() == number)

    def batch(
        self,
        seed: int,
        number: int,
        n: int = BATCH,
        conditions: np.ndarray | None = None,
        about: dict[str, Any] | None = None,
    ) -> pa.Table:
        """Batch `number` of a seed, with the columns of a dataset of fluxes and those of `ORIGIN`.

        Parameters
        ----------
        seed : random seed; another batch has other random numbers.
        number : of the batch, from 0.
        n : galaxies in it, at most `BATCH`.
        conditions : float32 [n, conditions] to use in place of those of the request.
        about : anything worth keeping with the dataset.
        """
        random = np.random.default_rng([seed, number])
        named: Iterable[str] = CONDITIONS
        if conditions is None:
            named = {**self.request.given.conditions, **self.request.uniform.conditions}
            conditions = self.conditions(n, random)
        whole = conditions.copy()
        if np.isnan(whole[:, MEASURED_COLUMNS]).any():
            first = draw_z(self.classifier, conditions, random)
            whole[:, MEASURED_COLUMNS] = draw_measurements(self.classifier, first, conditions, random)
        # The picture is drawn given all properties, so that it agrees with them.
        z = draw_z(self.classifier, whole, random)
        shares = draw_shares(self.classifier, z, conditions, random)
        measured = whole[:, MEASURED_COLUMNS].astype(float)
        # A magnitude in g or i that was not asked for leaves the picture its colour.
        asked = np.isin(MEASUREMENTS[:3], [*named]) | (np.array(MEASUREMENTS[:3]) == "mag_r")
        known = np.isfinite(conditions[:, MEASURED_COLUMNS[:3]]) | (np.array(MEASUREMENTS[:3]) == "mag_r")
        magnitudes = np.where(asked & known, measured[:, :3], np.nan)
        # Numbers of its own: both decoders draw the same galaxies of a seed.
        shown = draw_pictures(self.classifier, z, self.decoder, np.random.default_rng([seed, number, 1]))
        rows = [
            Galaxy(id=f"sampled-{self.name}-{seed}-{number * BATCH + k:08d}", **galaxy)
            for k, galaxy in enumerate(self._galaxies(shown, measured, magnitudes, shares, random))
        ]
        table = galaxies_table(rows, self.request.size, "flux", about)
        asked_for = [_stated(row, named) for row in conditions]
        origin = ([True] * n, [self.classifier.digest] * n, [seed] * n, asked_for, [self.decoder] * n)
        for column, values in zip(ORIGIN, origin, strict=True):
            table = table.append_column(column, pa.array(values, column.type))
        return table

    def _galaxies(self, shown, measured, magnitudes, shares, random) -> Iterator[dict]:
        """What rows of a dataset hold, without their ids."""
        survey = get_survey(self.request.survey)
        noise = random if self.request.observed else None
        stamps = render(shown, magnitudes, measured[:, 3], survey, self.request.size, noise)
        kind = self.classifier.about.get("votes", RAW)
        for stamp, row, scale, share in zip(stamps, measured, pixel_scales(measured[:, 3]), shares, strict=True):
            properties = dict(zip(MEASUREMENTS, map(float, row), strict=True))
            yield {
                "survey": survey.name,
                "image": stamp,
                "votes": draw_votes(share, random, agreement=np.inf),
                "properties": properties | {"pixel_scale": float(scale)},
                "vote_kind": kind if kind in VOTE_KINDS else RAW,
            }


def _stated(row: np.ndarray, names: Iterable[str]) -> str:
    """The conditions of a row in words, those of `names` that are not free."""
    places = {name: CONDITIONS.index(name) for name in names if name in (*MEASUREMENTS, *VOTE_COLUMNS)}
    return ", ".join(
        f"{column_name(name)}={row[place]:.6g}" for name, place in places.items() if np.isfinite(row[place])
    )


def draw_galaxies(
    classifier: Classifier, request: Request, n: int, seed: int = 0, conditions: np.ndarray | None = None
) -> Iterator[pa.RecordBatch]:
    """Draw galaxies, some hundred at a time, so that memory does not grow with their number.

    Parameters
    ----------
    classifier : with a latent prior.
    request : what to draw.
    n : how many.
    seed : random seed.
    conditions : float32 [n, conditions] (`morph.model.conditions`), what is asked of each galaxy in place of what
        `request` asks; NaN where free.

    Yields
    ------
    Batches with the columns of a dataset of fluxes and those of `ORIGIN`.

    Examples
    --------
    >>> from morph.model.store import load_model
    >>> model = load_model("models:/morph@sdss")
    >>> (batch,) = draw_galaxies(model, Request("des", Given.parse("mag_r=18, redshift=0.1..0.2")), 4, seed=1)
    >>> batch.num_rows, set(batch["mag_r"].to_pylist())
    (4, {18.0})
    """
    if n < 1:
        raise InputError(f"The number of galaxies is {n}; it must be at least 1.")
    sampler = Sampler(classifier, request)
    for number, start in enumerate(range(0, n, BATCH)):
        rows = None if conditions is None else conditions[start : start + BATCH]
        yield from sampler.batch(seed, number, min(BATCH, n - start), rows).to_batches()
