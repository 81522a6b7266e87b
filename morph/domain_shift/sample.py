"""A sample of galaxies as one model sees them: what two surveys are compared by."""

import base64
import zlib
from dataclasses import dataclass, fields

import numpy as np

from morph.decision_tree import TREE, tree_probabilities
from morph.stamps.image_statistics import STATISTICS
from morph.surveys import SURVEYS

#: A question counts for a galaxy where, by the model, a volunteer is asked it with at least this probability.
ASKED = 0.5

#: Surveys by number, so that a sample is numbers alone. Models keep these numbers with their weights.
_SURVEYS = tuple(SURVEYS)


@dataclass(frozen=True)
class Sample:
    """Galaxies, one row each.

    Attributes
    ----------
    embedding : float32 [n, d].
    statistics : float32 [n, statistics], see `morph.stamps.image_statistics`; NaN where not measured.
    confidence : float32 [n, questions], the probability of the most probable answer; NaN where the galaxy
        does not reach a question.
    correct : float32 [n, questions], whether that answer is the volunteers'; NaN where that is unknown.
    flux : float32 [n], 1 for calibrated flux and 0 for a colour picture.
    simulated : float32 [n], 1 for a simulated galaxy.
    survey : float32 [n], the number of its survey; see `surveys`.
    origin : float32 [n], which of several sets it is from, an arbitrary number.
    """

    embedding: np.ndarray
    statistics: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    flux: np.ndarray
    simulated: np.ndarray
    survey: np.ndarray
    origin: np.ndarray

    @classmethod
    def of(
        cls,
        embedding: np.ndarray,
        probabilities: np.ndarray,
        statistics: np.ndarray,
        survey: str | np.ndarray,
        flux: bool,
        simulated: bool = False,
        origin: int = 0,
        correct: np.ndarray | None = None,
    ) -> "Sample":
        """From a model's answers.

        Parameters
        ----------
        probabilities : [n, answers].
        survey : a name, or one a galaxy.
        correct : [n, questions], NaN where unknown. If given, a galaxy reaches the questions where it is known;
            else, those that the model's answers to the questions before lead to.
        """
        n = len(embedding)
        parts = TREE.slices.values()
        confidence = np.column_stack([probabilities[:, part].max(axis=1) for part in parts])
        if correct is None:
            arriving = tree_probabilities(probabilities)
            asked = np.column_stack([arriving[:, part].sum(axis=1) for part in parts]) >= ASKED
            correct = np.full(confidence.shape, np.nan)
        else:
            asked = np.isfinite(correct)
        names = np.broadcast_to(np.asarray(survey), (n,))
        number = [_SURVEYS.index(name) if name in _SURVEYS else -1 for name in names]
        columns = (
            embedding,
            statistics,
            np.where(asked, confidence, np.nan),
            correct,
            np.full(n, flux),
            np.full(n, simulated),
            np.array(number),
            np.full(n, origin),
        )
        return cls(*(np.asarray(column, dtype="float32") for column in columns))

    def __len__(self) -> int:
        return len(self.embedding)

    @property
    def surveys(self) -> list[str]:
        """The known surveys that the galaxies are from, the commonest first."""
        number, count = np.unique(self.survey[self.survey >= 0], return_counts=True)
        return [_SURVEYS[int(number[i])] for i in np.argsort(-count, kind="stable")]

    @property
    def mostly_simulated(self) -> bool:
        return bool(self.simulated.mean() > 0.5)

    def select(self, which: np.ndarray) -> "Sample":
        """The galaxies at the given indices, or where a mask is true."""
        return Sample(*(getattr(self, field.name)[which] for field in fields(self)))

    def random_subset(self, most: int, seed: int = 0) -> "Sample":
        """At most so many of the galaxies, at random."""
        return self.select(np.sort(np.random.default_rng(seed).permutation(len(self))[:most]))

    @classmethod
    def concatenate(cls, samples: list["Sample"]) -> "Sample":
        """Several samples as one."""
        return cls(*(np.concatenate([getattr(s, field.name) for s in samples]) for field in fields(cls)))

    # --- As one table of numbers, and as text -----------------------------------------------------------

    def table(self) -> np.ndarray:
        """All columns side by side: float32 [n, `width`]."""
        return np.column_stack([getattr(self, field.name) for field in fields(self)])

    @classmethod
    def from_table(cls, table: np.ndarray) -> "Sample":
        """The inverse of `table`. ValueError when a sample has no such width."""
        widths = [table.shape[1] - width(0), len(STATISTICS), len(TREE), len(TREE)]
        if widths[0] < 1:
            raise ValueError(f"a table of {table.shape[1]} columns is not a sample of galaxies")
        parts = np.split(np.asarray(table, dtype="float32"), np.cumsum(widths), axis=1)
        return cls(*parts[:4], *parts[4].T)

    def to_text(self) -> str:
        """A compact text to send over a network; numbers keep three digits."""
        table = self.table()
        head = np.array(table.shape, dtype="<u4").tobytes()
        return base64.b64encode(zlib.compress(head + table.astype("<f2").tobytes())).decode()

    @classmethod
    def from_text(cls, text: str | bytes) -> "Sample":
        """The inverse of `to_text`. ValueError when the text is not a sample."""
        try:
            content = zlib.decompress(base64.b64decode(text, validate=True))
            shape = np.frombuffer(content[:8], dtype="<u4")
            table = np.frombuffer(content[8:], dtype="<f2").reshape(shape)
            return cls.from_table(table)
        except (zlib.error, ValueError, TypeError, IndexError) as error:
            raise ValueError(f"this text is not a sample of galaxies: {error}") from None


def width(latent: int) -> int:
    """Columns of a sample's table for an embedding of `latent` dimensions."""
    return latent + len(STATISTICS) + 2 * len(TREE) + 4
