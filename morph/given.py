"""What is asked of galaxies to be sampled: ``redshift=0.1..0.2, mag_r=18, radius=3+-0.5, bar_strong=1``.

A condition is a value, a range (``0.1..0.2``) or a Gaussian (``3+-0.5``) of a measured quantity or of the share of a
question's votes that an answer gets. It needs neither a model nor Keras, so that the client has it too.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from morph.decision_tree import COARSE, TREE, VOTE_COLUMNS, column_name, question_of, vote_column
from morph.errors import InputError

#: The measured quantities: unit, and the least and the largest value that a galaxy can have.
QUANTITIES = {
    "mag_g": ("mag", 5.0, 35.0),
    "mag_r": ("mag", 5.0, 35.0),
    "mag_i": ("mag", 5.0, 35.0),
    "radius": ("arcsec", 0.01, 600.0),
    "redshift": ("", 1e-4, 12.0),
}
#: Units that may stand behind a number, and the one of `QUANTITIES` that each is so many of.
UNITS = {"mag": ("mag", 1.0), "arcsec": ("arcsec", 1.0), '"': ("arcsec", 1.0), "arcmin": ("arcsec", 60.0)}
#: Votes on a question whose shares are given: as many as Galaxy Zoo has on a galaxy.
VOTES = 40.0

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_UNIT = r"\s*([a-zA-Z\"/]*)"
_VALUE = re.compile(rf"({_NUMBER})(?:\s*(\.\.|\+-|±)\s*({_NUMBER}))?{_UNIT}")


@dataclass(frozen=True)
class Condition:
    """One condition: a value where `low` is `high`, else a range; with `sigma` a Gaussian around `low`."""

    low: float
    high: float
    sigma: float = 0.0

    @property
    def is_value(self) -> bool:
        return self.low == self.high and not self.sigma

    def values(self, n: int, random: np.random.Generator) -> np.ndarray:
        """Values of it: uniform in a range, normal in a Gaussian; float [n]."""
        if self.sigma:
            return random.normal(self.low, self.sigma, n)
        return random.uniform(self.low, self.high, n) if self.high > self.low else np.full(n, self.low)

    def __str__(self) -> str:
        if self.sigma:
            return f"{self.low:g}+-{self.sigma:g}"
        return f"{self.low:g}" if self.is_value else f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Given:
    """Conditions by name: those of `QUANTITIES`, and vote columns.

    >>> given = Given.parse("redshift=0.1..0.2, radius=0.05 arcmin, bar_strong=1")
    >>> str(given)
    'redshift=0.1..0.2, radius=3, bar_strong=1'
    """

    conditions: Mapping[str, Condition]

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def __str__(self) -> str:
        return ", ".join(f"{column_name(name)}={condition}" for name, condition in self.conditions.items())

    @classmethod
    def parse(cls, text: str, option: str = "--given") -> "Given":
        """Read ``name=value, ...``; InputError for anything else, or where conditions contradict each other.

        Parameters
        ----------
        text : the conditions.
        option : where they stand, for messages.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        pairs = []
        for part in parts:
            name, equals, value = part.partition("=")
            if not equals:
                raise InputError(f"{option} takes conditions such as mag_r=18 with commas between, not '{part}'.")
            pairs.append((name.strip(), value.strip()))
        return cls.of(pairs)

    @classmethod
    def of(cls, given: "Given | str | Mapping | Iterable[tuple[str, object]] | None") -> "Given":
        """Conditions from what a caller has.

        Parameters
        ----------
        given : a text as for `parse`, or {name: value, (low, high) or text}; None for no condition.

        Raises
        ------
        InputError : an unknown name or unit, a value that no galaxy has, or conditions that contradict each other.
        """
        if given is None or isinstance(given, str):
            return cls.parse(given or "")
        if isinstance(given, Given):
            return given
        found: dict[str, Condition] = {}
        for key, value in given.items() if isinstance(given, Mapping) else given:
            name = _name(key)
            if name in found:
                raise InputError(f"'{key}' is given twice; give it once.")
            found[name] = _condition(name, value)
        _check_votes(found)
        return cls(found)

    def rows(self, n: int, random: np.random.Generator, columns: Sequence[str]) -> np.ndarray:
        """The conditions of `n` galaxies as the model takes them.

        Parameters
        ----------
        n : how many galaxies.
        random : draws the values of ranges and Gaussians.
        columns : the names of the model's conditions (`describe` contains them as ``conditions``).

        Returns
        -------
        float32 [n, columns], NaN where free.
        """
        rows = np.full((n, len(columns)), np.nan, dtype="float32")
        for name, condition in self.conditions.items():
            values = condition.values(n, random)
            low, high = limits(name)
            rows[:, columns.index(name)] = np.clip(values, low, high)
        complete_votes(rows, columns)
        return rows


def limits(name: str) -> tuple[float, float]:
    """The least and the largest value of a condition."""
    return QUANTITIES[name][1:] if name in QUANTITIES else (0.0, 1.0)


