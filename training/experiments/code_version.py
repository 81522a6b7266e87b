"""Which code made a run."""

import subprocess
from pathlib import Path

import morph


def tags() -> dict[str, str]:
    """`commit`, and `dirty` (yes or no) where the code stands in a git checkout of its own; else nothing."""
    folder = Path(morph.__file__).parent
    # An installed package can lie inside somebody else's repository, which says nothing about it.
    if not _git(folder, "ls-files", "__init__.py"):
        return {}
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {"commit": commit, "dirty": "yes" if _git(folder, "status", "--porcelain", "-uno") else "no"}


def _git(folder: Path, *arguments: str) -> str:
    """What git says, or nothing where there is no git or no repository."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
