"""A builder that is killed: what the next one makes is the index of an undisturbed one."""

from serving.similarity import Index
from tests.serving.similarity.killing import Trial, differences


def test_an_index_whose_builder_was_killed_thrice_gives_the_same_hits(tmp_path):
    trial = Trial(sources=6, each=400, exact=300)
    lasted = trial.build(tmp_path / "whole.index")
    assert Index.open(tmp_path / "whole.index").header.lists
    # Each builder goes on where the one before was. A machine that is less busy now may be through before the last.
    killed = [trial.kill(tmp_path / "i.index", part * lasted) for part in (0.01, 0.3, 0.5)]
    assert killed[0]
    trial.build(tmp_path / "i.index")
    assert differences(tmp_path / "i.index", tmp_path / "whole.index") == []
