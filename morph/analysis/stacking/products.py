"""The files of a stack: images in FITS, the profile and the galaxies in Parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits

from morph.analysis.stacking.combine import CLIP
from morph.analysis.stacking.cutouts import IMAGE
from morph.analysis.stacking.measured import GALAXY_IMAGES, NULL_IMAGES, Measured
from morph.analysis.stacking.sample import Sample
from morph.analysis.stacking.targets import REASONS

#: Brightness in the files.
UNIT = "nmgy/arcsec2"


def combined_images(measured: Measured, kind: str) -> dict[str, np.ndarray]:
    """The images of a stack: float32 [bands, size, size] each.

    Parameters
    ----------
    measured : with the images of galaxies and random points.
    kind : how the stack itself is made.

    Returns
    -------
    dict : ``STACK`` by `kind`, ``SIGMA`` its standard error, ``N`` the galaxies in each pixel, ``NULL`` of the random
        points, ``MEAN``, ``MEDIAN`` and ``CLIPPED``.
    """
    shape = (len(measured.plan.bands), IMAGE, IMAGE)
    found = {
        name: np.full(shape, np.nan, "float32")
        for name in ("STACK", "SIGMA", "N", "NULL", "MEAN", "MEDIAN", "CLIPPED")
    }
    for part, values in measured.images(GALAXY_IMAGES, measured.chosen):
        estimates, sigma, number = _estimates(values)
        for name, estimate in estimates.items():
            found[name.upper()][:, part] = estimate
        found["STACK"][:, part] = estimates[kind]
        found["SIGMA"][:, part], found["N"][:, part] = sigma, number
    for part, values in measured.images(NULL_IMAGES, np.ones(len(measured.null_tile), dtype=bool)):
        found["NULL"][:, part] = _estimates(values)[0][kind]
    return found


def _estimates(values: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Mean, median and clipped mean over the first axis, the last one's standard error, and how many there are."""
    known = np.isfinite(values)
    number = known.sum(axis=0)
    empty = number == 0
    filled = np.where(empty, 0, values)
    middle = np.nanmedian(filled, axis=0)
    spread = 1.4826 * np.nanmedian(abs(filled - middle), axis=0)
    kept = known & (abs(np.where(known, values, 0) - middle) <= CLIP * np.where(spread > 0, spread, np.inf))
    mean = np.where(known, values, 0).sum(axis=0, dtype="float64") / np.maximum(number, 1)
    left = np.maximum(kept.sum(axis=0), 1)
    clipped = np.where(kept, values, 0).sum(axis=0, dtype="float64") / left
    sigma = np.sqrt(
        (np.where(kept, values - clipped, 0) ** 2).sum(axis=0, dtype="float64") / np.maximum(left - 1, 1) / left
    )
    estimates = {"mean": mean, "median": middle, "clipped": clipped}
    return (
        {name: np.where(empty, np.nan, each) for name, each in estimates.items()},
        np.where(number > 1, sigma, np.nan),
        number,
    )


def write_images(path: Path, images: dict[str, np.ndarray], measured: Measured, about: dict[str, object]) -> None:
    """Write the images, each a cube of the bands, with a linear scale of the radius from the centre.

    Parameters
    ----------
    path : the file.
    images : as `combined_images` gives them.
    measured : what they are made of.
    about : provenance, which becomes cards of the first header and lines of its history.
    """
    primary = fits.PrimaryHDU()
    header = primary.header
    header["ORIGIN"] = str(about["software"])
    header["BANDS"] = ("".join(measured.plan.bands), "the planes of each image, in order")
    header["NGALAXY"] = (int(measured.chosen.sum()), "galaxies in the stack")
    header["SIMULATE"] = (measured.simulated, "whether any tile is simulated")
    for name, value in about.items():
        header["HISTORY"] = f"{name}: {value}"
    units = [fits.ImageHDU(image.astype("float32"), name=name) for name, image in images.items()]
    step = 2 * measured.plan.reach / IMAGE
    for unit in units:
        for axis, label in (
            (1, "major axis" if measured.plan.align else "x"),
            (2, "minor axis" if measured.plan.align else "y"),
        ):
            unit.header[f"CTYPE{axis}"] = ("LINEAR", label)
            unit.header[f"CRPIX{axis}"] = (IMAGE + 1) / 2
            unit.header[f"CRVAL{axis}"] = 0.0
            unit.header[f"CDELT{axis}"] = (step, str(about["radius"]))
        unit.header["BUNIT"] = "" if unit.name == "N" else UNIT
    fits.HDUList([primary, *units]).writeto(path, overwrite=True, checksum=True)


def galaxies_table(sample: Sample, measured: Measured) -> pa.Table:
    """Every chosen galaxy, whether it is in the stack, and why not.

    Parameters
    ----------
    sample : all that were asked for.
    measured : what was found.
    """
    reason = np.full(len(sample), "no tile shows it", dtype=object)
    reason[measured.found_rows] = [REASONS[each] for each in measured.reasons]
    table = pa.table(
        {
            "id": pa.array([str(name) for name in sample.ids]),
            "ra": sample.ra,
            "dec": sample.dec,
            "radius": sample.radius,
            "smooth": pa.array(sample.smooth, from_pandas=True),
            "redshift": pa.array(sample.redshift, from_pandas=True),
            "stacked": np.array([each == "" for each in reason]),
            "left_out": pa.array([str(each) for each in reason]),
        }
    )
    return table.filter(sample.chosen)
