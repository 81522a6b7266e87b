"""Signals that stop a long-running command."""

import signal
import subprocess
import sys
import time

import pytest

from morph.signals import Interrupted, Terminated, signals_deferred, stoppable, until_stopped


class Finalised:
    """Something in whose finaliser, where Python swallows exceptions, a signal comes."""

    def __init__(self, number: int):
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, Interrupted), (signal.SIGTERM, Terminated)])
def test_a_signal_whose_exception_is_swallowed_comes_again(number, raised, capsys):
    def lose_it() -> None:
        with stoppable():
            del [Finalised(number)][0]
            time.sleep(30)

    with pytest.raises(raised):
        lose_it()
    assert not capsys.readouterr().err, "not reported as an exception that was ignored"


def test_a_signal_waits_for_the_end_of_what_belongs_together():
    done = []

    def two_steps() -> None:
        with signals_deferred():
            signal.raise_signal(signal.SIGINT)
            with signals_deferred():
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


#: Waits in C for a lock that never comes free: no signal interrupts it, and Python runs no handler meanwhile.
BLOCKED = """
import ctypes
from morph import signals
signals.GRACE = 0.3
libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(128)
with signals.stoppable(), signals.signals_deferred():
    libc.pthread_mutex_lock(lock)
    print("blocked", flush=True)
    libc.pthread_mutex_lock(lock)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_ends_within_the_grace_while_a_library_blocks_its_main_thread(number):
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"blocked\n"
            process.send_signal(number)
            assert process.wait(timeout=20) == 128 + number
        finally:
            process.kill()
        assert process.stderr is not None
        assert b"Stopped during clean-up" in process.stderr.read()


IN_A_STRING = """
import signal, sys
from morph.signals import stoppable
try:
    with stoppable():
        exec("signal.raise_signal(signal.SIGINT)")
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_the_exit_status_is_kept_where_ctrl_c_met_code_from_a_string():
    assert subprocess.run([sys.executable, "-c", IN_A_STRING]).returncode == 130


def test_the_former_wakeup_descriptor_is_back_afterwards():
    before = signal.set_wakeup_fd(-1)
    with stoppable():
        assert _descriptor() != before
        with until_stopped():
            assert _descriptor() == -1, "a server that stops has no clock"
        assert _descriptor() not in (-1, before)
    assert _descriptor() == before


def _descriptor() -> int:
    signal.set_wakeup_fd(found := signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
    return found
