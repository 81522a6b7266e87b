"""How far a survey's galaxies are from those that a model was taught with: numbers."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from morph.domain_shift.expected import Expected, expected_accuracies
from morph.domain_shift.sample import Sample
from morph.domain_shift.two_samples import Apart, distinguish
from morph.stamps.image_statistics import NAMES, STATISTICS, Statistic
from morph.surveys import SURVEYS

#: Fewer galaxies than this on either side are not compared.
FEWEST = 30
#: More than this of the new survey's are not needed.
ENOUGH = 500
#: A smaller shift than this, in standard deviations, is not worth a word.
SMALLEST = 0.2
#: The scale of a stamp says how it was cut, and is nothing that its pixels show.
_PIXELS = np.array([name != "scale" for name in NAMES])

NO_REFERENCE_SAMPLE = (
    "The domain shift cannot be measured: the model holds no reference sample of its training galaxies; "
    "train it again with `morph pretrain` or `morph finetune` of this version."
)


@dataclass(frozen=True)
class Moved:
    """One statistic of the pixels.

    Attributes
    ----------
    shift : difference of the medians, new less taught, in robust standard deviations of the taught galaxies.
    error : its standard error.
    taught, new : the medians, and sigma the standard deviation, in the statistic's unit.
    """

    statistic: Statistic
    shift: float
    error: float
    taught: float
    new: float
    sigma: float

    @property
    def counts(self) -> bool:
        """Whether it is beyond the noise and large enough to matter."""
        return abs(self.shift) >= SMALLEST and abs(self.shift) > 1.96 * self.error

    @property
    def word(self) -> str:
        return self.statistic.more if self.shift > 0 else self.statistic.less

    def of(self, appearance: np.ndarray) -> np.ndarray:
        """The known values of this statistic among those of galaxies, [n, statistics]."""
        return known_values(appearance, STATISTICS.index(self.statistic))


def known_values(appearance: np.ndarray, column: int) -> np.ndarray:
    """One statistic of the galaxies that have it."""
    return appearance[np.isfinite(appearance[:, column]), column].astype(float)


@dataclass(frozen=True)
class Shift:
    """How a survey differs from the nearest set of galaxies that taught the model.

    Attributes
    ----------
    reference : the galaxies of that set; sets : how many there were to choose from.
    new : the survey's.
    embedding : how well they can be told apart by the model's embedding.
    pixels : the same by the statistics of their pixels; None where those are unknown.
    moved : the statistics, the one that moved most first.
    questions : what the answers are expected to be worth, the worst first.
    notes : sentences on what differs by construction: kind of image, bands, scale.
    """

    reference: Sample
    new: Sample
    sets: int
    embedding: Apart
    pixels: Apart | None
    moved: list[Moved]
    questions: list[Expected]
    notes: list[str]

    def metrics(self) -> dict[str, float]:
        """Flat figures for a run's record."""
        found = {"shift/auc": self.embedding.auc, "shift/auc-low": self.embedding.low}
        found["shift/auc-high"] = self.embedding.high
        if self.pixels is not None:
            found["shift/pixels-auc"] = self.pixels.auc
        found |= {f"shift/{m.statistic.name}": m.shift for m in self.moved}
        return found | {f"shift/expected-accuracy/{q.question}": q.expected for q in self.questions}

    def document(self) -> dict[str, Any]:
        """Everything but the galaxies, for a JSON file."""

        def figure(apart: Apart) -> dict[str, float]:
            return {"auc": apart.auc, "low": apart.low, "high": apart.high}

        moved = {
            m.statistic.name: {"title": m.statistic.title, "shift": m.shift, "error": m.error}
            | {"taught": m.taught, "new": m.new}
            for m in self.moved
        }
        return {
            "taught_galaxies": len(self.reference),
            "taught_sets": self.sets,
            "taught_simulated": int(self.reference.simulated.sum()),
            "new_galaxies": len(self.new),
            "embedding": figure(self.embedding),
            "pixels": None if self.pixels is None else figure(self.pixels),
            "statistics_in_sigma": moved,
            "expected_accuracy": [asdict(question) for question in self.questions],
            "notes": self.notes,
        }


