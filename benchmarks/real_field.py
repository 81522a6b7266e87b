"""What is detected on a field, and what of it passes for a galaxy, against a catalogue of the same sky.

    python benchmarks/real_field.py IMAGES --truth CATALOGUE [--truth ...] [--survey NAME] [--without-masks]

The images are scored without a catalogue. The truth is a Tractor catalogue of the Legacy Surveys (`type`, `flux_r`,
`anymask_r`) or one with the names of DES (`EXTENDED_CLASS_COADD`, `MAG_AUTO_R`, `FLAGS`), such as `morph simulate
tile` writes for galaxies and, in a file of its own, for stars. Printed are the extended sources that have a row within
an arcsecond, by magnitude in r; the point sources of which such a row is clean, and so passes for a galaxy; and the
saturated stars that have a clean row within their glare. With `--without-masks` only the pixels are scored: without
masks, weights and the saturation level of the header. The status is 1 where more than `KEPT` of the point sources or
any saturated star pass for galaxies.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pyarrow.dataset as ds
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table, vstack

sys.path.insert(0, str(Path(__file__).parents[1]))

from morph.stamps.flags import is_clean
from morph.surveys import UNKNOWN
from morph.tiles.discovery import find_tiles
from serving.scoring.backends import LocalModel
from serving.scoring.run import score

#: Edges of the bins in r, and the magnitude to which point sources are asked about.
EDGES, FAINTEST = (0.0, 20.0, 21.0, 22.0), 22.0

#: Arcseconds within which a row is a source's, and a saturated star's.
NEAR, GLARE = 1.0, 3.0

#: Point sources that may pass for galaxies, as a share.
KEPT = 0.07

#: Bits that mark saturation: in any exposure of a Tractor source, and in SExtractor's FLAGS.
ANYMASK, FLAGS = 2, 4


def truth_in(path: Path) -> Table:
    """Position (deg), magnitude in r, and whether each source of a catalogue is extended and saturated."""
    table = Table.read(path)
    table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
    found = Table({name: np.asarray(table[name], dtype=float) for name in ("ra", "dec")})
    if "type" in table.colnames:
        kind = np.char.strip(np.asarray(table["type"]).astype(str))
        with np.errstate(divide="ignore", invalid="ignore"):
            found["mag_r"] = 22.5 - 2.5 * np.log10(np.asarray(table["flux_r"], dtype=float))
        found["extended"] = kind != "PSF"
        found["saturated"] = _marked(table, "anymask_r", ANYMASK)
        keep = (kind != "DUP") & (np.asarray(table["brick_primary"]) if "brick_primary" in table.colnames else True)
        return found[keep]
    found["mag_r"] = np.asarray(table["mag_auto_r"], dtype=float)
    found["extended"] = np.asarray(table["extended_class_coadd"]) >= 2
    found["saturated"] = _marked(table, "flags", FLAGS)
    return found


def _marked(table: Table, name: str, bit: int) -> np.ndarray:
    """Where a column has a bit set; nowhere if there is no such column."""
    return (np.asarray(table[name]) & bit) != 0 if name in table.colnames else np.zeros(len(table), dtype=bool)


@contextmanager
def pixels_alone(paths: list[Path]) -> Iterator[list[Path]]:
    """Copies of the images without masks, weights and saturation levels."""
    with tempfile.TemporaryDirectory() as folder:
        copies = []
        for path in paths:
            with fits.open(path) as hdus:
                image = next(hdu for hdu in hdus if hdu.data is not None and hdu.data.ndim == 2)
                header = image.header.copy()
                header.remove("SATURATE", ignore_missing=True)
                copies.append(Path(folder) / path.name.removesuffix(".fz"))
                fits.PrimaryHDU(image.data, header).writeto(copies[-1])
        yield copies


def figures(truth: Table, rows: Table) -> bool:
    """Print how the rows of a score file compare with the truth; whether the marks are met."""
    places = SkyCoord(rows["ra"], rows["dec"], unit="deg")
    true = SkyCoord(truth["ra"], truth["dec"], unit="deg")
    clean = is_clean(np.asarray(rows["flags"]))
    any_row = true.match_to_catalog_sky(places)[1].arcsec
    clean_row = true.match_to_catalog_sky(places[clean])[1].arcsec if clean.any() else np.full(len(true), np.inf)
    whole = ~truth["saturated"]
    for low, high in pairwise(EDGES):
        some = truth["extended"] & whole & (truth["mag_r"] >= low) & (truth["mag_r"] < high)
        print(
            f"extended, {low:g} <= r < {high:g}: {(any_row[some] < NEAR).sum()} of {some.sum()} found, "
            f"{(clean_row[some] < NEAR).sum()} clean"
        )
    points = ~truth["extended"] & whole & (truth["mag_r"] < FAINTEST)
    kept = int((clean_row[points] < NEAR).sum())
    print(f"point sources, r < {FAINTEST:g}: {kept} of {points.sum()} pass for galaxies (at most {KEPT:.0%})")
    saturated = ~truth["extended"] & truth["saturated"]
    unflagged = int((clean_row[saturated] < GLARE).sum())
    print(f"saturated stars: {unflagged} of {saturated.sum()} have a clean row (none)")
    print(f"rows: {len(rows)}, {clean.sum()} clean")
    return kept <= KEPT * points.sum() and unflagged == 0


@click.command()
@click.argument("images", nargs=-1, required=True)
@click.option("--truth", "catalogues", multiple=True, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--survey", default=UNKNOWN.name, help="As the files say if not given.")
@click.option("--model", default="models:/morph@sdss", show_default=True)
@click.option("--without-masks", is_flag=True, help="Score the pixels alone.")
def main(images: tuple[str, ...], catalogues: tuple[Path, ...], survey: str, model: str, without_masks: bool):
    """Compare what is detected on one field with a catalogue of it."""
    truth = vstack([truth_in(path) for path in catalogues], metadata_conflicts="silent")
    (group,) = find_tiles(list(images))
    with tempfile.TemporaryDirectory() as out:
        if without_masks:
            with pixels_alone(group) as copies:
                summary = score([copies], None, LocalModel(model), Path(out), survey=survey)
        else:
            summary = score([group], None, LocalModel(model), Path(out), survey=survey)
        if summary.failed:
            sys.exit(summary.failed[0].reason)
        columns = ds.dataset(summary.scored[0].path).to_table(columns=["ra", "dec", "flags"])
    sys.exit(not figures(truth, Table({name: columns[name].to_numpy() for name in columns.column_names})))


if __name__ == "__main__":
    main()
