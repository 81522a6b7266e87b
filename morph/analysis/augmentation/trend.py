"""Redshifts beyond the spectra: how ln z follows brightness, colours and size, continued in a straight line.

A network that has seen bright galaxies only may say anything of faint ones. Fainter and smaller galaxies are farther,
and by how much the bright ones show: in ln z a straight line in magnitude, colours and the logarithm of the radius.
"""

import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError

#: Spectra that a line is fitted to.
FEWEST = 10


class Trend:
    """A ridge regression of ln z on magnitude in r, g - r, r - i and log radius, and how galaxies scatter about it.

    Parameters
    ----------
    known : galaxies with redshifts and magnitudes. InputError where there are fewer than `FEWEST`.
    """

    def __init__(self, known: Galaxies):
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        known = known.select(known.properties["redshift"] > 0)
        if len(known) < FEWEST:
            raise InputError(
                f"{len(known)} galaxies have a redshift above 0, and their trend needs {FEWEST}; give more spectra, "
                "or --redshifts model."
            )
        target = np.log(known.properties["redshift"].astype(float))
        self.line = make_pipeline(SimpleImputer(), StandardScaler(), RidgeCV(np.logspace(-2, 3, 11)))
        self.line.fit(_features(known), target)
        self.residuals = target - self.line.predict(_features(known))

    def draw(self, galaxies: Galaxies, random: np.random.Generator) -> np.ndarray:
        """A redshift for each galaxy, on the line with the scatter of one of the known galaxies: float [n]."""
        return np.exp(self.line.predict(_features(galaxies)) + random.choice(self.residuals, len(galaxies)))


def _features(galaxies: Galaxies) -> np.ndarray:
    """[n, 4]; NaN where there is no radius."""
    g, r, i, radius = (galaxies.properties[name].astype(float) for name in ("mag_g", "mag_r", "mag_i", "radius"))
    return np.stack([r, g - r, r - i, np.log10(np.where(radius > 0, radius, np.nan))], axis=1)
