"""A model that sleeps, for tests and benchmarks of all that scoring does beside asking a model; also a program.

    python sleeping.py TILES CATALOGUE OUT [--workers N] [--scheduler ADDRESS] [--seconds S]

scores as `morph score` does, with this model. It imports neither Keras nor TensorFlow.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from morph.decision_tree import ANSWERS, TREE
from serving.scoring.backends import Answers, Backend

EMBEDDING = 4


@dataclass(frozen=True)
class Sleeping:
    """Takes `seconds` for each galaxy, and answers with numbers that follow from its pixels alone.

    Its process dies of a batch of just `deadly` galaxies.
    """

    seconds: float = 0.0
    version: str = "asleep"
    deadly: int = 0

    @contextmanager
    def open(self) -> Iterator[Backend]:
        description = {
            "name": "sleeping",
            "version": self.version,
            "survey": "des",
            "size": 64,
            "embedding_size": EMBEDDING,
            "similarity_size": EMBEDDING,
            "questions": [{"name": question.name, "answers": list(question.answers)} for question in TREE],
            "anomaly_threshold": 0.01,
        }

        def answer(stamps: np.ndarray) -> Answers:
            if len(stamps) == self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds * len(stamps))
            light = np.nan_to_num(stamps).mean(axis=(1, 2, 3), dtype="float64").astype("float32")
            wide = np.tile(light[:, None], (1, len(ANSWERS)))
            names = ("probabilities", "tree_probabilities", "concentration")
            return {
                **dict.fromkeys(names, wide),
                **dict.fromkeys(("embedding", "similarity"), wide[:, :EMBEDDING]),
                "reconstruction_error": light,
                "anomaly_score": light % 1,
                "anomaly": light < 0,
            }

        yield Backend(description, answer)

    def shared(self, folder: Path) -> "Sleeping":
        return self


@click.command()
@click.argument("tiles")
@click.argument("catalogue", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--workers", default=1)
@click.option("--scheduler")
@click.option("--seconds", default=0.0, help="For a galaxy.")
def main(tiles: str, catalogue: Path, out: Path, workers: int, scheduler: str | None, seconds: float) -> None:
    """Score tiles with the model that sleeps; ends with 2 and a sentence where `morph score` does."""
    from morph.errors import InputError
    from serving.scoring.run import score

    try:
        score(tiles, catalogue, Sleeping(seconds), out, workers=workers, scheduler=scheduler)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    # Under its own name, so that workers find the model where it was made.
    sys.path.insert(0, str(Path(__file__).parent))
    from tests.serving.scoring import sleeping

    sleeping.main()
