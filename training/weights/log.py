"""The log of a run: everything that it prints, with the time, in a file that later runs continue."""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

#: The log, in the folder of the work.
LOG = "weights.log"


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


def interruptions(path: Path) -> dict[str, int]:
    """How often each finished step was interrupted before the process that finished it.

    >>> import tempfile
    >>> log = Path(tempfile.mkdtemp()) / "log"
    >>> with logged(log):
    ...     print("Step 1 of 2, train sdss: morph pretrain")
    ...     print("Step 1 of 2, train sdss: morph pretrain")
    ...     print("Step 1 of 2, train sdss: took 1:00:00")
    Step 1 of 2, train sdss: morph pretrain
    Step 1 of 2, train sdss: morph pretrain
    Step 1 of 2, train sdss: took 1:00:00
    >>> interruptions(log)
    {'train sdss': 1}
    """
    begun: dict[str, int] = {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        step = re.match(r".{19}  Step \d+ of \d+, ([^:]+): (.*)", line)
        if step is None or step[2].startswith("finished already"):
            continue
        name = step[1]
        if step[2].startswith("took "):
            found[name] = begun.pop(name, 1) - 1
        else:
            begun[name] = begun.get(name, 0) + 1
    return found
