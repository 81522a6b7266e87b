"""What an import understood, and what it left out and why."""

from dataclasses import dataclass, field

from morph.dataset import Galaxies
from morph.decision_tree import TREE
from morph.votes import DEBIASED
from training.importers.labels import Labels


@dataclass
class Report:
    """Collected while a dataset is made, printed when it is done."""

    understood: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def say(self, sentence: str) -> None:
        self.understood.append(sentence)

    def labels(self, labels: Labels) -> None:
        """What a table of labels was recognised as, and what was left out of it."""
        self.say(f"Labels: {labels.scheme}, {int(labels.labelled.sum()):,} of {len(labels.votes):,} rows.")
        if labels.kind == DEBIASED:
            self.say(
                "Votes: debiased, which is what volunteers would have seen nearer by; the weights that ship answer as "
                "volunteers saw the pictures (raw)."
            )
        for note in labels.notes:
            self.say(f"Note: {note}")

    def skip(self, reason: str, name: str) -> None:
        """Count one thing that was left out."""
        self.skipped.setdefault(reason, []).append(name)

    def lines(self, galaxies: Galaxies) -> list[str]:
        """The whole account, line by line."""
        lines = [*self.understood, *galaxies.zero_point_lines()]
        for reason, names in self.skipped.items():
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            lines.append(f"Skipped {len(names):,}: {reason} ({shown}).")
        answered = galaxies.answered()
        if any(answered.values()):
            width = max(len(question.name) for question in TREE)
            lines.append("Galaxies with votes on each question:")
            lines += [f"  {name:<{width}} {count:>7,}" for name, count in answered.items()]
        else:
            lines.append("No galaxy has labels: the set can be learned from through the reconstruction only.")
        return lines
