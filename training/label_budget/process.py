"""Work in a process of its own, so that its memory comes back.

TensorFlow keeps the graph of every training that it compiled, some 400 MB each, as long as the process lives. Dozens
of trainings in a row only fit when each has a process.
"""

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from morph.workers import CONTEXT, depend_on_parent


def apart(function: Callable, *arguments: Any) -> Any:
    """`function(*arguments)` in another process; what it raises is raised here.

    The function is one of a module, and its arguments and result can be pickled. The other process ends with this one.
    """
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_send, args=(sender, function, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        result, error = receiver.recv()
        process.join()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"A training was ended from outside (exit status {process.exitcode}); is there enough memory?"
        ) from None
    finally:
        process.terminate()
        process.join()
    if error is not None:
        raise error
    return result


def _send(sender: Connection, function: Callable, arguments: tuple) -> None:
    depend_on_parent()
    outcome: tuple[Any, Exception | None]
    try:
        outcome = (function(*arguments), None)
    except KeyboardInterrupt:
        # SIGTERM, from `apart`, which was stopped itself and has nothing to hear any more.
        return
    except Exception as error:
        outcome = (None, error)
    try:
        sender.send(outcome)
    except BrokenPipeError:
        # Nobody waits for it any more.
        return
