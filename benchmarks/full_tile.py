"""A simulated tile as large as one of the Dark Energy Survey's, which other benchmarks work on.

    python benchmarks/full_tile.py [--tile FOLDER] [--size 10000] [--galaxies 5000]

10,000 x 10,000 pixels in g, r and i with SCI, MSK and WGT planes, compressed as fpack does, the faint galaxies and
stars of such a field, and a catalogue of 5,000 galaxies. Making it takes two minutes on two cores and 1.3 GB of
memory; a folder that holds it is used again. Imported, `full_tile` does the same.
"""

import sys
import tempfile
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from morph.simulation.tile import LARGEST, RUN, TILENAME, SimulatedTile, simulate_tile

#: Where the tile is kept if no folder is named.
KEPT = Path(tempfile.gettempdir()) / "morph-benchmarks"

GALAXIES = 5000


def full_tile(folder: Path | None = None, size: int = LARGEST, galaxies: int = GALAXIES) -> SimulatedTile:
    """The tile in `folder`, which is made if it is not there."""
    folder = folder or KEPT / f"tile-{size}-{galaxies}"
    paths = tuple(folder / f"{TILENAME}_{RUN}_{band}.fits.fz" for band in "gri")
    made = SimulatedTile(paths, folder / f"{TILENAME}_catalogue.fits", folder / f"{TILENAME}_truth.parquet", galaxies)
    if all(path.exists() for path in (*made.paths, made.catalogue, made.truth)):
        return made
    print(f"making a simulated tile of {size} x {size} pixels in {folder}", file=sys.stderr)
    return simulate_tile(folder, size, galaxies=galaxies)


@click.command()
@click.option("--tile", "folder", type=click.Path(path_type=Path), help="Where it is kept.")
@click.option("--size", default=LARGEST, show_default=True, help="Pixels on a side.")
@click.option("--galaxies", default=GALAXIES, show_default=True, help="Galaxies in its catalogue.")
def main(folder: Path | None, size: int, galaxies: int) -> None:
    """Make the tile and say where it is."""
    made = full_tile(folder, size, galaxies)
    print(f"{made.galaxies} galaxies of {made.catalogue} on {', '.join(str(path) for path in made.paths)}")


if __name__ == "__main__":
    main()
