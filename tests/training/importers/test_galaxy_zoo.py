"""Tables of votes: Galaxy Zoo 2, the Kaggle challenge, and Galaxy Zoo DECaLS."""

import pytest

from morph.decision_tree import VOTE_COLUMNS, column_name
from morph.errors import InputError
from tests.training.importers.labels import asked, votes
from training.importers.schemes import recognise


def galaxy_zoo_2(measure: str, **answers: float) -> dict[str, list]:
    """Columns of a Galaxy Zoo 2 table, all questions, with 0 where nothing is given: a01=0.7, ..."""
    questions = {
        "t01_smooth_or_features": ("a01_smooth", "a02_features_or_disk", "a03_star_or_artifact"),
        "t02_edgeon": ("a04_yes", "a05_no"),
        "t03_bar": ("a06_bar", "a07_no_bar"),
        "t04_spiral": ("a08_spiral", "a09_no_spiral"),
        "t05_bulge_prominence": ("a10_no_bulge", "a11_just_noticeable", "a12_obvious", "a13_dominant"),
        "t06_odd": ("a14_yes", "a15_no"),
        "t07_rounded": ("a16_completely_round", "a17_in_between", "a18_cigar_shaped"),
        "t08_odd_feature": (
            *("a19_ring", "a20_lens_or_arc", "a21_disturbed", "a22_irregular", "a23_other", "a24_merger"),
            "a38_dust_lane",
        ),
        "t09_bulge_shape": ("a25_rounded", "a26_boxy", "a27_no_bulge"),
        "t10_arms_winding": ("a28_tight", "a29_medium", "a30_loose"),
        "t11_arms_number": ("a31_1", "a32_2", "a33_3", "a34_4", "a36_more_than_4", "a37_cant_tell"),
    }
    return {
        f"{question}_{answer}_{measure}": [answers.get(answer[:3], 0.0)]
        for question, of in questions.items()
        for answer in of
    }


#: Of 40 volunteers 10 saw a smooth galaxy, 28 a disk, 2 a star; 7 an edge-on disk; 14 of the other 21 arms and a third
#: of those 14 wound them tightly; 19 of the 38 who saw a galaxy found something odd, all of them a ring.
FRACTIONS = {
    "a01": 0.25,
    "a02": 0.7,
    "a03": 0.05,
    "a04": 0.25,
    "a05": 0.75,
    "a06": 1 / 3,
    "a07": 2 / 3,
    "a08": 2 / 3,
    "a09": 1 / 3,
    "a11": 1.0,
    "a14": 0.5,
    "a15": 0.5,
    "a16": 1.0,
    "a19": 1.0,
    "a25": 1.0,
    "a28": 1 / 3,
    "a29": 2 / 3,
    "a32": 1.0,
}
COUNTS = {
    "smooth-or-featured_smooth": 10,
    "smooth-or-featured_featured-or-disk": 28,
    "smooth-or-featured_artifact": 2,
    "disk-edge-on_yes": 7,
    "disk-edge-on_no": 21,
    "bar_strong-or-weak": 7,
    "bar_no": 14,
    "has-spiral-arms_yes": 14,
    "has-spiral-arms_no": 7,
    "bulge-size_small": 21,
    "how-rounded_round": 10,
    "odd-feature_none": 19,
    "odd-feature_ring": 19,
    "edge-on-bulge_rounded": 7,
    "spiral-winding_tight": 14 / 3,
    "spiral-winding_medium": 28 / 3,
    "spiral-arm-count_2": 14,
}


@pytest.mark.parametrize("measure", ["weighted_fraction", "fraction", "debiased"])
def test_galaxy_zoo_2_fractions_become_counts_down_the_tree(table, measure):
    columns = {"dr7objid": ["587722981748965649"], "total_classifications": [40], **galaxy_zoo_2(measure, **FRACTIONS)}
    labels = recognise(table(columns))
    assert measure.replace("_", " ") in labels.scheme
    assert votes(labels) == pytest.approx(COUNTS, rel=1e-5)
    assert labels.notes == []


