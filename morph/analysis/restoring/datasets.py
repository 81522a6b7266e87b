"""Restoring the stamps of a dataset, and pictures."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from keras import ops

from morph.analysis.restoring.files import CONSISTENT, TABLE, Options, Problem
from morph.analysis.restoring.images import NO_RESTORER, ImageRestorer
from morph.analysis.restoring.psf import of_band
from morph.atomic import atomic
from morph.console import track
from morph.dataset import Galaxies, find_dataset, tables_of
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.restored_stamps import PADDING, restore_stamps
from morph.model.restorer import MULTIPLE
from morph.output_lock import output_lock
from morph.sizes import NARROWEST_PSF
from morph.stamps.picture_files import read
from morph.stamps.stretch import from_relative_flux, relative_flux

#: Galaxies that are read, and that go through the network, at a time.
ROWS, BATCH = 256, 32


def restore_dataset(
    model: Classifier, dataset: str | Path, to: Path, options: Options, progress: bool = True
) -> pa.Table:
    """Restore the stamps of a dataset.

    ``to/restored``, ``to/sigma`` and ``to/prior_fraction`` are datasets with the same rows and other images;
    ``restored.parquet`` has the reduced chi-square and the flags of every galaxy.

    Parameters
    ----------
    model : whose restorer it is.
    dataset : its folder.
    to : the folder of the output.
    options : how; `psf` is one width in arcsec for all, or one for each band.
    progress : whether to show a progress bar on a terminal.

    Returns
    -------
    The table: ``id``, ``chi_square``, ``flux_ratio`` (NaN where there is no data), ``shape_error`` (of the shear in
    each band, NaN where noise hides it), ``flags`` (of `Problem`).

    Raises
    ------
    InputError : the model has no restorer; the stamps are composites and there is a point-spread function; a stamp's
        pixel scale is needed and not known.
    """
    if not model.restorer.fitted:
        raise InputError(NO_RESTORER)
    path = find_dataset(dataset)
    about = Galaxies.open(path, images=False).about
    widths = None if options.psf is None else _widths(options.psf)
    if about["kind"] == "composite":
        refuse_composite(options, f"The dataset '{path}' holds composites")
    count, size = sum(pq.ParquetFile(part).metadata.num_rows for part in path.glob("part-*.parquet")), about["size"]
    run = compiled_stamps(model)
    rows: list[dict[str, Any]] = []
    kept = {name: value for name, value in about.items() if name not in ("kind", "size", "path")}
    with output_lock(to, "command is restoring into", "--to"), ExitStack() as stack:
        writers = {
            name: stack.enter_context(GalaxiesWriter(to / name, kind, size, {**kept, "restored": name}))
            for name, kind in (("restored", about["kind"]), ("sigma", "flux"), ("prior_fraction", "flux"))
        }
        for galaxies in track(_batches(path), f"Restoring {path.name}", -(-count // BATCH), progress):
            made, row = _restore(run, galaxies, widths, options)
            rows += row
            for name, writer in writers.items():
                for galaxy, image in zip(galaxies, made[name], strict=True):
                    writer.add(_with_image(galaxy, image))
        table = pa.Table.from_pylist(rows)
        with atomic(to / TABLE) as building:
            pq.write_table(table, building)
    return table


def refuse_composite(options: Options, what: str) -> None:
    """InputError where a composite is to be sharpened."""
    if options.psf is not None or options.target_fwhm is not None:
        raise InputError(
            f"{what}, stretched and of 8 bits, which no point-spread function describes; leave "
            "--psf and --target-fwhm out, or give images of flux."
        )


def restore_picture(model: Classifier, path: Path, to: Path, options: Options) -> Path:
    """Restore a colour picture: ``NAME.png`` in the folder `to`.

    Parameters
    ----------
    model : whose restorer it is.
    path : of the picture.
    to : the folder.
    options : how; there can be no point-spread function.
    """
    refuse_composite(options, f"'{path}' is a colour picture, of those")
    flux = relative_flux(read(path).astype("float32"))
    restorer = ImageRestorer(model.restorer)
    made = np.stack([restorer.restore(flux[..., band]).image for band in range(3)], axis=-1)
    file = to / f"{path.stem}.png"
    to.mkdir(parents=True, exist_ok=True)
    from PIL import Image

    with atomic(file) as building:
        Image.fromarray(from_relative_flux(made)).save(building, format="PNG")
    return file


def _widths(psf: str) -> np.ndarray:
    """Full widths at half maximum in the three bands, arcsec, as the option gives them."""
    parts = [part.split("=", 1)[0] for part in psf.split(",")] if "=" in psf else ["", "", ""]
    if len(parts) != 3:
        raise InputError(f"--psf has {len(parts)} bands, and a dataset's stamps have 3; give one width for each.")
    try:
        widths = np.array([float(of_band(psf, band)) for band in parts])
    except ValueError:
        raise InputError(
            f"--psf is '{psf}'; the stamps of a dataset have pixels of sizes of their own, so give widths in arcsec, "
            "such as 0.95 or g=1.11,r=0.95,i=0.88."
        ) from None
    if not (widths > 0).all():
        raise InputError(f"--psf is '{psf}'; a width is above 0 arcsec.")
    return widths


def _batches(path: Path) -> Iterator[Galaxies]:
    for table in tables_of(path, ROWS):
        galaxies = Galaxies.from_table(table, path)
        for start in range(0, len(galaxies), BATCH):
            yield galaxies.select(np.arange(start, min(start + BATCH, len(galaxies))))


def _restore(
    run: Callable, galaxies: Galaxies, widths: np.ndarray | None, options: Options
) -> tuple[dict, list[dict]]:
    """The images of a batch, and the rows of the table."""
    n = len(galaxies)
    composite = galaxies.kind == "composite"
    flux = relative_flux(galaxies.images.astype("float32")) if composite else galaxies.images.astype("float32")
    psf, target = np.full((n, 3), np.nan), np.full((n, 3), np.nan)
    flags = np.zeros(n, dtype=int)
    if widths is not None:
        scale = galaxies.properties["pixel_scale"].astype(float)
        scale = np.where(np.isfinite(scale), scale, options.pixel_scale or np.nan)
        if not np.isfinite(scale).all():
            name = galaxies.ids[~np.isfinite(scale)][0]
            raise InputError(f"The pixel scale of galaxy '{name}' is not known; give it with --pixel-scale.")
        psf = widths / scale[:, None]
        target = np.full((n, 3), (options.target_fwhm or np.nan) / scale[:, None])
        impossible = (target < NARROWEST_PSF) | (target > psf)
        flags |= np.where(impossible.any(axis=1), int(Problem.NOT_SHARPENED), 0)
        # All bands of a galaxy keep one target, or their own point-spread functions.
        target[impossible.any(axis=1)] = np.nan
    made = run(flux, psf.astype("float32"), target.astype("float32"))
    shape_error = made.pop("shape_error")
    seen = np.isfinite(flux)
    there = seen.any(axis=(1, 2, 3))
    flags |= np.where(there, 0, int(Problem.NO_DATA))
    chi = made.pop("chi_square")
    flags |= np.where(there & ~((chi > CONSISTENT[0]) & (chi < CONSISTENT[1])), int(Problem.INCONSISTENT), 0)
    flags |= np.where(there & np.isnan(shape_error).any(axis=1), int(Problem.ROUNDED), 0)
    sums = [np.where(seen, each, 0).sum(axis=(1, 2, 3), dtype=float) for each in (made["restored"], flux)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = sums[0] / sums[1]
    rows = [
        {
            "id": str(galaxies.ids[k]),
            "chi_square": float(chi[k]),
            "flux_ratio": float(ratio[k]),
            "shape_error": shape_error[k].tolist(),
            "flags": int(flags[k]),
        }
        for k in range(n)
    ]
    if composite:
        made["restored"] = from_relative_flux(made["restored"])
    return made, rows


def _with_image(galaxy: Galaxy, image: np.ndarray) -> Galaxy:
    return Galaxy(**{**vars(galaxy), "image": image})


@lru_cache(maxsize=1)
def compiled_stamps(model: Classifier) -> Callable[..., dict[str, np.ndarray]]:
    """`restore_stamps` of arrays of any number of stamps of one size, compiled by whichever backend runs."""

    class Stamps(keras.Model):
        def __init__(self):
            super().__init__()
            self.restorer = model.restorer

        def build(self, input_shape=None):
            """The restorer is built already."""

        def call(self, given):
            return restore_stamps(model.restorer, given["image"], given["psf"], given["target"])

    stamps = Stamps()

    def run(image: np.ndarray, psf: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
        n, size = image.shape[:2]
        # The network halves the sides three times.
        more = -(size + 2 * PADDING) % MULTIPLE
        image = np.pad(image, ((0, BATCH - n), (0, more), (0, more), (0, 0)), mode="symmetric")
        given = {
            "image": image,
            "psf": np.pad(psf, ((0, BATCH - n), (0, 0)), mode="edge"),
            "target": np.pad(target, ((0, BATCH - n), (0, 0)), mode="edge"),
        }
        found = {name: ops.convert_to_numpy(value)[:n] for name, value in stamps.predict_on_batch(given).items()}
        return {name: value[:, :size, :size] if value.ndim == 4 else value for name, value in found.items()}

    return run
