"""The file of a restored band, written by rows, with restart.

It is built as a hidden file beside its place; a note beside that says which rows are done, so that the same command
goes on after an interruption. The file appears when it is whole.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from morph.atomic import atomic

#: The planes of a file: name, the type of their numbers in it, what they are.
PLANES = (
    ("RESTORED", -32, "without noise; NaN without data"),
    ("SIGMA", -32, "uncertainty; infinite without data"),
    ("PRIOR_FRACTION", -32, "what the data does not say"),
    ("FLAGS", 8, "1 no data, 2 saturated"),
)


def finished(file: Path, key: str) -> dict[str, float] | None:
    """The sums of a file that is whole and of this command; None where there is none."""
    try:
        header = fits.getheader(file, 0)
        return dict(json.loads(header["RESTSUMS"])) if header["RESTKEY"] == key else None
    except (OSError, KeyError, ValueError):
        return None


class PlanesFile:
    """A file of planes that is written by rows.

    Parameters
    ----------
    file : its place.
    header : of the image.
    shape : of a plane.
    draws : planes of draws.
    key : of the work; what was begun for another one begins anew.
    """

    def __init__(self, file: Path, header: fits.Header, shape: tuple[int, int], draws: int, key: str):
        self.file, self.key, self.header, self.shape, self.draws = file, key, header, shape, draws
        self.partial, self.note = (file.with_name(f".{file.name}.{end}") for end in ("partial", "json"))
        self.done: dict[int, dict[str, float]] = {}
        try:
            state = json.loads(self.note.read_text())
            if state["key"] == key and self.partial.exists():
                self.done = {int(top): sums for top, sums in state["done"].items()}
        except (OSError, ValueError, KeyError):
            pass
        self._offsets = self._lay_out(write=not self.done)

    def _lay_out(self, write: bool) -> list[tuple[int, str, tuple[int, ...]]]:
        """Where the numbers of each plane begin, their type and shape; the file is made where it is not there."""
        hdus: list[Any] = [fits.PrimaryHDU()]
        hdus[0].header["RESTKEY"], hdus[0].header["RESTSUMS"] = self.key, " " * 200
        for name, bits, what in PLANES:
            header = self.header.copy()
            header["EXTNAME"] = (name, what)
            if name in ("PRIOR_FRACTION", "FLAGS"):
                header.remove("BUNIT", ignore_missing=True)
            hdus.append((header, bits, self.shape))
        if self.draws:
            header = self.header.copy()
            header["EXTNAME"] = ("DRAWS", "images drawn from the posterior")
            hdus.append((header, -32, (self.draws, *self.shape)))
        offsets, place = [], len(hdus[0].header.tostring())
        with self.partial.open("wb") if write else open("/dev/null", "wb") as out:
            out.write(hdus[0].header.tostring().encode("ascii"))
            for header, bits, shape in hdus[1:]:
                text = _image_header(header, bits, shape).tostring().encode("ascii")
                size = int(np.prod(shape)) * abs(bits) // 8
                offsets.append((place + len(text), ">f4" if bits < 0 else "u1", shape))
                if write:
                    out.seek(place)
                    out.write(text)
                place += len(text) + -(-size // 2880) * 2880
            if write:
                out.truncate(place)
        return offsets

    def write(
        self, top: int, planes: tuple[np.ndarray, ...], sums: dict[str, float], draws: Iterator[np.ndarray]
    ) -> None:
        """Write some rows.

        Parameters
        ----------
        top : the first of them.
        planes : in the order of `PLANES`.
        sums : of these rows, for the summary.
        draws : images drawn of these rows.
        """
        rows = slice(top, top + len(planes[0]))
        for plane, (offset, kind, shape) in zip(planes, self._offsets, strict=False):
            memory = np.memmap(self.partial, kind, "r+", offset, shape)
            memory[rows] = plane
            memory.flush()
        if self.draws:
            offset, kind, shape = self._offsets[-1]
            memory = np.memmap(self.partial, kind, "r+", offset, shape)
            for number, drawn in enumerate(draws):
                memory[number, rows] = drawn
            memory.flush()
        self.done[top] = sums
        with atomic(self.note) as building:
            building.write_text(json.dumps({"key": self.key, "done": self.done}))

    def finish(self) -> dict[str, float]:
        """Put the file into its place; returns the sums over all rows."""
        sums = {name: sum(each[name] for each in self.done.values()) for name in next(iter(self.done.values()))}
        with fits.open(self.partial, mode="update", memmap=True) as hdus:
            hdus[0].header["RESTSUMS"] = json.dumps({name: float(f"{value:.9g}") for name, value in sums.items()})
        self.partial.replace(self.file)
        self.note.unlink(missing_ok=True)
        return sums


def _image_header(header: fits.Header, bits: int, shape: tuple[int, ...]) -> fits.Header:
    """The header of an extension with an image."""
    made = fits.Header()
    made["XTENSION"], made["BITPIX"], made["NAXIS"] = "IMAGE", bits, len(shape)
    for axis, length in enumerate(reversed(shape), 1):
        made[f"NAXIS{axis}"] = length
    made["PCOUNT"], made["GCOUNT"] = 0, 1
    made.extend(header, strip=True)
    return made
