"""The spectroscopic and the photometric set of an augmentation, of which only the properties are kept in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morph.dataset import Galaxies, dataset_name, tables_of
from morph.errors import InputError
from morph.model.experts import MEASUREMENTS
from morph.simulation.sampling.draw import BATCH
from morph.surveys import get_survey


@dataclass(frozen=True)
class Sets:
    """Two sets of one survey.

    Attributes
    ----------
    spectroscopic, photometric : their folders.
    known : the spectroscopic galaxies with a redshift and magnitudes, without images.
    targets : the photometric galaxies with magnitudes, without images.
    is_known, is_target : which rows of the datasets they are, bool.
    """

    spectroscopic: str | Path
    photometric: str | Path
    known: Galaxies
    targets: Galaxies
    is_known: np.ndarray
    is_target: np.ndarray

    @classmethod
    def open(cls, spectroscopic: str | Path, photometric: str | Path) -> "Sets":
        """Read two datasets. InputError where one has no such galaxies, or they do not fit."""
        spec, phot = (Galaxies.open(each, images=False) for each in (spectroscopic, photometric))
        _check(spec, phot)
        is_known = _with_magnitudes(spec) & np.isfinite(spec.properties["redshift"])
        is_target = _with_magnitudes(phot)
        if not is_known.any():
            raise InputError(
                f"'{spectroscopic}' has no galaxy with a redshift and magnitudes in g, r, i; import both."
            )
        if not is_target.any():
            raise InputError(f"'{photometric}' has no galaxy with magnitudes in g, r, i; import it with a catalogue.")
        return cls(spectroscopic, photometric, spec.select(is_known), phot.select(is_target), is_known, is_target)

    def images(self, most: int, random: np.random.Generator) -> Iterator[np.ndarray]:
        """Images of photometric galaxies, some at a time.

        Parameters
        ----------
        most : how many in all.
        random : which.
        """
        rows = np.flatnonzero(self.is_target)
        chosen = np.zeros(len(self.is_target), dtype=bool)
        chosen[rows[random.permutation(len(rows))[:most]]] = True
        start = 0
        for table in tables_of(self.photometric, BATCH):
            own = chosen[start : start + len(table)]
            start += len(table)
            if own.any():
                yield table["image"].combine_chunks().to_numpy_ndarray()[own]


def magnitudes(galaxies: Galaxies) -> np.ndarray:
    """In g, r, i, float [n, 3]."""
    return np.stack([galaxies.properties[name] for name in MEASUREMENTS[:3]], axis=1).astype(float)


def _with_magnitudes(galaxies: Galaxies) -> np.ndarray:
    return np.isfinite(magnitudes(galaxies)).all(axis=1)


def _check(spec: Galaxies, phot: Galaxies) -> None:
    """InputError unless the two sets can be parts of one."""
    for galaxies in (spec, phot):
        if galaxies.kind != "flux":
            raise InputError(
                f"'{dataset_name(galaxies)}' holds pictures, whose magnitudes cannot be rendered; import the survey's "
                "FITS images."
            )
        if len(set(galaxies.surveys)) > 1:
            raise InputError(f"'{dataset_name(galaxies)}' has galaxies of several surveys; give those of one.")
    if spec.survey != phot.survey:
        raise InputError(
            f"'{dataset_name(spec)}' is of {get_survey(spec.survey).name} and '{dataset_name(phot)}' of "
            f"{get_survey(phot.survey).name}, whose magnitudes are not the same; give two sets of one survey."
        )
