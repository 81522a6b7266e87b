"""Survey tiles: one field of sky in several bands, as the Dark Energy Survey releases it.

A tile is a set of FITS files, one a band, on one grid of pixels. Any of their names stands for all of them:
``DES0356-5248_r4163p01_g.fits.fz`` brings ``..._r.fits.fz`` and ``..._i.fits.fz`` from its folder.
"""

import glob
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from morph.errors import BadInput
from morph.images.planes import Planes, is_fits, split_name
from morph.surveys import get_survey

#: A DES tile's name with the processing run that its release files append.
_DES_TILE = re.compile(r"^(DES\d{4}[+-]\d{4})(?:_r\d+p\d+)?$")

#: Bands of a tile whose grids differ by more than this (pixels at the tile's middle) are not aligned.
MISALIGNED = 0.5


class Tile:
    """One field of sky in up to three bands. Headers are read at once, pixels when they are asked for.

    Attributes
    ----------
    name : the files' common name without band and processing run.
    tilename : the survey's name of the tile (header TILENAME), empty if unknown. A cutout of a tile has a `name`
        of its own and its tile's `tilename`.
    survey : the survey's name.
    channels : the survey's three bands, from blue to red.
    bands : those of them that the tile has.
    wcs : astropy's celestial coordinate system.
    shape : height and width, pixels.
    pixel_scale : arcsec per pixel.
    paths : {band: file}.
    """

    def __init__(self, name: str, survey: str, planes: dict[str, Planes]):
        self.name = name
        self.survey = get_survey(survey).name
        self.channels = get_survey(survey).bands
        self._planes = {band: planes[band] for band in self.channels if band in planes}
        if not self._planes:
            raise BadInput(
                f"Tile '{name}' has no image in {', '.join(self.channels)}; "
                f"give at least one of the bands of survey '{self.survey}' (found: {', '.join(planes) or 'none'})."
            )
        self.bands = tuple(self._planes)
        self.paths = {band: plane.path for band, plane in self._planes.items()}
        first = self._planes[self.bands[0]]
        self.shape: tuple[int, int] = (first.shape[0], first.shape[1])
        self.wcs = self._common_grid()
        self.pixel_scale = float(np.mean(proj_plane_pixel_scales(self.wcs)) * 3600)
        match = _DES_TILE.match(name)
        self.tilename = str(first.header.get("TILENAME", match[1] if match else "")).strip()
        self._flux: dict[str, np.ndarray] = {}
        self._saturated: np.ndarray | None = None
        self._lock = Lock()

    @classmethod
    def open(cls, path: str | Path | Sequence[str | Path], survey: str = "des") -> "Tile":
        """The tile that a file, folder or glob names, or that consists of the listed files.

        BadInput when a file is missing, is no FITS, is cut short, has no sky coordinates, when bands are on
        different grids, or when no band of the survey is there. One or two missing bands are no error.
        """
        if isinstance(path, (str, Path)):
            groups = find_tiles([path])
            if len(groups) != 1:
                names = ", ".join(tile_name(group) for group in groups[:3])
                raise BadInput(f"'{path}' holds {len(groups)} tiles ({names}, ...); name one of them.")
            path = groups[0]
        paths = [Path(p) for p in path]
        if not paths:
            raise BadInput("A tile needs at least one FITS file; none was given.")
        wanted = get_survey(survey).bands
        planes: dict[str, Planes] = {}
        for file in paths:
            band = split_name(file)[1]
            if band and band not in wanted and file.is_file():
                continue
            plane = Planes.open(file)
            if len(plane.shape) != 2:
                raise BadInput(f"'{file}' holds a cube {plane.shape}, not one image; `morph import` reads cubes.")
            band = plane.band
            if band is None:
                raise BadInput(
                    f"The band of '{file}' is not known; set BAND in its header or end its name in _g.fits."
                )
            if band in planes:
                raise BadInput(f"'{planes[band].path}' and '{file}' are both band {band} of one tile; keep one.")
            planes[band] = plane
        return cls(tile_name(paths), survey, planes)

    def _common_grid(self) -> WCS:
        grid: WCS | None = None
        height, width = self.shape
        for plane in self._planes.values():
            if plane.shape != self.shape:
                sizes = ", ".join(f"{b}: {p.shape[1]} x {p.shape[0]}" for b, p in self._planes.items())
                raise BadInput(f"The bands of tile '{self.name}' have different sizes ({sizes}); give aligned images.")
            wcs = plane.wcs()
            if wcs is None:
                raise BadInput(f"'{plane.path}' has no sky coordinates (WCS) in its header; a tile needs them.")
            if grid is None:
                grid = wcs
                continue
            x, y = grid.world_to_pixel(wcs.pixel_to_world(width / 2, height / 2))
            if not np.hypot(x - width / 2, y - height / 2) < MISALIGNED:
                raise BadInput(f"The bands of tile '{self.name}' cover different sky; give images on one pixel grid.")
        assert grid is not None
        return grid

    def __repr__(self) -> str:
        return f"<Tile {self.name}: {self.survey} {''.join(self.bands)}, {self.shape[1]} x {self.shape[0]} px>"

    def __enter__(self) -> "Tile":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Forget the pixels."""
        self._flux.clear()
        self._saturated = None

    def load(self) -> "Tile":
        """Read every band that is not read yet, in parallel (decompression runs outside Python's lock)."""
        unread = [band for band in self.bands if band not in self._flux]
        if unread:
            with ThreadPoolExecutor(len(unread)) as pool:
                list(pool.map(self.plane, unread))
        return self

    @property
    def simulated(self) -> bool:
        """Whether `morph simulate` made the tile; its headers say so."""
        return all(plane.header.get("SOFTNAME") == "morph" for plane in self._planes.values())

    def zero_point(self, band: str) -> float:
        """Magnitude of one count in the band's file: its header's, or else the survey's."""
        return self._of(band).zero_point(get_survey(self.survey).zero_point)

    def plane(self, band: str) -> np.ndarray:
        """The flux in a band: float32 [h, w], nanomaggies per pixel, NaN where a pixel is bad. Kept once read."""
        if band not in self._flux:
            flux, saturated = self._of(band).read(self.zero_point(band))
            with self._lock:
                self._flux[band] = flux
                self._saturated = saturated if self._saturated is None else self._saturated | saturated
        return self._flux[band]

    def mask(self, band: str) -> np.ndarray:
        """Where a band has no usable data: bool [h, w]."""
        return np.isnan(self.plane(band))

    def weight(self, band: str) -> np.ndarray:
        """Inverse variance of a band's pixels: float32 [h, w], nanomaggies to the power -2, 0 where bad.

        Where the file has no weights, one value measured from the image's own noise (scaled median absolute
        deviation of its pixels).
        """
        weight = self._of(band).weight(self.zero_point(band))
        flux = self.plane(band)
        if weight is None:
            good = flux[np.isfinite(flux)]
            noise = 1.4826 * np.median(np.abs(good - np.median(good))) if good.size else 0
            weight = np.full(self.shape, 1 / noise**2 if noise > 0 else 1, dtype="float32")
        weight[np.isnan(flux)] = 0
        return weight

    def saturated(self) -> np.ndarray:
        """Where any band is saturated: bool [h, w]."""
        self.load()
        assert self._saturated is not None
        return self._saturated

    def _of(self, band: str) -> Planes:
        try:
            return self._planes[band]
        except KeyError:
            raise BadInput(f"Tile '{self.name}' has no band {band}; it has {', '.join(self.bands)}.") from None


def tile_name(paths: Sequence[str | Path]) -> str:
    """The name of the tile that these files are: what their names share, without the processing run."""
    path = Path(paths[0])
    name = split_name(path)[0] or path.resolve().parent.name
    match = _DES_TILE.match(name)
    return match[1] if match else name


def find_tiles(patterns: str | Path | Iterable[str | Path]) -> list[list[Path]]:
    """The tiles that files, folders (searched to the bottom) and globs name: the files of each, sorted by name.

    One file of a tile brings the other bands from its folder. Files whose names tell no band are a tile each,
    and are left out of a folder where other names do (catalogues stand there too). BadInput when a name or glob
    matches nothing.
    """
    if isinstance(patterns, (str, Path)):
        patterns = [patterns]
    groups: dict[tuple[Path, str], set[Path]] = {}
    folders: dict[Path, dict[str, set[Path]]] = {}
    for pattern in patterns:
        for path in _expand(str(pattern)):
            name, band = split_name(path)
            if band is None:
                groups.setdefault((path.parent, path.name), set()).add(path)
                continue
            if path.parent not in folders:
                folders[path.parent] = _by_name(path.parent)
            groups[(path.parent, name)] = folders[path.parent].get(name, {path})
    return [sorted(paths) for _, paths in sorted(groups.items(), key=lambda item: (item[0][1], item[0][0]))]


def _by_name(folder: Path) -> dict[str, set[Path]]:
    """The FITS files of a folder whose names tell their band, by what is left of the name."""
    names: dict[str, set[Path]] = {}
    for path in folder.iterdir():
        if is_fits(path):
            name, band = split_name(path)
            if band:
                names.setdefault(name, set()).add(path)
    return names


def _expand(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        files = [file for file in path.rglob("*") if is_fits(file) and file.is_file()]
        if not files:
            raise BadInput(f"The folder '{pattern}' holds no FITS files.")
        return [file for file in files if split_name(file)[1]] or files
    if path.is_file():
        return [path]
    files = [Path(name) for name in glob.glob(pattern, recursive=True) if is_fits(name)]
    if not files:
        raise BadInput(f"There is no FITS file '{pattern}'; give a file, a folder or a glob in quotes.")
    return files
