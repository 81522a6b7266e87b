"""Tables of classes, in long format, and of the user's own mapping."""

import json

import numpy as np
import pytest

from morph.decision_tree import question_of
from morph.errors import InputError
from tests.training.importers.labels import votes
from training.importers.schemes import read_mapping, recognise


@pytest.mark.parametrize(
    ("word", "answers"),
    [
        ("elliptical", {"smooth-or-featured_smooth", "merging_none"}),
        ("edge_on", {"disk-edge-on_yes", "merging_none"}),
        ("merger", {"merging_merger", "odd-feature_merger"}),
        ("unknown", {"smooth-or-featured_artifact"}),
    ],
)
def test_galaxy_zoo_1_classes(table, word, answers):
    labels = recognise(table({"id": ["a", "b"], "label": [word, "spiral_clockwise"]}))
    assert labels.scheme.startswith("Galaxy Zoo 1 classes")
    assert votes(labels) == dict.fromkeys(answers, 1)
    assert "has-spiral-arms_yes" in votes(labels, 1)


def test_galaxy_zoo_1_vote_fractions(table):
    columns = {name: [0.0] for name in ("P_EL", "P_CW", "P_ACW", "P_EDGE", "P_DK", "P_MG")}
    shares = {"P_EL": [0.6], "P_CW": [0.1], "P_ACW": [0.1], "P_EDGE": [0.1], "P_MG": [0.1]}
    labels = recognise(table({**columns, "OBJID": ["1"], "NVOTE": [50], **shares}))
    found = votes(labels)
    assert (found["smooth-or-featured_smooth"], found["smooth-or-featured_featured-or-disk"]) == (30, 15)
    assert (found["disk-edge-on_yes"], found["disk-edge-on_no"]) == (5, 10)
    assert (found["merging_none"], found["merging_merger"]) == (45, 5)
    single_class = {question_of(name) for name in found} & {"has-spiral-arms", "odd-feature"}
    assert not single_class, "these have no answer to vote for instead"


def test_galaxy10_names_and_numbers(table):
    words = ["Round Smooth Galaxies", "Unbarred Tight Spiral Galaxies", "Edge-on Galaxies with Bulge"]
    labels = recognise(table({"id": ["a", "b", "c"], "class": words}))
    assert labels.scheme.startswith("Galaxy10")
    assert "how-rounded_round" in votes(labels)
    assert {"bar_no", "spiral-winding_tight"} <= set(votes(labels, 1))
    assert "edge-on-bulge_rounded" in votes(labels, 2)
    numbered = recognise(table({"id": ["a", "b", "c"], "ans": [2, 6, 9]}))
    np.testing.assert_array_equal(numbered.votes, labels.votes)


def test_rings(table):
    labels = recognise(table({"id": ["a", "b"], "label": ["ring", "no_ring"]}))
    assert votes(labels)["odd-feature_ring"] == 1
    assert votes(labels, 1)["odd-feature_none"] == 1


def test_unknown_classes_are_reported(table):
    labels = recognise(table({"id": ["a", "b", "c"], "label": ["spiral", "elliptical", "dunno"]}))
    assert labels.labelled.tolist() == [True, True, False]
    assert labels.notes == ["1 rows have another class in 'label' (dunno)."]


def test_long_format_implies_the_path_to_its_question(table):
    columns = {
        "id": ["a", "b", "c", "d"],
        "question": [
            "Is there a sign of a spiral arm pattern?",
            "Is the galaxy simply smooth and rounded, with no sign of a disk?",
            "Is it pretty?",
            "Is the galaxy in the centre of the image simply smooth and rounded, or does it have features?",
        ],
        "answer": ["Spiral", "Star or Artifact", "Yes", "Features"],
    }
    labels = recognise(table(columns))
    assert votes(labels) == {
        "has-spiral-arms_yes": 1,
        "disk-edge-on_no": 1,
        "smooth-or-featured_featured-or-disk": 1,
    }
    assert votes(labels, 1) == {"smooth-or-featured_artifact": 1}
    assert votes(labels, 3) == {"smooth-or-featured_featured-or-disk": 1}
    assert labels.notes == ["1 rows have 'Is it pretty?' 'Yes', which the shared tree does not have."]


def test_an_unknown_table_names_its_columns_and_what_to_type(table):
    with pytest.raises(InputError, match=r"\(id, colour\) are not labels that morph recognises; .*--mapping FILE"):
        recognise(table({"id": ["a"], "colour": ["red"]}))


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_a_mapping_gives_the_meaning_of_other_classes(table, tmp_path, suffix):
    path = tmp_path / f"mapping{suffix}"
    json_text = '{"E": "smooth-or-featured_smooth", "S": ["smooth-or-featured_featured-or-disk", "disk-edge-on_no"]}'
    toml_text = 'E = "smooth-or-featured_smooth"\nS = ["smooth-or-featured_featured-or-disk", "disk-edge-on_no"]\n'
    path.write_text(json_text if suffix == ".json" else toml_text)
    labels = recognise(table({"id": ["a", "b", "c"], "type": ["E", "S", "Irr"]}), read_mapping(path))
    assert votes(labels) == {"smooth-or-featured_smooth": 1}
    assert votes(labels, 1) == {"smooth-or-featured_featured-or-disk": 1, "disk-edge-on_no": 1}
    assert labels.notes == ["1 rows have another class in 'type' (irr)."]


def test_a_mapping_gives_the_meaning_of_other_columns(table, tmp_path):
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps({"n_bar": ["bar_strong-or-weak"], "n_nobar": ["bar_no"]}))
    labels = recognise(table({"id": ["a"], "n_bar": [3.5], "n_nobar": [6]}), read_mapping(path))
    assert votes(labels) == {"bar_strong-or-weak": 3.5, "bar_no": 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "must be like"),
        ('{"E": "smooth-or-featured_smoth"}', "did you mean 'smooth-or-featured_smooth'"),
    ],
)
def test_mappings_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "mapping.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_mapping(path)
    with pytest.raises(InputError, match="There is no mapping at"):
        read_mapping(tmp_path / "none.json")


def test_a_mapping_for_another_table_is_refused(table, tmp_path):
    path = tmp_path / "mapping.json"
    path.write_text('{"E": "smooth-or-featured_smooth"}')
    with pytest.raises(InputError, match=r"Nothing in .* is called E; .*\(its columns: id, type\)"):
        recognise(table({"id": ["a"], "type": ["spiral"]}), read_mapping(path))


def test_a_column_of_one_answer_alone_is_refused(table):
    columns = table({"id": ["1"], "p_bar": [0.3]})
    with pytest.raises(
        InputError, match="'p_bar' is for 'bar_strong-or-weak', and none is for another answer to 'bar'"
    ):
        recognise(columns, {"p_bar": ("bar_strong-or-weak",)})


def test_a_mapping_takes_its_kind_from_the_columns_or_from_the_user(table):
    mapping = {
        "p_el_debiased": ("smooth-or-featured_smooth",),
        "p_cs_debiased": ("smooth-or-featured_featured-or-disk",),
    }
    columns = {"id": ["1"], "p_el_debiased": [0.3], "p_cs_debiased": [0.7]}
    assert recognise(table(columns), mapping).kind == "debiased"
    columns = {"id": ["1"], "p_el_debiased": [0.3], "p_cs": [0.7]}
    mapping["p_cs"] = mapping.pop("p_cs_debiased")
    with pytest.raises(InputError, match="debiased votes beside raw ones"):
        recognise(table(columns), mapping)
    assert recognise(table(columns), mapping, "raw").kind == "raw"
