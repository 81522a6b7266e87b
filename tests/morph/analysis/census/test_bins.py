"""The grid of a census: edges as they are given, galaxies in bins, bins of few galaxies."""

import numpy as np
import pytest

from morph.analysis.census.bins import Bins, merge_few
from morph.errors import InputError


def test_galaxies_fall_into_the_bin_whose_lower_edge_they_reach():
    bins = Bins.of("magnitude,redshift", ["magnitude=14,16,18", "redshift=0:0.2:0.1"])
    assert bins.shape == (2, 2)
    place = bins.place(
        {
            "magnitude": np.array([14.0, 15.99, 16.0, 18.0, 18.1, np.nan, 15.0]),
            "redshift": np.array([0.0, 0.1, 0.05, 0.2, 0.1, 0.1, -0.01]),
        }
    )
    assert place.tolist() == [0, 1, 2, 3, -2, -1, -2]
    assert bins.limits(3) == {"magnitude": (16, 18), "redshift": (0.1, 0.2)}


def test_usual_edges_are_there_for_the_usual_quantities():
    for name in ("magnitude", "mag_r", "redshift", "z", "radius", "snr"):
        assert Bins.of(name).count > 5
    assert Bins.of("").count == 1
    assert Bins.of("").limits(0) == {}


@pytest.mark.parametrize(
    ("by", "given", "words"),
    [
        ("magnitude", ["redshift=0,1"], "does not name a quantity of --by"),
        ("magnitude", ["magnitude"], "does not name a quantity of --by"),
        ("magnitude", ["magnitude=18,16"], "not a list of rising numbers"),
        ("magnitude", ["magnitude=18"], "not a list of rising numbers"),
        ("magnitude", ["magnitude=0:1:0"], "not a list of rising numbers"),
        ("magnitude", ["magnitude=a,b"], "not a list of rising numbers"),
        ("magnitude", ["magnitude=0,nan"], "not a list of rising numbers"),
        ("magnitude,magnitude", [], "twice"),
        ("halo_mass", [], "no usual edges"),
        ("magnitude,redshift,radius,snr", [], "give wider ones"),
    ],
)
def test_edges_that_cannot_be_understood_are_named(by, given, words):
    with pytest.raises(InputError, match=words):
        Bins.of(by, given)


def test_bins_of_few_galaxies_are_merged_with_a_neighbour_in_the_last_quantity():
    bins = Bins.of("redshift,magnitude", ["redshift=0,1,2", "magnitude=14,15,16,17,18"])
    merged = merge_few(bins, np.array([3, 4, 40, 2, 0, 5, 0, 0]))
    assert [each.numbers for each in merged] == [(0, 1, 2, 3), (5,)]
    assert [each.merged for each in merged] == [True, False]
    merged = merge_few(bins, np.array([20, 0, 20, 9, 0, 0, 0, 0]))
    assert [(each.numbers, each.merged) for each in merged] == [((0,), False), ((2, 3), True)]
