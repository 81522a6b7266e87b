"""Positions are ICRS whatever frame a header is in: astropy's own `pixel_to_world` is the oracle."""

from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from morph.errors import InputError
from morph.fits.wcs import celestial, to_pixels, to_sky
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import write_band

STEP = 0.263 / 3600
HEADER = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 59.0,
    "CRVAL2": -52.8,
    "CRPIX1": 100.5,
    "CRPIX2": 90.5,
    "CDELT1": -STEP,
    "CDELT2": STEP,
}
X, Y = np.array([30.0, 100.0, 170.0]), np.array([150.0, 20.0, 90.0])


# Astropy mentions that a keyword has a newer name.
@pytest.mark.filterwarnings("ignore:RADECSYS")
@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"EQUINOX": 1950.0},
        {"EPOCH": 1950.0},
        {"RADESYS": "FK4"},
        {"RADESYS": "FK4-NO-E", "EQUINOX": 1950.0},
        {"RADECSYS": "FK5", "EQUINOX": 1975.0},
        {"RADESYS": "FK5", "EQUINOX": 2000.0},
        {"EQUINOX": 2000.0},
        {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
        {"CTYPE1": "GLON-ZEA", "CTYPE2": "GLAT-ZEA"},
        {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": -52.8, "CRVAL2": 59.0},
        {"CRVAL1": -0.0005},
        {"CRVAL1": 359.9999, "CRVAL2": 5.0},
    ],
)
def test_places_are_where_astropy_says(cards):
    header = fits.Header({**HEADER, **cards})
    wcs = celestial(header, Path("image.fits"))
    ra, dec = to_sky(wcs, X, Y)
    assert ((ra >= 0) & (ra < 360)).all()
    if not header["CTYPE1"].startswith("DEC"):
        expected = WCS(header).pixel_to_world(X, Y).icrs
        assert SkyCoord(ra, dec, unit="deg").separation(expected).arcsec.max() < 1e-6
    else:  # astropy's high-level interface has no frame for them; their axes are those of the others, exchanged
        plain = celestial(fits.Header({**HEADER, "CDELT1": STEP, "CDELT2": -STEP}), Path("image.fits"))
        turned = to_sky(plain, Y - 90.5 + 100.5, X - 100.5 + 90.5)
        np.testing.assert_allclose([ra, dec], turned, atol=1e-9)
    np.testing.assert_allclose(to_pixels(wcs, ra, dec), [X, Y], atol=1e-6)


@pytest.mark.parametrize(
    ("cards", "message"),
    [({"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, "ELON, ELAT"), ({"RADESYS": "GAPPT"}, "GAPPT, which is not")],
)
def test_frames_that_astropy_does_not_know_are_refused(cards, message):
    with pytest.raises(InputError, match=message):
        celestial(fits.Header({**HEADER, **cards}), Path("image.fits"))


def test_a_tile_of_another_equinox_owns_what_lies_on_it(tmp_path):
    tile = Tile.open(write_band(tmp_path, "r", name="old", RADESYS=None, EQUINOX=1950.0))
    ra, dec = tile.sky(120.0, 60.0)
    expected = tile.wcs.pixel_to_world(120.0, 60.0)
    assert expected.frame.name == "fk4"
    assert SkyCoord(ra, dec, unit="deg").separation(expected.icrs).arcsec < 1e-6
    assert tile.footprint.edge_distance(np.array([ra]), np.array([dec]))[0] > 0
    np.testing.assert_allclose(tile.pixels(ra, dec), (120.0, 60.0), atol=1e-6)
