"""How far a survey's galaxies are from those that a model was trained on, in numbers."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from morph.domain_shift.expected_accuracy import ExpectedAccuracy, expected_accuracies
from morph.domain_shift.sample import Sample
from morph.domain_shift.two_samples import TwoSampleTest, two_sample_test
from morph.stamps.image_statistics import NAMES, STATISTICS, Statistic
from morph.surveys import SURVEYS

#: Fewest galaxies of either side that are compared.
FEWEST = 30
#: Most galaxies of the new survey that are compared.
ENOUGH = 500
#: Smallest shift that is reported, in standard deviations.
SMALLEST = 0.2
#: The scale of a stamp depends on how it was cut, and cannot be measured from its pixels.
_PIXELS = np.array([name != "scale" for name in NAMES])

NO_REFERENCE_SAMPLE = (
    "The domain shift cannot be measured: the model holds no reference sample of its training galaxies; "
    "train it again with `morph pretrain` or `morph finetune` of this version."
)


@dataclass(frozen=True)
class StatisticShift:
    """The shift of one image statistic.

    Attributes
    ----------
    shift : difference of the medians, new minus reference, in robust standard deviations of the reference galaxies.
    error : its standard error.
    reference, new : the medians, in the statistic's unit.
    sigma : the reference galaxies' standard deviation, in the same unit.
    """

    statistic: Statistic
    shift: float
    error: float
    reference: float
    new: float
    sigma: float

    @property
    def is_significant(self) -> bool:
        """Whether it is statistically significant and large enough to matter."""
        return abs(self.shift) >= SMALLEST and abs(self.shift) > 1.96 * self.error

    @property
    def direction(self) -> str:
        """What the new galaxies are, such as "bluer in g - r"."""
        return self.statistic.more if self.shift > 0 else self.statistic.less

    def of(self, statistics: np.ndarray) -> np.ndarray:
        """This statistic of the galaxies that have it, from [n, statistics]."""
        return _known_values(statistics, STATISTICS.index(self.statistic))


def _known_values(statistics: np.ndarray, column: int) -> np.ndarray:
    return statistics[np.isfinite(statistics[:, column]), column].astype(float)


@dataclass(frozen=True)
class Shift:
    """How a survey differs from the nearest of the sets that a model was trained on.

    Attributes
    ----------
    reference : the galaxies of that set.
    new : the survey's.
    sets : number of sets among which that is the nearest.
    embedding : how well a classifier separates the two by the model's embedding.
    pixels : the same by image statistics; None where those are unknown.
    statistics : the image statistics, the largest shift first.
    questions : the expected accuracies, the largest drop first.
    notes : sentences on what differs by construction: kind of image, bands, scale.
    """

    reference: Sample
    new: Sample
    sets: int
    embedding: TwoSampleTest
    pixels: TwoSampleTest | None
    statistics: list[StatisticShift]
    questions: list[ExpectedAccuracy]
    notes: list[str]

    def metrics(self) -> dict[str, float]:
        """Flat figures for a run's record."""
        found = {"shift/auc": self.embedding.auc, "shift/auc-low": self.embedding.low}
        found["shift/auc-high"] = self.embedding.high
        if self.pixels is not None:
            found["shift/pixels-auc"] = self.pixels.auc
        found |= {f"shift/{m.statistic.name}": m.shift for m in self.statistics}
        return found | {f"shift/expected-accuracy/{q.question}": q.expected for q in self.questions}

    def document(self) -> dict[str, Any]:
        """Everything but the galaxies, for a JSON file."""

        def figure(test: TwoSampleTest) -> dict[str, float]:
            return {"auc": test.auc, "low": test.low, "high": test.high}

        statistics = {
            m.statistic.name: {"title": m.statistic.title, "shift": m.shift, "error": m.error}
            | {"reference": m.reference, "new": m.new}
            for m in self.statistics
        }
        return {
            "reference_galaxies": len(self.reference),
            "reference_sets": self.sets,
            "reference_simulated": int(self.reference.simulated.sum()),
            "new_galaxies": len(self.new),
            "embedding": figure(self.embedding),
            "pixels": None if self.pixels is None else figure(self.pixels),
            "statistics_in_sigma": statistics,
            "expected_accuracy": [asdict(question) for question in self.questions],
            "notes": self.notes,
        }


