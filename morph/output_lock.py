"""The lock of an output folder: one job at a time writes into it."""

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

from morph.atomic import NO_LOCKS
from morph.errors import InputError

#: The file that is locked; it names the job that holds the lock.
LOCK_FILE = ".holder"

#: Files of a job that exist only while it runs.
TEMPORARY = (".*.building*", ".job-*")

logger = logging.getLogger(__name__)


@contextmanager
def output_lock(out: Path, job: str = "job is scoring into", option: str = "--out") -> Iterator[str]:
    """Hold the lock of the folder `out`, which is made if needed; yields the token that identifies this job.

    Parameters
    ----------
    out : the folder.
    job, option : for messages: what another job does, and the option that names the folder.

    Unfinished files of a killed job are removed. The lock is the operating system's (``flock``), which releases it
    when a process is killed, and works on shared file systems; the lock file names its holder. A folder made here that
    is still empty in the end is removed.

    Raises InputError when another process holds the lock, or the folder cannot be written to.
    """
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = _locked(out, job, option)
    except FileExistsError:
        raise InputError(f"'{out}' is a file; {option} names a folder.") from None
    except OSError as error:
        raise InputError(f"Nothing can be written into '{out}' ({error.strerror}); choose another {option}.") from None
    try:
        _tidy(out)
        yield _sign(out, file, option)
    finally:
        (out / LOCK_FILE).unlink(missing_ok=True)
        os.close(file)
        if made:
            with suppress(OSError):  # not empty
                out.rmdir()


def held_by(out: Path) -> str:
    """The token of the job that holds the lock, or of the last that was killed with it; empty when there is none."""
    return str(_read(out).get("token", ""))


def _locked(out: Path, job: str, option: str) -> int:
    """The lock file, open and locked."""
    path = out / LOCK_FILE
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
                f"Another {job} '{out}' ({who}); wait for it, stop it, or choose another {option}."
            ) from None
        except OSError as error:
            if error.errno in NO_LOCKS:
                logger.warning("'%s' is on a file system without locks; let no other job write there.", out)
                return file
            os.close(file)
            raise
        os.close(file)


def _sign(out: Path, file: int, option: str) -> str:
    token = uuid.uuid4().hex
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"token": token, "pid": os.getpid(), "host": socket.gethostname(), "since": since}
    try:
        os.ftruncate(file, 0)
        os.write(file, json.dumps(holder).encode())
    except OSError as error:
        raise InputError(f"Nothing can be written into '{out}' ({error.strerror}); choose another {option}.") from None
    return token


def _read(out: Path) -> dict:
    try:
        return json.loads((out / LOCK_FILE).read_text())
    except (OSError, ValueError):
        return {}


def _tidy(out: Path) -> None:
    for pattern in TEMPORARY:
        for path in out.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
