"""Options that several verbs share."""

import click

from morph.errors import InputError
from morph.sizes import LARGEST_STAMP_SIZE, NETWORK_SIZE, STAMP_SIZE

stamp_size = click.option(
    "--stamp-size",
    default=STAMP_SIZE,
    show_default=True,
    type=click.IntRange(NETWORK_SIZE, LARGEST_STAMP_SIZE),
    help="Pixels on a side of the stamps, which all show a galaxy equally large: a larger model needs more around it.",
)


def numbers_of(text: str, count: int, option: str) -> tuple[float, ...]:
    """The numbers that an option gives, separated by commas; InputError unless there are so many.

    Parameters
    ----------
    text : what was typed.
    count : how many are needed.
    option : its name.

    >>> numbers_of("18,24", 2, "--magnitudes")
    (18.0, 24.0)
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != count:
        raise InputError(f"{option} takes {count} numbers with commas between, not '{text}'.")
    return found
