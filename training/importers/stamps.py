"""Stamps of galaxies, whatever they were cut from, become the rows of a dataset."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from morph.dataset import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.stamps.cutting import Flag
from morph.votes import empty_votes
from training.importers.annotations import Known
from training.importers.report import Report

#: What each flag says about a stamp that is kept all the same.
FLAGS = {
    Flag.EDGE: "reach over the edge of their image",
    Flag.MASKED: "have masked pixels on more than a twentieth",
    Flag.MISSING_BAND: "lack a band",
    Flag.SATURATED: "have a saturated centre",
    Flag.TOO_SMALL: "show a galaxy too small to have a shape",
}

CLEAN = Flag(0)


@dataclass(frozen=True)
class Stamp:
    """A galaxy cut to its own size, or the reason why it could not be.

    Attributes
    ----------
    name : by which a table of labels may know it.
    image : [STAMP_SIZE, STAMP_SIZE, 3]; None where `error` says why there is none.
    ra, dec : degrees, NaN if unknown.
    properties : as in `Galaxy`.
    found : whether a galaxy stood out; without one the stamp is cut by a guess.
    flags : what is wrong with it.
    zero_points : of its image, in words; empty for pictures.
    notes : what has to be said of how its image was read, one sentence each.
    """

    name: str
    image: np.ndarray | None
    ra: float = np.nan
    dec: float = np.nan
    properties: dict[str, float] = field(default_factory=dict)
    found: bool = True
    flags: Flag = CLEAN
    error: str = ""
    zero_points: str = ""
    notes: tuple[str, ...] = ()


def write(
    stamps: Iterable[Stamp], to: Path, kind: str, survey: str, known: Known, keep: set[str] | None, report: Report
) -> None:
    """Write stamps as a dataset, with what is known about their galaxies.

    Parameters
    ----------
    to, kind : see `GalaxiesWriter`.
    keep : the names of the stamps that belong into the dataset; None keeps all.

    Raises
    ------
    InputError : there is no stamp to write, or two of one id.
    """
    flagged: Counter[Flag] = Counter()
    notes: Counter[str] = Counter()
    written = guessed = 0
    first_error = "there are none"
    with GalaxiesWriter(to, kind, about={"source": "images", "votes": known.vote_kind}) as writer:
        for stamp in stamps:
            if stamp.image is None:
                first_error = stamp.error if first_error == "there are none" else first_error
                report.skip("images that cannot be used", f"{stamp.name} ({stamp.error.rstrip('.')})")
            elif stamp.flags & Flag.NO_DATA:
                first_error = f"'{stamp.name}' has no data where its galaxy should be"
                report.skip("images without data at the galaxy", stamp.name)
            elif keep is None or stamp.name in keep:
                guessed += not stamp.found
                flagged.update(flag for flag in FLAGS if flag & stamp.flags)
                notes.update(stamp.notes)
                writer.add(_galaxy(stamp, survey, known))
                written += 1
        if not written:
            raise InputError(f"Not one galaxy can be imported: {first_error.rstrip('.')}.")
    report.say(f"Galaxies: {written:,}, of survey {survey}.")
    for note, count in notes.most_common():
        report.say(f"{note} ({count:,} galaxies)")
    for flag, count in flagged.items():
        report.say(f"{count:,} of them {FLAGS[flag]}.")
    if guessed:
        report.say(f"No galaxy stands out at the centre of {guessed:,} images, which are cut by their own size.")


def _galaxy(stamp: Stamp, survey: str, known: Known) -> Galaxy:
    """What was measured, completed and overruled by what a table says."""
    assert stamp.image is not None
    told = {name: value for name, value in known.properties.get(stamp.name, {}).items() if np.isfinite(value)}
    place = known.positions.get(stamp.name, (np.nan, np.nan))
    ra, dec = place if np.isfinite(place).all() else (stamp.ra, stamp.dec)
    votes = known.votes.get(stamp.name, empty_votes())
    name = known.ids.get(stamp.name, stamp.name)
    return Galaxy(
        name, survey, stamp.image, votes, ra, dec, {**stamp.properties, **told}, known.vote_kind, stamp.zero_points
    )
