"""What a transfer trains: which methods, on how many labels, how often."""

from collections.abc import Sequence
from dataclasses import dataclass

from morph.errors import InputError

#: Ways of training, and what people call them. "direct" needs no label, the others at least one.
METHODS = {"direct": "as it is", "frozen": "frozen encoder", "scratch": "from scratch", "finetuned": "fine-tuned"}


@dataclass(frozen=True)
class Trial:
    """One training: a method, how many labels, and which repeat (it gives the seed and the galaxies)."""

    method: str
    labels: int
    repeat: int

    @property
    def name(self) -> str:
        if self.method == "direct":
            return "transfer direct"
        return f"transfer {self.method} {self.labels} #{self.repeat}"

    @property
    def title(self) -> str:
        if self.method == "direct":
            return "as it is, no labels"
        return f"{METHODS[self.method]}, {self.labels:,} labels, repeat {self.repeat + 1}"


def budgets_of(text: str) -> list[int]:
    """``0,50,100`` as numbers, in order and each once. InputError on anything else."""
    try:
        budgets = sorted({int(word.replace("_", "")) for word in text.split(",") if word.strip()})
    except ValueError:
        budgets = []
    if not budgets or budgets[0] < 0:
        raise InputError(f"--labels '{text}' should be numbers of labels with commas between them, such as 0,50,300.")
    if budgets == [0]:
        raise InputError("--labels 0 alone trains nothing; `morph evaluate` measures a model as it is.")
    return budgets


def methods_of(text: str) -> list[str]:
    """``scratch,finetuned`` as names in the order of `METHODS`. InputError on any other name, or none."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    trained = [method for method in METHODS if method != "direct"]
    unknown = [word for word in words if word not in trained]
    if unknown or not words:
        what = f"has no method '{unknown[0]}'" if unknown else "names no method"
        raise InputError(f"--methods {what}; take one or several of {', '.join(trained)}.")
    return [method for method in trained if method in words]


def children(budgets: Sequence[int], methods: Sequence[str], repeats: int) -> list[Trial]:
    """Everything to train, cheap budgets first, so that a curve takes shape early."""
    direct = [Trial("direct", 0, 0)] if 0 in budgets else []
    return direct + [
        Trial(method, labels, repeat)
        for labels in budgets
        if labels
        for repeat in range(repeats)
        for method in METHODS
        if method in methods and method != "direct"
    ]
