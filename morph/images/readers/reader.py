"""How a survey lays its tiles out in files: the interface that a new survey implements in one file.

A reader answers a few small questions. Which tile is this file a part of, of which band, and what does it hold
(`named`)? Which bits of a mask are bad pixels (`bits`)? Which part of the sky does a tile answer for where it overlaps
its neighbours (`bounds`)? All else, finding the other bands, opening files, telling what is wrong with them, is done
here and in `morph.images.tiles` for all surveys alike.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from astropy.io import fits

from morph.errors import BadInput
from morph.images import headers
from morph.images.footprints import Bounds
from morph.images.hdus import images_in
from morph.images.pixels import Plane
from morph.images.planes import Planes


class Holds(enum.Enum):
    """What a file holds of its tile."""

    IMAGE = "image"
    MASK = "mask"
    WEIGHTS = "weights"
    #: A catalogue, a model, a segmentation map: a survey's file that is not read here.
    OTHER = "other"


@dataclass(frozen=True)
class Named:
    """What a file's name says of it.

    Attributes
    ----------
    tile : what the names of one tile's files share; empty where only their folder has a name.
    band : None where the name tells none, or the file holds something of all bands.
    """

    tile: str
    band: str | None = None
    holds: Holds = Holds.IMAGE


class Reader(ABC):
    """How one survey's tiles are read. A subclass has to say `named`, and what differs from this class.

    Attributes
    ----------
    survey : the survey's name in `morph.surveys`; None where the files do not tell.
    zero_point : AB magnitude of one count, where a header does not say it.
    unique : whether no two tiles of the survey have one name, so that the files of one may lie in several folders.
    parted : whether `bounds` part the sky among all tiles of the survey, so that no tile needs to know its neighbours.
    """

    survey: str | None = None
    zero_point: float | None = None
    unique: bool = True
    parted: bool = False

    @abstractmethod
    def named(self, path: Path) -> Named | None:
        """What the file's name says; None when it is not one of this survey's names."""

    def name(self, path: Path) -> str:
        """The name of the tile that a file with one of this survey's names belongs to."""
        named = self.named(path)
        assert named is not None
        return named.tile

    def tilename(self, header: fits.Header, name: str) -> str:
        """What the survey calls the tile called `name`, in catalogues too; empty if the survey has no such names."""
        return name

    def bits(self, band: str) -> tuple[int, int] | None:
        """The bits of a mask that make a pixel bad in a band, and those that mark it as saturated.

        None where the planes of an image know it themselves (`images`): in DES's masks, any bit is bad.
        """
        return None

    def bounds(self, header: fits.Header) -> Bounds | None:
        """The part of the sky for which this tile and no other answers; None where the survey does not say.

        `header` is that of one of the tile's images.
        """
        return None

    def images(self, path: Path) -> dict[str | None, Planes]:
        """The bands in one image file, with the planes that lie in the same file; None is the file's only band."""
        return {None: Planes.open(path)}

    def open(self, paths: Sequence[Path], wanted: Sequence[str]) -> dict[str, Planes]:
        """Those of the wanted bands that a tile's files hold, each with its mask and its weights.

        BadInput when a file is missing, damaged or no image, when the band of an image is not known, or when two are
        of one band.
        """
        found: dict[str, Planes] = {}
        beside: dict[tuple[Holds, str | None], Path] = {}
        for path in paths:
            named = self.named(path) or Named("")
            if named.holds is not Holds.IMAGE:
                beside[named.holds, named.band] = path
            elif named.band in (None, *wanted) or not path.is_file():
                for band, planes in self._of_one_file(path, named).items():
                    if band in found:
                        raise BadInput(
                            f"'{found[band].path}' and '{path}' are both band {band} of one tile; keep one."
                        )
                    found[band] = planes
        return {band: self._complete(planes, band, beside) for band, planes in found.items() if band in wanted}

    def _of_one_file(self, path: Path, named: Named) -> dict[str, Planes]:
        bands = {}
        for one, planes in self.images(path).items():
            if len(planes.shape) != 2:
                raise BadInput(f"'{path}' holds a cube {planes.shape}, not one image; `morph import` reads cubes.")
            band = one or named.band or headers.band(planes.header)
            if band is None:
                raise BadInput(
                    f"The band of '{path}' is not known; set BAND in its header or end its name in _g.fits."
                )
            bands[band] = planes
        return bands

    def _complete(self, planes: Planes, band: str, beside: dict[tuple[Holds, str | None], Path]) -> Planes:
        """An image with what lies in other files, and with what the survey says of all."""

        def plane(holds: Holds, there: Plane | None) -> Plane | None:
            path = beside.get((holds, band)) or beside.get((holds, None))
            return there if path is None else images_in(path)[0].plane

        bad, saturated = self.bits(band) or (planes.bad_bits, planes.saturated_bits)
        return replace(
            planes,
            mask=plane(Holds.MASK, planes.mask),
            weights=plane(Holds.WEIGHTS, planes.weights),
            bad_bits=bad,
            saturated_bits=saturated,
            survey_zero_point=self.zero_point,
        )