def test_galaxy_zoo_2_counts_are_taken_as_they_are(table):
    answers = {"a01": 3, "a02": 30, "a04": 5, "a05": 25, "a06": 20, "a07": 5}
    columns = {"objid": ["1"], **galaxy_zoo_2("count", **answers), **galaxy_zoo_2("fraction", a01=0.5, a02=0.5)}
    read = votes(recognise(table(columns)))
    assert read["smooth-or-featured_featured-or-disk"] == 30
    assert read["bar_strong-or-weak"] == 20


def test_galaxy_zoo_2_questions_without_all_their_columns_are_left_out_and_reported(table):
    columns = galaxy_zoo_2("fraction", **FRACTIONS)
    del columns["t05_bulge_prominence_a12_obvious_fraction"]
    labels = recognise(table(columns))
    assert labels.notes == ["t05 is left out: its columns are not all there."]
    assert "bulge-size" not in asked(labels)
    assert "bar" in asked(labels)


def test_kaggles_fractions_are_multiplied_down_the_tree_already(table):
    """The galaxy of `FRACTIONS` in the challenge's convention: question 6 sums to one, the others to who was asked."""
    classes = {
        "1.1": 0.25,
        "1.2": 0.7,
        "1.3": 0.05,
        "2.1": 0.175,
        "2.2": 0.525,
        "3.1": 0.175,
        "3.2": 0.35,
        "4.1": 0.35,
        "4.2": 0.175,
        "5.1": 0,
        "5.2": 0.525,
        "5.3": 0,
        "5.4": 0,
        "6.1": 0.5,
        "6.2": 0.5,
        "7.1": 0.25,
        "7.2": 0,
        "7.3": 0,
        "8.1": 0.5,
        **{f"8.{i}": 0 for i in range(2, 8)},
        "9.1": 0.175,
        "9.2": 0,
        "9.3": 0,
        "10.1": 0.35 / 3,
        "10.2": 0.7 / 3,
        "10.3": 0,
        "11.1": 0,
        "11.2": 0.35,
        **{f"11.{i}": 0 for i in range(3, 7)},
    }
    columns = {"GalaxyID": ["100008"], **{f"Class{name}": [value] for name, value in classes.items()}}
    labels = recognise(table(columns))
    assert "Kaggle" in labels.scheme
    assert votes(labels) == pytest.approx(COUNTS, rel=1e-5)


def test_decals_counts(table):
    columns = {
        "iauname": ["J1"],
        "smooth-or-featured_smooth": [4],
        "smooth-or-featured_featured-or-disk": [30],
        "smooth-or-featured_artifact": [1],
        "smooth-or-featured_total-votes": [35],
        "bar_strong": [0],
        "bar_weak": [11],
        "bar_no": [19],
        "merging_minor-disturbance": [5],
        "merging_none": [29],
    }
    labels = recognise(table(columns))
    assert votes(labels) == {
        "smooth-or-featured_smooth": 4,
        "smooth-or-featured_featured-or-disk": 30,
        "smooth-or-featured_artifact": 1,
        "bar_weak": 11,
        "bar_no": 19,
        "merging_minor-disturbance": 5,
        "merging_none": 29,
    }
    assert asked(labels) == {"smooth-or-featured", "bar", "merging"}


@pytest.mark.parametrize("spell", [str, column_name])
def test_decals_columns_may_have_underscores_for_hyphens(table, spell):
    columns = {
        "smooth-or-featured-dr5_smooth_fraction": [0.25],
        "smooth-or-featured-dr5_featured-or-disk_fraction": [0.75],
        "smooth-or-featured-dr5_total-votes": [8],
        "spiral-arm-count-dr5_more-than-4_fraction": [0.5],
        "spiral-arm-count-dr5_cant-tell_fraction": [0.5],
        "spiral-arm-count-dr5_total-votes": [2],
        "bulge-size-dr5_none_fraction": [1.0],
        "bulge-size-dr5_just-noticeable_fraction": [0.0],
        "bulge-size-dr5_total-votes": [3],
    }
    read = votes(recognise(table({spell(name): values for name, values in columns.items()})))
    assert read == {
        "smooth-or-featured_smooth": 2,
        "smooth-or-featured_featured-or-disk": 6,
        "spiral-arm-count_more-than-4": 1,
        "spiral-arm-count_cant-tell": 1,
        "bulge-size_none": 3,
    }


