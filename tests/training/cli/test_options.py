"""What the user asked of a training reaches it."""

from dataclasses import dataclass

import click
from click.testing import CliRunner

from training.cli.options import Options, training_options


@dataclass(frozen=True)
class Usual:
    """A recipe."""

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 5e-4
    seed: int = 0
    freeze: str = "statistics"


def test_what_is_asked_for_takes_the_place_of_the_usual_and_nothing_else_does():
    asked: list[tuple[Options, str]] = []

    @click.command("learn")
    @click.argument("datasets", nargs=-1)
    @click.option("--freeze")
    @training_options(batch_size=32, learning_rate=5e-4)
    def learn(datasets, freeze, options):
        asked.append((options, freeze))
        task = options.task("finetune", datasets)
        assert (task.kind, task.name, task.labelled, task.unlabelled) == ("finetune", "finetune", ("a", "b"), ("c",))

    words = ["a", "b", "--to", "m.keras", "--epochs", "3", "--seed", "5", "--unlabelled", "c"]
    done = CliRunner().invoke(learn, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    ((options, freeze),) = asked
    assert options.recipe(Usual(), freeze=freeze) == Usual(epochs=3, seed=5)
    assert "[default: 0.0005]" in CliRunner().invoke(learn, ["--help"]).output