def complete_votes(rows: np.ndarray, columns: Sequence[str]) -> None:
    """Fill in, in place, what follows from given shares of votes: the number of votes, which falls down the tree as
    far as the shares on the way are given, and where the shares of a question add up to one, that its other answers
    got none.

    Parameters
    ----------
    rows : float32 [n, columns], NaN where free.
    columns : their names.
    """
    reached: dict[str, np.ndarray] = {}
    for question in TREE:
        place = [columns.index(name) for name in VOTE_COLUMNS if question_of(name) == question.name]
        known = np.isfinite(rows[:, place])
        given = known.any(axis=1)
        ways = [reached[before] * rows[:, columns.index(f"{before}_{each}")] for before, each in question.asked_after]
        share = np.sum(ways, axis=0) if ways else np.ones(len(rows))
        # Who asks for an answer means galaxies of which it was asked.
        reached[question.name] = np.where(np.isfinite(share), np.minimum(share, 1.0), 1.0)
        number = columns.index(f"votes_{question.name}")
        free = given & np.isnan(rows[:, number])
        rows[free, number] = np.maximum(VOTES * reached[question.name][free], 1.0)
        whole = given & (np.nansum(rows[:, place], axis=1) >= 0.999)
        rows[np.ix_(whole, place)] = np.nan_to_num(rows[np.ix_(whole, place)])


def names() -> list[str]:
    """The names of all conditions, as a user types them."""
    return [*QUANTITIES, *map(column_name, VOTE_COLUMNS)]


def _name(text: str) -> str:
    name = vote_column(text) or text
    if name in QUANTITIES or name in VOTE_COLUMNS:
        return name
    near = get_close_matches(column_name(text), names(), 3, 0.4)
    what = f"did you mean {' or '.join(near)}?" if near else f"use {', '.join(QUANTITIES)} or an answer."
    raise InputError(f"'{text}' is not a condition; {what}")


def _condition(name: str, value: object) -> Condition:
    if isinstance(value, Condition):
        condition = value
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        try:
            condition = Condition(float(value[0]), float(value[1]))
        except (TypeError, ValueError):
            raise InputError(f"{column_name(name)}={value} is not a range of two numbers.") from None
    else:
        condition = _read(name, str(value))
    low, high = limits(name)
    if not (np.isfinite([condition.low, condition.high, condition.sigma]).all() and condition.sigma >= 0):
        raise InputError(f"{column_name(name)}={value} is not a number.")
    if condition.low > condition.high:
        raise InputError(f"{column_name(name)}={value} runs backwards; write {condition.high:g}..{condition.low:g}.")
    if condition.low < low or condition.high > high:
        unit = f" {QUANTITIES[name][0]}" if name in QUANTITIES else ""
        raise InputError(f"No galaxy has {column_name(name)}={value}; give {low:g} to {high:g}{unit.rstrip()}.")
    return condition


def _read(name: str, text: str) -> Condition:
    match = _VALUE.fullmatch(text)
    if match is None:
        raise InputError(
            f"'{column_name(name)}={text}' is not a value such as 0.1, a range such as 0.1..0.2 or a Gaussian such as "
            "0.1+-0.02."
        )
    first, kind, second, unit = match.groups()
    factor = _factor(name, unit)
    value = float(first) * factor
    if kind == "..":
        return Condition(value, float(second) * factor)
    if kind and not float(second) > 0:
        raise InputError(f"'{column_name(name)}={text}' has no width; give a value, or a sigma above 0.")
    return Condition(value, value, float(second) * factor if kind else 0.0)


def _factor(name: str, unit: str) -> float:
    """By what a number is multiplied that stands before this unit."""
    if not unit:
        return 1.0
    wanted = QUANTITIES[name][0] if name in QUANTITIES else ""
    base, factor = UNITS.get(unit, ("?", 1.0))
    if base != wanted:
        instead = f"give it in {wanted}" if wanted else "it has no unit"
        raise InputError(f"{column_name(name)} cannot be given in '{unit}'; {instead}.")
    return factor


def _check_votes(found: Mapping[str, Condition]) -> None:
    """InputError where the shares of a question add up to more than one, or a question cannot be reached."""
    lowest = {name: condition.low for name, condition in found.items() if name in VOTE_COLUMNS and not condition.sigma}
    for question in TREE:
        shares = [name for name in lowest if question_of(name) == question.name and name not in COARSE]
        if sum(lowest[name] for name in shares) > 1.001:
            together = " and ".join(f"{column_name(name)}={found[name]}" for name in shares)
            raise InputError(f"{together} contradict each other: the shares of one question add up to 1 at most.")
        asked = [name for name in found if question_of(name) == question.name]
        if not asked or not question.asked_after:
            continue
        for parent in {parent for parent, _ in question.asked_after}:
            leading = {f"{parent}_{answer}" for of, answer in question.asked_after if of == parent}
            away = [name for name in lowest if question_of(name) == parent and name not in leading | set(COARSE)]
            if sum(lowest[name] for name in away) > 0.999:
                raise InputError(
                    f"{column_name(asked[0])}={found[asked[0]]} contradicts {column_name(away[0])}={found[away[0]]}: "
                    f"volunteers are asked about {question.name} after {' or '.join(sorted(leading))}."
                )
