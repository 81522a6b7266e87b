"""What a table of labels knows beside the labels."""

import numpy as np
import pytest

from training.importers.matching import join
from training.importers.writing import Report


def test_properties_go_by_the_names_that_catalogues_give_them(table):
    positions = {"a": (np.nan, np.nan), "b": (np.nan, np.nan)}
    columns = {"MAG_AUTO_R": [17.5, 99.0], "Z_SPEC": [0.1, -9999.0], "photo_z": [0.3, 0.3], "RAJ2000": [10.0, 20.0]}
    known = join(table({"id": ["a", "b"], "DEJ2000": [-1.0, -2.0], **columns}), None, positions, None, Report())
    assert known.properties["a"] == {"redshift": 0.1, "mag_r": 17.5}
    assert all(np.isnan(value) for value in known.properties["b"].values()), "99 and -9999 are no measurements"
    assert known.positions["b"] == (20.0, -2.0)


def test_a_redshift_guessed_from_colours_is_not_one_to_learn_from(table):
    known = join(table({"id": ["a"], "photo_z": [0.3]}), None, {"a": (np.nan, np.nan)}, None, Report())
    assert "redshift" not in known.properties["a"]


@pytest.mark.parametrize("mark", ["-1", "-9.999", "-9", "-99", "9.999", "99", "unknown"])
def test_marks_for_missing_redshifts_are_reported(table, mark):
    report = Report()
    labels = table({"id": ["a", "b"], "redshift": ["0.05", mark]})
    known = join(labels, None, dict.fromkeys("ab", (np.nan, np.nan)), None, report)
    assert known.properties["a"]["redshift"] == 0.05
    assert np.isnan(known.properties["b"]["redshift"])
    assert any("1 value of 'redshift' count" in line for line in report.understood)