@pytest.mark.parametrize("spell", [str, column_name])
def test_every_vote_column_is_read_in_either_spelling(table, spell):
    columns = {spell(name): [float(number)] for number, name in enumerate(VOTE_COLUMNS, 1)}
    assert votes(recognise(table(columns))) == {name: number for number, name in enumerate(VOTE_COLUMNS, 1)}


@pytest.mark.parametrize("measure", ["fraction", "debiased"])
def test_decals_fractions_times_their_totals(table, measure):
    columns = {
        f"disk-edge-on_yes_{measure}": [0.25],
        f"disk-edge-on_no_{measure}": [0.75],
        "disk-edge-on_total-votes": [8],
    }
    assert votes(recognise(table(columns))) == {"disk-edge-on_yes": 2, "disk-edge-on_no": 6}


def test_decals_fractions_without_totals_go_down_the_tree(table):
    columns = {
        "smooth-or-featured_smooth_fraction": [0.25],
        "smooth-or-featured_featured-or-disk_fraction": [0.75],
        "smooth-or-featured_artifact_fraction": [0.0],
        "disk-edge-on_yes_fraction": [0.1],
        "disk-edge-on_no_fraction": [0.9],
    }
    read = votes(recognise(table(columns)))
    assert read["smooth-or-featured_featured-or-disk"] == 30
    assert read["disk-edge-on_no"] == 27


@pytest.mark.parametrize(
    ("column", "answer"),
    [
        ("bar-dr5_strong", "bar_strong"),
        ("bar-dr12_yes", "bar_strong-or-weak"),
        ("bulge-size-dr12_obvious", "bulge-size_large-or-moderate"),
        ("merging-dr12_tidal-debris", "merging_disturbance"),
        ("merging-dr12_both", "merging_any"),
        ("merging-dr8_major-disturbance", "merging_major-disturbance"),
        ("how-rounded-dr12_completely", "how-rounded_round"),
        ("how-rounded-gz2_cigar", "how-rounded_cigar-shaped"),
        ("bulge-size-gz2_just-noticeable", "bulge-size_small"),
        ("something-odd-gz2_yes", "odd-feature_any"),
        ("bulge-shape-gz2_no-bulge", "edge-on-bulge_none"),
        ("spiral-arm-count-dr5_more-than-4", "spiral-arm-count_more-than-4"),
    ],
)
def test_campaigns_name_the_same_answers_differently(table, column, answer):
    question, _ = column.split("_", 1)
    other = {"bar-dr5": "no", "bar-dr12": "no", "something-odd-gz2": "no", "bulge-shape-gz2": "boxy"}
    other |= {"merging-dr12": "neither", "merging-dr8": "none", "spiral-arm-count-dr5": "1"}
    second = f"{question}_{other.get(question, 'in-between' if 'rounded' in question else 'dominant')}"
    labels = recognise(table({"iauname": ["J1"], column: [7], second: [3]}))
    assert votes(labels)[answer] == 7


def test_campaigns_add_up(table):
    columns = {"bar-dr5_weak": [5], "bar-dr5_no": [6], "bar-gz2_yes": [3], "bar-gz2_no": [4]}
    read = votes(recognise(table(columns)))
    assert read == {"bar_weak": 5, "bar_no": 10, "bar_strong-or-weak": 3}


