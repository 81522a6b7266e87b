"""Files of edited galaxies: FITS for FITS, PNG for pictures, and a strip from less to more of what changes."""

import glob
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from morph.atomic import atomic
from morph.errors import InputError
from morph.fits.planes import is_fits
from morph.fits.zero_points import HEADERS, Calibration
from morph.model.sampling import PLAIN
from morph.model.store import load_model
from morph.simulation.contact_sheet import SHEET_ZOOM, contact_sheet
from morph.simulation.sampling.changes import Change, held_names
from morph.simulation.sampling.edit import Editor, Portrait
from morph.stamps.composite import SUFFIXES
from morph.stamps.composite import read as read_picture
from morph.stamps.cutout_files import Cutout, find_cutouts, read_cutouts
from morph.stamps.stretch import HEADROOM, from_relative_flux, relative_flux, to_composite, white_level
from morph.surveys import NANOMAGGY_ZERO_POINT, UNKNOWN, get_survey
from morph.tiles.common_grid import to_common_grid
from morph.tiles.discovery import survey_of, tile_name, wanted_bands
from morph.tiles.layouts import layout_of

#: Half-light radii of the galaxy, as it is, across each picture of a strip, and pixels of it there at least.
_ACROSS, _PIXELS = 9.0, 96
#: The decoder of what is added, as files state it: an edit keeps the galaxy's own detail and invents none.
DECODER = PLAIN


@dataclass(frozen=True)
class Edited:
    """One edited galaxy.

    Attributes
    ----------
    path, strip : the image, and the strip.
    note : what could not be done; empty where all could.
    """

    path: Path | None
    strip: Path | None
    note: str = ""


def edit_galaxies(
    model: str | Path,
    galaxies: Sequence[str | Path],
    to: str | Path,
    change: Change,
    hold: str = "all",
    survey: str | None = None,
    bands: str | None = None,
    calibration: Calibration = HEADERS,
    pixel_scale: float | None = None,
    seed: int = 0,
) -> list[Edited]:
    """Write galaxies with one thing changed.

    Parameters
    ----------
    model : its name.
    galaxies : files, folders and globs of FITS cutouts and of pictures.
    to : the folder, made if needed: NAME.fits (a cube of the bands in nanomaggies, with the sky coordinates of the
        original) or NAME.png, and NAME-strip.png.
    change : what changes.
    hold : what is held: ``all``, ``none`` or names.
    survey, bands, calibration, pixel_scale : what the headers of FITS files leave out (`read_cutouts`).
    seed : of the noise that is added.

    Returns
    -------
    One entry a galaxy; one that could not be edited has a note.

    Raises
    ------
    InputError : nothing was found, the change is none, or no galaxy could be edited.

    Examples
    --------
    >>> y, x = np.mgrid[:80, :80] - 39.5
    >>> light = 200 * np.exp(-np.hypot(x, y) / 8)[..., None] * [1.0, 0.9, 0.8] + 8
    >>> Image.fromarray(light.astype("uint8")).save("round.png")
    >>> edited, = edit_galaxies("models:/morph@sdss", ["round.png"], "out", Change.parse("radius=x2"))
    >>> edited.path.as_posix()
    'out/round.png'
    """
    editor = Editor(load_model(model), change, held_names(hold, change), seed)
    to = Path(to)
    to.mkdir(parents=True, exist_ok=True)
    made: list[Edited] = []
    for group in _groups(galaxies):
        try:
            if group[0].suffix.lower() in SUFFIXES:
                made.append(_edit_picture(editor, group[0], to))
                continue
            header = _coordinates(group, survey, bands)
            cutouts = read_cutouts(group, survey, bands, calibration, pixel_scale)
            made += [_edit_cutout(editor, cutout, header, to) for cutout in cutouts]
        except InputError as error:
            made.append(Edited(None, None, f"{group[0]}: {error}"))
    if made and all(each.path is None for each in made):
        raise InputError(made[0].note if len(made) == 1 else f"None of {len(made)} galaxies: {made[0].note}")
    return made


