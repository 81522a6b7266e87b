"""`--where`: the rows that the expression says; nothing is executed; a mistake is one sentence."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morph.catalogs.row_filter import Selection
from morph.errors import InputError

TABLE = pa.table(
    {
        "MAG_AUTO_R": [20.0, 21.0, 22.0, float("nan"), None],
        "EXTENDED_CLASS_COADD": pa.array([3, 2, 3, 3, 3], pa.int16()),
        "TYPE": ["PSF", "EXP ", "SER", "", None],
        "BRICK_PRIMARY": [True, True, False, True, True],
        "Z_MEAN": pa.array(map(Decimal, ("0.10", "0.25", "0.30", "0.40", "0.50")), pa.decimal128(4, 2)),
    }
)


def chosen(text: str) -> list[int]:
    numbered = TABLE.append_column("n", pa.array(range(len(TABLE))))
    return numbered.filter(Selection(text).of(TABLE.schema).value)["n"].to_pylist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("MAG_AUTO_R < 21.5 and EXTENDED_CLASS_COADD == 3", [0]),
        ("mag_auto_r < 21.5 AND NOT extended_class_coadd IN (3, 4)", [1]),
        ("20.5 <= MAG_AUTO_R < 21.5 or MAG_AUTO_R == 22", [1, 2]),
        ("isnan(MAG_AUTO_R)", [3, 4]),
        ("between(MAG_AUTO_R, 21, 22)", [1, 2]),
        ("MAG_AUTO_R - 1 > 20", [2]),
        ("EXTENDED_CLASS_COADD / 2 == 1.5 and abs(-MAG_AUTO_R) < 21", [0]),
        ("sqrt(MAG_AUTO_R ** 2) < 20.5 or log10(MAG_AUTO_R) > 1.34", [0, 2]),
        ("TYPE == 'EXP'", [1]),
        ("TYPE not in ('PSF', 'EXP', '')", [2]),
        ("not BRICK_PRIMARY", [2]),
        ("BRICK_PRIMARY == 0", [2]),
        ("Z_MEAN < 0.3 and log10(Z_MEAN) > -0.7", [1]),
    ],
)
def test_the_rows_that_it_says(text, rows):
    assert chosen(text) == rows


@settings(deadline=None)
@given(st.recursive(
    st.sampled_from(["MAG_AUTO_R < 21.5", "EXTENDED_CLASS_COADD == 3", "MAG_AUTO_R >= 20.5"]),
    lambda part: st.builds("({} {} {})".format, part, st.sampled_from(["and", "or"]), part)
    | st.builds("(not {})".format, part),
    max_leaves=8,
))  # fmt: skip
def test_it_says_what_numpy_says(text):
    rows = {"MAG_AUTO_R": np.array([20.0, 21.0, 22.0]), "EXTENDED_CLASS_COADD": np.array([3, 2, 3])}
    like_numpy = text.replace("and", "&").replace("or", "|").replace("not", "~")
    for condition in ("MAG_AUTO_R < 21.5", "EXTENDED_CLASS_COADD == 3", "MAG_AUTO_R >= 20.5"):
        like_numpy = like_numpy.replace(condition, f"({condition})")
    expected = np.flatnonzero(eval(like_numpy, {}, rows))
    assert [row for row in chosen(text) if row < 3] == expected.tolist()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("MAG_AUTO < 21.5", "no column 'MAG_AUTO'.*did you mean 'MAG_AUTO_R'"),
        ("zz < 1", "no column 'zz'.*it has MAG_AUTO_R, EXT"),
        ("MAG_AUTO_R < '21'", "compares 'MAG_AUTO_R', which is a number, with ''21'', which is text"),
        ("TYPE + 1 == 2", "'TYPE' is text, where a number belongs"),
        ("MAG_AUTO_R", "is a number, not a condition"),
        ("MAG_AUTO_R = 21", "cannot be understood"),
        ("MAG_AUTO_R < 21 & BRICK_PRIMARY", "`and` and `or`, not by & and |"),
        ("MAG_AUTO_R is 21", "use == and !="),
        ("MAG_AUTO_R in 21", "a list such as"),
        ("__import__('os').system('true') == 0", "cannot use"),
        ("(lambda: 1)() == 1", "cannot use"),
        ("open('x') == 1", "cannot call"),
        ("TYPE.x == 1", "cannot use"),
        ("[x for x in (1,)] == 1", "cannot use"),
        ("", "cannot be understood"),
        ("(" * 5000 + "1" + ")" * 5000, "cannot be understood"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_executed(text, reason):
    with pytest.raises(InputError, match=reason) as said:
        Selection(text).of(TABLE.schema)
    assert "\n" not in str(said.value)


def test_questions_and_answers_may_have_their_hyphens():
    table = pa.table(
        {
            "smooth_or_featured_smooth": [0.2, 0.9],
            "spiral_arm_count_more_than_4": [0.5, 0.5],
            "smooth_or_featured_smooth_tree": [0.1, 0.8],
            "name": ["disk-edge-on_yes", "x"],
            "a": [3, 1],
        }
    )
    for text, expected in (
        ("smooth-or-featured_smooth < 0.3", [True, False]),
        ("smooth-or-featured_smooth_tree - 0.5 > 0 and spiral-arm-count_more-than-4 == 0.5", [False, True]),
        ("name == 'disk-edge-on_yes'", [True, False]),
        ("a-1 > 1", [True, False]),
    ):
        where = Selection(text).of(table.schema)
        assert table.append_column("_", pa.array([0, 1])).filter(where.value)["_"].to_pylist() == [
            k for k, wanted in enumerate(expected) if wanted
        ], text


def test_answers_that_one_question_has_may_be_written_alone():
    answers = pa.table({"smooth_or_featured_smooth": [0.9, 0.3], "has_spiral_arms_yes": [0.1, 0.9]})
    both = answers.append_column("smooth", pa.array([0.0, 1.0]))
    where = Selection("smooth > 0.5")
    assert answers.filter(where.of(answers.schema).value)["has_spiral_arms_yes"].to_pylist() == [0.1]
    # A column of that name counts before an answer.
    assert both.filter(where.of(both.schema).value)["has_spiral_arms_yes"].to_pylist() == [0.9]
    with pytest.raises(InputError, match="no column 'yes'"):
        Selection("yes > 0.5").of(answers.schema)


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("smooth > 0.8 and 0.1 < redshift < 0.2", "0.1 < redshift < 0.2 and smooth > 0.5"),
        ("smooth-or-featured_smooth > 0.8", "smooth > 0.5"),
        ("redshift < 0.2", "redshift < 0.2 and smooth > 0.5"),
        ("(smooth > 0.8 or redshift < 1) and abs(smooth) < 1", "(smooth > 0.8 or redshift < 1) and smooth > 0.5"),
    ],
)
def test_the_conditions_on_one_column_are_replaced(text, replaced):
    assert Selection(text).replacing("smooth_or_featured_smooth", "smooth > 0.5").text == replaced
