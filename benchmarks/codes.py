"""Codes: how fast galaxies are compressed and decompressed, and how well pictures are, by a fixed protocol.

    python benchmarks/codes.py MODEL DATASET [--pictures FOLDER] [--to curve.png]

The speed is that of `morph compress` and `morph decompress` without loading the model, with the threads that the
environment allows. With --pictures, the central 60 % of every colour picture in a folder, as 64 by 64 pixels, is
compressed whatever the size of its galaxy: the test split is measured, and principal components are fitted to the
training split.
"""

import sys
import time
from pathlib import Path

import click
import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError

#: The least galaxies in a second.
REACH = 1000


def timed(classifier, galaxies: Galaxies) -> bool:
    """Print galaxies per second of wall and processor time; whether as many are compressed as `REACH` says."""
    from morph.model.code_files import NUMBERS, decode, encode

    encode(classifier, galaxies.select(np.arange(min(256, len(galaxies)))))
    wall, cpu = time.perf_counter(), time.process_time()
    codes = encode(classifier, galaxies)
    rate = len(galaxies) / (time.perf_counter() - wall)
    click.echo(
        f"compressed {rate:,.0f} a second, {len(galaxies) / (time.process_time() - cpu):,.0f} a processor second"
    )
    wall, cpu = time.perf_counter(), time.process_time()
    decode(classifier, codes, NUMBERS, galaxies.kind)
    found = len(galaxies) / (time.perf_counter() - wall), len(galaxies) / (time.process_time() - cpu)
    click.echo("decompressed {:,.0f} a second, {:,.0f} a processor second".format(*found))
    return rate >= REACH


def central_pictures(folder: Path, size: int) -> Galaxies:
    """The central 60 % of every picture in a folder, as composites of `size` pixels."""
    from PIL import Image

    from morph.dataset_writer import PROPERTIES
    from morph.decision_tree import VOTE_COLUMNS

    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    images = np.empty((len(files), size, size, 3), dtype="uint8")
    for image, path in zip(images, files, strict=True):
        with Image.open(path) as picture:
            width, height = picture.size
            edges = round(0.2 * width), round(0.2 * height), round(0.8 * width), round(0.8 * height)
            image[:] = picture.convert("RGB").crop(edges).resize((size, size), Image.Resampling.BOX)
    unknown = {name: np.full(len(files), np.nan, "float32") for name in ("ra", "dec", *PROPERTIES)}
    votes = np.full((len(files), len(VOTE_COLUMNS)), np.nan, dtype="float32")
    names = np.array([path.stem for path in files])
    columns = {"id": names, "survey": np.full(len(files), "sdss"), "image": images, "votes": votes, **unknown}
    return Galaxies({"kind": "composite", "size": size, "path": str(folder)}, columns)


@click.command()
@click.argument("model")
@click.argument("dataset")
@click.option("--pictures", type=click.Path(path_type=Path), help="A folder of colour pictures.")
@click.option("--to", type=click.Path(path_type=Path), help="The curve of the pictures, as PNG.")
def command(model: str, dataset: str, pictures: Path | None, to: Path | None) -> None:
    """Measure the codes of MODEL on DATASET, and on pictures."""
    from rich.console import Console

    from morph.model.store import load_model
    from training.evaluation.rate_distortion import measure_rate_distortion
    from training.evaluation.rate_distortion_report import curve, decoded_table, points_table

    try:
        classifier = load_model(model)
        fast = timed(classifier, Galaxies.open(dataset))
        if pictures is not None:
            sides = central_pictures(pictures, classifier.size).split()
            measured = measure_rate_distortion(classifier, sides["test"], sides["train"])
            Console(width=120).print(points_table(measured), decoded_table(measured), measured.note)
            if to is not None:
                curve(measured).savefig(to, dpi=110)
    except InputError as error:
        sys.exit(f"codes: {error}")
    sys.exit(0 if fast else 1)


if __name__ == "__main__":
    command()
