"""Signals that stop a long-running command."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: The signals that stop a command: Ctrl-C, and a batch system's when a job's time is over.
STOPS = (signal.SIGINT, signal.SIGTERM)
#: Seconds that a command may take to clean up after a signal. The next command removes what it leaves.
GRACE = 15.0


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed. Python ends by the signal, whatever the exit status, where code that it made from a string
    raised KeyboardInterrupt itself."""


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


#: Seconds after which a signal is sent again whose exception was swallowed.
AGAIN = 0.1

#: The signal that arrived, 0 if none. Python swallows an exception that is raised inside a finaliser or a library's
#: callback, so what runs long asks again.
_received = 0

#: How many blocks of `signals_deferred` the main thread is in.
_deferring = 0


def check() -> None:
    """Raise what a signal has raised already, where that was swallowed. For loops that run long."""
    if _received:
        raise Terminated if _received == signal.SIGTERM else Interrupted


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C raises `Interrupted` and SIGTERM `Terminated`; `check` does so again. The process ends at the latest
    `GRACE` seconds after the signal, even where the main thread is inside a library and Python runs no handler."""
    global _received
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set a handler.
        yield
        return
    ended = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        global _received
        _received = number
        if not _deferring:
            check()

    def swallowed(what: "sys.UnraisableHookArgs") -> None:
        if _received and issubclass(what.exc_type, KeyboardInterrupt):
            threading.Thread(target=_send_again, args=(_received, ended), daemon=True).start()
        else:
            report(what)

    _received = 0
    report, sys.unraisablehook = sys.unraisablehook, swallowed
    arrivals, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    threading.Thread(target=_watch, args=(arrivals, ended), daemon=True, name="morph-signals").start()
    former = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, stop) for number in STOPS}
    try:
        yield
    finally:
        ended.set()
        _received = 0
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former)
        wakeup.close()
        sys.unraisablehook = report


def _watch(arrivals: socket.socket, ended: threading.Event) -> None:
    """Start the clock of `GRACE` when a signal arrives. Python's own handler waits for the main thread to come back
    from C, which a step of a training does only after a while."""
    with arrivals:
        while numbers := arrivals.recv(64):
            if stops := [number for number in numbers if number in STOPS]:
                _end(stops[0], ended)
                return


def _send_again(number: int, ended: threading.Event) -> None:
    if not ended.wait(AGAIN):
        signal.pthread_kill(threading.main_thread().ident or 0, number)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """A signal that comes in this block raises at its end. For steps that belong together and take no time."""
    global _deferring
    if threading.current_thread() is not threading.main_thread():
        # No other thread is ever interrupted.
        yield
        return
    before = _received
    _deferring += 1
    try:
        yield
    finally:
        _deferring -= 1
    if _received != before and not _deferring:
        check()


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Ctrl-C, which a terminal sends to all processes of a command, does not reach those that are started in this
    block. They could not ignore it before they have imported something."""
    from multiprocessing import resource_tracker

    # Its start would end this block's effect.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(number: int, ended: threading.Event) -> None:
    if not ended.wait(GRACE):
        sys.stderr.write("morph: Stopped during clean-up; the next command that writes there removes what is left.\n")
        sys.stderr.flush()
        os._exit(128 + number)


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """An event that SIGTERM or Ctrl-C sets. Inside the block they do nothing else, and start no clock: what serves
    requests may take its time to finish them."""
    stopped = threading.Event()
    former = signal.set_wakeup_fd(-1)
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in STOPS}
    try:
        yield stopped
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM raises `Terminated`, a KeyboardInterrupt, in a program that has no handler of its own."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def stop(*_) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
