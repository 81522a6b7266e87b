"""Readers: each survey's files make the same kind of tile, and what overlaps has one owner."""

import csv
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.stamps.stamp_stream import stream_stamps
from morph.tiles import layouts as readers
from morph.tiles.discovery import find_tiles, survey_of, tile_name
from morph.tiles.footprints import in_rectangle
from morph.tiles.layouts.des import SPACING, unique_area
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import HALF_LIGHT, SIZE, counts_of, sky_of, write_band, write_tile
from tests.morph.tiles.survey_files import FRAME_SCALE, frame_sky, write_brick, write_frame

# --- DES -------------------------------------------------------------------------------------------------


def test_the_archives_folders_hold_one_tile_each(tmp_path):
    """The release's layout, with what lies beside the coadds."""
    for tile in ("DES0001-0541", "DES0356-5248"):
        folder = tmp_path / "Y6A1" / "r4907" / tile / "p01" / "coadd"
        write_tile(folder, "gr", name=f"{tile}_r4907p01", packed=True)
        (folder / f"{tile}_r4907p01_g_nobkg.fits.fz").write_bytes(b"another sky")
        (folder / f"{tile}_r4907p01_det.fits.fz").write_bytes(b"a detection image")
        (folder / f"{tile}_r4907p01_g_segmap.fits").write_bytes(b"a segmentation")
    tiles = find_tiles(tmp_path)
    assert [tile_name(paths) for paths in tiles] == ["DES0001-0541", "DES0356-5248"]
    assert [[path.name[-9:] for path in paths] for paths in tiles] == [["g.fits.fz", "r.fits.fz"]] * 2
    assert survey_of(tiles) == "des"
    assert find_tiles(str(tmp_path / "Y6A1/*/*/*/coadd/*_r.fits.fz")) == tiles
    with pytest.raises(InputError, match="not one of the survey's images"):
        find_tiles(folder / f"{tile}_r4907p01_g_segmap.fits")


def test_bands_in_folders_of_their_own_are_one_tile(tmp_path):
    for band in "gri":
        write_tile(tmp_path / band, band)
    assert [len(paths) for paths in find_tiles(tmp_path)] == [3]
    # Two files of one band are two versions of the tile.
    write_tile(tmp_path / "again", "g")
    assert sorted(len(paths) for paths in find_tiles(tmp_path)) == [1, 1, 1, 1]


def des_header(ra: float, dec: float) -> fits.Header:
    return fits.Header({"TILENAME": "DES0356-5248", "RA_CENT": ra, "DEC_CENT": dec})


def test_unique_areas_of_des_tiles_meet_and_do_not_overlap():
    """Nine tiles around a right ascension of 0: every position has one owner."""
    rng = np.random.default_rng(0)
    owners = 0
    middle = -5.0
    ra, dec = rng.uniform(-0.5, 0.5, 5000) % 360, rng.uniform(middle - 0.3, middle + 0.3, 5000)
    step = SPACING / np.cos(np.radians(middle))
    for column in (-1, 0, 1):
        owners = owners + in_rectangle(ra, dec, *unique_area(des_header(column * step % 360, middle))).astype(int)
    assert (owners == 1).all()


def test_bounds_in_the_header_come_first_and_other_tiles_have_none():
    header = des_header(10, -5)
    (west, east), _ = unique_area(header)
    assert 9.6 < west < 9.7 < 10.3 < east < 10.4
    header.update({"URAMIN": 9.0, "URAMAX": 11.0, "UDECMIN": -6.0, "UDECMAX": -4.0})
    assert unique_area(header) == ((9.0, 11.0), (-6.0, -4.0))
    assert unique_area(fits.Header({"RA_CENT": 10.0, "DEC_CENT": -5.0})) is None


