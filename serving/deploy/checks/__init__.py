"""Checks of a deployment, one small function per possible mistake, without a cluster.

A check takes a `Deployment` and returns one sentence on what it found to be right; it raises a mistake as InputError,
in one sentence with the remedy.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from morph.errors import InputError
from serving.deploy.deployment import Deployment

#: The modules of checks, in the order of the report, and the file without which a module is skipped.
MODULES = {
    "configurations": None,
    "model": None,
    "compose": "compose.yaml",
    "kubernetes": "kustomization.yaml",
    "monitoring": "monitoring",
}

Check = Callable[[Deployment], str]
_CHECKS: dict[str, list[tuple[str, Check]]] = {}


class Skipped(Exception):
    """A check that cannot be made here; the sentence is the reason."""


@dataclass(frozen=True)
class Finding:
    """The result of one check; `about` names its subject."""

    about: str
    state: Literal["ok", "failed", "skipped"]
    sentence: str


def check(about: str) -> Callable[[Check], Check]:
    """Make a function a check, named `about` in the report."""

    def register(function: Check) -> Check:
        _CHECKS.setdefault(function.__module__.rpartition(".")[2], []).append((about, function))
        return function

    return register


def checks(module: str) -> list[tuple[str, Check]]:
    """The checks of one of `MODULES`, each with its subject."""
    importlib.import_module(f"{__name__}.{module}")
    return _CHECKS[module]


def examine(deployment: Deployment) -> Iterator[Finding]:
    """Make every check; yields each result at once, since some take seconds."""
    reported: set[str] = set()
    for name, needs in MODULES.items():
        if needs and not deployment.has(needs):
            sentence = f"There is no '{needs}'; `morph deploy write` makes it."
            yield Finding(name, "skipped", sentence)
            continue
        for about, function in checks(name):
            try:
                yield Finding(about, "ok", function(deployment))
            except Skipped as reason:
                yield Finding(about, "skipped", str(reason))
            except InputError as problem:
                # A file that cannot be read fails every check that needs it; it is reported once.
                again = str(problem) in reported
                reported.add(str(problem))
                yield Finding(about, "skipped" if again else "failed", "See above." if again else str(problem))
