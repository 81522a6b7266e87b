"""The FITS table: what was scored, as astropy and fitsio read it."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from invented import write_tile, write_tiles

from serving.catalogue.fits_table import write_fits
from serving.catalogue.score_files import ScoreFiles


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
            if name in ("embedding", "appearance"):
                expected = np.array(given.to_pylist(), dtype="float32")
                np.testing.assert_array_equal(read, expected)
            elif name == "anomaly":
                known = np.array([value is not None for value in given.to_pylist()])
                assert read[known].tolist() == [value for value in given.to_pylist() if value is not None]
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


def test_an_unknown_yes_or_no_is_an_empty_cell(written):
    scores, path = written
    unknown = np.array([value is None for value in scores["anomaly"].to_pylist()])
    with fits.open(path) as file:
        raw = file[1].data.view(np.ndarray)["anomaly"]
    assert unknown.any()
    assert set(raw[unknown].astype("int8")) == {0}
    assert set(raw[~unknown].astype("int8")) <= {ord("T"), ord("F")}