@pytest.mark.real
def test_weights_of_des_tiles_are_read_only_where_they_are_asked_for(tmp_path):
    """Their mask marks whatever has no weight; elsewhere weights tell what is bad too."""
    weight = np.ones((SIZE, SIZE), "float32")
    weight[30, 40] = 0
    for name in ("DES0356-5248_r4163p01", "mosaic"):
        with Tile.open(write_band(tmp_path, "r", name=name, weight=weight)) as tile:
            assert np.isnan(tile.plane("r")[30, 40]) == (name == "mosaic")
            assert tile.weight("r")[30, 40] == 0
    mask = np.zeros((SIZE, SIZE))
    mask[30, 40] = 1
    path = write_band(tmp_path, "r", name="DES0356-5331_r4163p01", packed=True, mask=mask, weight=weight)
    with fits.open(path, disable_image_compression=True) as hdus:
        codes = hdus["WGT"].fileinfo()["datLoc"] + hdus["WGT"].header["NAXIS1"] * SIZE
    with path.open("r+b") as file:
        file.seek(codes)
        file.write(b"\xff" * 2000)
    with Tile.open(path) as tile:
        assert np.argwhere(np.isnan(tile.plane("r"))).tolist() == [[30, 40]]
        with pytest.raises(InputError, match="cut short or damaged"):
            tile.weight("r")


def test_every_des_tile_is_a_whole_number_of_spacings_from_its_neighbours(real_data):
    """The rule that the unique areas rest on, on all tiles of DR2."""
    with (real_data / "des-dr2-tiles.csv").open() as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    left, bottom, right, top = (np.array([float(r[k]) for r in rows]) for k in ("rall", "decll", "raur", "decur"))
    dec = (bottom + top) / 2
    steps = (dec - dec[0]) / SPACING
    assert np.abs(steps - np.round(steps)).max() * SPACING < 1e-6
    ra = ((left + right + 360 * (left > right)) / 2 + 180) % 360
    for row in np.unique(np.round(steps)):
        here = np.round(steps) == row
        gaps = np.diff(np.sort(ra[here])) / (SPACING / np.cos(np.radians(dec[here].mean())))
        assert np.abs(gaps - np.round(gaps)).max() < 1e-4


# --- Legacy Surveys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_a_brick_is_found_from_any_of_its_files(tmp_path, packed):
    folder = write_brick(tmp_path / "coadd" / "000" / "0001p000", packed=packed)
    ending = ".fits.fz" if packed else ".fits"
    expected = sorted(
        [folder / f"legacysurvey-0001p000-{kind}-{band}{ending}" for kind in ("image", "invvar") for band in "grz"]
        + [folder / f"legacysurvey-0001p000-maskbits{ending}"]
    )
    for pattern in (tmp_path, expected[1], expected[-1], str(tmp_path / "coadd/*/*/*-image-r.fits*")):
        assert find_tiles(pattern) == [expected]
    assert tile_name(expected) == "0001p000"
    assert survey_of([expected]) == "decals"


def test_a_bricks_bands_have_their_own_weights_and_bits(tmp_path):
    with Tile.open(write_brick(tmp_path), survey="decals") as tile:
        assert (tile.name, tile.tilename, tile.bands) == ("0001p000", "0001p000", ("g", "r", "z"))
        assert tile.pixel_scale == pytest.approx(0.262, rel=1e-6)
        assert tile.zero_points["r"].magnitude == 22.5
        bad = {band: np.argwhere(tile.mask(band)).tolist() for band in tile.bands}
        assert bad == {"g": [[80, 90]], "r": [[20, 30], [80, 90]], "z": [[80, 90]]}
        assert np.argwhere(tile.saturated()).tolist() == [[40, 50]]
        assert np.nanmax(tile.plane("r")) == pytest.approx(50 / (2 * np.pi * 25), rel=0.1)
        assert tile.weight("z")[0, 0] == pytest.approx(1e4, rel=1e-3)


def test_a_brick_without_masks_weights_or_bands_is_read(tmp_path):
    folder = write_brick(tmp_path, bands="gr")
    for path in [*folder.glob("*-invvar-*"), *folder.glob("*-maskbits*")]:
        path.unlink()
    tile = Tile.open(folder, survey="decals")
    assert tile.bands == ("g", "r")
    assert not tile.mask("g").any()
    assert np.median(tile.weight("g")) == pytest.approx(1e4, rel=0.2)


