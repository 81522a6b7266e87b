"""Work in a process of its own."""

import os

import pytest

from morph.errors import InputError
from training.label_budget.plan import budgets_of
from training.label_budget.process import apart


def test_another_process_does_the_work_and_hands_back_what_came_of_it():
    assert apart(os.getpid) != os.getpid()
    assert apart(budgets_of, "300,50") == [50, 300]
    with pytest.raises(InputError, match="should be numbers"):
        apart(budgets_of, "many")


def test_a_process_that_dies_is_told():
    with pytest.raises(RuntimeError, match="exit status 7"):
        apart(os._exit, 7)
