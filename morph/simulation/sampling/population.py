"""The population that sampled galaxies come from: what is asked for is compared with it, and drawn from it.

It is a table of magnitudes, radius, redshift and shares of votes, one row a galaxy: those of a dataset, or of draws of
the model's own prior.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path

import numpy as np

from morph.dataset import Galaxies, dataset_name
from morph.decision_tree import (
    TREE,
    VOTE_COLUMNS,
    column_name,
    membership,
    question_membership,
    question_of,
    tree_probabilities,
)
from morph.errors import InputError
from morph.given import Condition, Given
from morph.model.classifier import Classifier
from morph.model.conditions import encode_conditions
from morph.model.experts import MEASUREMENTS
from morph.model.sampling import draw_measurements, draw_shares, draw_z
from morph.votes import vote_counts

#: Galaxies of a population that a prior draws.
SIZE = 30_000
#: Galaxies beyond this many standard deviations of a condition count nothing, and the fewest that must count.
REACH, FEWEST = 3.0, 3.0
#: Standard deviation of a condition's kernel: mag, dex of the radius, of ln redshift; then of a share of votes, and
#: of a colour.
KERNELS = {"mag_g": 0.25, "mag_r": 0.25, "mag_i": 0.25, "radius": 0.06, "redshift": 0.15}
SHARE_KERNEL, COLOUR_KERNEL = 0.2, 0.08
_BANDS = ("mag_g", "mag_r", "mag_i")
#: Width of the blur of drawn measurements, in standard deviations of the population.
BLUR = 0.15
#: How many of the nearest galaxies are tried where a sentence names conditions that can be met.
_TRIED = 200
#: Values of a range whose neighbourhoods are looked at where galaxies are to be uniform in it.
STEPS = 9


@dataclass(frozen=True)
class Population:
    """Galaxies by what may be asked of them.

    Attributes
    ----------
    name : what it is, in words.
    columns : {condition: float [n]}, NaN where unknown; shares of votes of those who were asked.
    asked : {question: float [n]}, the share of the volunteers who are asked it.
    """

    name: str
    columns: dict[str, np.ndarray] = field(repr=False)
    asked: dict[str, np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return len(self.columns["redshift"])

    @classmethod
    def of_prior(cls, classifier: Classifier, survey: str, n: int = SIZE) -> "Population":
        """Draws of a model's latent prior for one survey; always the same.

        Parameters
        ----------
        classifier : with a fitted prior.
        survey : its name.
        n : how many.
        """
        random = np.random.default_rng(n)
        parts = []
        for start in range(0, n, 4096):
            count = min(4096, n - start)
            conditions = encode_conditions(count, surveys=[survey] * count, kind="flux")
            z = draw_z(classifier, conditions, random)
            measured = draw_measurements(classifier, z, conditions, random)
            parts.append(np.concatenate([measured, draw_shares(classifier, z, conditions, random)], axis=1))
        table = np.concatenate(parts)
        shares = table[:, len(MEASUREMENTS) :]
        columns = dict(zip(MEASUREMENTS, table[:, : len(MEASUREMENTS)].T, strict=True))
        columns |= dict(zip(VOTE_COLUMNS, (shares @ membership()).T, strict=True))
        down = tree_probabilities(shares)
        asked = {question.name: down[:, TREE.slices[question.name]].sum(axis=1) for question in TREE}
        return cls(f"the model's draws of {survey} galaxies", columns, asked)

    @classmethod
    def of_dataset(cls, path: str | Path) -> "Population":
        """The galaxies of a dataset, whose images are not read. InputError where it has none or none is measured."""
        galaxies = Galaxies.open(path, images=False)
        encoded = encode_conditions(len(galaxies), votes=galaxies.votes)
        columns = {name: galaxies.properties[name].astype(float) for name in MEASUREMENTS}
        columns |= {name: encoded[:, place].astype(float) for place, name in enumerate(VOTE_COLUMNS)}
        if not any(np.isfinite(column).any() for column in columns.values()):
            raise InputError(
                f"The galaxies of '{path}' have no magnitude, radius, redshift or votes that samples could follow; "
                "leave --like out, or import the dataset with a catalogue."
            )
        total = vote_counts(galaxies.votes) @ question_membership()
        asked = {question.name: (total[:, k] > 0).astype(float) for k, question in enumerate(TREE)}
        return cls(f"the galaxies of {dataset_name(galaxies)}", columns, asked)

    def weights(self, given: Given) -> np.ndarray:
        """How much each galaxy counts as one that is asked for: 1 where it meets a condition, 0 where it does not or
        is not measured, and beside a value or under a Gaussian as the kernel falls; float [n]."""
        weight = np.ones(len(self))
        for name, condition in given.conditions.items():
            distance = self._distance(name, condition)
            inside = distance <= REACH
            weight *= np.where(inside, np.exp(-0.5 * np.square(np.minimum(distance, REACH))), 0.0)
            if name in VOTE_COLUMNS:
                weight *= self.asked[question_of(name)]
        for blue, red in combinations(_BANDS, 2):
            if blue in given.conditions and red in given.conditions:
                distance = self._colour_distance(blue, red, given)
                weight *= np.where(distance <= REACH, np.exp(-0.5 * np.square(np.minimum(distance, REACH))), 0.0)
        return weight

    def effective_size(self, given: Given) -> float:
        """The effective number of galaxies behind conditions, (sum w)^2 / sum w^2 (Kish 1965)."""
        weight = self.weights(given)
        return float(weight.sum() ** 2 / max(np.square(weight).sum(), 1e-12))

    def check(self, given: Given, uniform: Given) -> float:
        """The effective sample size of what is asked for, of the worst place of what is to be uniform.

        Raises
        ------
        InputError : fewer than `FEWEST` galaxies count. It names the nearest conditions that enough galaxies meet.
        """
        worst = np.inf
        for each in _places(given, uniform):
            size = self.effective_size(each)
            worst = min(worst, size)
            if size < FEWEST:
                raise InputError(self._outside(each, given, uniform, size))
        return worst

    def _distance(self, name: str, condition: Condition) -> np.ndarray:
        """How far each galaxy is from a condition, in standard deviations; infinite where it is not measured."""
        column, scale = self.columns[name], kernel(name)
        with np.errstate(invalid="ignore", divide="ignore"):
            values, low, high = (stretched(name, each) for each in (column, condition.low, condition.high))
            if condition.sigma:
                scale = max(scale, float(stretched(name, condition.low + condition.sigma) - low))
            # Within a range all galaxies count, and outside it none.
            beyond = np.maximum(np.maximum(low - values, values - high), 0)
            distance = beyond / scale if condition.low == condition.high else np.where(beyond > 0, np.inf, 0.0)
        return np.where(np.isfinite(column), distance, np.inf)

    def _colour_distance(self, blue: str, red: str, given: Given) -> np.ndarray:
        """How far each galaxy's colour is from that of two magnitudes, in standard deviations: two common
        magnitudes may have a colour that no galaxy has."""
        first, second = given.conditions[blue], given.conditions[red]
        colour = self.columns[blue] - self.columns[red]
        low, high = first.low - second.high, first.high - second.low
        beyond = np.maximum(np.maximum(low - colour, colour - high), 0)
        scale = np.sqrt(COLOUR_KERNEL**2 + first.sigma**2 + second.sigma**2)
        return np.where(np.isfinite(colour), beyond / scale, np.inf)

    def _outside(self, asked: Given, given: Given, uniform: Given, size: float) -> str:
        """The sentence on conditions that too few galaxies meet."""
        found = self._nearest(asked)
        among = f"{self.name}, an effective sample size of {size:.1f}"
        sentence = f"'{asked}' lies outside {among}"
        if uniform and asked is not given:
            sentence += f" ('{uniform}' is asked for evenly)"
        if found is None:
            unknown = [column_name(n) for n in asked.conditions if not np.isfinite(self.columns[n]).any()]
            what = f"{unknown[0]} is not known there" if unknown else "no galaxy comes near"
            return f"{sentence}; {what}: give fewer conditions."
        values, near = found
        return f"{sentence}; the nearest inside is '{values}', with {near:.0f}."

    def _nearest(self, asked: Given) -> tuple[Given, float] | None:
        """The values nearest to what is asked for that at least `FEWEST` galaxies share, and how many do."""
        names = list(asked.conditions)
        squared, known = np.zeros(len(self)), np.ones(len(self), dtype=bool)
        for name in names:
            condition = asked.conditions[name]
            value = Condition(condition.low, condition.low) if condition.sigma else condition
            with np.errstate(invalid="ignore"):
                values = stretched(name, self.columns[name])
                low, high = (stretched(name, edge) for edge in (value.low, value.high))
                off = np.maximum(np.maximum(low - values, values - high), 0) / kernel(name)
            known &= np.isfinite(off)
            squared += np.square(np.nan_to_num(off, posinf=0))
        for blue, red in combinations(_BANDS, 2):
            if blue in names and red in names:
                squared += np.square(np.nan_to_num(self._colour_distance(blue, red, asked), posinf=0))
        for row in np.argsort(np.where(known, squared, np.inf), kind="stable")[:_TRIED]:
            if not known[row]:
                break
            place = {}
            for name in names:
                rounded = float(f"{self.columns[name][row]:.3g}")
                place[name] = Condition(rounded, rounded)
            near = self.effective_size(Given(place))
            if near >= FEWEST:
                return Given(place), near
        return None

    def draw(self, names: Sequence[str], given: Given, n: int, random: np.random.Generator) -> np.ndarray:
        """Values of some conditions of `n` galaxies, drawn together from those that are asked for.

        Parameters
        ----------
        names : of the conditions.
        given : what is asked for.
        n : how many galaxies.
        random : random numbers.

        Returns
        -------
        float [n, names]; NaN where a galaxy is not measured. Measurements are blurred together, so that galaxies
        that are drawn often do not repeat (a smoothed bootstrap: Silverman & Young 1987). The blur has the
        covariance of the population: one of its own for each band would give galaxies colours that none has.
        """
        weight = self.weights(given)
        row = random.choice(len(weight), n, p=weight / weight.sum())
        measured = [name for name in names if name in MEASUREMENTS]
        blur = dict(zip(measured, self._blur(measured, n, random).T, strict=True))
        found = np.empty((n, len(names)))
        for place, name in enumerate(names):
            values = self.columns[name][row]
            if name in blur:
                values = unstretched(name, stretched(name, values) + blur[name])
            condition = given.conditions.get(name)
            if condition is not None and not condition.sigma:
                # What the blur carries over an edge comes back, so that nothing piles up there.
                values = np.where(values < condition.low, 2 * condition.low - values, values)
                values = np.where(values > condition.high, 2 * condition.high - values, values)
                values = np.clip(values, condition.low, condition.high)
            found[:, place] = values
        return found

    def _blur(self, names: Sequence[str], n: int, random: np.random.Generator) -> np.ndarray:
        """Normal deviates with `BLUR` squared times the population's covariance, in the measure of `stretched`:
        float [n, names]."""
        if not names:
            return np.empty((n, 0))
        table = np.ma.masked_invalid([stretched(name, self.columns[name]) for name in names])
        covariance = np.ma.filled(np.atleast_2d(np.ma.cov(table, ddof=0)), 0.0)
        # Each from the galaxies that have both, the covariances need not agree: what is negative is rounded up to 0.
        values, vectors = np.linalg.eigh(covariance)
        return BLUR * random.standard_normal((n, len(names))) @ (vectors * np.sqrt(np.maximum(values, 0))).T


def kernel(name: str) -> float:
    """The standard deviation of a condition's kernel, in the measure of `stretched`."""
    return KERNELS.get(name, SHARE_KERNEL)


