"""A catalogue with rows that cannot be used: the others are scored, and what was left out is told and listed."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from morph.stamps.cutting import Flag


@pytest.fixture
def flawed(catalogue, tmp_path):
    """Both tiles' galaxies, some of which have no position, a place off all tiles, or the id of another."""
    galaxies = Table.read(catalogue)
    galaxies["COADD_OBJECT_ID"] = np.arange(len(galaxies))
    galaxies["RA"][0] = np.nan  # it says its tile
    galaxies["TILENAME"][1:3] = ""
    galaxies["DEC"][1] = np.nan
    galaxies["RA"][2] += 100
    galaxies["COADD_OBJECT_ID"][4] = 3
    galaxies["MAG_AUTO_R"][5:7] = 99.0
    path = tmp_path / "flawed.fits"
    galaxies.write(path)
    return path


def test_the_rest_is_scored_and_what_was_left_out_is_listed(morph, flawed, tiles_folder, weights, tmp_path):
    out = tmp_path / "out"
    where = "MAG_AUTO_R < 98 and EXTENDED_CLASS_COADD >= 0"
    status, printed, errors = morph(
        "score", tiles_folder, "--catalog", flawed, "--where", where, "--model", weights, "--out", out
    )
    assert (status, errors) == (0, "")
    rows = [row for path in out.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert sorted(int(row["id"]) for row in rows) == [0, 3, *range(7, 14)]
    (lost,) = [row for row in rows if row["id"] == "0"]
    assert lost["flags"] & Flag.NO_DATA
    assert "1 galaxy of the catalogue lies on none of the tiles" in printed
    assert "1 row of the catalogue left out: its position is not a number" in printed
    with (out / "_left-out.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["1", "3"]
    assert not list(out.glob(".*"))