def compare(reference: Sample | None, new: Sample) -> Shift | str:
    """Compare new galaxies with a model's reference sample; returns one sentence where that is not possible."""
    if reference is None or not len(reference):
        return NO_REFERENCE_SAMPLE
    # Rows that the model could not answer for have no place to compare.
    new = new.select(np.isfinite(new.embedding).all(axis=1)).drawn(ENOUGH)
    if min(len(new), len(reference)) < FEWEST:
        few = (
            f"{len(new)} usable galaxies"
            if len(new) < FEWEST
            else f"the {len(reference)} of the model's reference sample"
        )
        return f"The domain shift cannot be measured from {few}; {FEWEST} of each are needed."
    like = reference.flux == np.median(new.flux)
    known = reference.select(like) if like.sum() >= FEWEST else reference
    # Of several sets the nearest counts: a survey that looks like one of them is none the stranger for the rest.
    sets = _sets(known)
    apart = [distinguish(one.embedding, new.embedding) for one in sets]
    nearest = int(np.argmin([each.auc for each in apart]))
    taught = sets[nearest]
    return Shift(
        taught,
        new,
        len(sets),
        apart[nearest],
        _by_pixels(taught.appearance[:, _PIXELS], new.appearance[:, _PIXELS]),
        moved_statistics(taught.appearance, new.appearance),
        expected_accuracies(known, new),
        _notes(taught, new),
    )


def _sets(sample: Sample) -> list[Sample]:
    """The sets that a sample is made of and that are large enough to compare with; all in one if none is."""
    members = [sample.origin == number for number in np.unique(sample.origin)]
    return [sample.select(which) for which in members if which.sum() >= FEWEST] or [sample]


def moved_statistics(taught: np.ndarray, new: np.ndarray) -> list[Moved]:
    """Every statistic that both sides have, [n, statistics] and [m, statistics], the one that moved most first."""
    found = []
    for k, statistic in enumerate(STATISTICS):
        a, b = (known_values(values, k) for values in (taught, new))
        if min(len(a), len(b)) < FEWEST:
            continue
        sigma = _spread(a) or float(a.std())
        if not sigma:
            continue
        # The median of n Gaussian values has 1.25 times the standard error of their mean.
        error = 1.2533 * np.hypot(1 / np.sqrt(len(a)), _spread(b) / sigma / np.sqrt(len(b)))
        before, now = float(np.median(a)), float(np.median(b))
        found.append(Moved(statistic, (now - before) / sigma, float(error), before, now, sigma))
    return sorted(found, key=lambda moved: -abs(moved.shift))


def _spread(values: np.ndarray) -> float:
    """Half of what the middle 68 % span: a standard deviation that outliers do not move."""
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float(high - low) / 2


def _by_pixels(taught: np.ndarray, new: np.ndarray) -> Apart | None:
    known = np.isfinite(taught).any(axis=0) & np.isfinite(new).any(axis=0)
    new = new[np.isfinite(new[:, known]).any(axis=1)]
    if not known.any() or len(new) < FEWEST:
        return None
    middle = np.nanmedian(taught[:, known], axis=0)
    taught, new = (np.where(np.isfinite(v), v, middle) for v in (taught[:, known], new[:, known]))
    return distinguish(taught, new)


def _notes(reference: Sample, new: Sample) -> list[str]:
    """What differs by construction."""
    kinds = {0: "colour pictures", 1: "calibrated flux"}
    notes = []
    kind = int(np.median(new.flux))
    if np.median(reference.flux) != kind:
        notes.append(f"The model was taught with {kinds[1 - kind]}, and these galaxies are {kinds[kind]}.")
    if reference.surveys and new.surveys:
        taught, own = (SURVEYS[sample.surveys[0]] for sample in (reference, new))
        if own.bands != taught.bands:
            notes.append(
                f"Their bands are {', '.join(own.bands)}, where the model was taught with {', '.join(taught.bands)}."
            )
    scales = [2 ** sample.appearance[:, NAMES.index("scale")] for sample in (reference, new)]
    scales = [scale[np.isfinite(scale)] for scale in scales]
    if min(len(scale) for scale in scales) >= FEWEST:
        before, now = (float(np.median(scale)) for scale in scales)
        if not 0.8 < now / before < 1.25:
            notes.append(
                f"A pixel of their stamps spans {now:.2f} arcsec, against {before:.2f} in the survey that taught the "
                f"model: at the same size in the stamp they are {max(now / before, before / now):.1f} times "
                f"{'larger' if now > before else 'smaller'} on the sky."
            )
    return notes
