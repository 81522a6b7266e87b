"""The log of a run: everything that it prints, with the time, in a file that later runs continue."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO


class _Copied(io.TextIOBase):
    """A stream whose lines also go to a file, with the time before each. It is not a terminal, so progress is printed
    in lines."""

    def __init__(self, stream: TextIO, file: TextIO):
        self._stream, self._file, self._line = stream, file, ""

    def write(self, text: str) -> int:
        self._stream.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  {line}\n")
        self.flush()
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
        self._file.flush()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Copy what the block prints to a file, after what is there.

    >>> import tempfile
    >>> log = Path(tempfile.mkdtemp()) / "log"
    >>> with logged(log):
    ...     print("step 1")
    step 1
    >>> log.read_text()[-7:]
    'step 1\\n'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("a", encoding="utf-8") as file,
        redirect_stdout(_Copied(sys.stdout, file)),
        redirect_stderr(_Copied(sys.stderr, file)),
    ):
        yield
