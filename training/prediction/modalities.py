"""What can be known of a galaxy: its image, its votes, its magnitudes, its radius, its redshift."""

from collections.abc import Iterable

import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError

#: Every modality, and what it is called in a sentence.
MODALITIES = {
    "image": "image",
    "votes": "votes",
    "photometry": "magnitudes",
    "radius": "radius",
    "redshift": "redshift",
}
BANDS = ("g", "r", "i")


def parse(text: str) -> tuple[str, ...]:
    """The modalities in a list with commas, in the order of `MODALITIES`; InputError on an unknown name."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(names - set(MODALITIES))
    if unknown or not names:
        what = f"'{unknown[0]}' is nothing that a galaxy has here" if unknown else "No modality is named"
        raise InputError(f"{what}; name any of {', '.join(MODALITIES)}, with commas between.")
    return tuple(name for name in MODALITIES if name in names)


def values(galaxies: Galaxies, modality: str) -> np.ndarray:
    """One modality as `morph.model.inference.infer` takes it, NaN for galaxies of which it is not (wholly) known.

    ``image`` [n, size, size, 3]; ``votes`` [n, vote columns]; ``photometry`` [n, 3], magnitudes in g, r, i;
    ``radius`` [n], arcsec; ``redshift`` [n].
    """
    if modality == "image":
        return galaxies.images
    if modality == "votes":
        return galaxies.votes
    if modality == "photometry":
        magnitudes = np.column_stack([galaxies.properties[f"mag_{band}"] for band in BANDS])
        return np.where(np.isfinite(magnitudes).all(axis=1, keepdims=True), magnitudes, np.nan)
    value = galaxies.properties[modality]
    # Neither has a logarithm at or below zero, which is what the experts read.
    return np.where(value > 0, value, np.nan)


def known(galaxies: Galaxies, modality: str) -> np.ndarray:
    """Of which galaxies the modality is known: bool [n]."""
    found = values(galaxies, modality)
    if found.dtype == np.uint8:
        return np.ones(len(found), dtype=bool)
    if modality == "votes":
        return np.nansum(found, axis=1) > 0
    return np.isfinite(found).any(axis=tuple(range(1, found.ndim)))


def words(names: Iterable[str]) -> str:
    """Modalities in a sentence, for instance ``image, magnitudes and radius``."""
    *most, last = (MODALITIES[name] for name in names)
    return f"{', '.join(most)} and {last}" if most else last
