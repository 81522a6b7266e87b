"""The value-added catalogue: one answer a question, only where it is asked, with its error."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from morph.decision_tree import ANSWER_COLUMNS, TREE, column_name, tree_probabilities
from morph.stamps.flags import Flag
from serving.scores.value_added import NEEDED, UNRESOLVED, columns_of, reach, value_added
from tests.serving.scores.invented import write_tile


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> pa.Table:
    folder = tmp_path_factory.mktemp("scores")
    write_tile(folder, "DES0000-0000", np.linspace(10, 11, 60), np.linspace(-1, 1, 60))
    return pq.read_table(folder / "DES0000-0000.parquet", columns=[*NEEDED, "mag_g", "mag_r", "mag_i"])


def certain(scores: pa.Table, **answers: str) -> pa.Table:
    """The same rows, where the first galaxy's named questions (with underscores) have these answers for certain."""
    for question in TREE:
        wanted = answers.get(column_name(question.name))
        for answer in question.columns if wanted else ():
            column = column_name(answer)
            values = scores[column].to_numpy().copy()
            values[0] = float(answer == f"{question.name}_{wanted}")
            scores = scores.set_column(scores.column_names.index(column), scores.field(column), pa.array(values))
    return scores


def test_the_chance_to_be_asked_is_the_trees(scores):
    p = columns_of(scores, ANSWER_COLUMNS)
    tree = tree_probabilities(p.T).T
    for question in TREE:
        np.testing.assert_allclose(reach(p)[question.name], tree[TREE.slices[question.name]].sum(axis=0), rtol=1e-5)


def test_a_certain_galaxy_in_words(scores):
    given = certain(
        scores,
        smooth_or_featured="featured-or-disk",
        disk_edge_on="no",
        has_spiral_arms="yes",
        bar="strong",
        bulge_size="small",
        spiral_winding="tight",
        spiral_arm_count="2",
        merging="none",
        odd_feature="ring",
    )
    row = value_added(given).slice(0, 1).to_pylist()[0]
    assert row["summary"] == "featured, face-on, spiral arms, strong bar, small bulge, tight winding, 2 arms, ring"
    assert (row["bar"], row["bar_probability"], row["bar_error"]) == ("strong", 1.0, 0.0)
    assert row["merging"] == "none"
    # No volunteer is asked how round a galaxy with features is.
    assert row["how_rounded"] is None
    assert row["how_rounded_probability"] is None
    assert row["clean"] is True


def test_the_error_is_the_dirichlets(scores):
    table = value_added(scores)
    p, error = (table[f"smooth_or_featured{name}"].to_numpy() for name in ("_probability", "_error"))
    worth = scores["smooth_or_featured_concentration"].to_numpy()
    answered = np.isfinite(p)
    random = np.random.default_rng(0)
    row = int(np.flatnonzero(answered)[0])
    alpha = worth[row] * columns_of(scores, list(map(column_name, TREE["smooth-or-featured"].columns)))[:, row]
    drawn = random.dirichlet(alpha, 40_000)[:, alpha.argmax()]
    np.testing.assert_allclose(error[row], drawn.std(), rtol=0.02)


def test_what_is_unresolved_is_not_called_anything(scores):
    flags = scores["flags"].to_numpy().copy()
    flags[:2] = [Flag.UNRESOLVED, Flag.MISSING_BAND]
    place = scores.column_names.index("flags")
    given = certain(scores, smooth_or_featured="artifact").set_column(place, scores.field("flags"), pa.array(flags))
    rows = value_added(given).slice(0, 2).to_pylist()
    assert [row["summary"] == UNRESOLVED for row in rows] == [True, False]
    assert [row["clean"] for row in rows] == [False, True]


def test_a_galaxy_without_answers_has_none(scores):
    row = value_added(scores).slice(9, 1).to_pylist()[0]
    assert row["summary"] is None
    assert all(row[column_name(question.name)] is None for question in TREE)
    assert row["clean"] is False
    assert row["ra"] is not None


def test_an_empty_table_has_the_same_columns(scores):
    assert value_added(scores.slice(0, 0)).schema == value_added(scores).schema
