"""Options that several verbs share."""

import click

from morph.sizes import LARGEST_STAMP_SIZE, NETWORK_SIZE, STAMP_SIZE

stamp_size = click.option(
    "--stamp-size",
    default=STAMP_SIZE,
    show_default=True,
    type=click.IntRange(NETWORK_SIZE, LARGEST_STAMP_SIZE),
    help="Pixels on a side of the stamps, which all show a galaxy equally large: a larger model needs more around it.",
)
