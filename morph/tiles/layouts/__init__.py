"""How each survey lays out its tiles. A new survey is one new file here and one new entry of `SURVEYS`."""

from collections.abc import Sequence
from pathlib import Path

from morph.tiles.layouts.cfht import CFHT
from morph.tiles.layouts.decam import DECam
from morph.tiles.layouts.des import DES
from morph.tiles.layouts.euclid import Euclid
from morph.tiles.layouts.hsc import HSC
from morph.tiles.layouts.kids import KiDS
from morph.tiles.layouts.layout import Content, Layout, ParsedName
from morph.tiles.layouts.legacy import LegacySurveys
from morph.tiles.layouts.panstarrs import PanStarrs
from morph.tiles.layouts.plain import Plain
from morph.tiles.layouts.rubin import Rubin
from morph.tiles.layouts.sdss import SDSS
from morph.tiles.layouts.skymapper import SkyMapper
from morph.tiles.layouts.space import SpaceTelescope

__all__ = ["LAYOUTS", "SURVEYS", "Content", "Layout", "ParsedName", "Plain", "layout_of", "parse_name"]

#: The surveys that are known by the names of their files, or by the headers of files that were renamed.
SURVEYS: tuple[Layout, ...] = (
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
LAYOUTS: tuple[Layout, ...] = (*SURVEYS, Plain(SURVEYS))


def parse_name(path: Path) -> tuple[Layout, ParsedName]:
    """The layout that a file's name follows, and the parsed name."""
    return next((layout, name) for layout in LAYOUTS if (name := layout.parse_name(path)))


def layout_of(paths: Sequence[Path]) -> Layout:
    """The layout of a tile that consists of these files."""
    layouts = {parse_name(path)[0] for path in paths}
    return layouts.pop() if len(layouts) == 1 else LAYOUTS[-1]
