"""Which files are a tile: found from one of its names, a folder or a glob."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from morph.errors import InputError
from morph.fits.planes import BANDS, is_fits
from morph.surveys import SURVEYS, UNKNOWN, WITH_Z, Survey
from morph.tiles.layouts import LAYOUTS, Content, Layout, ParsedName, Plain, layout_of, parse_name
from morph.tiles.layouts.names import read_header_info

#: A tile's files in one folder: the folder, the reader's class, and what the files' names share.
Key = tuple[Path, type[Layout], str]


def tile_name(paths: Sequence[str | Path]) -> str:
    """The name of the tile that these files are: the survey's, or what the files' names share."""
    files = [Path(path) for path in paths]
    return layout_of(files).name(files[0])


def survey_of(tiles: Iterable[Sequence[Path]]) -> str | None:
    """The survey of some tiles, by the names of their files or their headers; None where neither gives it.

    `tiles` are groups of files as `find_tiles` returns them. Raises InputError when they are of several surveys.
    """
    surveys = {survey for paths in tiles if (survey := layout_of(paths).survey or _survey_in_header(paths))}
    if len(surveys) > 1:
        raise InputError(f"There are tiles of several surveys ({', '.join(sorted(surveys))}); score each by itself.")
    return surveys.pop() if surveys else None


def find_tiles(patterns: str | Path | Iterable[str | Path]) -> list[list[Path]]:
    """The tiles in files, folders (searched recursively) and globs: the files of each, sorted by name.

    One file of a tile brings the others from its folder: other bands, masks, weights. The files of a survey's tile may
    also lie in several folders, if all of them are given. A file whose name contains no band is a tile of its own,
    unless headers give different bands of one tile for several such files in its folder; in a folder where other
    names contain bands it is left out (catalogues lie there too). Raises InputError when a name or glob matches
    nothing, or nothing that is read.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> for band in "gr":
    ...     fits.writeto(f"field_{band}.fits", np.zeros((64, 64), "float32"))
    >>> [[path.name for path in tile] for tile in find_tiles(".")]
    [['field_g.fits', 'field_r.fits']]
    """
    if isinstance(patterns, (str, Path)):
        patterns = [patterns]
    groups: dict[Key, set[Path]] = {}
    folders: dict[Path, dict[Key, set[Path]]] = {}
    for pattern in patterns:
        for path in _images(str(pattern)):
            key = _key(path)
            if _is_part(parse_name(path)[1]):
                if path.parent not in folders:
                    folders[path.parent] = _by_tile(path.parent)
                groups[key] = folders[path.parent].get(key, {path})
            else:
                groups.setdefault(key, set()).add(path)
    joined = _of_one_tile(_together(groups))
    tiles = [(folder, tile, sorted(paths)) for (folder, _, tile), paths in joined.items()]
    return [paths for _, _, paths in sorted(tiles, key=lambda item: (item[1], item[0]))]


def _is_part(name: ParsedName) -> bool:
    """Whether a name gives the part of a tile that the file is."""
    return name.band is not None or name.content is not Content.IMAGE


def _key(path: Path) -> Key:
    reader, name = parse_name(path)
    # Files called g.fits, r.fits have no name but their folder's.
    return path.parent, type(reader), name.tile


def _by_tile(folder: Path) -> dict[Key, set[Path]]:
    """The files of a folder whose names give the part of a tile that they are, by tile."""
    tiles: dict[Key, set[Path]] = {}
    for path in folder.iterdir():
        if is_fits(path):
            name = parse_name(path)[1]
            if _is_part(name) and name.content is not Content.OTHER:
                tiles.setdefault(_key(path), set()).add(path)
    return tiles


def _together(groups: dict[Key, set[Path]]) -> dict[Key, set[Path]]:
    """The groups, with those joined that are parts of one tile in several folders."""
    joined: dict[tuple[type[Layout], str], list[Key]] = {}
    for key, paths in groups.items():
        if parse_name(next(iter(paths)))[0].unique:
            joined.setdefault(key[1:], []).append(key)
    result = dict(groups)
    for keys in joined.values():
        parts = [parse_name(path)[1] for key in keys for path in groups[key]]
        # Two files of one band are two versions of the tile, not two parts of it.
        if len(keys) > 1 and len(set(parts)) == len(parts):
            for key in keys[1:]:
                result[keys[0]] = result[keys[0]] | result.pop(key)
    return result


def _of_one_tile(groups: dict[Key, set[Path]]) -> dict[Key, set[Path]]:
    """The groups, with those joined whose headers give different bands of one tile.

    Headers are read of single files whose names contain no band, and of surveys whose names contain no field.
    """
    alone: dict[tuple[Path, type[Layout], object], list[tuple[Key, str]]] = {}
    for key, paths in groups.items():
        found = _tile_in_header(key, paths)
        if found is not None:
            alone.setdefault((*key[:2], found[0]), []).append((key, found[1]))
    result = dict(groups)
    for files in alone.values():
        keys = [key for key, _ in files]
        if len({band for _, band in files}) == len(files) > 1:
            for key in keys[1:]:
                result[keys[0]] = result[keys[0]] | result.pop(key)
    return result


def _tile_in_header(key: Key, paths: set[Path]) -> tuple[object, str] | None:
    """Tile and band in the header of a group's only image; None where names give them, or the header does not."""
    images = [path for path in paths if parse_name(path)[1].content is Content.IMAGE]
    if len(images) != 1:
        return None
    reader, name = parse_name(images[0])
    if key[1] is Plain and len(paths) == 1 and not _is_part(name):
        info = read_header_info(images[0])
        return None if info is None or info.band is None else (info.tile, info.band)
    if name.band is None or type(reader).field is Layout.field:
        return None
    info = read_header_info(images[0])
    field = None if info is None else reader.field(info.header)
    return None if field is None else (field, name.band)


