"""The command `morph`. A signal ends it from its first moment on, while Python still imports the rest."""

import os
import signal
from contextlib import suppress

#: The sentence of `morph.cli.main`, which may not be imported yet.
STOPPED = "morph: Stopped. What was finished is kept; the same command goes on from there.\n"


def main() -> None:
    """Run one verb. Ctrl-C ends with 130 and SIGTERM with 143, whenever it comes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    from morph.cli.main import main as run

    run()


def _end(number: int, _: object) -> None:
    """Before a verb begins and after it has ended, there is nothing to clean up."""
    with suppress(OSError):
        os.write(2, STOPPED.encode())
    os._exit(128 + number)


if __name__ == "__main__":
    main()
