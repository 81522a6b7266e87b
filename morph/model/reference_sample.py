"""The reference sample: training galaxies that a model keeps among its weights, for `morph.domain_shift`."""

import keras
import numpy as np
from keras import ops

from morph.domain_shift.sample import Sample, width

#: The most galaxies in a reference sample.
CAPACITY = 1000


@keras.saving.register_keras_serializable(package="morph")
class ReferenceSample(keras.layers.Layer):
    """A `Sample` of galaxies as a weight, so that it is saved, copied and exported with the model.

    The layer computes nothing. Where a file holds none, or one with other columns, the sample stays empty.
    """

    def __init__(self, latent: int, **options):
        super().__init__(trainable=False, **options)
        self.latent = latent
        self.table = self.add_weight(
            shape=(CAPACITY, width(latent)), initializer=_empty, trainable=False, name="table", dtype="float32"
        )
        self.built = True

    def get_config(self):
        return {**super().get_config(), "latent": self.latent}

    def load_own_variables(self, store):
        if "0" in store and store["0"].shape == self.table.shape:
            super().load_own_variables(store)

    def keep(self, sample: Sample) -> None:
        """Replace the sample by this one, at most `CAPACITY` galaxies of it."""
        kept = sample.random_subset(CAPACITY).table()
        self.table.assign(np.pad(kept, ((0, CAPACITY - len(kept)), (0, 0)), constant_values=np.nan))

    def clear(self) -> None:
        """Empty the sample."""
        self.table.assign(np.full(self.table.shape, np.nan, dtype="float32"))

    @property
    def sample(self) -> Sample | None:
        """The galaxies; None where the sample is empty."""
        table = ops.convert_to_numpy(self.table)
        table = table[np.isfinite(table[:, 0])]
        return Sample.from_table(table) if len(table) else None


def _empty(shape, dtype=None):
    return ops.full(shape, float("nan"), dtype=dtype)
