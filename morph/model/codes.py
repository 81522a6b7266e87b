"""Codes: a galaxy's image in a few dozen bytes, and back.

The stretched image (`morph.model.preprocessing`) is expanded in principal components of training galaxies. They are
made of the lowest frequencies of a cosine transform, and come in the order of what they explain, so that any first
few of them are a code: one model serves every length. What the stretch takes away, sky and brightness scale, and the
size of the stamp's pixels are a part of the code (`morph.model.side_numbers`).

The embedding would be a longer code of lower quality (docs/explanation/methods.md): its decoder was trained to be
right about what its encoder can say in 64 numbers, and not for few bytes.
"""

import hashlib
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.fft import dct

from morph.model.entropy_coding import KNOTS, EntropyCoder
from morph.model.fitted import Fitted

#: Numbers of the longest code.
MOST_NUMBERS = 200
#: The share of an axis's frequencies that the components are made of.
FREQUENCIES = 3 / 8


@keras.saving.register_keras_serializable(package="morph")
class Codes(Fitted):
    """Stretched images [n, size, size, 3] to the numbers of their codes, float32 [n, `MOST_NUMBERS`].

    Parameters
    ----------
    size : pixels on a side of the image.
    """

    def __init__(self, size: int, **options):
        super().__init__(**options)
        self.size, self.frequencies = size, int(FREQUENCIES * size)
        self.coefficients = 3 * self.frequencies**2
        self.centre = self.fixed("centre", (self.coefficients,), "zeros")
        # Its name lets `morph.model.store.write_half` round it.
        self.basis = self.fixed("basis-kernel", (self.coefficients, MOST_NUMBERS), "zeros")
        self.knots = self.fixed("knots", (MOST_NUMBERS, KNOTS), "zeros")
        self._cosines = cosines(size, self.frequencies)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}

    def set_basis(self, centre: np.ndarray, basis: np.ndarray, knots: np.ndarray) -> None:
        """Replace the components.

        Parameters
        ----------
        centre, basis : the mean of the coefficients of the cosine transform, and the components as columns.
        knots : quantiles of each number (`morph.model.entropy_coding.LEVELS`).
        """
        for weight, value in ((self.centre, centre), (self.basis, basis), (self.knots, knots)):
            weight.assign(value)
        self.is_fitted.assign(1.0)
        self.__dict__.pop("digest", None)
        self.__dict__.pop("coder", None)

    def call(self, image):
        return ops.matmul(self.transform(image) - self.centre, self.basis)

    def transform(self, image):
        """The lowest frequencies of stretched images' cosine transform: [n, coefficients]."""
        rows = ops.einsum("fy,nyxc->nfxc", self._cosines, image)
        return ops.reshape(ops.einsum("gx,nfxc->nfgc", self._cosines, rows), (-1, self.coefficients))

    def reconstruct(self, numbers):
        """Stretched images [n, size, size, 3] from the first numbers of codes, float32 [n, k]."""
        k = numbers.shape[1]
        found = ops.matmul(numbers, ops.transpose(self.basis[:, :k])) + self.centre
        found = ops.reshape(found, (-1, self.frequencies, self.frequencies, 3))
        return ops.einsum("gx,nygc->nyxc", self._cosines, ops.einsum("fy,nfgc->nygc", self._cosines, found))

    @cached_property
    def coder(self) -> EntropyCoder:
        """What turns numbers into bytes."""
        return EntropyCoder(ops.convert_to_numpy(self.knots))

    @cached_property
    def digest(self) -> str:
        """What identifies the components: codes are read by a model whose components are the same, as those of a
        fine-tuned model and its parent are."""
        sha = hashlib.sha256()
        for weight in (self.centre, self.basis, self.knots):
            sha.update(np.ascontiguousarray(ops.convert_to_numpy(weight), dtype="<f4").tobytes())
        return sha.hexdigest()[:32]


def cosines(size: int, frequencies: int) -> np.ndarray:
    """The first rows of the orthonormal cosine transform of an axis: float32 [frequencies, size]."""
    return dct(np.eye(size), axis=0, norm="ortho")[:frequencies].astype("float32")