def compare(reference: Sample | None, new: Sample) -> Shift | str:
    """Compare new galaxies with a model's reference sample; returns one sentence where that is not possible."""
    if reference is None or not len(reference):
        return NO_REFERENCE_SAMPLE
    # Galaxies without an answer have no embedding.
    new = new.select(np.isfinite(new.embedding).all(axis=1)).random_subset(ENOUGH)
    if min(len(new), len(reference)) < FEWEST:
        few = (
            f"{len(new)} usable galaxies"
            if len(new) < FEWEST
            else f"the {len(reference)} of the model's reference sample"
        )
        return f"The domain shift cannot be measured from {few}; {FEWEST} of each are needed."
    like = reference.flux == np.median(new.flux)
    known = reference.select(like) if like.sum() >= FEWEST else reference
    # A survey like one of several training sets is not shifted, however far the other sets are.
    sets = _sets(known)
    tests = [two_sample_test(one.embedding, new.embedding) for one in sets]
    nearest = int(np.argmin([each.auc for each in tests]))
    closest = sets[nearest]
    return Shift(
        closest,
        new,
        len(sets),
        tests[nearest],
        _by_pixels(closest.statistics[:, _PIXELS], new.statistics[:, _PIXELS]),
        statistic_shifts(closest.statistics, new.statistics),
        expected_accuracies(known, new),
        _notes(closest, new),
    )


def _sets(sample: Sample) -> list[Sample]:
    """The sets that a sample is made of and that are large enough to compare with; all in one if none is."""
    members = [sample.origin == number for number in np.unique(sample.origin)]
    return [sample.select(which) for which in members if which.sum() >= FEWEST] or [sample]


def statistic_shifts(reference: np.ndarray, new: np.ndarray) -> list[StatisticShift]:
    """Every statistic that both sides have, [n, statistics] and [m, statistics], the largest shift first."""
    found = []
    for k, statistic in enumerate(STATISTICS):
        a, b = (_known_values(values, k) for values in (reference, new))
        if min(len(a), len(b)) < FEWEST:
            continue
        sigma = _spread(a) or float(a.std())
        if not sigma:
            continue
        # The median of n Gaussian values has 1.25 times the standard error of their mean.
        error = 1.2533 * np.hypot(1 / np.sqrt(len(a)), _spread(b) / sigma / np.sqrt(len(b)))
        before, now = float(np.median(a)), float(np.median(b))
        found.append(StatisticShift(statistic, (now - before) / sigma, float(error), before, now, sigma))
    return sorted(found, key=lambda each: -abs(each.shift))


def _spread(values: np.ndarray) -> float:
    """Half of the range of the middle 68 %: a standard deviation that is robust against outliers."""
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float(high - low) / 2


def _by_pixels(reference: np.ndarray, new: np.ndarray) -> TwoSampleTest | None:
    known = np.isfinite(reference).any(axis=0) & np.isfinite(new).any(axis=0)
    new = new[np.isfinite(new[:, known]).any(axis=1)]
    if not known.any() or len(new) < FEWEST:
        return None
    middle = np.nanmedian(reference[:, known], axis=0)
    reference, new = (np.where(np.isfinite(v), v, middle) for v in (reference[:, known], new[:, known]))
    return two_sample_test(reference, new)


def _notes(reference: Sample, new: Sample) -> list[str]:
    """What differs by construction."""
    kinds = {0: "colour pictures", 1: "calibrated flux"}
    notes = []
    kind = int(np.median(new.flux))
    if np.median(reference.flux) != kind:
        notes.append(f"The model was trained on {kinds[1 - kind]}, and these galaxies are {kinds[kind]}.")
    if reference.surveys and new.surveys:
        trained, own = (SURVEYS[sample.surveys[0]] for sample in (reference, new))
        if own.bands != trained.bands:
            notes.append(
                f"Their bands are {', '.join(own.bands)}, where the model was trained on {', '.join(trained.bands)}."
            )
    scales = [2 ** sample.statistics[:, NAMES.index("scale")] for sample in (reference, new)]
    scales = [scale[np.isfinite(scale)] for scale in scales]
    if min(len(scale) for scale in scales) >= FEWEST:
        before, now = (float(np.median(scale)) for scale in scales)
        if not 0.8 < now / before < 1.25:
            notes.append(
                f"A pixel of their stamps spans {now:.2f} arcsec, against {before:.2f} in the training "
                f"set: at the same size in the stamp they are {max(now / before, before / now):.1f} times "
                f"{'larger' if now > before else 'smaller'} on the sky."
            )
    return notes
