"""Galaxies of an index by what people call them, with gRPC's status where there is none."""

from collections.abc import Callable

from morph.errors import InputError
from serving.savedmodel.servable import StatusError
from serving.similarity.index import Index, Place


def place_of(index: Index, name: str) -> Place:
    """Where a galaxy is, by its id. StatusError, with the nearest ids, where there is none."""
    return _place(index, index.find, name)


def place_at(index: Index, ra: float, dec: float) -> Place:
    """Where the galaxy nearest to a position in degrees is.

    Parameters
    ----------
    index : the index.
    ra, dec : degrees.

    Returns
    -------
    Where it is, within a few arcsec.

    Raises
    ------
    StatusError : there is none.
    """
    return _place(index, index.place_at, ra, dec)


def _place(index: Index, find: Callable[..., Place], *what: str | float) -> Place:
    try:
        return find(*what)
    except InputError as error:
        raise StatusError("NOT_FOUND", without_folder(index, error)) from None


def without_folder(index: Index, error: InputError) -> str:
    """An error's sentence for those who ask over the network: where the index lies is nothing that they need."""
    sentence = str(error).replace(f"the index '{index.folder}'", "the index")
    return sentence.replace("--where ", "the condition ").replace("--cone ", "the cone ")
