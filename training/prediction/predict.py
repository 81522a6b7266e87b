"""What a model infers of galaxies from whatever is known of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from morph.console import track
from morph.dataset import Galaxies
from morph.errors import InputError

#: Draws from each posterior: enough for its 1st percentile.
DRAWS = 500
#: Galaxies between two steps of the progress bar.
_CHUNK = 512


@dataclass(frozen=True)
class Predicted:
    """What was inferred of each galaxy.

    Attributes
    ----------
    ids : the galaxies, [n].
    used : {modality: bool [n]}, what each was predicted from; a galaxy with none has the prior's predictions.
    values : {modality: array}, of those asked for: draws of ``redshift`` and ``radius`` (arcsec) [n, draws] and of
        ``photometry`` (magnitudes in g, r, i) [n, draws, 3]; ``votes`` as Dirichlet concentrations [n, answers];
        ``image`` float32 [n, size, size, 3], stretched, the sky at 0 and the galaxy's centre at 1; ``similarity``
        [n, k], NaN for galaxies without an image.
    """

    ids: np.ndarray
    used: dict[str, np.ndarray]
    values: dict[str, np.ndarray]

    @property
    def from_prior(self) -> np.ndarray:
        """Which galaxies had nothing to be predicted from: bool [n]."""
        return ~np.any(list(self.used.values()), axis=0)


def choose(galaxies: Galaxies, given: Sequence[str] | None, infer: Sequence[str]) -> tuple[str, ...]:
    """The modalities to predict from: `given`, or else all in the dataset that are not asked for.

    Parameters
    ----------
    galaxies : the dataset.
    given : names in `MODALITIES`, or None.
    infer : names in `INFERABLE`, of those that are asked for.

    Returns
    -------
    Their names.

    Raises
    ------
    InputError : a modality is both given and asked for, no galaxy has it, or the similarity vector is asked for
        without the image.
    """
    if given is None:
        given = [name for name in MODALITIES if name not in infer and known(galaxies, name).any()]
        if not given:
            raise InputError(
                f"'{galaxies.about.get('path')}' holds nothing but what is asked for ({words(infer)}); ask for less."
            )
    if SIMILARITY in infer and "image" not in given:
        raise InputError("The similarity vector is computed from the image; give the image, too.")
    both = [name for name in given if name in infer]
    if both:
        raise InputError(
            f"{words(both).capitalize()} cannot be given and asked for at once; leave it out of one list."
        )
    for name in given:
        if not known(galaxies, name).any():
            have = [other for other in MODALITIES if other not in infer and known(galaxies, other).any()]
            instead = f"give {words(have)} instead" if have else "import it with the galaxies"
            raise InputError(
                f"'{galaxies.about.get('path')}' has no {MODALITIES[name]} for any of its {len(galaxies):,} galaxies "
                f"to predict from; {instead}."
            )
    return tuple(given)


def predict(
    classifier, galaxies: Galaxies, given: Sequence[str], infer: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> Predicted:
    """Infer some modalities of every galaxy from others.

    A galaxy that lacks some of what is given is predicted from the rest, and one that lacks all of it from the prior.

    Parameters
    ----------
    classifier : a `morph.model.classifier.Classifier`.
    galaxies : the dataset.
    given, infer : names in `MODALITIES` and `INFERABLE`; none is in both.
    draws : from each galaxy's posterior.
    seed : of the draws; the same seed draws the same.

    Returns
    -------
    The predictions, one row a galaxy.
    """
    from morph.model.inference import infer as infer_from

    arrays = {name: values(galaxies, name) for name in given}
    parts = np.array_split(np.arange(len(galaxies)), max(1, -(-len(galaxies) // _CHUNK)))
    found: dict[str, list[np.ndarray]] = {name: [] for name in infer}
    for number, part in enumerate(track(parts, "Predicting", len(parts))):
        inferred = infer_from(
            classifier,
            {name: array[part] for name, array in arrays.items()},
            draws=draws,
            seed=seed + number,
            surveys=galaxies.surveys[part],
        )
        for name in infer:
            if name == SIMILARITY:
                found[name].append(_similarity(classifier, arrays["image"][part]))
            else:
                found[name].append(_read(inferred, name))
    used = {name: known(galaxies, name) for name in given}
    return Predicted(galaxies.ids, used, {name: np.concatenate(each) for name, each in found.items()})


def _similarity(classifier, images: np.ndarray) -> np.ndarray:
    """The similarity vectors [n, k] of stamps, NaN where there is no data."""
    empty = np.isnan(images).all(axis=(1, 2, 3))
    return np.where(empty[:, None], np.float32(np.nan), classifier.answer(images)["similarity"])


def _read(inferred, modality: str) -> np.ndarray:
    if modality == "image":
        return inferred.image()
    return inferred.concentration if modality == "votes" else getattr(inferred, modality)


def described(used: Mapping[str, np.ndarray]) -> np.ndarray:
    """What each galaxy was predicted from, in words: text [n], for instance ``image photometry`` or ``prior``."""
    names = [*used]
    rows = np.column_stack([used[name] for name in names])
    return np.array([" ".join(name for name, has in zip(names, row, strict=True) if has) or "prior" for row in rows])


#: Every modality, and what it is called in a sentence.
MODALITIES = {
    "image": "image",
    "votes": "votes",
    "photometry": "magnitudes",
    "radius": "radius",
    "redshift": "redshift",
}


#: The output that follows from the image alone, and what can be asked for: that, and every modality.
SIMILARITY = "similarity"
INFERABLE = {**MODALITIES, SIMILARITY: "similarity vector"}

BANDS = ("g", "r", "i")


def parse(text: str, allowed: Mapping[str, str] = MODALITIES) -> tuple[str, ...]:
    """The names in a list with commas, in the order of `allowed`, which is `MODALITIES` or `INFERABLE`; InputError on
    an unknown name.

    Examples
    --------
    >>> parse("votes, image")
    ('image', 'votes')
    """
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(names - set(allowed))
    if unknown or not names:
        what = f"'{unknown[0]}' is nothing that a galaxy has here" if unknown else "No modality is named"
        raise InputError(f"{what}; name any of {', '.join(allowed)}, with commas between.")
    return tuple(name for name in allowed if name in names)


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
    *most, last = (INFERABLE[name] for name in names)
    return f"{', '.join(most)} and {last}" if most else last
