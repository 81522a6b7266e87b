"""The last step of every import: galaxies cut from images, joined with a table's annotations, become a dataset."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.decision_tree import TREE
from morph.errors import InputError
from morph.sizes import STAMP_SIZE
from morph.stamps.cutting import Flag
from morph.votes import DEBIASED, empty_votes
from training.importers.labels import Labels

#: What each flag means for galaxies that are kept all the same.
FLAGS = {
    Flag.EDGE: "reach over the edge of their image",
    Flag.MASKED: "have masked pixels on more than a twentieth",
    Flag.MISSING_BAND: "lack a band",
    Flag.SATURATED: "have a saturated centre",
    Flag.TOO_SMALL: "show a galaxy too small to have a shape",
}


NO_FLAGS = Flag(0)


@dataclass
class Report:
    """What an import understood, and what it left out and why: collected on the way, printed at the end."""

    understood: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def say(self, sentence: str) -> None:
        self.understood.append(sentence)

    def skip(self, reason: str, name: str) -> None:
        """Count one object that was left out."""
        self.skipped.setdefault(reason, []).append(name)

    def labels(self, labels: Labels) -> None:
        """Add what a table of labels was recognised as, and what was left out of it."""
        self.say(f"Labels: {labels.scheme}, {int(labels.labelled.sum()):,} of {len(labels.votes):,} rows.")
        if labels.kind == DEBIASED:
            self.say(
                "Votes: debiased, which is what volunteers would have seen nearer by; the weights that ship answer as "
                "volunteers saw the pictures (raw)."
            )
        for note in labels.notes:
            self.say(f"Note: {note}")

    def lines(self, galaxies: Galaxies) -> list[str]:
        """The whole report on the imported galaxies, line by line."""
        lines = [*self.understood, *galaxies.zero_point_lines()]
        for reason, names in self.skipped.items():
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            lines.append(f"Skipped {len(names):,}: {reason} ({shown}).")
        answered = galaxies.answered()
        if any(answered.values()):
            width = max(len(question.name) for question in TREE)
            lines.append("Galaxies with votes on each question:")
            lines += [f"  {name:<{width}} {count:>7,}" for name, count in answered.items()]
        else:
            lines.append("No galaxy has labels: the set can be learned from through the reconstruction only.")
        return lines


@dataclass
class Annotations:
    """What a table contains about images, by the name of the image.

    Attributes
    ----------
    votes, ids, positions, properties : of the galaxies that the table contains; positions are ra, dec in degrees.
    labelled : False where no labels were given at all, so that no image can lack one.
    vote_kind : of all the votes, raw or debiased; empty where there are none.
    """

    votes: dict[str, np.ndarray] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    positions: dict[str, tuple[float, float]] = field(default_factory=dict)
    properties: dict[str, dict[str, float]] = field(default_factory=dict)
    labelled: bool = False
    vote_kind: str = ""

    def wanted(self, names: Iterable[str], keep_unlabelled: bool, report: Report) -> list[str]:
        """Those of the images that belong into the dataset; the others are reported.

        Parameters
        ----------
        names : of the images.
        keep_unlabelled : keep images without a label.
        report : collects the others.

        Returns
        -------
        Their names, in the same order.
        """
        names = list(names)
        if not self.labelled or keep_unlabelled:
            return names
        for name in names:
            if name not in self.votes:
                report.skip("images without a label (--keep-unlabelled keeps them)", name)
        return [name for name in names if name in self.votes]


@dataclass(frozen=True)
class ImportedGalaxy:
    """A galaxy cut to its own size, or the reason why it could not be.

    Attributes
    ----------
    name : the image's, by which a table of labels may refer to it.
    image : [size, size, 3]; None where `error` gives the reason.
    ra, dec : degrees, NaN if unknown.
    properties : as in `Galaxy`.
    found : whether a galaxy stood out; without one the stamp has the size of the image.
    flags : problems of the stamp.
    zero_points : of its image, in words; empty for pictures.
    notes : remarks on how its image was read, one sentence each.
    """

    name: str
    image: np.ndarray | None
    ra: float = np.nan
    dec: float = np.nan
    properties: dict[str, float] = field(default_factory=dict)
    found: bool = True
    flags: Flag = NO_FLAGS
    error: str = ""
    zero_points: str = ""
    notes: tuple[str, ...] = ()

    def annotated(self, survey: str, annotations: Annotations) -> Galaxy:
        """The row of the dataset: what was measured, completed and overruled by what a table contains."""
        assert self.image is not None
        listed = annotations.properties.get(self.name, {})
        properties = {**self.properties, **{name: value for name, value in listed.items() if np.isfinite(value)}}
        place = annotations.positions.get(self.name, (np.nan, np.nan))
        ra, dec = place if np.isfinite(place).all() else (self.ra, self.dec)
        votes = annotations.votes.get(self.name, empty_votes())
        name = annotations.ids.get(self.name, self.name)
        return Galaxy(name, survey, self.image, votes, ra, dec, properties, annotations.vote_kind, self.zero_points)


def write(
    galaxies: Iterable[ImportedGalaxy],
    to: Path,
    kind: str,
    survey: str,
    annotations: Annotations,
    keep: set[str] | None,
    report: Report,
    size: int = STAMP_SIZE,
) -> None:
    """Write galaxies as a dataset, with their annotations.

    Parameters
    ----------
    galaxies : in any order.
    to, kind : see `GalaxiesWriter`.
    survey : of all of them.
    annotations : what a table contains about them.
    keep : the names of those that belong into the dataset; None keeps all.
    report : collects what is written and what is left out.
    size : pixels on a side of the stamps.

    Raises
    ------
    InputError : there is no galaxy to write, or two have one id.
    """
    flagged: Counter[Flag] = Counter()
    notes: Counter[str] = Counter()
    written = guessed = 0
    first_error = ""
    with GalaxiesWriter(to, kind, size, about={"source": "images", "votes": annotations.vote_kind}) as writer:
        for galaxy in galaxies:
            if galaxy.image is None:
                first_error = first_error or galaxy.error
                report.skip("images that cannot be used", f"{galaxy.name} ({galaxy.error.rstrip('.')})")
            elif galaxy.flags & Flag.NO_DATA:
                first_error = f"'{galaxy.name}' has no data where its galaxy should be"
                report.skip("images without data at the galaxy", galaxy.name)
            elif keep is None or galaxy.name in keep:
                guessed += not galaxy.found
                flagged.update(flag for flag in FLAGS if flag & galaxy.flags)
                notes.update(galaxy.notes)
                writer.add(galaxy.annotated(survey, annotations))
                written += 1
        if not written:
            raise InputError(f"No galaxy can be imported: {first_error.rstrip('.') or 'there are none'}.")
    report.say(f"Galaxies: {written:,}, of survey {survey}.")
    for note, count in notes.most_common():
        report.say(f"{note} ({count:,} galaxies)")
    for flag, count in flagged.items():
        report.say(f"{count:,} of them {FLAGS[flag]}.")
    if guessed:
        report.say(f"No galaxy stands out at the centre of {guessed:,} images, which are cut by their own size.")
