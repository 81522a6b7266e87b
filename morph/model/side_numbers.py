"""The side numbers of a code: what the preprocessing takes away from an image, in `SIDE_BYTES` bytes a galaxy."""

from dataclasses import dataclass

import numpy as np

#: Where they stand in a code: the sky of each band, as 24 bits, then the scale, the pixel scale and the step.
_LAYOUT = np.dtype([("sky", "u1", (3, 3)), ("scale", "<u2"), ("pixel_scale", "<u2"), ("step", "u1")])
#: Bytes of the side numbers.
SIDE_BYTES = _LAYOUT.itemsize

#: The logarithms to base 2 of the smallest and the largest scale (units of the input) and pixel scale (arcsec); one
#: step is 0.07 and 0.02 % of the value.
SCALE, PIXEL_SCALE = (-40.0, 24.0), (-10.0, 6.0)
#: The sky, in units of the scale, is stored as an asinh with this softening, up to the largest value: to a millionth
#: where it is faint, and to a millionth of itself where it is bright.
SOFTENING, LARGEST = 0.01, float(np.arcsinh(1e12))
#: The largest sky, and the value of a band without data.
_MOST, _ABSENT = 2**23 - 2, 2**24 - 1


@dataclass(frozen=True)
class SideNumbers:
    """Those of several galaxies.

    Attributes
    ----------
    sky : of each band, in the units of the input; NaN where a band has no data, float32 [n, 3].
    scale : the central brightness in the units of the input, float32 [n].
    pixel_scale : arcsec across a pixel of the stamp, NaN where it is not known, float32 [n].
    step : the place of the code's step in `morph.model.entropy_coding.STEPS`, int [n].
    """

    sky: np.ndarray
    scale: np.ndarray
    pixel_scale: np.ndarray
    step: np.ndarray

    def to_bytes(self) -> list[bytes]:
        """`SIDE_BYTES` bytes a galaxy."""
        rows = np.zeros(len(self.scale), dtype=_LAYOUT)
        rows["scale"] = _to_logarithm(self.scale, *SCALE)
        rows["pixel_scale"] = _to_logarithm(self.pixel_scale, *PIXEL_SCALE)
        rows["step"] = self.step
        scale = _from_logarithm(rows["scale"], *SCALE)[:, None]
        with np.errstate(invalid="ignore"):
            level = np.rint(np.arcsinh(self.sky / scale / SOFTENING) * (_MOST / LARGEST))
        stored = np.clip(np.nan_to_num(level), -_MOST, _MOST).astype(int) + _MOST
        stored[np.isnan(self.sky)] = _ABSENT
        rows["sky"] = stored[..., None] >> np.array([16, 8, 0]) & 255
        return [row.tobytes() for row in rows]

    @classmethod
    def from_bytes(cls, codes: list[bytes]) -> "SideNumbers":
        """Read the first `SIDE_BYTES` bytes of codes."""
        rows = np.frombuffer(b"".join(code[:SIDE_BYTES] for code in codes), dtype=_LAYOUT)
        scale = _from_logarithm(rows["scale"], *SCALE)
        stored = (rows["sky"].astype(int) << np.array([16, 8, 0])).sum(axis=-1)
        sky = np.sinh((stored - _MOST) * (LARGEST / _MOST)) * SOFTENING * scale[:, None]
        sky = np.where(stored == _ABSENT, np.nan, sky).astype("float32")
        pixel_scale = _from_logarithm(rows["pixel_scale"], *PIXEL_SCALE)
        return cls(sky, scale.astype("float32"), pixel_scale.astype("float32"), rows["step"].astype(int))


def _to_logarithm(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Positive values as uint16; 0 where a value is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.log2(np.asarray(values, dtype=float))
    level = 1 + np.clip((place - low) / (high - low), 0, 1) * 65534
    return np.where(np.isfinite(place), np.rint(np.nan_to_num(level)), 0).astype("uint16")


def _from_logarithm(stored: np.ndarray, low: float, high: float) -> np.ndarray:
    values = 2.0 ** (low + (stored.astype(float) - 1) / 65534 * (high - low))
    return np.where(stored == 0, np.nan, values)
