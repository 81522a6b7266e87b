"""An invented population: what volunteers say of galaxies, and what a model that sees them through noise answers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.analysis.census.classes import classes_of_answers
from morph.analysis.census.correction import Labelled
from morph.decision_tree import ANSWER_COLUMNS, TREE, tree_probabilities

#: Votes of the volunteers who define the truth, and how much the model's answers follow it where all is seen.
SHARPNESS = 2.0


def population(count: int, featured: float, seed: int) -> np.ndarray:
    """Fractions that volunteers give, [n, answers]; `featured` is about the mean of the featured fraction."""
    random = np.random.default_rng(seed)
    parts = []
    for question in TREE:
        k = len(question.answers)
        mean = np.full(k, 1 / k)
        if question.name == "smooth-or-featured":
            mean = np.array([0.97 - featured, featured, 0.03])
        parts.append(random.dirichlet(SHARPNESS * mean, count))
    return np.concatenate(parts, axis=1)


def model_answers(truth: np.ndarray, seen: float | np.ndarray, seed: int) -> np.ndarray:
    """What a model answers, [n, answers]: the truth where all is `seen` (1), its own mean where nothing is (0)."""
    random = np.random.default_rng(seed)
    seen = np.broadcast_to(np.reshape(seen, (-1, 1)), (len(truth), 1))
    parts = []
    for question in TREE:
        t = truth[:, TREE.slices[question.name]]
        usual = np.full(t.shape[1], 1 / t.shape[1])
        if question.name == "smooth-or-featured":
            usual = np.array([0.75, 0.22, 0.03])
        noise = random.dirichlet(20 * usual, len(t))
        parts.append(0.8 * seen * t + (1 - 0.8 * seen) * noise)
    return np.concatenate(parts, axis=1)


def visible(size: np.ndarray, snr: np.ndarray) -> np.ndarray:
    """What is seen of galaxies of these sizes and signals to noise: 0 to 1."""
    return 1 / (1 + (1.2 / size) ** 4) / (1 + (25 / snr) ** 2)


def labelled(count: int = 600, copies: int = 3, seed: int = 0, featured: float = 0.35) -> Labelled:
    """Labelled galaxies that are seen well, and copies that are seen worse."""
    random = np.random.default_rng(seed)
    truth = population(count, featured, seed)
    size, snr = random.uniform(3, 5, count), random.uniform(200, 400, count)
    rows = {"galaxy": [], "copy": [], "answers": [], "truth": [], "size": [], "snr": []}
    for copy in range(copies + 1):
        if copy:
            size, snr = np.exp(random.uniform(np.log(0.7), np.log(4), count)), np.exp(random.uniform(2.5, 6, count))
        answers = model_answers(truth, visible(size, snr), seed + 10 + copy)
        rows["galaxy"].append(np.arange(count))
        rows["copy"].append(np.full(count, copy))
        rows["answers"].append(classes_of_answers(tree_probabilities(answers)))
        rows["truth"].append(classes_of_answers(tree_probabilities(truth)).astype(float))
        rows["size"].append(size)
        rows["snr"].append(snr)
    about = {
        "format": 1,
        "weights": "0" * 32,
        "survey": ["sdss"],
        "dataset": "invented",
        "galaxies": count,
        "simulated": True,
    }
    return Labelled(about=about, **{name: np.concatenate(each) for name, each in rows.items()})


def score_table(answers: np.ndarray, **columns) -> pa.Table:
    """A table of scores, without tree probabilities."""
    n = len(answers)
    made = {"id": [f"g{i}" for i in range(n)], "tile": ["t"] * n}
    made |= {name: answers[:, j].astype("float32") for j, name in enumerate(ANSWER_COLUMNS)}
    return pa.table({**made, **columns})


def write_scores(folder: Path, table: pa.Table, parts: int = 2) -> Path:
    """Score files of a folder, the galaxies shared among them."""
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(table) // parts)
    for k in range(parts):
        pq.write_table(table.slice(k * size, size), folder / f"tile{k}.parquet")
    return folder
