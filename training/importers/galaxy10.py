"""Galaxy10: thousands of pictures and their classes in one HDF5 file (Leung & Bovy)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from morph.console import track
from morph.errors import InputError
from morph.parallel import map_processes
from training.importers import classes
from training.importers.annotations import know
from training.importers.pictures import cut
from training.importers.report import Report
from training.importers.stamps import Stamp, write
from training.importers.tables import Table

#: Pictures that are held in memory at once.
CHUNK = 512
#: Columns beside the pictures and their classes.
COLUMNS = ("ra", "dec", "redshift")
#: Pixels on a side in the first Galaxy10, of SDSS, whose classes have other meanings.
SDSS_SIZE = 69


def import_galaxy10(path: Path, to: Path, survey: str, report: Report, pixel_scale: float | None = None) -> None:
    """Write the galaxies of a Galaxy10 DECaLS file as a dataset of composites.

    InputError when the file is damaged or is not Galaxy10 DECaLS's: `images` uint8 [n, h, w, 3], `ans` [n].
    """
    import h5py

    try:
        with h5py.File(path) as file:
            if not {"images", "ans"} <= file.keys() or file["images"].shape[0] != len(file["ans"]):
                raise InputError(
                    f"'{path}' is not Galaxy10's: it needs 'images' and as many 'ans' (it has {', '.join(file)})."
                )
            if file["images"].shape[1] == SDSS_SIZE:
                raise InputError(
                    f"'{path}' is the first Galaxy10, of SDSS, whose ten classes mean other things; "
                    "get Galaxy10_DECals.h5."
                )
            _import(file, path, to, survey, report, pixel_scale)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read as HDF5 ({error}); get it again.") from None


def _import(file, path: Path, to: Path, survey: str, report: Report, pixel_scale: float | None) -> None:
    count = len(file["ans"])
    digits = len(str(count - 1))
    names = [f"{path.stem}-{i:0{digits}d}" for i in range(count)]
    columns = {"id": names, "ans": [str(answer) for answer in file["ans"][:]]}
    columns |= {name: file[name][:] for name in COLUMNS if name in file}
    table = Table(pa.table(columns), str(path))
    labels = classes.galaxy10(table)
    assert labels is not None
    report.labels(labels)
    known = know(table, labels, dict.fromkeys(names, (np.nan, np.nan)), "id", report)
    scales = file["pxscale"][:] if "pxscale" in file else np.full(count, pixel_scale or np.nan)
    stamps = track(_stamps(file["images"], names, scales), "Cutting out galaxies", count)
    write(stamps, to, "composite", survey, known, None, report)


def _stamps(images, names: list[str], scales: np.ndarray) -> Iterator[Stamp]:
    for start in range(0, len(names), CHUNK):
        part = slice(start, start + CHUNK)
        yield from map_processes(_cut, list(zip(names[part], images[part], scales[part], strict=True)))


def _cut(item: tuple[str, np.ndarray, float]) -> Stamp:
    name, pixels, scale = item
    return cut(name, pixels, float(scale) if scale > 0 else None)