def test_a_damaged_mask_of_a_brick_is_named(tmp_path):
    folder = write_brick(tmp_path)
    path = folder / "legacysurvey-0001p000-maskbits.fits.fz"
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(InputError, match=r"maskbits\.fits\.fz' is (cut short|not a FITS)"):
        Tile.open(folder, survey="decals")


def test_a_brick_owns_its_bounds_and_wrong_bounds_are_not_believed(tmp_path):
    ra, dec = np.array([0.0, 0.1, 0.25, 359.99, np.nan]), np.array([-0.125, 0.0, 0.0, 0.0, 0.0])
    assert Tile.open(write_brick(tmp_path / "a", "g"), survey="decals").answers_for(ra, dec).tolist() == [
        *(True, True, False, False, False)
    ]
    # DR1 wrote right ascensions there.
    tile = Tile.open(write_brick(tmp_path / "b", "g", DECMIN=10.0, DECMAX=10.0), survey="decals")
    assert tile.answers_for(ra, dec).all()


def test_a_rectangle_may_reach_over_zero_or_all_around():
    ra = np.array([359.9, 0.0, 0.1, 180.0])
    dec = np.zeros(4)
    assert in_rectangle(ra, dec, (359.9, 0.1), (-1, 1)).tolist() == [True, True, False, False]
    assert in_rectangle(ra, dec, (-0.1, 0.05), (-1, 1)).tolist() == [True, True, False, False]
    assert in_rectangle(ra, dec, (359.75, 360.0), (-1, 1)).tolist() == [True, False, False, False]
    assert in_rectangle(ra, dec, (0, 360), (-1, 1)).all()


def test_tiles_of_two_surveys_are_not_taken_together(tmp_path):
    write_tile(tmp_path, "g")
    write_brick(tmp_path, "g")
    with pytest.raises(InputError, match=r"several surveys \(decals, des\)"):
        survey_of(find_tiles(tmp_path))


# --- SDSS ------------------------------------------------------------------------------------------------

#: How far the bands' grids are from g's: pixels, and degrees.
SHIFTS = {"g": (0.0, 0.0, 0.0), "r": (3.4, -7.3, 0.02), "i": (-5.2, 11.8, -0.03)}


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """An SDSS field with a galaxy near each corner."""
    folder = tmp_path_factory.mktemp("301") / "756" / "1"
    x, y = np.array([150.0, 1900.0, 1000.2]), np.array([1350.0, 120.0, 700.7])
    galaxies = np.transpose(frame_sky().wcs_pix2world(x, y, 0)).tolist()
    for band, shift in SHIFTS.items():
        write_frame(folder, band, frame_sky(*shift), galaxies, packed=band == "r")
    return folder, x, y


def test_an_sdss_field_is_named_by_run_camcol_and_field(field):
    folder, _, _ = field
    (paths,) = find_tiles(folder.parent)
    assert (tile_name(paths), survey_of([paths]), len(paths)) == ("000756-1-0044", "sdss", 3)
    tile = Tile.open(folder / "frame-r-000756-1-0044.fits.bz2", survey="sdss")
    assert (tile.bands, tile.tilename) == (("g", "r", "i"), "")
    assert tile.pixel_scale == pytest.approx(FRAME_SCALE, rel=1e-6)
    assert tile.zero_points["g"].magnitude == 22.5


def test_places_find_a_galaxy_on_each_bands_own_grid(field):
    folder, x, y = field
    tile = Tile.open(folder, survey="sdss")
    assert not tile.aligned
    assert all(a is b for a, b in zip(tile.places("g", x, y), (x, y), strict=True))
    for band in ("r", "i"):
        places = np.transpose(tile.places(band, x, y))
        # The grids differ by more than the galaxies are wide.
        assert (np.hypot(*(places - np.transpose([x, y])).T) > 4).all()
        plane = tile.plane(band)
        for a, b in places:
            left, bottom = round(a) - 15, round(b) - 15
            stamp = plane[bottom : bottom + 31, left : left + 31]
            rows, columns = np.indices(stamp.shape)
            centre = [(stamp * axis).sum() / stamp.sum() for axis in (columns, rows)]
            np.testing.assert_allclose(centre, [a - left, b - bottom], atol=0.15)


