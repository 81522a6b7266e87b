"""How a survey lays out its tiles in files: the interface that a new survey implements in one file.

A layout answers a few small questions. Which tile is this file a part of, of which band, and what does it hold
(`parse_name`)? Are these the survey's images, whatever the file is called (`recognises`)? What is the magnitude of one
count where no zero point and no unit says it (`calibration`)? Which bits of a mask are bad pixels (`bits`)? Which part
of the sky does a tile answer for where it overlaps its neighbours (`bounds`)? All else, finding the other bands,
opening files, reporting what is wrong with them, is done here and in `morph.tiles.tile` for all surveys alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from astropy.io import fits

from morph.errors import InputError
from morph.fits.headers import band_of
from morph.fits.images import Image, images_in
from morph.fits.planes import Planes
from morph.fits.wcs import Bounds
from morph.fits.zero_points import ZeroPoint
from morph.tiles.layouts.companions import WEIGHTS, Content, as_weights
from morph.tiles.layouts.multi_extension import of_cube

__all__ = ["Content", "Layout", "ParsedName"]


@dataclass(frozen=True)
class ParsedName:
    """The parts of a file's name.

    Attributes
    ----------
    tile : what the names of one tile's files share; empty where only their folder has a name.
    band : None where the name contains none, or the file serves all bands.
    """

    tile: str
    band: str | None = None
    content: Content = Content.IMAGE


class Layout(ABC):
    """How one survey's tiles are read. A subclass defines `parse_name`, and what differs from this class.

    Attributes
    ----------
    survey : the survey's name in `morph.surveys`; None where the files do not give it.
    zero_point : AB magnitude of one count, where a header does not give it.
    unique : whether no two tiles of the survey have one name, so that the files of one may lie in several folders.
    partitioned : whether `bounds` divide the sky among all tiles of the survey, so that no tile needs its neighbours.
    """

    survey: str | None = None
    zero_point: float | None = None
    unique: bool = True
    partitioned: bool = False

    @abstractmethod
    def parse_name(self, path: Path) -> ParsedName | None:
        """The parts of the file's name; None when it is not one of this survey's names."""

    def recognises(self, header: fits.Header) -> bool:
        """Whether an image is the survey's by its header (with the primary's), so that its file may be renamed."""
        return False

    def name(self, path: Path) -> str:
        """The name of the tile that a file with one of this survey's names belongs to."""
        name = self.parse_name(path)
        assert name is not None
        return name.tile

    def tilename(self, header: fits.Header, name: str) -> str:
        """What the survey calls the tile called `name`, in catalogues too; empty if the survey has no such names."""
        return name

    def field(self, header: fits.Header) -> tuple[float, ...] | None:
        """What the headers of one field's images in several bands share, where their names do not identify the tile;
        None where names do."""
        return None

    def calibration(self, header: fits.Header) -> float | None:
        """AB magnitude of one count of an image with this header, where it has no zero point and no unit."""
        return self.zero_point

    def bits(self, band: str) -> tuple[int, int] | None:
        """The bits of a mask that make a pixel bad in a band, and those that mark it as saturated.

        None where `planes` has set them already: in DES's masks, any bit is bad.
        """
        return None

    def bounds(self, header: fits.Header) -> Bounds | None:
        """The part of the sky that belongs to this tile and no other; None where the survey has no such rule.

        `header` is that of one of the tile's images.
        """
        return None

    def planes(self, images: Sequence[Image]) -> Planes:
        """The image of a file's only band, with the mask and the weights that lie in the same file."""
        return Planes.of(images)

    def beside(self, image: Image, content: Content) -> Image:
        """An image of a file of its own that holds a mask or weights, as it is to be read."""
        return image

    def calibrated(self, planes: Planes) -> Planes:
        """An image with the zero point that its survey's rule gives, which holds where its header gives none."""
        magnitude = self.calibration(planes.header)
        if magnitude is None:
            return planes
        rule = f"rule of {self.survey or type(self).__name__}'s files"
        return replace(planes, survey_zero_point=ZeroPoint(magnitude, rule))

    def images(self, path: Path, labels: Sequence[str] = ()) -> dict[str | None, Planes]:
        """The bands in one image file, with the planes that lie in the same file; None is the file's only band.

        `labels` are the caller's names of a file's images, in order.
        """
        return of_cube(self.calibrated(self.planes(images_in(path))), labels)

    def open(
        self, paths: Sequence[Path], wanted: Sequence[str], labels: Sequence[str] = (), cubes: bool = False
    ) -> dict[str, Planes]:
        """Open those of the wanted bands that a tile's files hold.

        Parameters
        ----------
        paths : the tile's files.
        wanted : bands.
        labels : the bands of the images in a file, in order, as the caller names them.
        cubes : whether a cube of many galaxies in one band is returned as it is.

        Returns
        -------
        {band: planes}, each with its mask and its weights.

        Raises
        ------
        InputError : a file is missing, damaged or not an image; the band of an image is not known, or its name and its
            header disagree; two are of one band; an image is a cube of one band.
        """
        found: dict[str, Planes] = {}
        beside: dict[tuple[Content, str | None], Path] = {}
        others: list[tuple[Path, str]] = []
        for path in paths:
            name = self.parse_name(path) or ParsedName("")
            if name.content is not Content.IMAGE:
                beside[name.content, name.band] = path
            elif labels or name.band is None or name.band in wanted or not path.is_file():
                for band, planes in self._of_one_file(path, name, labels, cubes).items():
                    if band in found:
                        raise InputError(
                            f"'{found[band].path}' and '{path}' are both band {band} of one tile; keep one."
                        )
                    found[band] = planes
            else:
                others.append((path, name.band))
        if not set(found) & set(wanted):
            _refuse_other_instruments([*((planes.path, band) for band, planes in found.items()), *others], wanted)
        wanted_ones = {band: planes for band, planes in found.items() if band in wanted}
        return {band: self._complete(planes, band, beside).squared() for band, planes in wanted_ones.items()}

    def _of_one_file(self, path: Path, name: ParsedName, labels: Sequence[str], cubes: bool) -> dict[str, Planes]:
        bands = {}
        for one, planes in self.images(path, labels).items():
            if len(planes.shape) != 2 + (cubes and len(planes.shape) == 3):
                raise InputError(
                    f"'{path}' holds a cube {planes.shape}; name its bands in order with --bands if they are its "
                    "planes. Cubes of many galaxies are for `morph import` and `morph classify`."
                )
            in_header = None if one else band_of(planes.header)
            band = one or name.band or in_header
            if band is None:
                raise InputError(
                    f"The band of '{path}' is not known; set BAND in its header, end its name in _g.fits, or name it "
                    "with --bands."
                )
            # A band of another instrument may stand for one of the letters if the user gives the file its name.
            if in_header and len(in_header) == 1 and len(band) == 1 and in_header != band:
                raise InputError(
                    f"'{path}' is band {band} by its name and band {in_header} by its header; rename it, or set BAND "
                    f"in the header to '{band}'."
                )
            bands[band] = planes
        return bands

    def _complete(self, planes: Planes, band: str, beside: dict[tuple[Content, str | None], Path]) -> Planes:
        """An image with the masks and weights in other files, and with the survey's bits."""

        def image(content: Content) -> Image | None:
            path = beside.get((content, band)) or beside.get((content, None))
            return None if path is None else self.beside(images_in(path)[0], content)

        mask = image(Content.MASK)
        weights = next((as_weights(found.plane, content) for content in WEIGHTS if (found := image(content))), None)
        planes = replace(planes, mask=planes.mask if mask is None else mask.plane, weights=weights or planes.weights)
        bits = self.bits(band) if mask is None else self.bits_of(mask, band)
        return planes if bits is None else replace(planes, bad_bits=bits[0], saturated_bits=bits[1])

    def bits_of(self, mask: Image, band: str) -> tuple[int, int] | None:
        """As `bits`, of a mask in a file of its own, whose header may name its bits."""
        return self.bits(band)


def _refuse_other_instruments(found: Sequence[tuple[Path, str]], wanted: Sequence[str]) -> None:
    """Raise InputError when a tile has only bands that no survey here has, such as infrared ones."""
    bands = sorted({band for _, band in found})
    if not bands or any((len(band) == 1 and band not in "JHK") or band == "VIS" for band in bands):
        return
    # The middle channel, where it is a band of a letter.
    letter = next(band for band in (wanted[1], *wanted) if len(band) == 1)
    raise InputError(
        f"'{found[0][0]}' is band {bands[0]}, in which no model here was trained; to have it scored as if it were "
        f"band {letter}, end its name in _{letter}.fits, or in _VIS.fits with --survey euclid where it is as sharp."
    )
