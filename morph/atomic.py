"""Files and folders that appear whole or not at all.

What is written is built in a hidden folder beside its place, ``.NAME.building``, and moved there at the end. That
folder is locked as long as its process lives, so that two commands with one target build in two folders, and what a
killed one left is recognised and removed by the next.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from morph.errors import InputError, storage_problem
from morph.signals import signals_deferred

#: Commands that may write to one place at once, and how often a folder is put in place of another's that came between.
AT_ONCE = 100

#: How a file system says that it has no locks, as Lustre does where it is mounted without them.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def atomic(path: str | Path, what: str = "", replace: bool = True) -> Iterator[Path]:
    """A name to build a file or folder under, which is moved to `path` when the block ends well.

    On an exception, Ctrl-C or a full disk nothing of it is left, and what was at `path` before is unchanged. Where
    `path` is a link, its target is replaced.

    Parameters
    ----------
    path : where it belongs.
    what : what is written, for the message; by default the path.
    replace : whether a folder that is at `path` already is replaced.

    Raises
    ------
    InputError : the place cannot be written to, or its disk is full.
    FileExistsError : `path` is a folder that is not empty, and `replace` is false.

    Examples
    --------
    >>> with atomic("table.csv") as building:
    ...     characters = building.write_text("id,ra,dec")
    >>> Path("table.csv").read_text()
    'id,ra,dec'
    """
    with atomic_files(path, what=what, replace=replace) as (building,):
        yield building


@contextmanager
def atomic_files(*paths: str | Path, what: str = "", replace: bool = True) -> Iterator[list[Path]]:
    """Several files or folders of one folder, as `atomic`; they are moved in the order given.

    Parameters
    ----------
    paths : where they belong, all in one folder.
    what, replace : as in `atomic`.
    """
    targets = [Path(os.path.realpath(path)) for path in paths]
    parent = targets[0].parent
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    said = f"{what} cannot be written to '{parent}'" if what else f"'{paths[0]}' cannot be written"
    try:
        building, lock = _lock_folder(targets[0])
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{said}: a part of its path is a file.") from error
    except OSError as error:
        raise _write_error(said, targets[0], error.strerror or str(error)) from error
    try:
        yield [building / target.name for target in targets]
        with signals_deferred(), _locked(parent) if len(targets) > 1 else nullcontext():
            for target in targets:
                _put(building / target.name, target, replace)
        missing = []
    except (FileExistsError, InputError):
        raise
    except Exception as error:
        reason = storage_problem(error, building)
        if reason is None:
            raise
        raise _write_error(said, targets[0], reason) from error
    finally:
        with signals_deferred():
            shutil.rmtree(building, ignore_errors=True)
            os.close(lock)
            for folder in missing:
                with suppress(OSError):  # another command has written files there
                    folder.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder while several files move into it, so that those of two commands do not mix."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write_error(said: str, target: Path, reason: str) -> InputError:
    left = "what was there before is untouched" if target.exists() else "nothing half-written is left"
    return InputError(f"{said} ({reason}); {left}.")


def _lock_folder(target: Path) -> tuple[Path, int]:
    """An empty folder beside `target` that no other command uses, and the open file that locks it."""
    for number in range(AT_ONCE):
        folder = _building_folder(target, number)
        with suppress(OSError):  # a file by this name is of an earlier version
            folder.unlink()
        try:
            # Another command that fails removes a folder that it made and that is still empty.
            target.parent.mkdir(parents=True, exist_ok=True)
            made = _make(folder)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # removed by its owner just now
            continue
        if _is_mine(folder, lock, made):
            if not made:
                _recover(folder, target)
            _remove_abandoned(target, number + 1)
            return folder, lock
        os.close(lock)
    raise BlockingIOError(errno.EAGAIN, f"{AT_ONCE} commands write there already")


def _building_folder(target: Path, number: int) -> Path:
    return target.with_name(f".{target.name}.building{f'-{number}' if number else ''}")


def _make(folder: Path) -> bool:
    """Make a folder; whether there was none."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _is_mine(folder: Path, lock: int, made: bool) -> bool:
    """Lock a folder; whether it is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its owner may have removed it after it was opened here.
        return os.path.samestat(os.fstat(lock), folder.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return made
        raise


def _recover(folder: Path, target: Path) -> None:
    """Empty a folder that a killed process left; what it had moved out of the way for its result is put back."""
    # Earlier versions moved it to a place beside the folder.
    for old in (_old(folder, target), target.with_name(f".{target.name}.old")):
        if old.is_dir() and not target.exists():
            old.rename(target)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_abandoned(target: Path, first: int) -> None:
    """Remove what commands left that were killed while they wrote beside others."""
    for number in range(first, AT_ONCE):
        folder = _building_folder(target, number)
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        try:
            if _is_mine(folder, lock, made=False):
                _recover(folder, target)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _old(building: Path, target: Path) -> Path:
    return building / f".{target.name}.old"


def _put(new: Path, target: Path, replace: bool) -> None:
    """Move what was built to its place."""
    if not new.is_dir():
        new.replace(target)
        return
    for _ in range(AT_ONCE):
        try:
            new.rename(target)
            return
        except NotADirectoryError:
            raise InputError(f"'{target}' is a file; give the name of a folder.") from None
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not replace:
                raise FileExistsError(errno.EEXIST, "not empty", str(target)) from None
        if _exchange(new, target):
            return
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(new))


def _exchange(new: Path, target: Path) -> bool:
    """Put a folder in the place of another; False where another command has put one there meanwhile."""
    old = _old(new.parent, target)
    shutil.rmtree(old, ignore_errors=True)
    try:
        with suppress(FileNotFoundError):
            target.rename(old)
        new.rename(target)
    except BaseException as error:
        # Fails only where another command's is there meanwhile, which would have replaced the old one anyway.
        with suppress(OSError):
            old.rename(target)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True
