"""The sources of restored blocks, which are given the ellipticities of their data one by one."""

from functools import cache

import keras
import numpy as np
import sep
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

from morph.model.ellipticity import data_ellipticity
from morph.model.restoration import blurring, gaussian

#: Pixels on a side of what is cut around a source, and sources that are fitted together.
CUT, TOGETHER = 64, 16
#: A source stands so far above the restored sky, in units of the data's noise, in so many pixels, and its light so far
#: above its own noise; fainter ones have no ellipticity of their own.
THRESHOLD, LEAST_PIXELS, LEAST_SIGNAL = 0.7, 9, 8.0


class Ellipticities:
    """Gives the sources of restored blocks the ellipticities of their data (`morph.model.ellipticity`)."""

    def __init__(self) -> None:
        self._run = _compiled()

    def take(self, block: dict[str, np.ndarray], transfer: np.ndarray | None, widths: np.ndarray) -> np.ndarray:
        """Change a block in place.

        Parameters
        ----------
        block : ``restored``, ``sigma`` and ``residual`` [h, w] and ``noise_power`` [1, 1] of one block, as
            `morph.model.restorer.Restorer.restore` gives them for noise of 1.
        transfer : of the data's point-spread function, complex [`CUT`, `CUT`]; None where it is not known.
        widths : [2], as for `Restorer.restore`.

        Returns
        -------
        Where the sources are whose ellipticities are the data's now, x and y in pixels of the block: [n, 2].
        """
        there = np.isfinite(block["restored"])
        image = np.where(there, block["restored"], 0).astype("float32")
        x, y = find(image)
        planes = {"image": image, "residual": block["residual"], "valid": there.astype("float32")}
        windows = {name: sliding_window_view(np.pad(plane, CUT // 2), (CUT, CUT)) for name, plane in planes.items()}
        # A window of an even side whose middle is nearest to the source starts here, in the padded plane.
        left, top = (np.clip(np.round(place + 0.5).astype(int), 0, len(image)) for place in (x, y))
        changes = [np.zeros(np.add(image.shape, CUT), "float32") for _ in range(3)]
        fitted = np.zeros(len(x), dtype=bool)
        for start in range(0, len(x), TOGETHER):
            some = slice(start, start + TOGETHER)
            given = {name: view[top[some], left[some]] for name, view in windows.items()}
            made = self._fit(given, block["noise_power"], transfer, widths)
            fitted[some] = np.isfinite(made["error"])
            for number, (row, column) in enumerate(zip(top[some], left[some], strict=True)):
                for change, name in zip(changes, ("change", "data_change", "variance"), strict=True):
                    change[row : row + CUT, column : column + CUT] += made[name][number]
        inside = slice(CUT // 2, -(CUT // 2))
        change, data_change, variance = (each[inside, inside] for each in changes)
        block["restored"] = block["restored"] + change
        block["residual"] = block["residual"] - np.where(there, data_change, 0)
        block["sigma"] = np.sqrt(block["sigma"] ** 2 + variance)
        return np.stack([x, y], axis=1)[fitted]

    def _fit(self, given, noise_power, transfer, widths) -> dict[str, np.ndarray]:
        """`data_ellipticity` of up to `TOGETHER` sources."""
        count = len(given["image"])
        filled = {name: np.pad(each, ((0, TOGETHER - count), (0, 0), (0, 0))) for name, each in given.items()}
        real, imaginary = np.ones((1, CUT, CUT), "float32"), np.zeros((1, CUT, CUT), "float32")
        if transfer is not None and widths[1] < 1:
            psf = transfer.real[None].astype("float32"), transfer.imag[None].astype("float32")
            target = gaussian(widths[:1] * widths[1:], (CUT, CUT))
            real, imaginary = (ops.convert_to_numpy(part) for part in blurring(psf, target))
        many = {"real": real, "imaginary": imaginary, "widths": widths[None], "noise_power": noise_power[None]}
        repeated = {name: np.repeat(each.astype("float32"), TOGETHER, axis=0) for name, each in many.items()}
        found = self._run(filled | repeated)
        return {name: ops.convert_to_numpy(values)[:count] for name, values in found.items()}


def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where sources stand out of a restored image, pixels: x and y.

    Parameters
    ----------
    image : in units of the data's noise, sky at 0, float32 [h, w].

    Returns
    -------
    Empty where there are too many to be separated: a single one's ellipticity has no meaning there.
    """
    try:
        found = sep.extract(np.ascontiguousarray(image), THRESHOLD, minarea=LEAST_PIXELS)
    except Exception:  # sep raises bare Exception where its limits overflow
        return np.empty(0), np.empty(0)
    bright = found["flux"] >= LEAST_SIGNAL * np.sqrt(found["npix"])
    return found["x"][bright], found["y"][bright]


@cache
def _compiled():
    """`data_ellipticity` of batches, compiled by whichever backend runs."""

    class Fits(keras.Model):
        def build(self, input_shape=None):
            """There are no weights."""

        def call(self, given):
            return data_ellipticity(
                given["image"],
                given["residual"],
                given["valid"],
                (given["real"], given["imaginary"]),
                given["widths"],
                given["noise_power"],
            )

    fits = Fits()
    return lambda given: fits.predict_on_batch(given)
