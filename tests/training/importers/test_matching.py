"""Which label belongs to which image."""

import numpy as np
import pyarrow as pa
import pytest

from morph.errors import InputError
from training.importers.matching import join, match, position, stem
from training.importers.tables import Table
from training.importers.writing import Report

NOWHERE = (np.nan, np.nan)


def images(*names: str) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(names, NOWHERE)


def test_the_column_that_names_the_images_is_found(table):
    matched = match(table(note=["x", "y"], picture=["b", "a"]), images("a", "b"))
    assert matched.name_column == "picture"
    assert matched.rows == {"b": [0], "a": [1]}


def test_files_go_by_one_column_and_galaxies_by_another(table):
    matched = match(table(dr7objid=["58770", "58771"], asset_id=["12", "13"]), images("12", "13"))
    assert matched.name_column == "asset_id"
    assert matched.ids == {"12": "58770", "13": "58771"}


def test_id_column_can_be_chosen(table):
    matched = match(table(dr7objid=["1", "2"], file=["a", "b"], mine=["x", "y"]), images("a", "b"), "mine")
    assert matched.ids == {"a": "x", "b": "y"}


def test_an_id_column_with_gaps_is_not_a_id(table):
    matched = match(table(dr7objid=["1", ""], file=["a", "b"]), images("a", "b"))
    assert matched.ids == {"a": "a", "b": "b"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("images/J000411.19+020924.0.jpeg", "J000411.19+020924.0"),
        ("J000411.19+020924.0", "J000411.19+020924.0"),
        ("folder\\12.PNG", "12"),
        ("DES0356-5248_r.fits.fz", "DES0356-5248_r"),
    ],
)
def test_only_a_picture_suffix_is_cut_off_a_name(name, expected):
    assert stem(name) == expected


def test_names_can_contain_the_position():
    assert position("ra1.67104_dec-8.74608") == (1.67104, -8.74608)
    assert np.isnan(position("decals_radial_17")).all()


def test_labels_without_image_are_named(table):
    assert match(table(id=["a", "b", "c"]), images("b")).lost == ["a", "c"]


def test_positions_match_where_names_do_not(table):
    labels = table(objid=["1", "2", "3"], ra=[10.0, 20.0, 30.0], dec=[-5.0, 60.0, 0.0])
    places = {"x": (20.0 + 0.4 / 3600, 60.0), "y": (10.0, -5.0 + 3 / 3600)}
    matched = match(labels, places)
    assert matched.rows == {"x": [1]}
    assert matched.ids == {"x": "2"}
    assert matched.lost == ["1", "3"]


def test_one_label_goes_to_the_nearer_of_two_images(table):
    labels = table(objid=["1"], ra=[10.0], dec=[0.0])
    matched = match(labels, {"far": (10.0, 0.8 / 3600), "near": (10.0, 0.1 / 3600)})
    assert matched.rows == {"near": [0]}


def test_several_answers_about_one_image_are_kept_where_they_may_repeat(table):
    labels = table(id=["a", "b", "a"])
    assert match(labels, images("a", "b"), repeats=True).rows == {"a": [0, 2], "b": [1]}
    with pytest.raises(InputError, match="'a' occurs twice"):
        match(labels, images("a", "b"))


def test_two_images_cannot_be_one_galaxy(table):
    with pytest.raises(InputError, match="'7' occurs twice in column 'mine'"):
        match(table(file=["a", "b"], mine=["7", "7"]), images("a", "b"), "mine")


def test_labels_of_other_images_show_an_example_of_each(table):
    with pytest.raises(InputError, match=r"called like 'a'.*values like '58770'"):
        match(table(objid=["58770"]), images("a"))


def test_a_missing_id_column_names_those_there_are(table):
    with pytest.raises(InputError, match=r"no column 'nosuch'.*objid"):
        match(table(objid=["a"]), images("a"), "nosuch")


@pytest.mark.parametrize(
    "ids", [pa.array([11.0, 12.0, None]), pa.array([b"11", b"12", b"x"]), pa.array(["11.0", "12.0", "9.0"])]
)
@pytest.mark.parametrize("id_column", [None, "nsa_id"])
def test_identifiers_match_whatever_kind_they_are_kept_as(ids, id_column):
    labels = Table(pa.table({"nsa_id": ids, "label": ["a", "b", "c"]}))
    matched = match(labels, images("11", "12"), id_column)
    assert matched.rows == {"11": [0], "12": [1]}
    assert matched.ids == {"11": "11", "12": "12"}


def test_a_chosen_id_column_may_be_of_any_kind():
    labels = Table(pa.table({"file": ["a", "b"], "nsa_id": [1.0, 2.0]}))
    assert match(labels, images("a", "b"), "nsa_id").ids == {"a": "1", "b": "2"}


def test_identifiers_that_have_lost_digits_are_refused():
    labels = Table(pa.table({"file": ["a", "b"], "objid": [1.2376487206937559e18, 1.2376487206937559e18 + 1000]}))
    with pytest.raises(InputError, match=r"'objid' of .* have lost digits"):
        match(labels, images("a", "b"))


def test_a_column_without_a_name_counts_only_where_no_other_names_an_image(table):
    names = images("1", "2", "4")
    labels = table({"__index_level_0__": ["1", "2", "3"], "label": ["a", "b", "c"], "file": ["4", "5", "6"]})
    assert match(labels, names).rows == {"4": [0]}
    labels = table({"(no name)": ["1", "2", "3"], "label": ["a", "b", "c"]})
    assert match(labels, names).rows == {"1": [0], "2": [1]}


def test_of_two_columns_one_that_is_meant_for_names_counts(table):
    labels = table({"votes": ["2", "1"], "objid": ["1", "2"]})
    assert match(labels, images("1", "2")).name_column == "objid"


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
