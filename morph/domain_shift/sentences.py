"""How far a survey is away, in sentences."""

from typing import Any

from morph.domain_shift.compare import Shift

#: What an area under the ROC curve below each bound is called.
VERDICTS = ((0.65, "a little different"), (0.8, "different"), (0.95, "very different"), (1.01, "next to no overlap"))
#: How many statistics and questions a line names.
NAMED = 3


def lines(shift: Shift | str) -> list[str]:
    """Two to five lines for a terminal; a reason why nothing was compared is its own line."""
    if isinstance(shift, str):
        return [shift]
    apart = shift.embedding
    kind = "simulated galaxies" if shift.reference.mostly_simulated else "galaxies"
    nearest = f", the nearest of {shift.sets} sets" if shift.sets > 1 else ""
    told = [
        f"Is this survey too different? {verdict(shift).capitalize()}: shown one galaxy of these {len(shift.new):,} "
        f"and one of {len(shift.reference):,} {kind} that taught the model{nearest}, a classifier picks the right one "
        f"{100 * apart.auc:.0f} % of the time ({100 * apart.low:.0f} to {100 * apart.high:.0f}; 50 is no difference)."
    ]
    moved = [m for m in shift.moved if m.counts][:NAMED]
    if moved:
        by = "; ".join(f"{m.word} by {abs(m.shift):.1f} sigma" for m in moved)
        pixels = f" ({100 * shift.pixels.auc:.0f} % from pixel statistics alone)" if shift.pixels else ""
        told.append(f"These galaxies are {by}{pixels}.")
    told += shift.notes
    told.append(_on_questions(shift))
    return told


def document(shift: Shift | str) -> dict[str, Any]:
    """The comparison for a JSON file, its sentences under ``lines``; nothing else where nothing was compared."""
    return {"lines": lines(shift), **({} if isinstance(shift, str) else shift.document())}


def verdict(shift: Shift) -> str:
    """The headline in a word or two."""
    if shift.embedding.low <= 0.5:
        return "no difference beyond the noise"
    return next(words for bound, words in VERDICTS if shift.embedding.auc < bound)


def _on_questions(shift: Shift) -> str:
    if not shift.questions:
        return "Of no question enough is known to say whether it suffers."
    suffering = [question for question in shift.questions if question.suffers][:NAMED]
    estimate = "estimated from how sure the model is; only labels can measure it"
    if not suffering:
        return f"No question is expected to suffer beyond the noise ({estimate})."
    by = "; ".join(f"{q.question}, {100 * q.expected:.0f} % right instead of {100 * q.taught:.0f}" for q in suffering)
    return f"Likely to suffer: {by} ({estimate})."
