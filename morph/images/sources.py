"""Where the galaxies on a tile are: found on its images, or taken from a catalogue."""

import numpy as np
import sep
from astropy.coordinates import angular_separation
from astropy.table import Table

from morph.errors import BadInput
from morph.images.catalogues import read_catalogue
from morph.images.photometry import intensity, magnitudes, point_source_radius
from morph.images.size import MIN_AREA, THRESHOLD, half_light_radii, measure
from morph.images.tiles import Tile
from morph.stamps import FIELD
from morph.surveys import get_survey

__all__ = ["detect", "locate", "measure_radii", "read_catalogue"]

#: Pixels of a box in which the sky counts as constant: several times a large galaxy, so that none is taken for sky.
SKY_BOX = 256

#: Share of a blend's light that a peak needs to be a source of its own.
DEBLENDING = 0.005

#: Signal-to-noise, within the half-light radius, below which no structure can be told, nor the radius to better than
#: a fifth.
LEAST_SIGNAL = 20.0

#: Active pixels that sep may hold: a bleed trail through a whole tile fits.
PIXEL_STACK = 20_000_000
#: Peaks in one blend: clusters and the haloes of bright stars have thousands.
LARGEST_BLEND = 8192

#: Pixels across the first window in which a catalogue's galaxy is measured, and across the largest.
FIRST_WINDOW = 64
LARGEST_WINDOW = 1024


def detect(tile: Tile, smallest: float | None = None) -> Table:
    """The galaxies on a tile, brightest first.

    Sources stand `THRESHOLD` sigma above the sky on the noise-weighted sum of the bands. Those below
    `LEAST_SIGNAL` are dropped, and so are those not larger than a point source: stars, and galaxies without visible
    structure. Those in an overlap with another tile that answers for them there are left to it.

    Parameters
    ----------
    smallest : half-light radius below which sources are dropped, arcsec; the survey's point-source radius if not
        given.

    Returns
    -------
    Table with `id` (the tile's name and a number), `ra`, `dec` (deg), `x`, `y` (pixels, 0-based), `radius`
    (half-light radius as `morph.images.size` measures it, arcsec), `mag_g`, `mag_r`, `mag_i` (the survey's three
    channels, NaN where not measured).

    Raises BadInput when the tile is too crowded for its sources to be told apart.
    """
    smallest = point_source_radius(get_survey(tile.survey)) if smallest is None else smallest
    tile.load()
    flux, signal, covered = _combined(tile)
    if not covered.any():
        return _table(tile, np.empty(0), np.empty(0), np.empty(0))
    bad = ~covered
    sources, segments = _extract(tile, signal, bad)
    radius = half_light_radii(flux, sources, np.arange(1, len(sources) + 1), segments, bad)
    within = np.maximum(radius, 1.0)
    light, _, _ = sep.sum_circle(signal, sources["x"], sources["y"], within, mask=bad, subpix=1)
    keep = (light / (np.sqrt(np.pi) * within) >= LEAST_SIGNAL) & (radius * tile.pixel_scale >= smallest)
    order = np.flatnonzero(keep)[np.argsort(-light[keep], kind="stable")]
    order = order[tile.owns(*tile.sky(sources["x"][order], sources["y"][order]))]
    return _table(tile, sources["x"][order], sources["y"][order], radius[order])


def locate(tile: Tile, catalogue: Table) -> Table:
    """`place`, with sizes measured on the image where the catalogue has none."""
    table = place(tile, catalogue)
    unknown = ~np.isfinite(np.asarray(table["radius"])) & _on_image(tile, table["x"], table["y"])
    if unknown.any():
        table["radius"][unknown] = measure_radii(tile, table["x"][unknown], table["y"][unknown]) * tile.pixel_scale
    return table


def place(tile: Tile, catalogue: Table, by_file: bool = False) -> Table:
    """The rows of a catalogue that are this tile's, with their places on it.

    A row belongs to the tile that its `tilename` says, on the image or not; one without a `tilename` belongs to the
    tile on which it falls, and of tiles that overlap to the one whose unique area it is in. On a cutout of a tile, the
    tile's rows outside the cutout are left out.

    Parameters
    ----------
    by_file : whether a row's `tilename` says in which tile's catalogue it stands and no more: then, too, it has to be
        in the tile's unique area.

    Returns
    -------
    Table with the catalogue's columns, and `x`, `y` (pixels, 0-based, NaN where the sky is not on the tile's plane).
    """
    x, y = _pixels(tile, catalogue)
    ra, dec = np.array(catalogue["ra"], dtype=float), np.array(catalogue["dec"], dtype=float)
    if "x" in catalogue.colnames:
        in_pixels = np.isfinite(np.asarray(catalogue["x"], dtype=float)) & ~np.isfinite(ra)
        x[in_pixels], y[in_pixels] = catalogue["x"][in_pixels], catalogue["y"][in_pixels]
        if in_pixels.any():
            ra[in_pixels], dec[in_pixels] = tile.sky(x[in_pixels], y[in_pixels])
    on_tile = _on_image(tile, x, y)
    tilename = np.asarray(catalogue["tilename"], dtype=str)
    own = {tile.name, tile.tilename} - {""}
    elsewhere = (tilename != "") & ~np.isin(tilename, list(own)) if tile.tilename else np.zeros(len(x), dtype=bool)
    said = np.isin(tilename, list(own)) & (not by_file)
    here = on_tile & ~elsewhere & (said | tile.owns(ra, dec))
    rows = np.flatnonzero(here | (~on_tile & (tilename == tile.name)))
    table = catalogue[rows]
    table["x"], table["y"], table["ra"], table["dec"] = x[rows], y[rows], ra[rows], dec[rows]
    return table


