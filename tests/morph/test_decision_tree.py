import numpy as np
import pytest

from morph.decision_tree import (
    ANSWER_COLUMNS,
    ANSWERS,
    COARSE,
    TREE,
    VOTE_COLUMNS,
    column_name,
    membership,
    most_likely_path,
    question_membership,
    question_of,
    tree_probabilities,
    vote_column,
)
from morph.votes import empty_votes, set_votes
from training.importers.galaxy_zoo import GALAXY_ZOO_2, QUESTIONS
from training.importers.schemes import GALAXY10_CLASSES, GALAXY_ZOO_1_CLASSES, RING_CLASSES


def test_parents_come_before_their_children():
    seen = set()
    for question in TREE:
        for parent, answer in question.asked_after:
            assert parent in seen
            assert answer in TREE[parent].answers
        seen.add(question.name)


def test_slices_cover_the_answers_once():
    places = np.concatenate([np.arange(len(ANSWERS))[part] for part in TREE.slices.values()])
    np.testing.assert_array_equal(places, np.arange(len(ANSWERS)))
    assert ANSWERS[TREE.slices["bar"]] == ("bar_strong", "bar_weak", "bar_no")


@pytest.mark.parametrize("classes", [GALAXY_ZOO_1_CLASSES, GALAXY10_CLASSES, RING_CLASSES])
def test_classes_imply_existing_answers_that_one_volunteer_could_give(classes):
    for name, answers in classes.items():
        assert set(answers) <= set(VOTE_COLUMNS), name
        questions = [question_of(answer) for answer in answers]
        assert len(set(questions)) == len(questions), f"{name} answers a question twice"


def test_classes_imply_the_whole_path_to_their_answers():
    for classes in (GALAXY_ZOO_1_CLASSES, GALAXY10_CLASSES, RING_CLASSES):
        for name, answers in classes.items():
            for answer in answers:
                # Merging and odd features are asked of everybody, so a class need not say how they came there; and
                # Galaxy Zoo 1's edge-on galaxies are disks and cigars alike.
                parents = TREE[question_of(answer)].asked_after
                if len(parents) == 1 and name != "edge_on":
                    assert "_".join(parents[0]) in answers, f"{name}: {answer}"


def test_galaxy_zoo_2_maps_onto_existing_columns():
    assert set(GALAXY_ZOO_2.values()) <= set(VOTE_COLUMNS)
    assert [answer for answers in QUESTIONS.values() for answer in answers] == list(GALAXY_ZOO_2)
    # "Something odd" is said by those who say in question 8 what is odd.
    assert set(COARSE[GALAXY_ZOO_2["a14"]]) >= {GALAXY_ZOO_2[answer] for answer in QUESTIONS["t08"]}


def test_a_coarse_answer_unites_answers_of_its_own_question():
    for coarse, answers in COARSE.items():
        assert set(answers) <= set(TREE[question_of(coarse)].columns)
        assert len(answers) > 1


def test_membership_unites_what_a_coarse_answer_says():
    matrix = membership()
    np.testing.assert_array_equal(matrix[:, : len(ANSWERS)], np.eye(len(ANSWERS)))
    united = {ANSWERS[i] for i in np.flatnonzero(matrix[:, VOTE_COLUMNS.index("bar_strong-or-weak")])}
    assert united == {"bar_strong", "bar_weak"}


def test_every_column_belongs_to_one_question():
    np.testing.assert_array_equal(question_membership().sum(axis=1), 1)


def test_votes_say_not_chosen_where_a_question_was_asked_and_nothing_elsewhere():
    row = set_votes(empty_votes(), {"disk-edge-on_no": 7})
    assert row[VOTE_COLUMNS.index("disk-edge-on_no")] == 7
    assert row[VOTE_COLUMNS.index("disk-edge-on_yes")] == 0
    others = [question_of(column) != "disk-edge-on" for column in VOTE_COLUMNS]
    assert np.isnan(row[others]).all()


def test_votes_set_later_do_not_erase_earlier_ones():
    row = set_votes(set_votes(empty_votes(), {"bar_weak": 3}), {"bar_no": 4})
    assert row[VOTE_COLUMNS.index("bar_weak")] == 3
    assert row[VOTE_COLUMNS.index("bar_no")] == 4


def test_tree_probabilities_multiply_down_the_tree():
    """A galaxy that 60 of 100 volunteers find featured, three quarters of those face on, 0.8 of those spiral."""
    fractions = np.concatenate([np.full(len(question.answers), 1 / len(question.answers)) for question in TREE])

    def set_to(**answers):
        for name, value in answers.items():
            fractions[ANSWERS.index(name)] = value

    set_to(**{"smooth-or-featured_smooth": 0.3, "smooth-or-featured_featured-or-disk": 0.6})
    set_to(**{"smooth-or-featured_artifact": 0.1, "disk-edge-on_yes": 0.25, "disk-edge-on_no": 0.75})
    set_to(**{"has-spiral-arms_yes": 0.8, "has-spiral-arms_no": 0.2})
    set_to(**{"spiral-winding_tight": 0.5, "spiral-winding_medium": 0.5, "spiral-winding_loose": 0.0})
    set_to(**{"how-rounded_round": 1.0, "how-rounded_in-between": 0.0, "how-rounded_cigar-shaped": 0.0})
    chained = dict(zip(ANSWERS, tree_probabilities(fractions), strict=True))
    assert chained["smooth-or-featured_featured-or-disk"] == pytest.approx(0.6)
    assert chained["disk-edge-on_yes"] == pytest.approx(0.6 * 0.25)
    assert chained["has-spiral-arms_yes"] == pytest.approx(0.6 * 0.75 * 0.8)
    assert chained["spiral-winding_tight"] == pytest.approx(0.6 * 0.75 * 0.8 * 0.5)
    assert chained["how-rounded_round"] == pytest.approx(0.3)
    odd = sum(chained[column] for column in TREE["odd-feature"].columns)
    assert odd == pytest.approx(0.9), "everybody who saw a galaxy is asked for odd features"


def test_chain_works_on_batches_and_leaves_its_input_alone():
    fractions = np.full((2, 5, len(ANSWERS)), 0.5)
    assert tree_probabilities(fractions).shape == fractions.shape
    assert (fractions == 0.5).all()


def test_columns_have_underscores_and_stay_apart():
    assert column_name("smooth-or-featured_featured-or-disk") == "smooth_or_featured_featured_or_disk"
    assert len(set(map(column_name, VOTE_COLUMNS))) == len(VOTE_COLUMNS)
    assert all(name.isidentifier() for name in ANSWER_COLUMNS)
    for name in VOTE_COLUMNS:
        assert vote_column(name) == vote_column(column_name(name)) == name
    assert vote_column("smooth-or_featured") is None


@pytest.mark.parametrize("named", [False, True])
def test_the_most_likely_path_has_only_questions_that_are_asked(named):
    p = {name: np.full(len(TREE[name].answers), 0.1) for name in TREE.slices}
    p["smooth-or-featured"][1] = p["disk-edge-on"][1] = p["has-spiral-arms"][1] = 0.9
    flat = np.concatenate([p[question.name] for question in TREE])
    by_name = {name: dict(zip(TREE[name].answers, values, strict=True)) for name, values in p.items()}
    path = most_likely_path(by_name if named else flat)
    assert path[:3] == [
        ("smooth-or-featured", "featured-or-disk", 0.9),
        ("disk-edge-on", "no", 0.9),
        ("has-spiral-arms", "no", 0.9),
    ]
    assert [name for name, *_ in path[3:]] == ["bar", "bulge-size", "merging", "odd-feature"]