def stretched(name: str, values):
    """A condition's values in the measure of its kernel: log10 of the radius, ln of the redshift, others as they are.

    >>> float(stretched("radius", 10.0))
    1.0
    """
    if name == "radius":
        return np.log10(np.maximum(values, 1e-6))
    return np.log(np.maximum(values, 1e-6)) if name == "redshift" else np.asarray(values, dtype=float)


def unstretched(name: str, values: np.ndarray) -> np.ndarray:
    """The inverse of `stretched`."""
    if name == "radius":
        return 10.0**values
    return np.exp(values) if name == "redshift" else values


def _places(given: Given, uniform: Given) -> list[Given]:
    """What is asked for, or, where some conditions are to be uniform, what is asked for at several of their values."""
    if not uniform:
        return [given]
    numbers = product(range(STEPS), repeat=len(uniform.conditions))
    return [Given({**given.conditions, **steps(uniform, place)}) for place in numbers]


def steps(uniform: Given, place: Iterable[float]) -> dict[str, Condition]:
    """The values at some steps, 0 to `STEPS` - 1, along ranges.

    >>> [str(value) for value in steps(Given.parse("redshift=0.1..0.2"), [4]).values()]
    ['0.15']
    """
    values = {}
    for number, (name, condition) in zip(place, uniform.conditions.items(), strict=True):
        value = condition.low + number * (condition.high - condition.low) / (STEPS - 1)
        values[name] = Condition(value, value)
    return values