@pytest.mark.parametrize("raw", ["count", "fraction", "weighted_fraction"])
def test_raw_votes_come_before_debiased_ones_unless_asked_otherwise(table, raw):
    columns = {"objid": ["1"], **galaxy_zoo_2(raw, **FRACTIONS), **galaxy_zoo_2("debiased", a01=1.0)}
    labels = recognise(table(columns))
    assert labels.kind == "raw"
    assert labels.notes[0] == "its raw votes are taken; --votes debiased takes the debiased ones."
    assert votes(labels)["smooth-or-featured_featured-or-disk"] > votes(labels)["smooth-or-featured_smooth"]
    debiased = recognise(table(columns), kind="debiased")
    assert debiased.kind == "debiased"
    assert votes(debiased) == {"smooth-or-featured_smooth": 40}


def test_raw_fractions_of_a_few_answers_do_not_hide_the_debiased_ones_of_all(table):
    columns = {"objid": ["1"], **galaxy_zoo_2("debiased", **FRACTIONS), **galaxy_zoo_2("fraction", a01=0.5)}
    for name in [name for name in columns if name.endswith("_fraction") and "_a01_" not in name]:
        del columns[name]
    assert recognise(table(columns)).kind == "debiased"


def test_one_campaign_of_debiased_votes_is_not_added_to_raw_ones_of_another(table):
    root = "smooth-or-featured-{}_{}{}"
    columns = {"id": ["1"]}
    for answer, n in {"smooth": 10, "featured-or-disk": 30, "artifact": 0}.items():
        columns[root.format("dr12", answer, "")] = [n]
        columns[root.format("dr5", answer, "_debiased")] = [n / 40]
    labels = recognise(table(columns))
    assert (labels.kind, votes(labels)["smooth-or-featured_featured-or-disk"]) == ("raw", 30)
    assert "dr5 is left out: it has no raw votes." in labels.notes


def test_kaggles_fractions_are_debiased_and_never_raw(table):
    columns = {"GalaxyID": ["100008"], "Class1.1": [0.4], "Class1.2": [0.6], "Class1.3": [0.0]}
    assert recognise(table(columns)).kind == "debiased"
    with pytest.raises(InputError, match="has no raw votes, but debiased ones"):
        recognise(table(columns), kind="raw")


def test_a_question_with_an_impossible_count_counts_as_not_asked(table):
    columns = {
        "smooth-or-featured_smooth": [20, 20],
        "smooth-or-featured_featured-or-disk": [5, -1],
        "smooth-or-featured_artifact": [1, 0],
        "bar_yes": [2, 2],
        "bar_no": [3, 3],
    }
    labels = recognise(table(columns))
    assert votes(labels)["smooth-or-featured_smooth"] == 20
    assert votes(labels, 1) == {"bar_strong-or-weak": 2, "bar_no": 3}


@pytest.mark.parametrize("scale", [1, 100])
def test_fractions_may_be_per_cent(table, scale):
    gz2 = {
        f"t01_smooth_or_features_{a}_x_fraction": [share * scale]
        for a, share in (("a01", 0.6), ("a02", 0.3), ("a03", 0.1))
    }
    decals = {
        f"smooth-or-featured_{a}_fraction": [share * scale]
        for a, share in (("smooth", 0.6), ("featured-or-disk", 0.3), ("artifact", 0.1))
    }
    kaggle = {f"Class1.{i}": [share * scale] for i, share in ((1, 0.6), (2, 0.3), (3, 0.1))}
    for columns in (gz2, decals, kaggle):
        found = votes(recognise(table(columns)))
        assert found["smooth-or-featured_smooth"] == pytest.approx(24)
        assert found["smooth-or-featured_artifact"] == pytest.approx(4)


def test_an_impossible_fraction_reaches_the_questions_behind_it(table):
    columns = {"t01_smooth_or_features_a01_smooth_fraction": [-1.0, 0.5]}
    columns["t01_smooth_or_features_a02_features_fraction"] = [-1.0, 0.5]
    columns["t01_smooth_or_features_a03_star_fraction"] = [-1.0, 0.0]
    columns |= {"t02_edgeon_a04_yes_fraction": [-1.0, 0.5], "t02_edgeon_a05_no_fraction": [-1.0, 0.5]}
    labels = recognise(table(columns))
    assert labels.labelled.tolist() == [False, True]
    assert votes(labels, 1)["disk-edge-on_yes"] == pytest.approx(10)
