"""What was predicted against what is known."""

from collections.abc import Iterator

import numpy as np

from morph.dataset import Galaxies
from training.metrics import photoz as photoz
from training.metrics import votes as metrics
from training.metrics.photoz import line as photoz_line
from training.prediction.modalities import BANDS, known, values
from training.prediction.predict import Predicted
from training.prediction.table import HIGH, LOW, probabilities


def lines(predicted: Predicted, galaxies: Galaxies) -> list[str]:
    """A sentence for everything predicted that the dataset also holds, empty where it holds none of it.

    Galaxies predicted from the prior count: they are part of what the catalogue says.
    """
    found: list[str] = []
    for modality, guess in predicted.values.items():
        have = known(galaxies, modality)
        if have.any() and modality in _LINES:
            found += _LINES[modality](guess[have], values(galaxies, modality)[have])
    return found


def _redshift(draws: np.ndarray, truth: np.ndarray) -> Iterator[str]:
    yield f"Photo-z: {photoz_line(photoz.measure(draws, truth))}"


def _votes(concentration: np.ndarray, votes: np.ndarray) -> Iterator[str]:
    figures = metrics.measure(votes, probabilities(concentration), concentration)
    if "all/rms" in figures:
        rms = figures["all/rms"]
        yield (
            f"Vote fractions of {rms.n:,} galaxies are off by {rms.value:.3f} ({rms.low:.3f} to {rms.high:.3f}) root "
            f"mean square, each question weighted by how many volunteers reach it."
        )


def _photometry(draws: np.ndarray, truth: np.ndarray) -> Iterator[str]:
    for j, band in enumerate(BANDS):
        yield f"Magnitude in {band}: {_scatter(draws[..., j], truth[:, j], ' mag')}"


def _radius(draws: np.ndarray, truth: np.ndarray) -> Iterator[str]:
    yield f"Radius: {_scatter(np.log10(draws), np.log10(truth), ' dex')}"


_LINES = {"redshift": _redshift, "votes": _votes, "photometry": _photometry, "radius": _radius}


def _scatter(draws: np.ndarray, truth: np.ndarray, unit: str) -> str:
    """Scatter, bias and coverage of posteriors, draws [n, k], in words."""
    low, median, high = np.quantile(draws, [LOW, 0.5, HIGH], axis=1)
    error = median - truth
    inside = np.mean((low < truth) & (truth < high))
    return (
        f"scatter {photoz.sigma_mad(error):.3f}{unit} about a median error of {np.median(error):+.3f}{unit}; "
        f"{100 * inside:.0f} % of {len(truth):,} galaxies inside their 68 % interval."
    )
