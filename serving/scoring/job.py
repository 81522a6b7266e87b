"""What all tiles of a scoring run share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from morph import __version__
from morph.catalogs.spatial_index import SpatialIndex
from morph.checks import FORMAT, SCORES_FORMAT
from morph.fits.zero_points import HEADERS, Calibration
from morph.tiles.footprints import Overlap
from serving.scoring.backends import ModelRef


@dataclass(frozen=True)
class Job:
    """All that scoring a tile needs beside the tile; it can be sent to another process.

    Attributes
    ----------
    description : that of the source's model.
    catalogue : the galaxies; None where they are to be detected.
    overlaps : with which others the tiles overlap that are told apart by their edges, by name.
    verify : whether files are compared with their checksums first.
    calibration, bands : what the caller says of the images, see `Tile.open`.
    token : of the run that holds the folder `out` (see `serving.scoring.output_lock`); empty where nobody does.
    """

    source: ModelRef
    description: dict[str, Any]
    out: Path
    survey: str
    catalogue: SpatialIndex | None = None
    overlaps: Mapping[str, Overlap] = field(default_factory=dict)
    verify: bool = False
    token: str = ""
    calibration: Calibration = HEADERS
    bands: tuple[str, ...] = ()

    def path(self, tile: str) -> Path:
        return self.out / f"{tile}.parquet"

    def about(self) -> dict[str, Any]:
        """The provenance that all of a run's files share."""
        catalogue, selection = None, ""
        if self.catalogue is not None:
            catalogue, selection = self.catalogue.about(), self.catalogue.where
        return {
            FORMAT: SCORES_FORMAT,
            "software": f"morph {__version__}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "survey": self.survey,
            "model": self.description["name"],
            "model_version": str(self.description["version"]),
            "engine": self.description.get("engine", "server"),
            "model_survey": self.description["survey"],
            "run": self.description.get("run"),
            "source": repr(self.source),
            "catalogue": catalogue,
            "selection": selection,
            "calibration": " ".join([str(self.calibration), *self.bands]).strip(),
            "verified": self.verify,
        }
