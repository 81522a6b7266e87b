"""What is asked of sampled galaxies, from text to the model's conditions."""

import numpy as np
import pytest

from morph.errors import InputError
from morph.given import QUANTITIES, Given
from morph.model.conditions import CONDITIONS
from morph.model.experts import MEASUREMENTS


def test_the_quantities_are_those_that_the_model_measures():
    assert tuple(QUANTITIES) == MEASUREMENTS


def test_a_text_is_read_and_written_alike():
    text = "redshift=0.1..0.2, mag_r=18, radius=3+-0.5, bar_strong=1"
    assert str(Given.parse(text)) == text
    assert str(Given.parse("radius=0.1 arcmin, mag_g=18.5mag, mag_i=17±0.2")) == "radius=6, mag_g=18.5, mag_i=17+-0.2"
    assert str(Given.of({"redshift": (0.1, 0.2), "mag_r": 18})) == "redshift=0.1..0.2, mag_r=18"
    assert not Given.of(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("magr=18", "'magr' is not a condition; did you mean mag_r"),
        ("colour=1", "is not a condition"),
        ("mag_r", "not 'mag_r'"),
        ("mag_r=bright", "is not a value such as 0.1"),
        ("radius=3kpc", "radius cannot be given in 'kpc'; give it in arcsec"),
        ("redshift=0.1mag", "redshift cannot be given in 'mag'; it has no unit"),
        ("redshift=0.2..0.1", "runs backwards; write 0.1..0.2"),
        ("redshift=-0.1", "No galaxy has redshift=-0.1"),
        ("mag_r=18+-0", "has no width"),
        ("bar_strong=1.5", "No galaxy has bar_strong=1.5; give 0 to 1"),
        ("mag_r=18, mag_r=19", "given twice"),
        ("bar_strong=0.7, bar_no=0.6", "contradict each other"),
        ("has-spiral-arms_yes=1, disk-edge-on_yes=1", "contradicts disk_edge_on_yes=1"),
        ("disk-edge-on_yes=0.8, smooth_or_featured_smooth=1", "contradicts smooth_or_featured_smooth=1"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(text, said):
    with pytest.raises(InputError) as error:
        Given.parse(text)
    assert said in str(error.value)


def test_a_range_is_two_numbers():
    with pytest.raises(InputError, match="not a range of two numbers"):
        Given.of({"redshift": ("near", "far")})
    with pytest.raises(InputError, match="is not a number"):
        Given.of({"redshift": (0.1, float("nan"))})


def test_the_rows_are_the_models_conditions():
    given = Given.parse("redshift=0.1..0.2, mag_r=18+-0.5, bar_strong=1, merging_none=0.4")
    rows = given.rows(2000, np.random.default_rng(0), CONDITIONS)
    known = {name for name, column in zip(CONDITIONS, rows.T, strict=True) if np.isfinite(column).all()}
    bars = {name for name in CONDITIONS if name.startswith("bar_")}
    assert known == {"redshift", "mag_r", *bars, "votes_bar", "merging_none", "votes_merging"}
    column = {name: rows[:, CONDITIONS.index(name)] for name in known}
    assert (column["redshift"].min() >= 0.1, column["redshift"].max() <= 0.2) == (True, True)
    assert column["redshift"].std() == pytest.approx(0.1 / np.sqrt(12), rel=0.05)
    assert (column["mag_r"].mean(), column["mag_r"].std()) == pytest.approx((18.0, 0.5), abs=0.05)
    # Where one answer has all votes of a question, the others have none.
    assert {name: float(column[name][0]) for name in bars} == {name: float(name == "bar_strong") for name in bars}
    assert set(column["votes_bar"]) == {40.0}


def test_as_many_volunteers_reach_a_question_as_the_shares_before_it_say():
    given = Given.parse(
        "smooth-or-featured_featured-or-disk=0.5, disk-edge-on_no=0.5, bar_no=1, has-spiral-arms_yes=1"
    )
    (row,) = given.rows(1, np.random.default_rng(0), CONDITIONS)
    numbers = {name: float(row[CONDITIONS.index(f"votes_{name}")]) for name in ("disk-edge-on", "bar", "how-rounded")}
    assert (numbers["disk-edge-on"], numbers["bar"]) == (20.0, 10.0)
    assert np.isnan(numbers["how-rounded"])
