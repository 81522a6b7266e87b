"""The FITS table: what was scored, as astropy and fitsio read it."""

import json
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.units import UnrecognizedUnit

from serving.scores.fits_table import write_fits
from serving.scores.score_files import ScoreFiles
from tests.serving.scores.invented import write_tile, write_tiles


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The scores as one Arrow table, and the FITS file."""
    folder = write_tiles(tmp_path_factory.mktemp("fits") / "scores")
    write_tile(folder, "Z-long-name-Ö", np.array([5.0]), np.array([np.nan]))
    write_tile(folder, "empty", np.zeros(0), np.zeros(0))
    path = folder.parent / "scores.fits"
    write_fits(ScoreFiles.open(folder), path)
    return pq.read_table(folder), path


def test_every_row_and_column_is_there(written):
    scores, path = written
    with fits.open(path) as file:
        file.verify("exception")
        table = file[1].data
        assert len(table) == len(scores) == 121
        for name in set(scores.column_names) - {"picture"}:
            given, read = scores[name], table[name]
            if name in ("embedding", "similarity", "image_statistics"):
                expected = np.array(given.to_pylist(), dtype="float32")
                np.testing.assert_array_equal(read, expected)
            elif name == "anomaly":
                assert read.tolist() == [-1 if value is None else int(value) for value in given.to_pylist()]
            elif given.type == "string":
                assert list(read) == [value.replace("Ö", "?") for value in given.to_pylist()]
            else:
                np.testing.assert_array_equal(read, given.to_numpy())
    assert path.stat().st_size % 2880 == 0


def test_units_ucds_and_descriptions_stand_in_the_header(written):
    _, path = written
    header = fits.getheader(path, 1)
    number = next(n for n in range(1, 200) if header[f"TTYPE{n}"] == "ra")
    assert (header[f"TUNIT{number}"], header[f"TUCD{number}"]) == ("deg", "pos.eq.ra;meta.main")
    assert header[f"TCOMM{number}"] == "right ascension"
    assert any("simulated" in line for line in header["HISTORY"])
    assert str(Table.read(path)["radius"].unit) == "arcsec"


def test_astropy_knows_every_unit(written):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = Table.read(written[1])
        QTable.read(written[1])
    assert {str(table[name].unit) for name in ("flux_r", "flux_err_r")} == {"nJy"}
    assert not [name for name in table.colnames if isinstance(table[name].unit, UnrecognizedUnit)]


def test_what_was_not_scored_reads_as_unknown_and_not_as_no(written):
    scores, path = written
    given = scores["anomaly"].to_pylist()
    anomaly = Table.read(path)["anomaly"]
    assert anomaly.dtype == np.dtype(">i2")
    assert anomaly.mask.tolist() == [value is None for value in given]
    assert [None if value is np.ma.masked else bool(value) for value in anomaly] == given
    header = fits.getheader(path, 1)
    number = next(n for n in range(1, 200) if header[f"TTYPE{n}"] == "anomaly")
    assert (header[f"TFORM{number}"], header[f"TNULL{number}"]) == ("I", -1)
    assert "not scored" in header[f"TCOMM{number}"]


def test_a_column_that_some_files_lack_is_unknown_there(tmp_path):
    folder = write_tiles(tmp_path / "scores", tiles=2, galaxies=3)
    first = sorted(folder.glob("*.parquet"))[0]
    pq.write_table(pq.read_table(first).drop_columns(["flags"]), first)
    write_fits(ScoreFiles.open(folder), tmp_path / "scores.fits")
    assert Table.read(tmp_path / "scores.fits")["flags"].mask.tolist() == [True] * 3 + [False] * 3


def test_the_whole_provenance_stands_in_the_header(tmp_path):
    folder = tmp_path / "scores"
    ra, dec = np.linspace(10, 10.1, 3), np.zeros(3)
    points = {"g": {"value": 31.4, "from": "header"}, "r": {"value": 22.5, "from": "option"}}
    for k in range(20):
        more = {"zero_points": points, "verified": k > 0, "a_very_long_name": "x" * 200, "a_very_long_other": None}
        write_tile(folder, f"DES00{k:02d}-0000", ra, dec, more)
    write_fits(ScoreFiles.open(folder), tmp_path / "scores.fits")
    with fits.open(tmp_path / "scores.fits") as file:
        file.verify("exception")
        header = file[1].header
    names = {card.comment: card.value for card in header.cards}
    assert (header["SURVEY"], header["MODEL"]) == ("des", "morph")
    assert names["selection"] == "MAG_AUTO_R < 21.5"
    assert json.loads(names["catalogue"]) == {"source": "gold.fits", "digest": "abcd"}
    assert json.loads(names["zero_points"]) == points
    assert json.loads(names["verified"]) == [False, True]
    assert header["AVERYLON"] == "x" * 200
    assert header["AVERYLO2"] == ""
    assert "tile" not in names, "each tile has its own"
