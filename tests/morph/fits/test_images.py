"""Headers and images put together at random from what the FITS standard allows, against astropy as the oracle.

Each is read as astropy reads it, or refused with a sentence; none is silently different. MORPH_EXAMPLES sets how many
are tried; few are by default.
"""

import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from morph.errors import InputError
from morph.tiles.tile import Tile

EXAMPLES = int(os.environ.get("MORPH_EXAMPLES", "25"))
HEIGHT, WIDTH = 40, 48
SCALE = 0.3 / 3600

FRAMES = st.sampled_from(
    [
        {},
        {"RADESYS": "ICRS"},
        {"RADESYS": "FK5", "EQUINOX": 2000.0},
        {"RADESYS": "FK5", "EQUINOX": 1975.0},
        {"RADESYS": "FK4", "EQUINOX": 1950.0},
        {"EQUINOX": 1950.0},
        {"EPOCH": 1950.0},
        {"EQUINOX": 2000.0},
    ]
)
AXES = st.sampled_from([("RA---", "DEC--"), ("GLON-", "GLAT-"), ("ELON-", "ELAT-")])
PROJECTIONS = st.sampled_from(["TAN", "SIN", "ZEA", "STG", "ARC"])

#: Units that headers write, as astropy's; None where one is not of flux density, or not known to astropy.
UNITS = {
    "nJy": u.nJy,
    "uJy": u.uJy,
    "mJy": u.mJy,
    "MJy": u.MJy,
    "Jy / pix": u.Jy,
    "10^-29 W/m^2/Hz": u.Unit("1e-29 W/(m2 Hz)"),
    "erg/s/cm2/Hz": u.erg / u.s / u.cm**2 / u.Hz,
    "MJy/sr": u.MJy / u.sr,
    "uJy/arcsec2": u.uJy / u.arcsec**2,
    "adu": None,
    "electron": None,
    "mjy": None,
    "": None,
}
SURFACE = ("MJy/sr", "uJy/arcsec2")


@st.composite
def grids(draw):
    """Cards of a WCS, all kinds of matrix among them."""
    first, second = draw(AXES)
    projection = draw(PROJECTIONS)
    turn = np.radians(draw(st.integers(0, 359)))
    stretch = draw(st.sampled_from([1.0, 1.0, 1.5, 2.5]))
    mirrored = draw(st.booleans())
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([1.0, stretch])
    matrix = np.diag([1.0 if mirrored else -1.0, 1.0]) @ matrix
    cards = {"CTYPE1": first + projection, "CTYPE2": second + projection}
    cards |= {"CRVAL1": draw(st.floats(-180, 359)), "CRVAL2": draw(st.floats(-85, 85))}
    cards |= {"CRPIX1": draw(st.floats(1, WIDTH)), "CRPIX2": draw(st.floats(1, HEIGHT))}
    if draw(st.booleans()):
        cards |= {f"CD{i + 1}_{j + 1}": SCALE * matrix[i, j] for i in range(2) for j in range(2)}
    else:
        cards |= {"CDELT1": SCALE, "CDELT2": SCALE}
        cards |= {f"PC{i + 1}_{j + 1}": matrix[i, j] for i in range(2) for j in range(2)}
    return cards | draw(FRAMES)


@st.composite
def images(draw):
    """Pixels of all types, plain, scaled, with a blank, packed or not; and what a file of them is called."""
    kind = draw(st.sampled_from(["u1", "i2", "u2", "i4", "f4", "f8"]))
    # Noise all of its own, so that no value is repeated by chance.
    stored = np.random.default_rng(draw(st.integers(0, 99))).permutation(HEIGHT * WIDTH) % (
        251 if kind == "u1" else 1 << 14
    )
    cards = {}
    if kind in ("i2", "i4") and draw(st.booleans()):
        cards = draw(st.sampled_from([{"BSCALE": 0.25, "BZERO": 10.0}, {"BLANK": 77}]))
    return stored.reshape(HEIGHT, WIDTH).astype(kind), cards, draw(st.sampled_from(["", ".fz", ".gz"]))


def write(path: Path, header: dict, pixels: np.ndarray, cards: dict, packing: str) -> Path:
    path = path.with_name(path.name + packing)
    kind = fits.CompImageHDU if packing == ".fz" else fits.ImageHDU
    lossless = (
        {"quantize_level": 0, "compression_type": "GZIP_1"} if packing == ".fz" and pixels.dtype.kind == "f" else {}
    )
    fits.HDUList([fits.PrimaryHDU(), kind(pixels, fits.Header(header), **lossless)]).writeto(path)
    if cards:
        with fits.open(path, "update", disable_image_compression=True, do_not_scale_image_data=True) as hdus:
            hdus[1].header.update(cards)
    return path


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(grids(), images(), st.sampled_from(list(UNITS)), st.booleans())
def test_an_image_is_read_as_astropy_reads_it_or_refused(grid, image, unit, card):
    pixels, cards, packing = image
    header = {**grid, **({"BUNIT": unit} if unit else {})}
    if card and UNITS[unit] is None:
        header["MAGZERO"] = 27.5
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write(Path(folder) / "field_r.fits", header, pixels, cards, packing)
        with fits.open(path, memmap=False) as hdus:
            expected, wcs = hdus[1].data.astype(float), WCS(hdus[1].header)
        refused = grid["CTYPE1"].startswith("ELON") or ("MAGZERO" not in header and UNITS[unit] is None)
        try:
            tile = Tile.open(path)
        except InputError:
            assert refused
            return
        assert not refused
        with tile:
            _compare(tile, expected, wcs, unit, header)


def _compare(tile: Tile, expected: np.ndarray, wcs: WCS, unit: str, header: dict) -> None:
    corners = np.array([[0, WIDTH - 1, 7.0], [0, HEIGHT - 1, 30.0]])
    sky = wcs.pixel_to_world(*corners).icrs
    ra, dec = tile.sky(*tile.from_stored_pixels(*corners))
    np.testing.assert_allclose(np.cos(np.radians(dec)) * (np.mod(ra - sky.ra.deg + 180, 360) - 180), 0, atol=1e-8)
    np.testing.assert_allclose(dec, sky.dec.deg, atol=1e-8)
    if "MAGZERO" in header:
        flux = expected * 10 ** ((22.5 - header["MAGZERO"]) / 2.5)
    else:
        area = abs(np.linalg.det(wcs.pixel_scale_matrix)) * u.deg**2 if unit in SURFACE else 1
        flux = expected * (1 * UNITS[unit] * area).to_value(u.ABflux) * 1e9
    plane = tile.plane("r").astype(float)
    if not tile.resampled:
        np.testing.assert_allclose(plane, flux, rtol=2e-4, atol=1e-6 * np.nanmax(np.abs(flux)))
    elif np.isfinite(expected).all():
        np.testing.assert_allclose(np.nansum(plane), flux.sum(), rtol=0.08)