def _groups(names: Sequence[str | Path]) -> list[list[Path]]:
    """The files of each galaxy: every picture by itself, FITS files as `find_cutouts` groups them."""
    pictures, others = [], []
    for name in map(Path, names):
        inside = [name]
        if name.is_dir():
            inside = sorted(name.iterdir())
        elif glob.has_magic(str(name)) and not name.exists():
            inside = sorted(map(Path, glob.glob(str(name), recursive=True)))
        found = [path for path in inside if path.suffix.lower() in SUFFIXES]
        pictures += [[path] for path in found]
        # Where there is neither, the search for FITS files says so.
        if not found or any(is_fits(path) for path in inside):
            others.append(name)
    return pictures + (find_cutouts(others) if others else [])


def _edit_picture(editor: Editor, path: Path, to: Path) -> Edited:
    portrait = Portrait(relative_flux(read_picture(path)).astype("float32"), "unknown", False, np.nan)
    target = to / f"{path.stem}.png"
    if target.exists() and target.samefile(path):
        raise InputError(f"'{target}' is the original; give --to another folder.")
    with atomic(target) as building:
        text = PngInfo()
        text.add_text("decoder", DECODER)
        Image.fromarray(from_relative_flux(editor(portrait))).save(building, pnginfo=text)
    return Edited(target, _write_strip(editor, portrait, to / f"{path.stem}-strip.png"))


def _edit_cutout(editor: Editor, cutout: Cutout, coordinates: fits.Header, to: Path) -> Edited:
    portrait = Portrait(cutout.image, cutout.survey, True, cutout.pixel_scale)
    header = coordinates.copy()
    header["BUNIT"] = ("nanomaggy", "flux per pixel")
    header["MAGZERO"] = (NANOMAGGY_ZERO_POINT, "magnitude of one nanomaggy")
    header["BANDS"] = ("".join(cutout.channels), "the planes, in order")
    header["SURVEY"] = cutout.survey
    header["EDITED"] = (str(editor.change), "what was changed: this is not an observation")
    header["HELD"] = ", ".join(editor.held)[:60] or "none"
    header["WEIGHTS"] = (editor.classifier.digest, "digest of the model")
    header["DECODER"] = (DECODER, "what drew the light that was added")
    image = np.moveaxis(editor(portrait), -1, 0)
    target = to / f"{cutout.id}.fits"
    with atomic(target) as building:
        fits.PrimaryHDU(image, header).writeto(building)
    return Edited(target, _write_strip(editor, portrait, to / f"{cutout.id}-strip.png"))


def _coordinates(paths: Sequence[Path], survey: str | None, bands: str | None) -> fits.Header:
    """The sky coordinates of the grid that a galaxy's bands are read on; an empty header where there are none."""
    known = get_survey(survey or survey_of([list(paths)]) or UNKNOWN.name)
    planes = layout_of(paths).open(list(paths), wanted_bands(known), tuple(bands or ()), cubes=True)
    if any(one.wcs() is None for one in planes.values()):
        return fits.Header()
    if all(len(one.shape) == 2 for one in planes.values()):
        planes, _ = to_common_grid(planes, tile_name(paths))
    wcs = next((one.wcs() for one in planes.values()), None)
    return fits.Header() if wcs is None else wcs.to_header()


def _write_strip(editor: Editor, portrait: Portrait, path: Path) -> Path:
    """Write the galaxy from less to more of what changes, all pictures alike in scale and brightness."""
    images = []
    for share in editor.shares():
        # The other way there may be less room for a change: a galaxy cannot be smaller than a point source.
        with suppress(InputError):
            images.append(editor(portrait, share))
    height, width = portrait.image.shape[:2]
    x, y = round(portrait.shape.x), round(portrait.shape.y)
    half = max(1, min(int(np.ceil(_ACROSS / 2 * portrait.shape.radius)), x, y, width - x, height - y))
    part = slice(y - half, y + half), slice(x - half, x + half)
    if portrait.calibrated:
        white = HEADROOM * white_level((portrait.image - portrait.sky)[part])
        pictures = [to_composite(image[part] - portrait.sky, white) for image in images]
    else:
        pictures = [from_relative_flux(image[part]) for image in images]
    strip = Image.fromarray(contact_sheet(pictures, len(pictures)))
    zoom = max(1, round(SHEET_ZOOM * _PIXELS / (2 * half)))
    with atomic(path) as building:
        strip.resize((zoom * strip.width, zoom * strip.height), Image.Resampling.BICUBIC).save(building)
    return path
