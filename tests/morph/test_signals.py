"""How a program that runs long is told to stop."""

import signal
import time

import pytest

from morph.signals import Terminated, held_back, stoppable


class Finalised:
    """Something in whose finaliser, where Python swallows exceptions, a signal comes."""

    def __init__(self, number: int):
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_whose_exception_is_swallowed_comes_again(number, raised, capsys):
    def lose_it() -> None:
        with stoppable():
            del [Finalised(number)][0]
            time.sleep(30)

    with pytest.raises(raised):
        lose_it()
    assert not capsys.readouterr().err, "not told as an exception that was ignored"


def test_a_signal_waits_for_the_end_of_what_belongs_together():
    done = []

    def two_steps() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            with held_back():
                done.append(1)
            done.append(2)

    with pytest.raises(KeyboardInterrupt), stoppable():
        two_steps()
    assert done == [1, 2]


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stoppable():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
