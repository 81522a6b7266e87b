"""Shifts that are significant are reported, and why a comparison is impossible."""

import numpy as np
import pytest

from morph.domain_shift.compare import FEWEST, NO_REFERENCE_SAMPLE, Shift, compare
from morph.domain_shift.report import document, lines, plot
from morph.domain_shift.sample import Sample
from morph.stamps.image_statistics import NAMES
from morph.surveys import SURVEYS

DECALS = list(SURVEYS).index("decals")


def test_two_halves_of_one_survey_do_not_differ(drawn):
    shift = compare(drawn(300), drawn(300, seed=1))
    assert shift.embedding.low <= 0.5 <= shift.embedding.high
    assert not [each.direction for each in shift.statistics if each.is_significant and abs(each.shift) > 0.35]
    assert "No significant difference" in lines(shift)[0]
    assert not shift.notes


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        ({"sharpness": 1.2}, "blurrier by 1."),
        ({"g-r": -0.9}, "bluer in g - r by 0."),
        ({"noise": 1.0}, "noisier by 1."),
    ],
)
def test_what_moved_most_is_named_with_its_size(drawn, pixels, word):
    shift = compare(drawn(300), drawn(200, seed=1, place=0.8, pixels=pixels))
    assert shift.statistics[0].statistic.name == next(iter(pixels))
    assert shift.statistics[0].shift == pytest.approx(next(iter(pixels.values())), abs=0.25)
    assert lines(shift)[1].startswith(f"These galaxies are {word}")
    assert shift.embedding.low > 0.8


def test_of_several_sets_the_nearest_of_the_same_kind_counts(drawn):
    reference = Sample.concatenate(
        [drawn(100, seed=2, place=2, origin=0), drawn(60, seed=3, origin=1), drawn(100, seed=4, origin=2, flux=0)]
    )
    shift = compare(reference, drawn(200, seed=1))
    assert (len(shift.reference), shift.sets) == (60, 2)
    assert shift.embedding.low <= 0.5


def test_another_band_scale_or_kind_of_image_is_noted(drawn):
    scale = {"scale": -9.0}
    notes = compare(drawn(60), drawn(60, seed=1, survey=DECALS, pixels=scale, flux=0)).notes
    assert "trained on calibrated flux, and these galaxies are colour pictures" in notes[0]
    assert "bands are g, r, z, where the model was trained on g, r, i" in notes[1]
    assert "smaller on the sky" in notes[2]


def test_an_unknown_scale_is_not_mentioned(drawn):
    unknown = drawn(60, seed=1)
    unknown.statistics[:, NAMES.index("scale")] = np.nan
    shift = compare(drawn(60), unknown)
    assert "scale" not in [each.statistic.name for each in shift.statistics]


def test_without_pixels_the_embedding_is_compared_alone(drawn):
    blind = drawn(80, seed=1, place=1)
    blind.statistics[:] = np.nan
    shift = compare(drawn(200), blind)
    assert shift.pixels is None
    assert not shift.statistics
    assert shift.embedding.low > 0.8
    assert plot(shift) is not None


def test_a_model_without_a_reference_sample_and_too_few_galaxies_are_each_a_sentence(drawn):
    assert compare(None, drawn(100)) == NO_REFERENCE_SAMPLE
    assert f"from {FEWEST - 1} usable galaxies" in compare(drawn(100), drawn(FEWEST - 1))
    assert f"from the {FEWEST - 1} of the model's reference sample" in compare(drawn(FEWEST - 1), drawn(100))
    assert isinstance(compare(drawn(FEWEST), drawn(FEWEST, seed=1)), Shift)
    unanswered = drawn(FEWEST, seed=1)
    unanswered.embedding[0] = np.nan
    assert "usable" in compare(drawn(100), unanswered)
    assert lines(NO_REFERENCE_SAMPLE) == [NO_REFERENCE_SAMPLE]
    assert document(NO_REFERENCE_SAMPLE) == {"lines": [NO_REFERENCE_SAMPLE]}


def test_simulated_galaxies_are_called_so(drawn):
    shift = compare(drawn(100, simulated=1), drawn(100, seed=1, simulated=1))
    assert "100 simulated galaxies of the training set" in lines(shift)[0]
    assert "tiles, simulated" in plot(shift, "tiles").get_suptitle()
