"""What `morph edit` changes in a galaxy: ``radius=x2``, ``mag_r=+1``, ``bar_strong=1``, and what it holds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from morph.decision_tree import TREE, VOTE_COLUMNS, column_name, question_of
from morph.errors import InputError
from morph.given import QUANTITIES, Given

#: What rendering changes: brightness and size.
RENDERED = ("mag_g", "mag_r", "mag_i", "radius")
#: By how much brightness and size may change.
LARGEST_FACTOR, LARGEST_STEP = 10.0, 7.5

_TIMES = re.compile(r"[x*]\s*(\d+\.?\d*|\.\d+)")
_PLUS = re.compile(r"[-+](?:\d+\.?\d*|\.\d+)(?:\s*mag)?")


@dataclass(frozen=True)
class Change:
    """One change of one property.

    Attributes
    ----------
    name : of `QUANTITIES`, or a vote column.
    kind : ``x`` (times), ``+`` (more, magnitudes) or ``=`` (to a value).
    value : by or to how much.
    """

    name: str
    kind: str
    value: float

    def __str__(self) -> str:
        sign = {"x": "x", "+": "+" if self.value >= 0 else "", "=": ""}[self.kind]
        return f"{column_name(self.name)}={sign}{self.value:g}"

    @classmethod
    def parse(cls, text: str) -> "Change":
        """Read ``radius=x2``, ``mag_r=+1`` or ``name=value``; InputError for anything else."""
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not value:
            raise InputError(f"--set takes a change such as radius=x2, mag_r=+1 or bar_strong=1, not '{text}'.")
        if times := _TIMES.fullmatch(value):
            return cls._relative(name, "x", float(times[1]), name == "radius", "radius", text)
        if name in QUANTITIES and _PLUS.fullmatch(value):
            step = float(value.removesuffix("mag"))
            return cls._relative(name, "+", step, name.startswith("mag_"), "a magnitude", text)
        given = Given.parse(text, "--set")
        ((name, condition),) = given.conditions.items()
        if not condition.is_value:
            raise InputError(f"--set {text} is not one value; give one, such as {name}={condition.low:g}.")
        return cls(name, "=", condition.low)

    @classmethod
    def _relative(cls, name: str, kind: str, value: float, fits: bool, what: str, text: str) -> "Change":
        if not fits:
            raise InputError(f"'{text}' is a change of {what}; give the value that {name} is to have.")
        most = LARGEST_FACTOR if kind == "x" else LARGEST_STEP
        if (kind == "x" and not 1 / most <= value <= most) or abs(value) > most:
            limits = f"x{1 / most:g} to x{most:g}" if kind == "x" else f"-{most:g} to +{most:g}"
            raise InputError(f"'{text}' is too large a change; give {limits}.")
        return cls(name, kind, value)

    def part(self, share: float, now: float) -> "Change":
        """A part of the change.

        Parameters
        ----------
        share : of the change: 0 for none and 1 for all of it; -1 for as much the other way, where there is one.
        now : the galaxy's present value, for a change to a value.
        """
        if self.kind == "x":
            return Change(self.name, "x", self.value**share)
        if self.kind == "+":
            return Change(self.name, "+", self.value * share)
        return Change(self.name, "=", now + share * (self.value - now))


def held_names(hold: str, change: Change) -> list[str]:
    """The properties that are held: names of measured quantities and of questions.

    Parameters
    ----------
    hold : ``all``, ``none``, or names with commas between: quantities, questions and answers of questions.
    change : what changes, which is never held.

    Raises
    ------
    InputError : a name is unknown, or is what changes.
    """
    mine = question_of(change.name) if change.name in VOTE_COLUMNS else change.name
    everything = [name for name in (*QUANTITIES, *(question.name for question in TREE)) if name != mine]
    if hold in ("all", "none"):
        return everything if hold == "all" else []
    spelled: Mapping[str, str] = {
        **{name: name for name in QUANTITIES},
        **{spelling: question.name for question in TREE for spelling in (question.name, column_name(question.name))},
        **{column_name(column): question_of(column) for column in VOTE_COLUMNS},
    }
    found = []
    for name in (part.strip() for part in hold.split(",")):
        if name not in spelled:
            raise InputError(f"--hold takes all, none, or names such as redshift and bar, not '{name}'.")
        if spelled[name] == mine:
            raise InputError(f"{name} cannot be held and changed at once; leave it out of --hold.")
        found.append(spelled[name])
    return found


def brightness(change: Change, magnitudes: np.ndarray, share: float = 1.0) -> np.ndarray:
    """By what each band's light is multiplied; a change of r changes all bands, and keeps the colours: float [3].

    Parameters
    ----------
    change : of a magnitude.
    magnitudes : the galaxy's, in g, r, i.
    share : of the change.
    """
    place = ("mag_g", "mag_r", "mag_i").index(change.name)
    part = change.part(share, float(magnitudes[place]))
    step = part.value if part.kind == "+" else part.value - magnitudes[place]
    factor = 10.0 ** (-0.4 * step)
    return np.full(3, factor) if change.name == "mag_r" else np.where(np.arange(3) == place, factor, 1.0)
