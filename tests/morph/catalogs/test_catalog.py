"""Catalogues: the same galaxies whatever the format and the columns' names, and a reason where it cannot be."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.table import Table

from morph.catalogs.catalog import read_catalog
from morph.errors import InputError

DES = {
    "COADD_OBJECT_ID": np.array([1500000001, 1500000002, 1500000003]),
    "TILENAME": ["DES0356-5248"] * 3,
    "RA": [59.1, 59.2, 59.3],
    "DEC": [-52.8, -52.9, -53.0],
    "MAG_AUTO_R": [20.5, 99.0, 21.5],
    "FLUX_RADIUS_R": [4.0, 5.0, -1.0],
}


def write(path, columns):
    table = Table(columns)
    if path.suffix == ".parquet":
        pq.write_table(pa.table({name: table[name].tolist() for name in table.colnames}), path)
    else:
        formats = {".fits": "fits", ".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".vot": "votable", ".tsv": "ascii.tab"}
        formats |= {".txt": "ascii.basic", ".cat": "ascii.commented_header"}
        table.write(path, format=formats[path.suffix])
    return path


@pytest.mark.parametrize("suffix", ["fits", "parquet", "csv", "tsv", "ecsv", "vot", "txt", "cat"])
def test_every_format_says_the_same(tmp_path, suffix):
    table = read_catalog(write(tmp_path / f"gold.{suffix}", DES), "des")
    assert table["id"].tolist() == ["1500000001", "1500000002", "1500000003"]
    assert table["tilename"].tolist() == ["DES0356-5248"] * 3
    assert table["ra"].tolist() == DES["RA"]
    assert table["dec"].tolist() == DES["DEC"]
    np.testing.assert_allclose(table["radius"], [4 * 0.263, 5 * 0.263, np.nan])  # SExtractor's are pixels
    np.testing.assert_array_equal(table["mag_r"], [20.5, np.nan, 21.5])  # 99 is no magnitude
    assert table.meta["radius_column"] == "FLUX_RADIUS_R"


def test_the_digest_follows_the_content_and_not_the_file(tmp_path):
    one = read_catalog(write(tmp_path / "a.fits", DES)).meta["digest"]
    assert read_catalog(write(tmp_path / "b.csv", DES)).meta["digest"] == one
    assert read_catalog(write(tmp_path / "c.csv", {**DES, "RA": [59.1, 59.2, 59.4]})).meta["digest"] != one


@pytest.mark.parametrize(
    ("columns", "arcsec"),
    [
        ({"radius": [1.5]}, 1.5),
        ({"flux_radius": [4.0]}, 4 * 0.263),
        ({"SHAPE_R": [1.0]}, np.hypot(1.0, 0.631 * 0.95)),
        ({"shape_r": [0.0]}, 0.631 * 0.95),  # a point source, as Tractor writes it
        ({"radius": [0.02] * units.arcmin}, 1.2),
        ({"flux_radius_r": [1.3] * units.arcsec}, 1.3),
        ({"flux_radius_g": [9.0], "flux_radius_r": [4.0]}, 4 * 0.263),
        ({"radius": [np.inf]}, np.nan),
    ],
)
def test_sizes_come_as_observed_half_light_radii(tmp_path, columns, arcsec):
    table = read_catalog(write(tmp_path / "a.ecsv", {"id": ["a"], "ra": [10.0], "dec": [0.0], **columns}), "des")
    np.testing.assert_allclose(table["radius"], [arcsec])


@pytest.mark.parametrize("survey", [None, "unknown"])
def test_sizes_that_need_a_survey_are_not_taken_for_those_of_any(tmp_path, survey):
    place = {"id": ["a"], "ra": [10.0], "dec": [0.0]}
    pixels = read_catalog(write(tmp_path / "a.ecsv", {**place, "flux_radius": [4.0]}), survey)
    assert np.isnan(pixels["radius"]).all()
    assert pixels["radius_pixels"].tolist() == [4.0]
    assert pixels.meta["left_out"].lines() == [
        "The sizes in 'flux_radius' (pixels) are taken as those of the images, since no survey is named."
    ]
    larger = read_catalog(write(tmp_path / "b.ecsv", {**place, "flux_radius": [5.0]}), survey)
    assert pixels.meta["digest"] != larger.meta["digest"]
    model = read_catalog(write(tmp_path / "c.ecsv", {**place, "shape_r": [1.0]}), survey)
    assert np.isnan(model["radius"]).all()
    assert model.meta["left_out"].lines() == [
        "The sizes in 'shape_r' (before seeing) are not used: no survey is named whose seeing to add."
    ]
    angles = read_catalog(write(tmp_path / "d.ecsv", {**place, "radius": [1.5]}), survey)
    assert angles["radius"].tolist() == [1.5]
    assert angles.meta["left_out"].lines() == []


def test_galaxies_without_an_id_are_named_by_their_position(tmp_path):
    table = read_catalog(write(tmp_path / "a.csv", {"ra": [59.09, 0.0], "dec": [-52.81125, 1.5]}))
    assert table["id"].tolist() == ["J035621.60-524840.5", "J000000.00+013000.0"]


def test_long_ids_keep_every_digit(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("objID,ra,dec\n00123456789012345678901,1,2\n00123456789012345678902,1,3\n")
    assert read_catalog(path)["id"].tolist() == ["00123456789012345678901", "00123456789012345678902"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("id,ra,dec\n", "has no rows"),
        ("id,right,dec\na,1,2\n", "right ascension: looked for ra, alphawin_j2000.*there are id, right, dec"),
        ("id,ra,height\na,1,2\n", "no column with the declination"),
        ("id,ra,dec\na,1,2\na,1,3\na,1,4\n", "an id that another has"),
        ("id,ra,dec\na,somewhere,-52:48:40\n", "decimal degrees"),
        ("id,ra,dec\na,1,95\n", "at most 90"),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_refused_with_the_reason(tmp_path, text, reason):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_catalog(path)


@pytest.mark.parametrize("name", ["a.fits", "a.parquet", "a.vot", "a.csv"])
def test_a_file_that_is_not_a_table_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00\xff nothing of the kind \x00" * 40)
    with pytest.raises(InputError, match=r"a\.\w+' (cannot be read|has no column)"):
        read_catalog(tmp_path / name)


def test_a_missing_catalogue_and_an_unknown_survey_are_said(tmp_path):
    with pytest.raises(InputError, match="no catalogue at"):
        read_catalog(tmp_path / "none.fits")
    with pytest.raises(InputError, match="Unknown survey"):
        read_catalog(write(tmp_path / "a.csv", DES), survey="hst")
