"""`import_galaxies`: images and labels, or tiles and a catalogue, become a galaxies dataset.

>>> import tempfile
>>> from PIL import Image
>>> folder = Path(tempfile.mkdtemp())
>>> Image.radial_gradient("L").convert("RGB").save(folder / "a.png")
>>> lines = import_galaxies([str(folder)], folder / "galaxies", "sdss")
>>> len(Galaxies.open(folder / "galaxies"))
1
"""

from collections.abc import Sequence
from pathlib import Path

from morph.dataset import Galaxies
from morph.dataset_writer import check_target
from morph.errors import InputError
from morph.fits.zero_points import Calibration
from morph.sizes import STAMP_SIZE
from morph.surveys import get_survey
from training.importers.annotating import Tables
from training.importers.cutouts import Headers, find_fits, import_cutouts
from training.importers.labels import Labels
from training.importers.pictures import expand, find_pictures, import_galaxy10, import_pictures
from training.importers.schemes import read_mapping, recognise
from training.importers.tables import Table, read_table
from training.importers.tiles import import_tiles
from training.importers.writing import Report

HDF5 = (".h5", ".hdf5")


def import_galaxies(
    images: Sequence[str],
    to: Path,
    survey: str,
    *,
    labels: Path | None = None,
    mapping: Path | None = None,
    votes: str | None = None,
    id_column: str | None = None,
    keep_unlabelled: bool = False,
    properties: Path | None = None,
    catalog: Path | None = None,
    detect: bool = False,
    bands: str | None = None,
    zero_point: str | None = None,
    unit: str | None = None,
    pixel_scale: float | None = None,
    stamp_size: int = STAMP_SIZE,
) -> list[str]:
    """Import images, with labels where a table of them is given.

    Parameters
    ----------
    images : files, folders or patterns: pictures, FITS cutouts or cubes, one Galaxy10 file, or tiles.
    to, survey : the dataset to write, and its survey.
    labels, mapping : a table of classes or votes, and the meaning of its classes or columns where they are unknown.
    votes, id_column : "raw" or "debiased", where the labels have both; their column of galaxy names.
    keep_unlabelled : keep images without a label.
    properties : another table, of redshifts and magnitudes, that completes what the labels' table has.
    catalog, detect : the galaxies on tiles, from a catalogue or by detection.
    bands, zero_point, unit : of FITS images: letters of a cube's planes, AB magnitude of one count (or "none"), unit.
    pixel_scale, stamp_size : arcsec; pixels on a side of the stamps, all at the scale of `morph.sizes`.

    Returns
    -------
    Sentences on what was imported and what was left out.

    Raises
    ------
    InputError : images, labels or options are missing, unknown or contradictory.
    """
    check_target(to)
    survey, report, tiles = get_survey(survey).name, Report(), _are_tiles(catalog, detect, pixel_scale)
    if labels is None and (mapping or votes or id_column or keep_unlabelled):
        raise InputError("--mapping, --votes, --id-column and --keep-unlabelled need labels; add --labels TABLE.")
    calibration = Calibration.parse(zero_point, unit)
    paths = expand(images)
    galaxy10 = _galaxy10(paths, alone=labels is None and properties is None)
    given = None if properties is None else read_table(properties)
    tables = Tables(*_labels(labels, mapping, votes, report), id_column, given, keep_unlabelled)
    fits_options = bool(bands or zero_point is not None or unit)
    if galaxy10:
        import_galaxy10(galaxy10, to, survey, report, pixel_scale, stamp_size)
    elif tiles:
        import_tiles(paths, catalog, to, survey, report, tables, calibration, bands or "", stamp_size)
    elif pictures := _pictures(images[0], paths, (labels, properties), fits_options):
        import_pictures(pictures, to, survey, report, tables, pixel_scale, stamp_size)
    else:
        import_cutouts(paths, to, Headers(survey, bands, calibration, pixel_scale), report, tables, stamp_size)
    return report.lines(Galaxies.open(to, images=False))


def _galaxy10(paths: Sequence[Path], alone: bool) -> Path | None:
    """The file of Galaxy10, if the images are one; InputError where anything else was given."""
    found = next((path for path in paths if path.suffix.lower() in HDF5), None)
    if found and (len(paths) > 1 or not alone):
        raise InputError(f"'{found}' holds pictures and their classes; import it alone, without other tables.")
    return found


def _labels(
    path: Path | None, mapping: Path | None, votes: str | None, report: Report
) -> tuple[Table | None, Labels | None]:
    """The table of labels, and what it was recognised as; None for both without a table."""
    if path is None:
        return None, None
    table = read_table(path)
    labels = recognise(table, read_mapping(mapping) if mapping else None, votes)
    report.labels(labels)
    return table, labels


def _are_tiles(catalog: Path | None, detect: bool, pixel_scale: float | None) -> bool:
    """Whether the images are tiles, by the options. InputError where these contradict each other."""
    if catalog and detect:
        raise InputError("Give --catalog or --detect, not both.")
    if (catalog or detect) and pixel_scale:
        raise InputError("--pixel-scale is for cutouts; tiles have sky coordinates in their headers.")
    return bool(catalog) or detect


def _pictures(name: str, paths: Sequence[Path], leave: Sequence[Path | None], fits_options: bool) -> list[Path]:
    """The pictures among the paths; none where they are FITS files. InputError where they are both, or neither."""
    pictures, fits = find_pictures(paths), find_fits(paths, leave)
    if pictures and fits:
        raise InputError(
            f"There are {len(pictures)} pictures and {len(fits)} FITS files in '{name}'; "
            f"import one kind at a time, for instance '{name}/*{pictures[0].suffix}'."
        )
    if not pictures and not fits:
        raise InputError(f"There are no images in '{name}'; give JPEG, PNG or FITS files, or their folder.")
    if pictures and fits_options:
        raise InputError("--bands, --zero-point and --unit are for FITS images; these are pictures.")
    return pictures
