"""Posteriors of redshifts as a qp ensemble, the format of RAIL and of Rubin's photo-z (github.com/LSSTDESC/qp)."""

from pathlib import Path

import numpy as np

from morph.atomic import atomic
from morph.checks import check_file
from morph.errors import InputError
from training.metrics.densities import densities, grid_of, modes

#: The name by which Rubin's catalogues call columns of a method: ``{algo}_z_mode`` and so on.
ALGORITHM = "morph"


def check_qp(path: Path) -> None:
    """InputError unless a qp ensemble can be written to `path`: its name, its folder, and the package."""
    if path.suffix.lower() not in (".hdf5", ".h5"):
        raise InputError(f"'{path}' cannot be a qp ensemble; give a name ending in .hdf5.")
    if not path.parent.is_dir():
        raise InputError(f"'{path}' cannot be written: the folder '{path.parent}' does not exist; make it first.")
    try:
        import qp  # noqa: F401
    except ImportError:
        raise InputError("qp ensembles need the package qp-prob: pip install 'morph-galaxies[photoz]'.") from None
    check_file(path)


def write_qp(ids: np.ndarray, draws: np.ndarray, path: Path) -> Path:
    """Write posteriors as densities on a grid of redshifts, with point estimates beside them; returns the path.

    Parameters
    ----------
    ids : the galaxies' names, [n].
    draws : of each posterior, [n, draws].
    path : see `check_qp`; the file appears whole or not at all.
    """
    import qp

    draws = np.maximum(draws.astype(float), 0)
    grid = grid_of(draws)
    ensemble = qp.Ensemble(qp.interp, data={"xvals": grid, "yvals": densities(draws, grid)})
    ensemble.set_ancil(
        {
            "id": np.asarray(ids, dtype="S"),
            f"{ALGORITHM}_z_mode": modes(draws),
            f"{ALGORITHM}_z_median": np.median(draws, axis=1),
            f"{ALGORITHM}_z_mean": draws.mean(axis=1),
        }
    )
    with atomic(path) as building:
        ensemble.write_to(str(building))
    return path
