"""What a model remembers of the galaxies that it was taught with, for `morph.domain_shift`."""

import keras
import numpy as np
from keras import ops

from morph.domain_shift.sample import Sample, width

#: How many galaxies there is room for.
CAPACITY = 1000


@keras.saving.register_keras_serializable(package="morph")
class Memory(keras.layers.Layer):
    """A `Sample` of galaxies among a model's weights, so that it is saved, copied and exported with them.

    It computes nothing. A model from before there was such a layer, or one with other columns, loads and remembers
    nothing.
    """

    def __init__(self, latent: int, **options):
        super().__init__(trainable=False, **options)
        self.latent = latent
        self.table = self.add_weight(
            shape=(CAPACITY, width(latent)), initializer=_unknown, trainable=False, name="table", dtype="float32"
        )
        self.built = True

    def get_config(self):
        return {**super().get_config(), "latent": self.latent}

    def load_own_variables(self, store):
        if "0" in store and store["0"].shape == self.table.shape:
            super().load_own_variables(store)

    def keep(self, sample: Sample) -> None:
        """Remember this sample, at most `CAPACITY` of it, and nothing else."""
        kept = sample.drawn(CAPACITY).table()
        self.table.assign(np.pad(kept, ((0, CAPACITY - len(kept)), (0, 0)), constant_values=np.nan))

    def forget(self) -> None:
        """Remember nothing."""
        self.table.assign(np.full(self.table.shape, np.nan, dtype="float32"))

    @property
    def sample(self) -> Sample | None:
        """What is remembered; None when that is nothing."""
        table = ops.convert_to_numpy(self.table)
        table = table[np.isfinite(table[:, 0])]
        return Sample.from_table(table) if len(table) else None


def _unknown(shape, dtype=None):
    return ops.full(shape, float("nan"), dtype=dtype)
