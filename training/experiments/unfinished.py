"""What an unfinished training keeps on disk, so that the same command goes on where it stopped."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from morph.atomic import atomic
from morph.errors import InputError
from training.experiments import tracking

#: Where unfinished runs keep their state.
UNFINISHED = Path("mlruns") / "unfinished"


class Unfinished:
    """The state of a training, in a folder named after its experiment and run.

    Parameters
    ----------
    experiment, name : of the run.
    same : all that must be the same for a later command to go on with it, JSON-able.

    Attributes
    ----------
    checkpoint : the folder of the training itself.
    """

    def __init__(self, experiment: str, name: str, same: Mapping[str, Any]):
        self.experiment, self.name = experiment, name
        self.folder = UNFINISHED / f"{experiment}-{name}"
        self.checkpoint = self.folder / "state"
        self._file = self.folder / "run.json"
        self._same = json.loads(json.dumps(same))
        self._kept: dict[str, Any] = {}

    def find(self) -> str | None:
        """The run to go on with, if one of this name was interrupted that trains the same on the same.

        What is left of any other run of this name is removed: its weights are not this one's.
        """
        if not self._file.exists():
            return None
        try:
            self._kept = json.loads(self._file.read_text())
            if self._kept["same"] == self._same:
                return tracking.find_run(self._kept["run"], self.experiment)
        except (ValueError, KeyError, TypeError, InputError):
            pass
        self._kept = {}
        click.echo(f"An unfinished run '{self.name}' had other data or settings; this one starts anew.", err=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return None

    def keep(self, **more: Any) -> None:
        """Note something, such as the run's id, beside what is noted already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._kept = {**self._kept, "same": self._same, **more}
        with atomic(self._file) as building:
            building.write_text(json.dumps(self._kept))

    def get(self, name: str) -> Any:
        """What was noted under a name, or None."""
        return self._kept.get(name)

    def keep_saved(self, to: Path) -> None:
        """Note that the trained model is in the file `to`."""
        self.keep(saved=_digest(to))

    def is_saved(self, to: Path) -> bool:
        """Whether `to` is the file that this training saved, so that nothing but its registration is left to do."""
        return "saved" in self._kept and to.is_file() and _digest(to) == self._kept["saved"]

    def remove(self) -> None:
        """Forget everything: the training is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
