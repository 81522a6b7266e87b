"""Batches of galaxies for training, drawn from several datasets in stated shares."""

import keras
import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS, VOTE_COLUMNS, question_of
from morph.errors import InputError
from morph.model.experts import MEASUREMENTS, transform
from morph.stamps.stretch import centre_crop, relative_flux
from morph.votes import vote_counts


def linear(images: np.ndarray) -> np.ndarray:
    """Stamps of either kind as linear brightness, bands from blue to red: float32."""
    return relative_flux(images).astype("float32") if images.dtype == np.uint8 else images.astype("float32")


#: Side of the stamps that are turned and shifted, in sides of the network's input: corners stay inside.
MARGIN = 1.5


def rarity(votes: np.ndarray, power: float = 0.5) -> np.ndarray:
    """How much more often to draw each galaxy so that rare answers are seen.

    A galaxy's weight is that of the rarest answer that most of its volunteers gave, (commonest / its count) to
    the given power, at most 6. With power 0 every galaxy counts the same.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.
    """
    votes = vote_counts(votes)
    weight = np.ones(len(votes))
    questions = np.array([question_of(column) for column in VOTE_COLUMNS])
    for question in dict.fromkeys(questions):
        columns = np.flatnonzero(questions == question)
        asked = votes[:, columns].sum(axis=1) > 0
        if not asked.any():
            continue
        chosen = votes[:, columns].argmax(axis=1)
        counts = np.bincount(chosen[asked], minlength=len(columns))
        answer_weight = (counts.max() / np.maximum(counts, 1)) ** power
        weight[asked] = np.maximum(weight[asked], answer_weight[chosen[asked]])
    return np.minimum(weight, 6.0)


class Batches(keras.utils.PyDataset):
    """Batches drawn from several sets of galaxies, the same for the same seed and epoch.

    Each item is ``(given, votes)``, of which `given` is what `given_of` makes of the galaxies and `votes` float32
    [batch, columns] with 0 where not asked.

    Parameters
    ----------
    sets : the sets and the share of every batch that each contributes; shares need not sum to one.
    batch_size, seed : as usual.
    steps : batches an epoch; by default each galaxy of the largest-relative set is drawn about once.
    balance : the power of `rarity` by which rare answers are drawn more often.
    view : pixels on a side of the network's input; larger stamps are cut to `MARGIN` times that. By default they stay
        as they are.
    """

    def __init__(
        self,
        sets: list[tuple[Galaxies, float]],
        batch_size: int = 64,
        seed: int = 0,
        steps: int | None = None,
        balance: float = 0.5,
        view: int | None = None,
        **options,
    ):
        # Two threads keep the next batches ready while the network computes.
        super().__init__(**{"workers": 2, "max_queue_size": 8, **options})
        sets = [(galaxies, share) for galaxies, share in sets if len(galaxies) and share > 0]
        if not sets:
            raise InputError("There are no galaxies to train on.")
        if len({galaxies.size for galaxies, _ in sets}) != 1:
            raise InputError("The datasets hold stamps of different sizes; import them with one size.")
        total = sum(share for _, share in sets)
        self.sets = [galaxies for galaxies, _ in sets]
        self.shares = np.array([share / total for _, share in sets])
        stored = self.sets[0].size
        if view is not None and stored < view:
            raise InputError(
                f"The datasets hold stamps of {stored} px and the network reads {view}; import or simulate them with "
                f"--stamp-size {round(1.25 * view)}."
            )
        self.size = stored if view is None else min(stored, round(MARGIN * view))
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        weights = [rarity(galaxies.votes, balance) for galaxies in self.sets]
        self.odds = [w / w.sum() for w in weights]
        size = max(len(galaxies) / share for galaxies, share in zip(self.sets, self.shares, strict=True))
        self.steps = steps or max(1, round(size / batch_size))
        self._draw()

    def __len__(self) -> int:
        return self.steps

    def begin_epoch(self, epoch: int) -> None:
        """Draw the batches of the given epoch; a resumed run continues with those it would have seen."""
        self.epoch = epoch
        self._draw()

    def _draw(self) -> None:
        """For every place of the epoch, which set and which galaxy of it. Within a set, galaxies come in
        shuffled passes: none is drawn again, beyond its odds, before the others have been."""
        random = np.random.default_rng([self.seed, self.epoch])
        places = self.steps * self.batch_size
        self._set = random.choice(len(self.sets), size=places, p=self.shares)
        self._galaxy = np.empty(places, dtype=int)
        for k, odds in enumerate(self.odds):
            here = np.flatnonzero(self._set == k)
            # Systematic resampling: expected counts follow the odds with the least variance.
            points = (np.arange(len(here)) + random.random()) / max(len(here), 1)
            drawn = np.searchsorted(np.cumsum(odds), points, side="right").clip(0, len(odds) - 1)
            self._galaxy[here] = random.permutation(drawn)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        size = self.size
        given = {
            "image": np.empty((self.batch_size, size, size, 3), dtype="float32"),
            "votes": np.empty((self.batch_size, len(VOTE_COLUMNS)), dtype="float32"),
            "measurements": np.empty((self.batch_size, len(MEASUREMENTS)), dtype="float32"),
        }
        for k, galaxies in enumerate(self.sets):
            here = np.flatnonzero(self._set[part] == k)
            for name, values in given_of(galaxies, self._galaxy[part][here], size).items():
                given[name][here] = values
        return given, given["votes"]


def given_of(
    galaxies: Galaxies, which: np.ndarray | slice = slice(None), size: int | None = None
) -> dict[str, np.ndarray]:
    """The known properties of galaxies, as the inputs of training.

    Parameters
    ----------
    galaxies, which : the galaxies, and which of them.
    size : pixels on a side of the middle of the stamps; all of them by default.

    Returns
    -------
    dict: ``image`` float32 [n, s, s, 3], linear brightness; ``votes`` float32 [n, columns], 0 where not asked;
        ``measurements`` float32 [n, 5] as `morph.model.experts.transform` gives them, NaN where unknown.
    """
    measured = np.stack([galaxies.properties[name][which] for name in MEASUREMENTS], axis=1)
    return {
        "image": linear(centre_crop(galaxies.images, size or galaxies.size)[which]),
        "votes": vote_counts(galaxies.votes[which]),
        "measurements": transform(measured),
    }


def unanswered(galaxies: Galaxies) -> Galaxies:
    """The same galaxies with their votes taken away: they train the reconstruction alone."""
    return galaxies.with_votes(np.full_like(galaxies.votes, np.nan))


def mostly_artifact(votes):
    """Where most votes on the first question are for an artifact: bool, [n] (without votes: False)."""
    columns = [ANSWERS.index(f"smooth-or-featured_{a}") for a in ("smooth", "featured-or-disk", "artifact")]
    return votes[:, columns[2]] > votes[:, columns[0]] + votes[:, columns[1]]
