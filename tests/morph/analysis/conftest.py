"""A simulated tile whose ellipticals have haloes, and a table of scores for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from morph.simulation.tile import simulate_tile
from morph.surveys import get_survey

#: Galaxies in the catalogue of each tile, and its side, pixels.
GALAXIES, SIZE = 60, 700


@pytest.fixture(scope="session")
def halo_tiles(tmp_path_factory) -> Path:
    """Two small tiles of the simulated Dark Energy Survey."""
    folder = tmp_path_factory.mktemp("haloes")
    for seed, name in ((1, "DES0100-3000"), (2, "DES0104-3000")):
        simulate_tile(folder, SIZE, "des", GALAXIES, seed, name, progress=False, processes=1, haloes=True)
    return folder


@pytest.fixture(scope="session")
def halo_table(halo_tiles) -> pa.Table:
    """Scores of these tiles with the truth beside them: who has a halo is smooth with 0.97, the others with 0.1."""
    parts = []
    for file in sorted(halo_tiles.glob("*_catalogue.fits")):
        rows, truth = Table.read(file), pq.read_table(str(file).replace("_catalogue.fits", "_truth.parquet"))
        theta = np.radians(np.asarray(rows["THETA_IMAGE"], dtype=float))
        smooth = np.where(np.isfinite(truth["halo_radius"].to_numpy()), 0.97, 0.1)
        # A few are less certain.
        smooth[::11] = 0.6
        columns = {
            "id": [f"{rows['TILENAME'][0]}-{k}" for k in range(len(rows))],
            "ra": np.asarray(rows["RA"], dtype=float),
            "dec": np.asarray(rows["DEC"], dtype=float),
            "tile": [str(name) for name in rows["TILENAME"]],
            "radius": np.asarray(rows["FLUX_RADIUS_R"], dtype=float) * get_survey("des").pixel_scale,
            "position_angle": np.degrees(np.arctan2(-np.cos(theta), np.sin(theta))) % 180,
            "redshift": np.asarray(truth["redshift"], dtype=float),
            "smooth_or_featured_smooth": smooth,
            **{name: truth[name] for name in truth.column_names if name.startswith(("body_", "halo_"))},
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts).replace_schema_metadata({"morph": '{"survey": "des", "model": "morph"}'})


@pytest.fixture
def halo_scores(halo_table, tmp_path) -> Callable[..., Path]:
    """Writes the scores, or the table that a function makes of them: the file."""

    def write(change: Callable[[pa.Table], pa.Table] = lambda table: table) -> Path:
        path = tmp_path / "scores.parquet"
        pq.write_table(change(halo_table), path)
        return path

    return write
