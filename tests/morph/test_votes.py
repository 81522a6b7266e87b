"""Raw votes and debiased ones are kept apart."""

import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.decision_tree import VOTE_COLUMNS
from morph.errors import InputError
from morph.votes import difference, empty_votes, has_votes, kinds_of, one_kind, set_votes, vote_counts, was_asked


def galaxies(*kinds: str) -> Galaxies:
    n = len(kinds)
    votes = np.ones((n, len(VOTE_COLUMNS)), dtype="float32")
    columns = {"id": np.arange(n).astype(str), "votes": votes, "vote_kind": np.array(kinds)}
    return Galaxies({"path": "+".join(kinds)}, columns)


def test_one_kind_is_found_and_two_are_refused():
    assert one_kind([galaxies("raw", ""), galaxies("raw")], "meet") == "raw"
    assert one_kind([galaxies("", "")], "meet") == ""
    assert kinds_of([galaxies("raw", "debiased")]) == {"raw", "debiased"}
    with pytest.raises(InputError, match=r"Raw votes \('raw'\) and debiased ones \('debiased'\) cannot meet together"):
        one_kind(iter([galaxies("raw"), galaxies("debiased")]), "meet")


def test_a_model_and_votes_of_two_kinds_differ_in_a_sentence():
    assert difference("raw", "raw") == "The model's answers and these votes are both raw."
    assert "answers are raw and these votes are debiased: the two differ" in difference("raw", "debiased")
    assert difference("", "raw") == "Whether the model's answers are raw or debiased is not recorded."
    assert difference("raw", "") == "Whether these votes are raw or debiased is not recorded."


def test_what_was_not_asked_differs_from_no_votes():
    votes = np.stack([empty_votes(), set_votes(empty_votes(), {"bar_no": 0}), set_votes(empty_votes(), {"bar_no": 3})])
    assert was_asked(votes).tolist() == [False, True, True]
    assert has_votes(votes).tolist() == [False, False, True]
    assert np.isfinite(vote_counts(votes)).all()
    assert vote_counts(votes).sum(axis=1).tolist() == [0, 0, 3]
