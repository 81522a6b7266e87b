"""A process computes with as many threads as it is told."""

from morph.cores import threads_allowed


def test_threads_are_those_that_tensorflow_would_be_given(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert threads_allowed() == 3
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    assert threads_allowed() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    assert threads_allowed() >= 1
