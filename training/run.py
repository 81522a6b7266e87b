"""The interface of a run that training and evaluation log to."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from morph.dataset import Galaxies


class Run(Protocol):
    """A run of an experiment; `training.experiments.tracking.Run` is MLflow's."""

    id: str

    def log_params(self, params: Mapping[str, Any]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None: ...

    def log_table(self, columns: Mapping[str, list], path: str) -> None: ...

    def log_dataset(self, galaxies: "Galaxies", context: str = "training") -> None: ...

    def log_figure(self, figure: "Figure", path: str) -> None: ...

    def log_folder(self, path: str | Path, folder: str | None = None) -> None: ...

    def log_json(self, content: dict[str, Any], path: str) -> None: ...
