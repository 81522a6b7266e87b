"""Readers: how each survey lays out its tiles. A new survey is one new file here and one new entry of `SURVEYS`."""

from collections.abc import Sequence
from pathlib import Path

from morph.images.readers.cfht import CFHT
from morph.images.readers.decam import DECam
from morph.images.readers.des import DES
from morph.images.readers.euclid import Euclid
from morph.images.readers.hsc import HSC
from morph.images.readers.kids import KiDS
from morph.images.readers.legacy import LegacySurveys
from morph.images.readers.panstarrs import PanStarrs
from morph.images.readers.plain import Plain
from morph.images.readers.reader import Holds, Named, Reader
from morph.images.readers.rubin import Rubin
from morph.images.readers.sdss import SDSS
from morph.images.readers.skymapper import SkyMapper
from morph.images.readers.space import SpaceTelescope

__all__ = ["READERS", "SURVEYS", "Holds", "Named", "Plain", "Reader", "named", "reader_of"]

#: The surveys that are known by the names of their files, or by the headers of files that were renamed.
SURVEYS: tuple[Reader, ...] = (
    DES(),
    LegacySurveys(),
    SDSS(),
    HSC(),
    Rubin(),
    Euclid(),
    PanStarrs(),
    KiDS(),
    CFHT(),
    DECam(),
    SkyMapper(),
    SpaceTelescope(),
)

#: In the order in which they are asked; the last one takes every name.
READERS: tuple[Reader, ...] = (*SURVEYS, Plain(SURVEYS))


def named(path: Path) -> tuple[Reader, Named]:
    """The reader whose survey's name a file has, and what the name says."""
    return next((reader, said) for reader in READERS if (said := reader.named(path)))


def reader_of(paths: Sequence[Path]) -> Reader:
    """The reader of a tile that consists of these files."""
    readers = {named(path)[0] for path in paths}
    return readers.pop() if len(readers) == 1 else READERS[-1]