def test_stamps_of_a_field_show_a_galaxy_at_one_place_in_all_bands(field):
    folder, x, y = field
    pieces = list(stream_stamps(Tile.open(folder, survey="sdss"), x, y, np.full(3, 4 * HALF_LIGHT)))
    assert sorted(np.concatenate([piece.rows for piece in pieces])) == [0, 1, 2]
    assert not any(piece.flags.any() for piece in pieces)
    rows, columns = np.indices(pieces[0].stamps.shape[1:3])
    for stamp in np.concatenate([piece.stamps for piece in pieces]):
        light = np.where(stamp > 0.1 * stamp.max(axis=(0, 1)), stamp, 0)
        centres = [(light * axis[..., None]).sum(axis=(0, 1)) / light.sum(axis=(0, 1)) for axis in (columns, rows)]
        np.testing.assert_allclose(centres, (stamp.shape[0] - 1) / 2, atol=0.1)


# --- Any FITS --------------------------------------------------------------------------------------------


def test_one_file_may_hold_an_image_a_band(tmp_path):
    """Bands by EXTNAME and FILTER; the zero point stands in the primary header for all."""
    hdus = [fits.PrimaryHDU(header=fits.Header({"ZEROPNT": 27.0}))]
    for band in "gri":
        header = sky_of()
        header.update({"FILTER": f"{band} DECam"} if band == "i" else {"EXTNAME": band})
        hdus.append(fits.ImageHDU(counts_of(band), header))
    fits.HDUList(hdus).writeto(tmp_path / "field.fits.gz")
    tile = Tile.open(tmp_path / "field.fits.gz")
    assert (tile.name, tile.bands, tile.zero_points["g"].magnitude) == ("field", ("g", "r", "i"), 27.0)
    np.testing.assert_allclose(tile.plane("i"), counts_of("i") * 10 ** ((22.5 - 27) / 2.5), rtol=1e-5)


def test_a_cameras_detectors_in_one_file_are_no_tile(tmp_path):
    detectors = [fits.ImageHDU(np.zeros((20, 20), "f4"), sky_of(), name=f"im{i}") for i in (1, 2)]
    detectors[1].header["CRVAL1"] += 1
    fits.HDUList([fits.PrimaryHDU(), *detectors]).writeto(tmp_path / "camera_g.fits")
    with pytest.raises(InputError, match=r"camera_g\.fits' holds 2 images of different sky"):
        Tile.open(tmp_path)


@pytest.mark.parametrize(
    ("header", "zero_point"),
    [
        ({"ZEROPNT": 25.9}, 25.9),
        ({"PHOTZP": 30.1}, 30.1),
        ({"FLUXMAG0": 63095734448.0}, 27.0),
        ({"BUNIT": "uJy"}, 23.9),
    ],
)
def test_zero_points_have_many_names(tmp_path, header, zero_point):
    path = write_band(tmp_path, "r", name="field", MAGZERO=None, **header)
    assert Tile.open(path).zero_points["r"].magnitude == pytest.approx(zero_point, abs=1e-6)


def test_a_turned_or_mirrored_image_keeps_its_parity(tmp_path):
    """Places come from the header's matrix, whichever way the axes point; stamps are not turned."""
    write_band(tmp_path, "r", name="turned", CDELT1=1.0, CDELT2=1.0, PC1_1=0.0, PC1_2=1e-4, PC2_1=1e-4, PC2_2=0.0)
    tile = Tile.open(tmp_path / "turned_r.fits")
    assert tile.pixel_scale == pytest.approx(0.36)
    ra, dec = tile.wcs.wcs_pix2world([119.5, 119.5], [119.5, 219.5], 0)
    assert ra[1] - ra[0] == pytest.approx(0.01 / np.cos(np.radians(dec[0])), rel=1e-3)
    assert dec[1] == pytest.approx(dec[0], abs=1e-5)


