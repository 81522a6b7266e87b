"""Pictures of a tile's strangest galaxies, kept while their stamps are at hand."""

import heapq
import io

import numpy as np

from morph.stamps.stretch import to_pictures

#: Galaxies of a tile that are kept: a hundredth of what its row of answers takes on disk.
KEPT = 12


class MostAnomalous:
    """The strangest galaxies of a tile whose stamps come piece by piece, as JPEG files.

    Only stamps without a flag count: whatever the model makes of a galaxy behind a bleed trail, it is not the
    galaxy that is strange. Of galaxies with one p-value, those that the decoder missed most are the strangest.

    >>> kept = Strangest()
    >>> kept.add(stamps, flags, outputs)  # doctest: +SKIP
    >>> kept.column()  # doctest: +SKIP
    """

    def __init__(self, most: int = KEPT):
        self._most = most
        self._seen = 0
        self._best: list[tuple[tuple[float, float], int, np.ndarray]] = []

    def add(self, stamps: np.ndarray, flags: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
        """Look at the next galaxies.

        Parameters
        ----------
        stamps : float32 [n, size, size, 3], nanomaggies; row 0 is the image's lowest.
        flags : [n].
        outputs : ``anomaly_score`` and ``reconstruction_error`` [n], NaN where not asked.
        """
        score, error = outputs["anomaly_score"], outputs["reconstruction_error"]
        usable = np.flatnonzero((flags == 0) & np.isfinite(score))
        for i in usable[np.lexsort((-error[usable], score[usable]))[: self._most]]:
            # A heap has its smallest entry on top; here that is the least strange.
            entry = ((-float(score[i]), float(error[i])), self._seen + int(i), stamps[i].copy())
            if len(self._best) < self._most:
                heapq.heappush(self._best, entry)
            elif entry[0] > self._best[0][0]:
                heapq.heapreplace(self._best, entry)
        self._seen += len(flags)

    def column(self) -> list[bytes | None]:
        """A JPEG file for each of the strangest, None for every other galaxy, in the order in which they came."""
        files: list[bytes | None] = [None] * self._seen
        for _, row, stamp in self._best:
            files[row] = jpeg(stamp)
        return files


def jpeg(stamp: np.ndarray) -> bytes:
    """A flux stamp, [size, size, 3] in nanomaggies, as a colour picture of its own brightness, row 0 at the bottom."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(to_pictures(stamp[None])[0, ::-1])).save(file, "JPEG", quality=88)
    return file.getvalue()