def _on_image(tile: Tile, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    height, width = tile.shape
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)


def measure_radii(tile: Tile, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half-light radii of the galaxies at known places, by `morph.images.size.measure`: float [n], pixels.

    A point source's where nothing stands out at the place.
    """
    tile.load()
    return np.array([_measure_one(tile, float(a), float(b)) for a, b in zip(x, y, strict=True)], dtype=float)


def _measure_one(tile: Tile, x: float, y: float) -> float:
    window = FIRST_WINDOW
    while True:
        left, top = max(round(x) - window // 2, 0), max(round(y) - window // 2, 0)
        right, bottom = round(x) + window // 2, round(y) + window // 2
        image = np.stack([tile.plane(band)[top:bottom, left:right] for band in tile.bands], axis=-1)
        shape = measure(intensity(image), (x - left, y - top))
        # The window needs sky around the galaxy, as much as the network's view has.
        if not shape.found or FIELD * shape.radius <= window or window >= LARGEST_WINDOW:
            break
        window *= 2
    return shape.radius if shape.found else point_source_radius(get_survey(tile.survey)) / tile.pixel_scale


def footprint(tile: Tile) -> tuple[float, float, float]:
    """A circle on the sky that holds the tile: right ascension, declination and radius, degrees."""
    height, width = tile.shape
    ra, dec = tile.sky((width - 1) / 2, (height - 1) / 2)
    return float(ra), float(dec), float(np.hypot(height, width) * tile.pixel_scale / 3600)


def _pixels(tile: Tile, catalogue: Table) -> tuple[np.ndarray, np.ndarray]:
    """Places on the tile's grid; NaN where they are farther from it than the tile is large."""
    ra, dec = np.asarray(catalogue["ra"], dtype=float), np.asarray(catalogue["dec"], dtype=float)
    middle_ra, middle_dec, reach = np.radians(footprint(tile))
    # A tangent plane shows the far side of the sky on top of the near one.
    near = angular_separation(np.radians(ra), np.radians(dec), middle_ra, middle_dec) < reach
    x, y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
    if near.any():
        x[near], y[near] = tile.pixels(ra[near], dec[near])
    return x, y


def _combined(tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean flux of the bands, their noise-weighted sum in units of its own noise, and where any band has data.

    All are sky subtracted, [h, w].
    """
    flux = np.zeros(tile.shape, dtype="float32")
    signal = np.zeros(tile.shape, dtype="float32")
    weights = np.zeros(tile.shape, dtype="float32")
    count = np.zeros(tile.shape, dtype="uint8")
    for band in tile.bands:
        bad = tile.mask(band)
        if bad.all():
            continue
        plane = _without_sky(tile.plane(band), bad)
        weight = tile.weight(band)
        flux += plane
        signal += plane * weight
        weights += weight
        count += ~bad
    covered = count > 0
    flux /= np.maximum(count, 1)
    signal /= np.sqrt(np.maximum(weights, np.finfo("float32").tiny))
    return flux, signal, covered


def _without_sky(plane: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """A band minus its sky; 0 where it is bad."""
    image = np.where(bad, 0, plane).astype("float32")
    height, width = image.shape
    sky = sep.Background(image, mask=bad, bw=min(SKY_BOX, width), bh=min(SKY_BOX, height))
    sky.subfrom(image)
    image[bad] = 0
    return image


def _extract(tile: Tile, signal: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sources on an image of signal-to-noise, and their segmentation map."""
    # Weights are true up to a factor; the threshold follows the noise that is there.
    noise = _noise(signal[~bad])
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    sep.set_extract_pixstack(PIXEL_STACK)
    sep.set_sub_object_limit(LARGEST_BLEND)
    try:
        return sep.extract(
            signal,
            THRESHOLD * noise,
            mask=bad,
            minarea=MIN_AREA,
            deblend_cont=DEBLENDING,
            segmentation_map=True,
        )
    except Exception as error:  # sep raises bare Exception where its limits overflow
        raise BadInput(
            f"The sources on tile '{tile.name}' cannot be told apart ({str(error).splitlines()[0].rstrip('.')}); "
            "give a catalogue instead."
        ) from None
    finally:
        sep.set_extract_pixstack(before[0])
        sep.set_sub_object_limit(before[1])


def _noise(values: np.ndarray) -> float:
    """Scaled median absolute deviation, and never zero: a blank image has no noise and no sources."""
    return max(1.4826 * float(np.median(np.abs(values - np.median(values)))), 1e-6)


def _table(tile: Tile, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> Table:
    digits = max(4, len(str(len(x))))
    table = Table({"id": np.array([f"{tile.name}-{i:0{digits}d}" for i in range(1, len(x) + 1)], dtype=str)})
    ra, dec = tile.wcs.wcs_pix2world(x, y, 0) if len(x) else (x, y)
    table["ra"], table["dec"], table["x"], table["y"] = ra, dec, x, y
    table["radius"] = radius * tile.pixel_scale
    table["ra"].unit = table["dec"].unit = "deg"
    table["radius"].unit = "arcsec"
    for band, name in zip(tile.channels, ("mag_g", "mag_r", "mag_i"), strict=True):
        table[name] = np.full(len(x), np.nan)
        if len(x) and band in tile.bands and not (bad := tile.mask(band)).all():
            plane = _without_sky(tile.plane(band), bad)
            plane[bad] = np.nan
            table[name] = magnitudes(plane, x, y, radius)
    return table