def test_a_mask_that_says_what_its_bits_are_is_believed(tmp_path):
    """Rubin's and HSC's: detected pixels are marked, and are good."""
    image = fits.ImageHDU(counts_of("r")[:60, :60], sky_of(), name="IMAGE")
    bits = np.full((60, 60), 1 << 5, "i4")
    bits[10, 20], bits[30, 40], bits[50, 5] = 1, 1 << 8, 1 << 1
    bits_of = {"MP_BAD": 0, "MP_SAT": 1, "HIERARCH MP_DETECTED": 5, "HIERARCH MP_NO_DATA": 8}
    mask = fits.ImageHDU(bits, fits.Header(bits_of), name="MASK")
    primary = fits.PrimaryHDU(header=fits.Header({"FILTER": "HSC-R", "FLUXMAG0": 10 ** (27 / 2.5)}))
    fits.HDUList([primary, image, mask]).writeto(tmp_path / "calexp-HSC-R-9813-4,4.fits")
    tile = Tile.open(tmp_path)
    assert (tile.bands, round(tile.zero_points["r"].magnitude, 6)) == (("r",), 27.0)
    assert np.argwhere(tile.mask("r")).tolist() == [[10, 20], [30, 40]]
    assert np.argwhere(tile.saturated()).tolist() == [[50, 5]]


def test_a_distorted_image_is_read_with_its_distortion(tmp_path):
    """SIP terms of astrometric solutions: a pixel at the corner moves by 40."""
    sip = {"A_ORDER": 2, "A_2_0": 2.0e-3, "A_0_2": 1.0e-3, "B_ORDER": 2, "B_1_1": 1.0e-4}
    sip |= {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    tile = Tile.open(write_band(tmp_path, "r", name="field", **sip))
    x, y = np.array([0.0, 119.5, 239.0]), np.array([0.0, 119.5, 10.0])
    ra, dec = tile.sky(x, y)
    np.testing.assert_allclose(tile.pixels(ra, dec), [x, y], atol=1e-3)
    plain = tile.wcs.wcs_world2pix(ra, dec, 0)
    assert np.hypot(plain[0] - x, plain[1] - y)[0] > 40
    assert np.hypot(plain[0] - x, plain[1] - y)[1] < 0.1


# --- A new survey ----------------------------------------------------------------------------------------


def test_the_example_of_a_new_survey_in_the_documents_reads_its_tiles(tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "reference" / "tiles.md").read_text()
    example: dict = {}
    exec(page.split("```python")[1].split("```")[0], example)
    monkeypatch.setattr(readers, "LAYOUTS", (example["Imagined"](), *readers.LAYOUTS))
    bits = np.zeros((240, 240), "i2")
    bits[5, 6], bits[7, 8], bits[9, 10] = 1, 2, 8
    fits.PrimaryHDU(bits).writeto(tmp_path / "sky-0412_flags.fits")
    for band in "gri":
        fits.PrimaryHDU(counts_of(band), sky_of()).writeto(tmp_path / f"sky-0412_{band}_image.fits")
        fits.PrimaryHDU(np.full((240, 240), 0.2, "f4")).writeto(tmp_path / f"sky-0412_{band}_weight.fits")
    (tmp_path / "sky-0412_catalogue.fits").write_bytes(b"not read")
    tile = Tile.open(tmp_path / "sky-0412_r_image.fits", survey="lsst")
    assert (tile.name, tile.bands, tile.zero_points["i"].magnitude) == ("0412", ("g", "r", "i"), 27.0)
    assert np.argwhere(tile.mask("g")).tolist() == [[5, 6], [9, 10]]
    assert np.argwhere(tile.saturated()).tolist() == [[9, 10]]
