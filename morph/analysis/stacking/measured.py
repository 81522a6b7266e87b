"""What all tiles give to a stack, put together from the parts that were kept of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morph.analysis.stacking.combine import Cells
from morph.analysis.stacking.cutouts import IMAGE
from morph.analysis.stacking.sample import Sample
from morph.analysis.stacking.sources import USED
from morph.analysis.stacking.targets import NO_DATA, Plan

#: Files of a part.
ARRAYS, GALAXY_IMAGES, NULL_IMAGES = "arrays.npz", "galaxies.npy", "nulls.npy"
#: Arrays of parts that are put one after the other.
JOINED = (
    *("null_mean", "null_cover", "injected_mean", "injected_cover", "injected_truth"),
    *("injected_others", "injected_eaten", "star_mean", "star_cover"),
)
#: Rows of an image that are combined at a time: their values take so many bytes.
BLOCK = 100e6


def write_part(folder: Path, found: dict[str, np.ndarray]) -> None:
    """Keep what a tile gave in a folder."""
    folder.mkdir()
    np.save(folder / GALAXY_IMAGES, found.pop("galaxy_image"))
    np.save(folder / NULL_IMAGES, found.pop("null_image"))
    np.savez(folder / ARRAYS, allow_pickle=False, **found)


@dataclass(frozen=True)
class Measured:
    """Galaxies, random points, injected haloes and stars of all tiles.

    Attributes
    ----------
    plan : how they were cut out.
    sample : the galaxies with a cutout.
    left_out : {reason: number} of chosen galaxies without one.
    found_rows, reasons : rows of the whole sample that were found on a tile, and why each has no cutout (0: it has).
    tile, null_tile : int [n], [m], the tile of each galaxy and random point.
    mean, cover : [n, growths, bands, rings, sectors]; `null_mean`, `null_cover` of the random points.
    injected : int [k], the random points with a halo; `injected_mean`, `injected_cover`, with the brightness that was
        put there, `injected_truth`, what the other haloes bring there, `injected_others`, and what a subtraction of
        the sky takes of it, `injected_eaten`.
    star_mean, star_cover : [stars, bands, rings].
    sky_error, sky_scatter, sky_points : [tiles, bands].
    names : of the tiles; `simulated` whether any is.
    parts : the folders of the tiles, with images.
    """

    plan: Plan
    sample: Sample
    left_out: dict[int, int]
    found_rows: np.ndarray
    reasons: np.ndarray
    tile: np.ndarray
    null_tile: np.ndarray
    mean: np.ndarray
    cover: np.ndarray
    null_mean: np.ndarray
    null_cover: np.ndarray
    injected: np.ndarray
    injected_mean: np.ndarray
    injected_cover: np.ndarray
    injected_truth: np.ndarray
    injected_others: np.ndarray
    injected_eaten: np.ndarray
    star_mean: np.ndarray
    star_cover: np.ndarray
    sky_error: np.ndarray
    sky_scatter: np.ndarray
    sky_points: np.ndarray
    names: tuple[str, ...]
    simulated: bool
    parts: tuple[Path, ...]

    @classmethod
    def read(cls, parts: Sequence[tuple[str, Path]], sample: Sample, plan: Plan) -> "Measured":
        """All parts together.

        Parameters
        ----------
        parts : the tiles' names and folders, as `write_part` left them.
        sample : the galaxies that were asked for.
        plan : how they were cut out.
        """
        found: list[dict[str, np.ndarray]] = []
        for _, folder in parts:
            with np.load(folder / ARRAYS, allow_pickle=False) as file:
                found.append({name: file[name] for name in file.files})
        rows, reasons, tiles = [], [], []
        offset = 0
        injected = []
        for number, part in enumerate(found):
            reason = part["reason"].copy()
            good = np.flatnonzero(reason == 0)
            # Rows of a part's galaxies come in the order in which strips completed them.
            order = good[part["galaxy_rows"]]
            empty = (part["galaxy_cover"][:, USED].max(axis=(1, 2, 3)) == 0) if len(order) else np.zeros(0, bool)
            reason[order[empty]] = NO_DATA
            part |= {"_kept": ~empty, "_sample": part["rows"][order]}
            rows.append(part["rows"])
            reasons.append(reason)
            tiles.append(np.full(int((~empty).sum()), number))
            # Injected haloes name random points by their number; these came in another order too.
            places = np.argsort(part["null_rows"])
            injected.append(places[part["injected_rows"]] + offset)
            offset += len(part["null_rows"])
        whole = np.concatenate([part["_sample"][part["_kept"]] for part in found])
        all_rows, all_reasons = np.concatenate(rows), np.concatenate(reasons)
        chosen = all_reasons[sample.chosen[all_rows]]
        joined = {name: np.concatenate([part[name] for part in found]) for name in JOINED}
        return cls(
            plan=plan,
            sample=sample.select(whole),
            left_out={int(reason): int((chosen == reason).sum()) for reason in np.unique(chosen) if reason},
            found_rows=all_rows,
            reasons=all_reasons,
            tile=np.concatenate(tiles),
            null_tile=np.concatenate([np.full(len(p["null_rows"]), k) for k, p in enumerate(found)]),
            mean=np.concatenate([part["galaxy_mean"][part["_kept"]] for part in found]),
            cover=np.concatenate([part["galaxy_cover"][part["_kept"]] for part in found]),
            injected=np.concatenate(injected),
            **joined,
            **{name: np.array([p[name] for p in found]) for name in ("sky_error", "sky_scatter", "sky_points")},
            names=tuple(name for name, _ in parts),
            simulated=any(bool(part["simulated"]) for part in found),
            parts=tuple(folder for _, folder in parts),
        )

    @property
    def chosen(self) -> np.ndarray:
        """Galaxies of the selection: bool [n]."""
        return self.sample.chosen

    def cells(self, growth: int = USED) -> Cells:
        """The galaxies' cells with masks of a growth, by its place in `GROWTHS`."""
        return Cells(self.mean[:, growth], self.cover[:, growth])

    def null_cells(self, growth: int = USED) -> Cells:
        """The same at the random points."""
        return Cells(self.null_mean[:, growth], self.null_cover[:, growth])

    def sky_level_error(self, tile: np.ndarray) -> np.ndarray:
        """Standard error of the sky of a stack of objects on these tiles: [bands]."""
        share = np.bincount(tile, minlength=len(self.sky_error)) / max(len(tile), 1)
        return np.sqrt(((share[:, None] * np.nan_to_num(self.sky_error)) ** 2).sum(axis=0))

    def images(self, what: str, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The values of some rows of all galaxies' images at a time: the rows, and float32 [n, bands, rows, size].

        Parameters
        ----------
        what : `GALAXY_IMAGES` or `NULL_IMAGES`.
        rows : bool [n], which of the galaxies or random points.
        """
        files = [np.load(folder / what, mmap_mode="r") for folder in self.parts]
        if what == GALAXY_IMAGES:
            kept = [self._kept(number) for number in range(len(self.parts))]
            files = [file if keep.all() else file[keep] for file, keep in zip(files, kept, strict=True)]
        count = int(rows.sum())
        step = int(np.clip(BLOCK / max(count * len(self.plan.bands) * IMAGE * 4, 1), 1, IMAGE))
        limits = np.cumsum([0, *(len(file) for file in files)])
        for start in range(0, IMAGE, step):
            part = slice(start, min(start + step, IMAGE))
            yield (
                part,
                np.concatenate(
                    [
                        np.asarray(file[:, :, part], dtype="float32")[rows[low:high]]
                        for file, low, high in zip(files, limits, limits[1:], strict=False)
                    ]
                ),
            )

    def _kept(self, number: int) -> np.ndarray:
        with np.load(self.parts[number] / ARRAYS) as file:
            cover = file["galaxy_cover"][:, USED]
        return cover.max(axis=(1, 2, 3)) > 0 if len(cover) else np.zeros(0, dtype=bool)
