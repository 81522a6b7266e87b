"""How a program that runs long is told to stop."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Seconds that a command may take to tidy up when it was told to stop. What it leaves then is removed by the next one.
GRACE = 15.0


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a batch system sends when a job's time is over."""


#: Seconds after which a signal is sent again whose exception was swallowed.
AGAIN = 0.1

#: The signal that came, 0 if none. Python swallows an exception that is raised inside a finaliser or a callback of a
#: library, so what runs long asks again.
_came = 0

#: How many blocks of `held_back` the main thread is in.
_held = 0


def check() -> None:
    """Raise what a signal has raised already, where that was swallowed. For loops that run long."""
    if _came:
        raise Terminated if _came == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt and SIGTERM `Terminated`; `check` does so again. The process ends at the latest
    `GRACE` seconds later."""
    global _came
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set a handler.
        yield
        return
    ended = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        global _came
        if not _came:
            threading.Thread(target=_end, args=(number, ended), daemon=True).start()
        _came = number
        if not _held:
            check()

    def swallowed(what: "sys.UnraisableHookArgs") -> None:
        if _came and issubclass(what.exc_type, KeyboardInterrupt):
            threading.Thread(target=_send_again, args=(_came, ended), daemon=True).start()
        else:
            told(what)

    _came = 0
    told, sys.unraisablehook = sys.unraisablehook, swallowed
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        ended.set()
        _came = 0
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = told


def _send_again(number: int, ended: threading.Event) -> None:
    if not ended.wait(AGAIN):
        signal.pthread_kill(threading.main_thread().ident or 0, number)


@contextmanager
def held_back() -> Iterator[None]:
    """A signal that comes in this block raises at its end. For steps that belong together and take no time."""
    global _held
    if threading.current_thread() is not threading.main_thread():
        # No other thread is ever interrupted.
        yield
        return
    before = _came
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if _came != before and not _held:
        check()


def _end(number: int, ended: threading.Event) -> None:
    if not ended.wait(GRACE):
        sys.stderr.write("morph: Stopped while tidying up; the next command that writes there removes what is left.\n")
        sys.stderr.flush()
        os._exit(128 + number)


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """An event that SIGTERM or Ctrl-C sets, instead of what they did before; afterwards they do that again."""
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stops_like_ctrl_c() -> Iterator[None]:
    """SIGTERM raises `Terminated`, a KeyboardInterrupt, in a program that has not said yet what it does."""
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
