"""Restoring whatever a user names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.analysis.restoring.datasets import restore_dataset, restore_picture
from morph.analysis.restoring.files import TABLE, Options, Problem, Summary, restore_tile
from morph.atomic import atomic
from morph.checks import check_folder
from morph.console import counted
from morph.dataset import is_dataset
from morph.errors import InputError
from morph.fits.zero_points import UNCALIBRATED
from morph.model.store import load_model
from morph.stamps.picture_files import SUFFIXES
from morph.tiles.tile import Tile, find_tiles


def restore(
    images: Sequence[str | Path],
    model: str | Path,
    to: str | Path,
    options: Options = Options(),
    survey: str | None = None,
    progress: bool = True,
) -> Iterator[str]:
    """Restore images, and report each of them.

    Parameters
    ----------
    images : FITS files, folders or globs of tiles; colour pictures; or one dataset.
    model : the name of a model.
    to : the folder of the output.
    options : how.
    survey : of FITS files, where they do not say it.
    progress : whether to show progress bars on a terminal.

    Yields
    ------
    A sentence for each image that is finished.

    Raises
    ------
    InputError : an image, the point-spread function or the target cannot be used.

    Examples
    --------
    >>> from morph.simulation.tile import simulate_tile
    >>> made = simulate_tile("tile", size=256, survey="des", galaxies=3, progress=False)
    >>> lines = list(restore(["tile"], "models:/morph@sdss", "restored"))
    >>> len(lines), Path("restored/DES0356-5248_r.fits").exists()
    (3, True)
    """
    to = Path(to)
    check_folder(to)
    datasets = [each for each in images if is_dataset(each)]
    if datasets and len(images) > 1:
        raise InputError(f"'{datasets[0]}' is a dataset; restore it by itself.")
    loaded = load_model(model)
    if datasets:
        if options.draws:
            raise InputError("--draws are drawn of images, not of a dataset's stamps; leave it out.")
        yield _of_dataset(restore_dataset(loaded, datasets[0], to, options, progress), to)
        return
    pictures = [Path(each) for each in images if str(each).lower().endswith(SUFFIXES)]
    for path in pictures:
        yield f"{restore_picture(loaded, path, to, options)}: restored."
    summaries: list[Summary] = []
    others = [each for each in images if Path(each) not in pictures]
    for group in find_tiles(others) if others else []:
        tile = Tile.open(group, survey, calibration=UNCALIBRATED)
        for made in restore_tile(loaded, tile, to, options, progress):
            summaries.append(made)
            yield _sentence(made, to)
    if summaries:
        with atomic(to / TABLE) as building:
            pq.write_table(pa.Table.from_pylist([each.row() for each in summaries]), building)


def _sentence(made: Summary, to: Path) -> str:
    if made.flags & Problem.NO_DATA:
        return f"{to / made.file}: no data."
    shaped = counted(made.shaped, "source")
    flags = "; ".join(str(flag.name).lower().replace("_", " ") for flag in made.flags)
    notes = " ".join(["", *made.notes])
    return (
        f"{to / made.file}: reduced chi-square {made.chi_square:.3f}, flux {made.flux_ratio:.4f} of the data's, "
        f"{shaped} with the data's ellipticity"
        f"{'; ' if flags else ''}{flags}.{notes}"
    )


def _of_dataset(table: pa.Table, to: Path) -> str:
    flags = table["flags"].to_numpy()
    chi = table["chi_square"].to_numpy()
    middle = float(np.nanmedian(chi)) if np.isfinite(chi).any() else np.nan
    found = {flag: int(((flags & flag) > 0).sum()) for flag in Problem}
    counts = "".join(f"; {count} {str(flag.name).lower().replace('_', ' ')}" for flag, count in found.items() if count)
    return f"{to}: {counted(len(table), 'galaxy', 'galaxies')}, median reduced chi-square {middle:.3f}{counts}."
