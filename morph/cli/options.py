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


def range_of(text: str, option: str) -> tuple[float, float]:
    """The two numbers that an option gives, with a comma between; InputError unless there are two.

    >>> range_of("18,24", "--magnitudes")
    (18.0, 24.0)
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} takes two numbers with a comma between, not '{text}'.") from None
    return low, high
