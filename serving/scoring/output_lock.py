"""One job a folder: who writes into it holds it, and lets go of it however the process ends."""

import errno
import fcntl
import json
import logging
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from morph.errors import InputError

#: The file that the holder of a folder has locked; it says who that is.
HOLD = ".holder"

#: What a job keeps in its folder only as long as it runs.
PASSING = (".*.building*", ".job-*")

#: How a file system says that it has no locks, as Lustre does where it is mounted without them.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

logger = logging.getLogger(__name__)


@contextmanager
def hold(out: Path) -> Iterator[str]:
    """Hold the folder `out`, which is made where there is none; gives the token that others know the holder by.

    What a job that was killed left unfinished is removed. The lock is the operating system's (``flock``), so a killed
    process holds nothing; it works on a shared file system too. A folder that is still empty in the end goes away
    again if it was made here.

    Raises InputError when another process holds the folder, or nothing can be written into it.
    """
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = _locked(out)
    except FileExistsError:
        raise InputError(f"'{out}' is a file; --out names a folder.") from None
    except OSError as error:
        raise InputError(f"Nothing can be written into '{out}' ({error.strerror}); choose another --out.") from None
    try:
        _tidy(out)
        yield _sign(out, file)
    finally:
        (out / HOLD).unlink(missing_ok=True)
        os.close(file)
        if made:
            with suppress(OSError):  # not empty
                out.rmdir()


def held_by(out: Path) -> str:
    """The token of the job that holds a folder, or of the last that was killed there; empty when there is none."""
    return str(_read(out).get("token", ""))


def _locked(out: Path) -> int:
    """The holder's file, open and locked."""
    path = out / HOLD
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before may have removed the file after it was opened here.
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError:
            os.close(file)
            holder = _read(out)
            who = f"process {holder['pid']} on {holder['host']}, since {holder['since']}" if holder else "just started"
            raise InputError(
                f"Another job is scoring into '{out}' ({who}); wait for it, stop it, or choose another --out."
            ) from None
        except OSError as error:
            if error.errno in NO_LOCKS:
                logger.warning("'%s' is on a file system without locks; see that no other job writes there.", out)
                return file
            os.close(file)
            raise
        os.close(file)


def _sign(out: Path, file: int) -> str:
    token = uuid.uuid4().hex
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"token": token, "pid": os.getpid(), "host": socket.gethostname(), "since": since}
    try:
        os.ftruncate(file, 0)
        os.write(file, json.dumps(holder).encode())
    except OSError as error:
        raise InputError(f"Nothing can be written into '{out}' ({error.strerror}); choose another --out.") from None
    return token


def _read(out: Path) -> dict:
    try:
        return json.loads((out / HOLD).read_text())
    except (OSError, ValueError):
        return {}


def _tidy(out: Path) -> None:
    for pattern in PASSING:
        for path in out.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
