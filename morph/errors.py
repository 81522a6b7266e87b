"""The exception that a user's mistake raises, and what operating systems, disks and stores raise, in sentences."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence that says what is wrong and what to do instead. The command line
    prints it and exits with status 2; the server answers INVALID_ARGUMENT with it.

    Examples
    --------
    >>> from morph.surveys import get_survey
    >>> get_survey("sloan")
    Traceback (most recent call last):
    morph.errors.InputError: Unknown survey 'sloan'; use one of sdss, des, decals, lsst, hsc, panstarrs, kids, ...
    """


#: Always true, because files appear whole or not at all.
SAFE = "What was finished is kept; the same command goes on from there."

#: Errors of a disk or a mount, whatever the file.
STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)

#: Errors of one file that is read or written.
_OF_FILES = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)

#: Errors of a system that has reached a limit.
_OF_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)

#: HDF5 and TensorFlow do not pass the number on, but its text.
_IN_TEXT = {os.strerror(number): number for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)}

#: NumPy's and Pillow's messages, without a number, when less was written than requested.
_SHORT = re.compile(r"\d+ requested and \d+ written|encoder error -\d+ when writing")

#: Drivers of databases: the name that is imported, and the name that pip installs.
_DRIVERS = {
    "psycopg2": "psycopg2-binary",
    "psycopg": "psycopg",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "pyodbc": "pyodbc",
    "pymssql": "pymssql",
}

#: Errors of MLflow and of its connection.
_OF_STORES = ("MlflowException", "RestException", "ConnectionError", "UnsupportedModelRegistryStoreURIException")


def first_line(error: BaseException | str, longest: int = 240) -> str:
    """The first line of an error's message, without its full stop; the error's type where it has no message.

    >>> first_line(ValueError("no such band.\\nSee the manual."))
    'no such band'
    >>> first_line(KeyError())
    'KeyError'
    """
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:longest].rstrip(" .")


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def storage_problem(error: BaseException, folder: Path | None = None) -> str | None:
    """Why something could not be written, from an error or its causes; None where that is not the problem.

    Parameters
    ----------
    folder : where something was written; any error of the operating system there counts.
    """
    for each in causes(error):
        if isinstance(each, OSError):
            if each.errno in STORAGE:
                return os.strerror(each.errno)
            if folder is not None and each.errno and str(each.filename or "").startswith(str(folder)):
                return os.strerror(each.errno)
        for text, number in _IN_TEXT.items():
            if text in str(each):
                return os.strerror(number)
        if isinstance(each, OSError) and _SHORT.search(str(each)):
            return "not everything could be written, as on a full disk"
    return None


def describe(error: BaseException) -> str | None:
    """What operating systems, disks, stores and libraries raise, as one sentence that says what to do and what is
    safe; None for any other error, which is a bug in morph."""
    reason = storage_problem(error)
    if reason is not None:
        files = [str(each.filename) for each in causes(error) if isinstance(each, OSError) and each.filename]
        where = f" ('{files[0]}')" if files else ""
        return f"Nothing more can be written{where}: {reason}. {SAFE}"
    for each in causes(error):
        if isinstance(each, MemoryError) or "OOM when allocating" in str(each):
            return f"The memory is used up; give less at once, or use a larger machine. {SAFE}"
        if type(each).__name__ == "BrokenProcessPool":
            return f"A process that shared the work was ended from outside; is there enough memory? {SAFE}"
        if isinstance(each, OSError) and each.errno in _OF_FILES and each.filename:
            name = each.filename
            name = name.decode(errors="replace") if isinstance(name, bytes) else name
            return f"'{name}' cannot be used: {os.strerror(each.errno)}."
        if isinstance(each, OSError) and each.errno in _OF_LIMITS:
            return f"The system refuses more files, processes or memory ({os.strerror(each.errno)}). {SAFE}"
    return store_problem(error)


def store_problem(error: BaseException, uri: str = "") -> str | None:
    """What is wrong with the store of runs and models, from what MLflow, SQLAlchemy, Alembic or a driver raise."""
    where = f"'{uri or os.environ.get('MLFLOW_TRACKING_URI') or 'sqlite:///mlruns/mlflow.db'}'"
    for each in causes(error):
        text, kind = str(each), type(each)
        if "out-of-date database schema" in text or "Can't locate revision" in text:
            found = re.search(r"found version (\w+)|revision identified by '(\w+)'", text)
            if found and not _is_known(found[1] or found[2]):
                return (
                    f"The store {where} was made by a newer MLflow than is installed here; install that one, or set "
                    "MLFLOW_TRACKING_URI to another store."
                )
            return (
                f"The store {where} was made by an older MLflow; make a copy of it, and upgrade it by "
                f"`mlflow db upgrade {where}`."
            )
        if kind.__module__.startswith("sqlalchemy") and kind.__name__ in ("NoSuchModuleError", "ArgumentError"):
            return (
                f"{where} is not a store that MLflow supports; set MLFLOW_TRACKING_URI to sqlite:///FILE.db or a "
                "server."
            )
        if isinstance(each, ModuleNotFoundError) and each.name in _DRIVERS:
            package = _DRIVERS[each.name]
            return f"The store {where} needs the package {package}; install it by `pip install {package}`."
        if kind.__module__.startswith(("sqlalchemy", "sqlite3")) and kind.__name__.endswith("Error"):
            return f"The store {where} cannot be used ({first_line(getattr(each, 'orig', None) or each)}). {SAFE}"
    # MLflow wraps a database's message in its own, so the chain is searched for MLflow's errors last.
    for each in causes(error):
        if type(each).__name__ in _OF_STORES:
            return f"MLflow at {where} did not do what was asked ({first_line(each)}). {SAFE}"
    return None


def _is_known(revision: str) -> bool:
    """Whether the installed MLflow has had a schema of this revision."""
    import mlflow

    return any((Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions").glob(f"{revision}_*.py"))
