"""The record of a model's training galaxies, which recognises them by name and by stamp in any dataset.

A model stores ten bytes a galaxy: five of a hash of its name and five of a hash of its stamp. A survey's own name is
enough to recognise a galaxy; a running number is not, since it names another galaxy elsewhere, so there the stamp
decides. A galaxy with another name and another cutout is not recognised.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from morph.dataset import Galaxies

#: Roles in training: the votes were used, or the image alone, or the galaxy set calibration and anomaly reference.
ROLES = ("labelled", "unlabelled", "held out")
#: Bytes of each hash: for 20,000 galaxies, one in 50 million others matches one of them by chance.
BYTES = 5

#: A unique name: a survey's object number or the coordinates.
_UNIQUE_NAME = re.compile(r"\d{12,}|.*J\d{4,}[\d.]*[+-]\d{4,}.*")


@dataclass(frozen=True)
class TrainingRecord:
    """The galaxies of a model's training.

    Attributes
    ----------
    galaxies : role -> uint8 [n, 2 BYTES], a name's hash and a stamp's, in rising order.
    complete : whether these are all; False where the parent model has no record.
    """

    galaxies: Mapping[str, np.ndarray] = field(default_factory=dict)
    complete: bool = True

    @classmethod
    def of(cls, sets: Mapping[str, Iterable[Galaxies]]) -> "TrainingRecord":
        """The record of some sets of galaxies, given by role."""
        hashes = {role: [_hashes(galaxies) for galaxies in some] for role, some in sets.items()}
        return cls({role: _unique(some) for role, some in hashes.items() if some})

    @classmethod
    def from_text(cls, text: str) -> "TrainingRecord":
        """Read what `to_text` returned; an empty text gives an empty and incomplete record."""
        if not text:
            return cls(complete=False)
        state, *parts = text.split()
        rows = {role.replace("-", " "): base64.b64decode(code) for role, code in (p.split(":") for p in parts)}
        galaxies = {role: np.frombuffer(code, "uint8").reshape(-1, 2 * BYTES) for role, code in rows.items()}
        return cls(galaxies, state == "complete")

    def to_text(self) -> str:
        """Everything as one line of printable characters, about 14 a galaxy."""
        codes = [
            f"{role.replace(' ', '-')}:{base64.b64encode(rows.tobytes()).decode()}"
            for role, rows in self.galaxies.items()
        ]
        return " ".join(["complete" if self.complete else "incomplete", *codes])

    def merged(self, other: "TrainingRecord") -> "TrainingRecord":
        """The record of a model and of its parent together."""
        roles = [role for role in ROLES if role in self.galaxies or role in other.galaxies]
        of = {role: [record.galaxies[role] for record in (self, other) if role in record.galaxies] for role in roles}
        return TrainingRecord({role: _unique(some) for role, some in of.items()}, self.complete and other.complete)

    def overlap(self, galaxies: Galaxies) -> "TrainingOverlap":
        """Count the galaxies that the model was trained on, each in the first of `ROLES` that holds it."""
        roles, named = self._recognised(galaxies)
        counts = {role: int((roles == role).sum()) for role in ROLES if role in self.galaxies}
        return TrainingOverlap(len(roles), counts, int((named & (roles == "")).sum()), self.complete)

    def roles(self, galaxies: Galaxies) -> np.ndarray:
        """The role that each galaxy had in training, the first of `ROLES` that holds it: text [n], empty for those
        that are not in the record."""
        return self._recognised(galaxies)[0]

    def _recognised(self, galaxies: Galaxies) -> tuple[np.ndarray, np.ndarray]:
        """`roles`, and which galaxies have the survey and name of one in the record: bool [n]."""
        rows = _hashes(galaxies)
        names, stamps = _numbers(rows[:, :BYTES]), _numbers(rows[:, BYTES:])
        own = np.array([_is_unique(name) for name in galaxies.ids], dtype=bool)
        roles, any_name = np.full(len(rows), "", dtype=object), np.zeros(len(rows), dtype=bool)
        for role in ROLES:
            if role not in self.galaxies:
                continue
            known = self.galaxies[role]
            named = np.isin(names, _numbers(known[:, :BYTES]))
            matched = np.isin(stamps, _numbers(known[:, BYTES:])) | (named & own)
            roles[matched & (roles == "")] = role
            any_name |= named
        return roles, any_name


@dataclass(frozen=True)
class TrainingOverlap:
    """How many galaxies of a set a model was trained on.

    Attributes
    ----------
    of : the number of galaxies in the set.
    counts : role -> galaxies.
    doubtful : galaxies with the survey and name of one in training and another stamp, which may be another galaxy.
    complete : as in `TrainingRecord`.
    """

    of: int
    counts: dict[str, int]
    doubtful: int
    complete: bool

    def document(self) -> dict[str, object]:
        """JSON-able."""
        return {**self.counts, "doubtful": self.doubtful, "complete": self.complete}

    def notes(self, model: str, trained_on: Iterable[str] = ()) -> list[str]:
        """Sentences on galaxies that the model was trained on; none where all are new to it.

        Parameters
        ----------
        model : its name.
        trained_on : the names of its training sets, where known.
        """
        lines = [
            f"{model} {_DONE[role]} {count:,} of these {self.of:,} galaxies: {_EFFECT[role]}"
            for role, count in self.counts.items()
            if count
        ]
        if self.doubtful:
            lines.append(
                f"{self.doubtful:,} of these {self.of:,} galaxies have the survey and name of one that {model} was "
                f"trained on, but another image: whether they are the same is not known."
            )
        if not self.complete:
            names = ", ".join(trained_on)
            called = f", only the names of datasets ({names})" if names else ""
            which = f"The parent of {model}" if self.counts else model
            lines.append(
                f"{which} has no record of its training galaxies{called}; whether these are among them is not known."
            )
        return lines


_DONE = {
    "labelled": "was trained on",
    "unlabelled": "was trained on the images, not the votes, of",
    "held out": "was calibrated on",
}
_EFFECT = {
    "labelled": "it partly reproduces their votes, and the figures are too good.",
    "unlabelled": "it partly reproduces their images, and anomaly figures are too good.",
    "held out": "they set its probabilities and its anomaly reference, and the figures are a little too good.",
}


def _is_unique(name: str) -> bool:
    return _UNIQUE_NAME.fullmatch(str(name)) is not None


def _hashes(galaxies: Galaxies) -> np.ndarray:
    """uint8 [n, 2 BYTES]: the hash of each galaxy's name, with its survey where the name is not unique, and of its
    stamp."""
    rows = np.empty((len(galaxies), 2 * BYTES), dtype="uint8")
    for i, (name, survey) in enumerate(zip(galaxies.ids, galaxies.surveys, strict=True)):
        text = str(name) if _is_unique(name) else f"{survey}:{name}"
        stamp = np.ascontiguousarray(galaxies.images[i]).tobytes()
        digest = b"".join(hashlib.blake2b(part, digest_size=BYTES).digest() for part in (text.encode(), stamp))
        rows[i] = np.frombuffer(digest, "uint8")
    return rows


def _numbers(hashes: np.ndarray) -> np.ndarray:
    """Hashes [n, BYTES] as integers, which NumPy compares at once: int64 [n]."""
    return hashes.astype("int64") @ (256 ** np.arange(BYTES, dtype="int64"))


def _unique(some: Iterable[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate([*some, np.empty((0, 2 * BYTES), "uint8")]), axis=0)
