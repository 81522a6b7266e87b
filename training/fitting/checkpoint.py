"""The state of a training after its last finished epoch, on disk, and the random numbers of the next."""

import json
from pathlib import Path

import click
import keras
import numpy as np

from morph.atomic import atomic
from morph.errors import InputError

#: The weights, the optimizer's moments and the average of the weights, in one file.
STATE = "epochs.weights.h5"
#: The weights of the best epoch, and the losses of all.
BEST, LOSSES = "best.weights.h5", "losses.json"


def draw_from_epoch(training: keras.Model, seed: int, epoch: int) -> None:
    """Set every generator of random numbers in a model by the epoch.

    Augmentation, dropout and the draws of z are then the same in a resumed training as in one that was not
    interrupted: files of weights do not hold the state of generators.

    Parameters
    ----------
    training : the model, with all of its parts.
    seed : of the training.
    epoch : from 0; the number of epochs stands for the steps after the last.
    """
    generators = [variable for variable in training.variables if variable.name == "seed_generator_state"]
    for number, generator in enumerate(generators):
        state = np.random.SeedSequence([seed, epoch, number]).generate_state(2, np.uint32)
        generator.assign(state.astype(keras.backend.standardize_dtype(generator.dtype)))


class Finite(keras.callbacks.Callback):
    """Ends a training whose loss is not finite. It must stand first, so that nothing of such an epoch is kept.

    Parameters
    ----------
    remedy : what else than the datasets to change, for the message.
    """

    def __init__(self, remedy: str = "lower --learning-rate, or "):
        super().__init__()
        self.remedy = remedy

    def on_epoch_end(self, epoch, logs=None):
        losses = {name: float((logs or {}).get(name, 0.0)) for name in ("loss", "val_loss")}
        wrong = [f"{name} {value:g}" for name, value in losses.items() if not np.isfinite(value)]
        if wrong:
            raise InputError(
                f"Training stopped in epoch {epoch + 1} because its loss is not finite ({', '.join(wrong)}); "
                f"{self.remedy}look for impossible votes, magnitudes or pixels in the datasets."
            )


class Checkpoint(keras.callbacks.Callback):
    """Keeps the state at the end of every epoch; the file appears whole or not at all.

    The number of finished epochs is that of the optimizer's steps, so that weights and epoch cannot differ. It must
    stand before `keras.callbacks.SwapEMAWeights`, since it is the current weights that a training resumes from.

    Parameters
    ----------
    folder : where the state is.
    steps : batches an epoch.
    """

    def __init__(self, folder: Path, steps: int):
        super().__init__()
        self.file, self.steps = folder / STATE, steps

    def restore(self, training: keras.Model) -> int:
        """Load the state, if there is one, into a compiled model; returns the number of finished epochs."""
        if not self.file.exists():
            return 0
        training.optimizer.build(training.trainable_variables)
        try:
            training.load_weights(self.file)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"The state of the interrupted training in '{self.file}' cannot be read; remove the file to train "
                "from the start."
            ) from error
        return int(keras.ops.convert_to_numpy(training.optimizer.iterations)) // self.steps

    def on_epoch_end(self, epoch, logs=None):
        with atomic(self.file, "The state of the training") as building:
            self.model.save_weights(building)


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the epoch that is best on held-out galaxies, and the losses of all, on disk.

    It must stand before `Checkpoint`: what a kill leaves of an epoch that the state lacks is made again.

    Parameters
    ----------
    folder : where they are.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.best, self.file = folder / BEST, folder / LOSSES
        self.losses: list[float] = []

    def restore(self, done: int) -> None:
        """Read the losses of the finished epochs. InputError where they or the best epoch's weights are missing."""
        if not done:
            return
        try:
            self.losses = json.loads(self.file.read_text())[:done]
            if len(self.losses) < done or not self.best.exists():
                raise ValueError
        except (OSError, ValueError):
            raise InputError(
                f"The state of the interrupted training in '{self.file.parent}' is damaged; remove the folder to "
                "train from the start."
            ) from None

    def on_epoch_end(self, epoch, logs=None):
        value = float(logs["val_loss"])
        if value < min(self.losses, default=np.inf):
            with atomic(self.best, "The weights of the best epoch") as building:
                self.model.save_weights(building)
        self.losses.append(value)
        with atomic(self.file, "The losses of the training") as building:
            building.write_text(json.dumps(self.losses))


class EpochLines(keras.callbacks.Callback):
    """Prints a line after every epoch.

    Parameters
    ----------
    name : of what is trained.
    epochs : how many there are.
    """

    def __init__(self, name: str, epochs: int):
        super().__init__()
        self.name, self.epochs = name, epochs

    def on_epoch_end(self, epoch, logs=None):
        figures = ", ".join(f"{name} {value:.3g}" for name, value in sorted((logs or {}).items()))
        click.echo(f"{self.name}, epoch {epoch + 1} of {self.epochs}: {figures}.", err=True)
