"""What all tiles of a scoring run share."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astropy.table import Table

from morph import __version__
from serving.answerers import Source


@dataclass(frozen=True)
class Job:
    """All that scoring a tile needs beside the tile; it can be sent to another process.

    Attributes
    ----------
    description : that of the source's model.
    catalogue : as `read_catalogue` makes it; None to detect the galaxies.
    token : of the run that holds the folder `out` (see `serving.hold`); empty where nobody does.
    """

    source: Source
    description: dict[str, Any]
    out: Path
    survey: str
    catalogue: Table | None = None
    token: str = ""

    def path(self, tile: str) -> Path:
        return self.out / f"{tile}.parquet"

    def about(self) -> dict[str, Any]:
        """The provenance that all of a run's files share."""
        catalogue, selection = None, ""
        if self.catalogue is not None:
            catalogue = {name: self.catalogue.meta.get(name, "") for name in ("source", "digest", "radius_column")}
            selection = self.catalogue.meta.get("where", "")
        return {
            "software": f"morph {__version__}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "survey": self.survey,
            "model": self.description["name"],
            "model_version": str(self.description["version"]),
            "model_survey": self.description["survey"],
            "run": self.description.get("run"),
            "source": repr(self.source),
            "catalogue": catalogue,
            "selection": selection,
        }
