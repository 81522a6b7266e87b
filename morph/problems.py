"""What operating systems, disks and stores raise, in words."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

#: Errors of a place that is written to, whatever the file.
STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)

#: How libraries that do not pass the number on name the same: HDF5 and TensorFlow.
_IN_TEXT = {os.strerror(number): number for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)}

#: How NumPy and Pillow say, without a number, that less was written than was to be.
_SHORT = re.compile(r"\d+ requested and \d+ written|encoder error -\d+ when writing")


def storage_problem(error: BaseException, folder: Path | None = None) -> str | None:
    """What hinders writing, by an error or what caused it; None where that is something else.

    Parameters
    ----------
    folder : where something was written; any error of the operating system there counts.
    """
    for each in chain(error):
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


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def sentence(error: BaseException) -> str | None:
    """What operating systems, disks, stores and libraries raise, as one sentence that says what to do and what is
    safe; None for anything else, which is a fault of morph's own."""
    reason = storage_problem(error)
    if reason is not None:
        files = [str(each.filename) for each in chain(error) if isinstance(each, OSError) and each.filename]
        where = f" ('{files[0]}')" if files else ""
        return f"Nothing more can be written{where}: {reason}. {SAFE}"
    for each in chain(error):
        if isinstance(each, MemoryError) or "OOM when allocating" in str(each):
            return f"The memory is used up; give less at once, or use a larger machine. {SAFE}"
        if type(each).__name__ == "BrokenProcessPool":
            return f"A process that shared the work was ended from outside; is there enough memory? {SAFE}"
        if isinstance(each, OSError) and each.errno in _OF_FILES and each.filename:
            return f"'{_text(each.filename)}' cannot be used: {os.strerror(each.errno)}."
        if isinstance(each, OSError) and each.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM):
            return f"The system refuses more files, processes or memory ({os.strerror(each.errno)}). {SAFE}"
    return store_problem(error)


def store_problem(error: BaseException, uri: str = "") -> str | None:
    """What is wrong with the store of runs and models, by what MLflow, SQLAlchemy, Alembic or a driver raise."""
    where = f"'{uri or os.environ.get('MLFLOW_TRACKING_URI') or 'sqlite:///mlruns/mlflow.db'}'"
    for each in chain(error):
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
            return f"{where} is no store that MLflow knows; set MLFLOW_TRACKING_URI to sqlite:///FILE.db or a server."
        if isinstance(each, ModuleNotFoundError) and each.name in _DRIVERS:
            package = _DRIVERS[each.name]
            return f"The store {where} needs the package {package}; install it by `pip install {package}`."
        if kind.__module__.startswith(("sqlalchemy", "sqlite3")) and kind.__name__.endswith("Error"):
            first = str(getattr(each, "orig", None) or each).strip().splitlines()[0]
            return f"The store {where} cannot be used ({first[:160]}). {SAFE}"
    for each in chain(error):  # MLflow wraps what a database said in words of its own
        text, kind = str(each), type(each)
        if kind.__name__ in _OF_STORES:
            first = text.strip().splitlines()[0] if text.strip() else kind.__name__
            return f"MLflow at {where} did not do what was asked ({first[:160].rstrip('.')}). {SAFE}"
    return None


def _is_known(revision: str) -> bool:
    """Whether the MLflow that is installed has had a schema of this revision."""
    import mlflow

    return any((Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions").glob(f"{revision}_*.py"))


def _text(name: str | bytes | int) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


#: What is always true, because files appear whole or not at all.
SAFE = "What was finished is kept; the same command goes on from there."

#: Errors of one file that is read or written.
_OF_FILES = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)

#: What databases' drivers are called when they are imported, and by pip.
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
