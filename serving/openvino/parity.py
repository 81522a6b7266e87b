"""How far one engine's answers are from another's, and how far they may be."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np


@dataclass(frozen=True)
class Parity:
    """The largest differences between two sets of answers to the same galaxies.

    Attributes
    ----------
    probability : between probabilities, down the tree or not.
    embedding : between coordinates of the embedding, which scatter by about one half.
    error : between reconstruction errors, relative to the larger.
    flags : share of galaxies of which only one says that they are anomalies.
    """

    probability: float
    embedding: float
    error: float
    flags: float

    @classmethod
    def of(cls, answers: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> "Parity":
        """Compare two sets of answers (as `Classifier.from_flux` names them)."""

        def largest(name: str) -> float:
            return float(np.max(np.abs(answers[name] - others[name])))

        errors = answers["reconstruction_error"], others["reconstruction_error"]
        return cls(
            probability=max(largest("probabilities"), largest("tree_probabilities")),
            embedding=largest("embedding"),
            error=float(np.max(np.abs(errors[0] - errors[1]) / np.maximum(np.maximum(*errors), 1e-6))),
            flags=float(np.mean(answers["anomaly"] != others["anomaly"])),
        )

    def within(self, limits: "Parity") -> bool:
        """Whether no difference is larger than `limits`, and none is NaN."""
        return all(value <= limit for value, limit in zip(astuple(self), astuple(limits), strict=True))

    def __str__(self) -> str:
        return (
            f"probabilities differ by at most {self.probability:.4f}, embeddings by {self.embedding:.3f}, "
            f"reconstruction errors by {100 * self.error:.1f} %, {100 * self.flags:.2f} % of the flags differ"
        )


#: How far the fast path's answers may be from TensorFlow's.
LIMITS = Parity(probability=0.01, embedding=0.05, error=0.1, flags=0.001)
