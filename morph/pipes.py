"""Output that nobody reads any more: `morph score ... | head -1`."""

import io
import os
import sys
from typing import Any


class _Forgiving(io.FileIO):
    """A file descriptor that leads nowhere once its reader is gone, so that work whose results are files goes on."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def forgive_closed_pipes() -> None:
    """Let writing to a closed standard output or error do nothing, for the rest of the process."""
    sys.stdout = _forgiving(sys.stdout, sys.__stdout__)
    sys.stderr = _forgiving(sys.stderr, sys.__stderr__)


def _forgiving(stream: Any, original: Any) -> Any:
    # Somebody else's stream, such as that of a test, is left alone.
    if stream is None or stream is not original or not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    # The descriptor is the process's own.
    raw = io.BufferedWriter(_Forgiving(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=stream.line_buffering)
