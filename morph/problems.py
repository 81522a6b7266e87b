"""What operating systems, disks and stores raise, in words."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

#: Errors of a place that is written to, whatever the file.
STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)

#: How libraries that do not pass the number on name the same: HDF5 and TensorFlow.
_IN_TEXT = {os.strerror(number): number for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)}


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
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
