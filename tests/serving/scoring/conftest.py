"""The catalogue of the small tiles, and what makes two runs the same to the last bit."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table, vstack
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session")
def catalogue(tiles, tmp_path_factory) -> Path:
    """The catalogues of both tiles as one file."""
    path = tmp_path_factory.mktemp("catalogue") / "all.fits"
    galaxies = vstack([Table.read(tile.catalogue) for tile in tiles])
    galaxies["COADD_OBJECT_ID"] = 1_600_000_000 + np.arange(len(galaxies))
    galaxies.write(path)
    return path


@pytest.fixture(scope="module")
def one_thread():
    """As in the command and its workers: sums by several threads differ in their last bits."""
    with threadpool_limits(1, user_api="blas"):
        yield
