"""Survey tiles and the galaxies on them as a galaxies dataset of flux."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table as Catalog
from astropy.table import vstack

from morph.catalogs.catalog import read_catalog
from morph.catalogs.detection import detect
from morph.catalogs.spatial_index import locate
from morph.console import track
from morph.dataset_writer import PROPERTIES
from morph.errors import InputError
from morph.fits.zero_points import HEADERS, Calibration, describe
from morph.sizes import FIELD, NETWORK_SIZE, STAMP_SIZE
from morph.stamps.cutting import SMALLEST_RADIUS, Flag, cut
from morph.stamps.photometry import magnitudes
from morph.tiles.tile import Tile, find_tiles
from training.importers.annotating import Tables
from training.importers.writing import Annotations, ImportedGalaxy, Report, write

#: Stamps that are held in memory at once.
CHUNK = 512


def import_tiles(
    paths: Sequence[Path],
    catalogue: Path | None,
    to: Path,
    survey: str,
    report: Report,
    tables: Tables = Tables(),
    calibration: Calibration = HEADERS,
    bands: Sequence[str] = (),
    size: int = STAMP_SIZE,
) -> None:
    """Write the galaxies of a catalogue that lie on tiles as a dataset of flux.

    Where a galaxy lies on two tiles, the one that shows its whole stamp is used.

    Parameters
    ----------
    paths : FITS files of tiles, or folders of them.
    catalogue : of galaxies; without it the sources that are detected on the tiles are taken.
    survey, calibration, bands : of the tiles, as `morph.tiles.tile.Tile.open` takes them.
    to, report, tables, size : as for `training.importers.pictures.import_pictures`.

    Raises
    ------
    InputError : a tile or the catalogue cannot be used, labels match no galaxy, or none lies on any tile.
    """
    groups = find_tiles(paths)
    about: dict[str, Any] = {"survey": survey, "calibration": calibration, "bands": bands}
    galaxies = read_catalog(catalogue, survey) if catalogue is not None else _detected(groups, about)
    if "left_out" in galaxies.meta:
        for line in galaxies.meta["left_out"].lines():
            report.say(line)
    names = [str(name) for name in galaxies["id"]]
    annotations, keep = Annotations(), None
    if tables != Tables():
        places = zip(galaxies["ra"].tolist(), galaxies["dec"].tolist(), strict=True)
        annotations = tables.annotations(dict(zip(names, places, strict=True)), report)
        keep = set(annotations.wanted(names, tables.keep_unlabelled, report))
        galaxies = galaxies[[name in keep for name in names]]
    source = _Cutter(groups, about, galaxies, size)
    write(source.stamps(), to, "flux", survey, annotations, keep, report, size)
    for name in galaxies["id"][[name not in source.seen for name in galaxies["id"]]]:
        report.skip("galaxies that lie on none of the tiles", str(name))


def _detected(groups: list[list[Path]], about: dict[str, Any]) -> Catalog:
    """The sources that stand out on the tiles."""
    found = []
    for group in groups:
        with Tile.open(group, **about) as tile:
            sources = detect(tile)
            sources["tilename"] = [tile.name] * len(sources)
            found.append(sources)
    if not any(len(sources) for sources in found):
        raise InputError(
            f"No source stands out on '{groups[0][0]}' or the other tiles; name the galaxies by --catalog."
        )
    return vstack(found)


class _Cutter:
    """Cuts a catalogue's galaxies from tiles. `seen` are the ids that lay on any tile so far."""

    def __init__(self, groups: list[list[Path]], about: dict[str, Any], galaxies: Catalog, size: int):
        self.groups, self.about, self.galaxies, self.size = groups, about, galaxies, size
        self.seen: set[str] = set()

    def stamps(self) -> Iterator[ImportedGalaxy]:
        done: set[str] = set()
        # A stamp that a tile's edge cuts waits for a neighbouring tile that shows it whole.
        waiting: dict[str, ImportedGalaxy] = {}
        for group in track(self.groups, "Cutting tiles", len(self.groups)):
            with Tile.open(group, **self.about) as tile:
                rows = locate(tile, self.galaxies)
                self.seen.update(str(name) for name in rows["id"])
                rows = rows[[str(name) not in done for name in rows["id"]]]
                for start in range(0, len(rows), CHUNK):
                    for stamp in _cut(tile, rows[start : start + CHUNK], self.size):
                        if stamp.flags & (Flag.EDGE | Flag.NO_DATA):
                            waiting.setdefault(stamp.name, stamp)
                        else:
                            done.add(stamp.name)
                            waiting.pop(stamp.name, None)
                            yield stamp
        if not self.seen:
            raise InputError(
                f"None of the {len(self.galaxies)} galaxies of the catalogue lies on any of the {len(self.groups)} "
                "tiles; check that its ra and dec, in degrees, are those of the tiles."
            )
        yield from waiting.values()


def _cut(tile: Tile, rows: Catalog, size: int) -> Iterator[ImportedGalaxy]:
    x, y = np.asarray(rows["x"], dtype=float), np.asarray(rows["y"], dtype=float)
    radius = np.asarray(rows["radius"], dtype=float) / tile.pixel_scale
    images, flags = cut(tile, x, y, radius, size)
    # Of the stamp, which spans more than the galaxy's own size where that is too small.
    scale = np.fmax(radius, SMALLEST_RADIUS) * FIELD / NETWORK_SIZE * tile.pixel_scale
    properties = {"radius": rows["radius"], "pixel_scale": scale}
    for band in tile.bands:
        if f"mag_{band}" in PROPERTIES and tile.zero_points[band].known:
            properties[f"mag_{band}"] = magnitudes(tile.plane(band), x, y, radius)
    for name in PROPERTIES:
        if name in rows.colnames and np.isfinite(rows[name]).any():
            properties[name] = rows[name]
    words = describe(tile.zero_points)
    for i, row in enumerate(rows):
        measured = {name: float(values[i]) for name, values in properties.items()}
        place, flag = (row["ra"], row["dec"]), Flag(int(flags[i]))
        yield ImportedGalaxy(
            str(row["id"]), images[i], *place, measured, flags=flag, zero_points=words, notes=tile.notes
        )
