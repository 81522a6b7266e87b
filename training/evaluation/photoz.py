"""Photometric redshifts of a dataset from its images, from its magnitudes and radii, and from all of these."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from morph.dataset import Galaxies
from training.metrics import photoz as metrics
from training.metrics.estimates import RESAMPLES, Estimate
from training.metrics.photoz import line
from training.prediction.predict import known, predict, words

if TYPE_CHECKING:
    from training.run import Run

#: What a redshift is inferred from, by the name of its figures. Votes are left out: a new survey has none.
FROM = {"image": ("image",), "photometry-radius": ("photometry", "radius"), "all": ("image", "photometry", "radius")}


@dataclass(frozen=True)
class Photoz:
    """Redshifts of one set of galaxies, inferred in one or several ways.

    Attributes
    ----------
    z_spec : the true redshifts, [n].
    draws : {way in `FROM`: [n, draws]}.
    figures : {way: figures as `training.metrics.photoz.measure` names them}.
    missing : the sentence that says which ways there are no data for, or nothing.
    """

    z_spec: np.ndarray
    draws: dict[str, np.ndarray]
    figures: dict[str, dict[str, Estimate]]
    missing: str = ""

    def flat(self) -> dict[str, Estimate]:
        """Every figure by one name, ``photo-z/<way>/<figure>``."""
        return {f"photo-z/{way}/{name}": f for way, found in self.figures.items() for name, f in found.items()}

    def lines(self) -> list[str]:
        """One line a way, and what there are no data for."""
        lines = [f"Photo-z from {words(FROM[way])}: {line(figures)}" for way, figures in self.figures.items()]
        return [*lines, self.missing] if self.missing else lines

    def log_plots(self, run: "Run", title: str = "") -> None:
        """Put two plots into a run; `title` says what dataset is measured."""
        from training.evaluation import diagnostic_plots as draw

        titled = {f"from {words(FROM[way])}": draws for way, draws in self.draws.items()}
        run.log_figure(draw.redshifts(titled, self.z_spec, title), "plots/photo-z.png")
        run.log_figure(draw.pit_histograms(titled, self.z_spec, title), "plots/photo-z-pit.png")


def evaluate_photoz(classifier, galaxies: Galaxies, resamples: int = RESAMPLES, seed: int = 0) -> Photoz | None:
    """Photo-z of the galaxies with a redshift, or None when there is none.

    All ways are measured on the same galaxies: those with everything that some galaxy of the set has.

    Parameters
    ----------
    classifier : a `morph.model.classifier.Classifier`.
    galaxies : of which those with a redshift are measured.
    resamples, seed : of the bootstrap, and of the draws.

    Returns
    -------
    The redshifts with their estimates.
    """
    measured = known(galaxies, "redshift")
    if not measured.any():
        return None
    galaxies = galaxies.select(measured)
    complete = known(galaxies, "photometry") & known(galaxies, "radius")
    ways = FROM
    missing = ""
    if complete.any():
        galaxies = galaxies.select(complete)
    else:
        ways = {"image": FROM["image"]}
        missing = "No galaxy has magnitudes, a radius and a redshift: photo-z is measured from images alone."
    z_spec = galaxies.properties["redshift"].astype(float)
    draws = {
        way: predict(classifier, galaxies, given, ("redshift",), seed=seed).values["redshift"]
        for way, given in ways.items()
    }
    figures = {way: metrics.measure(each, z_spec, resamples, seed) for way, each in draws.items()}
    return Photoz(z_spec, draws, figures, missing)