def bands_left_out(tiles: Iterable[Sequence[Path]]) -> list[str]:
    """Bands of images, by their names, that no survey here has, so that they are left out."""
    names = (parse_name(path)[1] for paths in tiles for path in paths)
    known = {band for survey in SURVEYS.values() for band in survey.bands} | set(BANDS)
    return sorted({name.band for name in names if name.band and name.content is Content.IMAGE} - known)


def wanted_bands(survey: Survey) -> tuple[str, ...]:
    """The bands that are read of a survey's images; of images of no known survey, z too, which may stand for i."""
    return tuple(dict.fromkeys([*survey.bands, *(WITH_Z if survey is UNKNOWN else ())]))


def no_bands_error(what: str, paths: Sequence[Path], survey: Survey) -> InputError:
    """The error about files that hold none of a survey's bands.

    Parameters
    ----------
    what : the tile or file, as the sentence names it.
    paths : the tile's files.
    survey : whose bands are wanted.

    Returns
    -------
    InputError, to be raised.
    """
    infos = ((parse_name(path)[1].band, read_header_info(path)) for path in paths)
    found = [band for name, info in infos if (band := name or (info and info.band))]
    whose = "" if survey is UNKNOWN else f" of survey '{survey.name}'"
    return InputError(
        f"{what} has no image in {', '.join(wanted_bands(survey))}; give at least one of the bands{whose} (found: "
        f"{', '.join(dict.fromkeys(found)) or 'none'}), or name those of its images with --bands."
    )


def _survey_in_header(paths: Sequence[Path]) -> str | None:
    plain = LAYOUTS[-1]
    info = read_header_info(paths[0])
    reader = plain.layout_of_header(info.header) if info is not None and isinstance(plain, Plain) else None
    return reader.survey if reader else None


def _images(pattern: str) -> list[Path]:
    """The files of a name, a folder or a glob, without those that are not part of a tile."""
    path = Path(pattern)
    if path.is_dir():
        files = [file for file in path.rglob("*") if is_fits(file) and file.is_file()]
        if not files:
            raise InputError(f"The folder '{pattern}' holds no FITS files.")
    elif path.is_file():
        files = [path]
    else:
        files = [Path(name) for name in glob.glob(pattern, recursive=True) if is_fits(name)]
        if not files:
            raise InputError(f"There is no FITS file '{pattern}'; give a file, a folder or a glob in quotes.")
    read = [file for file in files if parse_name(file)[1].content is not Content.OTHER]
    if not read:
        raise InputError(f"'{files[0]}' is not one of the survey's images; name an image, or the tile's folder.")
    return [file for file in read if _is_part(parse_name(file)[1])] or read if path.is_dir() else read
