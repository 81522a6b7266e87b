"""`morph quickstart`: everything once, on simulated galaxies, with the commands that did it.

It imports no other package: every step is a verb of the command line, printed as it would be typed.
"""

import io
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from itertools import islice
from pathlib import Path

import click
import numpy as np

from morph.errors import InputError

#: The three models that are measured: the run's name, and the model's name.
MODELS = {
    "direct": "models:/morph@sdss",
    "from-scratch": "models:/morph@from-scratch",
    "finetuned": "models:/morph@finetuned",
}
#: Cutouts that are classified over gRPC.
CUTOUTS = 6


@click.command("quickstart")
@click.option(
    "--to", type=click.Path(path_type=Path), default="quickstart", show_default=True, help="Where everything goes."
)
@click.option("--galaxies", type=click.IntRange(100), default=1200, show_default=True, help="How many to simulate.")
@click.option(
    "--labels", type=click.IntRange(30), default=300, show_default=True, help="How many of them to train on."
)
@click.option("--epochs", type=click.IntRange(2), default=40, show_default=True, help="Of training from scratch.")
@click.option("--tile-size", type=click.IntRange(500), default=2000, show_default=True, help="Pixels on a side.")
@click.option("--seed", default=7, show_default=True, help="Of everything that is drawn at random.")
def command(to: Path, galaxies: int, labels: int, epochs: int, tile_size: int, seed: int) -> None:
    """Run every step once, on simulated DES galaxies and with the weights that ship, in about seven minutes.

    Simulates a labelled sample and a survey tile; measures the SDSS weights applied directly, training from scratch
    on some labels, and fine-tuning on the same; registers the best, serves it, classifies over gRPC, scores the
    tile, and writes a page of pictures.
    """
    began = time.monotonic()
    if len(shlex.split(str(to))) != 1:
        raise InputError(f"--to '{to}' should have no spaces or quotes in it: the steps are shown as they are typed.")
    sample, tile, scores, report = to / "des", to / "tile", to / "scores", to / "report.html"
    to.mkdir(parents=True, exist_ok=True)

    _say("1. A labelled sample and a survey tile, simulated for the Dark Energy Survey")
    _morph(f"simulate galaxies --survey des --number {galaxies} --seed {seed} --to {sample}")
    _morph(f"simulate tile --survey des --size {tile_size} --seed {seed} --to {tile}")
    _say(f"2. The weights that ship (SDSS); {labels} labels of the new survey, from scratch and by fine-tuning")
    _train(sample, to, f"--labels {labels} --seed {seed} --survey des", epochs)
    _say("3. The best on the validation galaxies becomes the champion; the test galaxies are used once")
    _promote(sample)
    _say("4. The champion as a server, and a client")
    _serve(sample, to)
    _say("5. A survey tile to a catalogue")
    catalogue = next(iter(sorted(tile.glob("*_catalogue.fits"))))
    _morph(f"score {tile} --catalog {catalogue} --model models:/morph@champion --out {scores} --overwrite")
    _say("6. One page of pictures")
    runs = " ".join(f"--runs {name}" for name in MODELS)
    _morph(
        f"report --galaxies {sample} --model models:/morph@champion {runs} --scores {scores} --tile {tile} "
        f"--to {report}"
    )
    click.echo()
    click.secho(f"Done in {(time.monotonic() - began) / 60:.1f} minutes. Open {report} in a browser.", bold=True)
    click.echo("Now with your own data: morph import MY-IMAGES --labels MY-LABELS.csv --survey des --to mine")


def _train(sample: Path, to: Path, common: str, epochs: int) -> None:
    """Train on some labels from scratch, and fine-tune the weights that ship on the same."""
    _morph(
        f"pretrain {sample} {common} --epochs {epochs} --batch-size 32 --name from-scratch --alias from-scratch "
        f"--to {to / 'from-scratch.keras'}"
    )
    _morph(
        f"finetune {MODELS['direct']} {sample} {common} --epochs {max(2, epochs * 3 // 8)} --name finetuned "
        f"--alias finetuned --to {to / 'finetuned.keras'}"
    )


def _promote(sample: Path) -> None:
    """Promote the best model by the validation galaxies, and compare all by the test galaxies."""
    for name, model in MODELS.items():
        _morph(f"evaluate {model} {sample} --split validation --run {name}-validation", quiet=True)
    validation = " ".join(f"{name}-validation" for name in MODELS)
    # The weights that ship stay the champion until others are significantly better.
    for candidates in ("direct-validation", validation):
        _try_morph(f"compare {candidates} --promote")
    for name, model in MODELS.items():
        _morph(f"evaluate {model} {sample} --run {name}", quiet=True)
    _morph(f"compare {' '.join(MODELS)}")


def _serve(sample: Path, to: Path) -> None:
    """Export and serve the champion, and classify some cutouts over gRPC."""
    _morph(f"export models:/morph@champion --to {to / 'serving'}")
    cutouts = _write_cutouts(sample, to / "cutouts")
    with running_server(to / "serving") as address:
        _morph(f"classify {cutouts} --survey des --server {address}", typed=f"classify {cutouts} --server {address}")


def _say(what: str) -> None:
    click.echo()
    click.secho(what, bold=True)


def _morph(words: str, quiet: bool = False, typed: str | None = None) -> None:
    """Run one verb in this process, after printing it as it would be typed."""
    from morph.cli.main import cli

    click.secho(f"$ morph {typed or words}", fg="cyan")
    with redirect_stdout(io.StringIO()) if quiet else nullcontext():
        cli.main(shlex.split(words), prog_name="morph", standalone_mode=False)


def _try_morph(words: str) -> None:
    """`_morph`, whose error is printed and does not end the command."""
    try:
        _morph(words, quiet=True)
    except InputError as refusal:
        click.echo(f"morph: {refusal}")


def _write_cutouts(sample: Path, folder: Path) -> Path:
    """A few test galaxies as FITS cubes, as a user would have them; returns the folder."""
    from astropy.io import fits
    from astropy.wcs import WCS

    from morph.dataset import Galaxies
    from morph.surveys import NANOMAGGY_ZERO_POINT, get_survey

    test = Galaxies.open(sample).split()["test"]
    folder.mkdir(exist_ok=True)
    # The largest have the most to see, but where their images are blank.
    largest = (
        index for index in np.argsort(-np.nan_to_num(test.properties["radius"])) if _has_data(test.images[index])
    )
    for index in islice(largest, CUTOUTS):
        scale = float(test.properties["pixel_scale"][index]) / 3600
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [test.ra[index], test.dec[index]]
        wcs.wcs.crpix = [(test.size + 1) / 2, (test.size + 1) / 2]
        wcs.wcs.cdelt = [-scale, scale]
        cube = fits.PrimaryHDU(np.moveaxis(test.images[index], -1, 0), header=wcs.to_header())
        cube.header["BANDS"] = "".join(get_survey("des").bands)
        cube.header["MAGZERO"] = NANOMAGGY_ZERO_POINT
        cube.writeto(folder / f"{test.ids[index]}.fits", overwrite=True)
    return folder


def _has_data(image: np.ndarray) -> bool:
    """Whether an image, [h, w, 3], shows its galaxy: some of the simulated ones are blank there."""
    from morph.fits.blank_pixels import mask_blank
    from morph.stamps.cutout_files import Cutout
    from morph.stamps.flags import Flag

    return not Cutout("", "des", mask_blank(image), pixel_scale=1.0).stamp().flags & Flag.NO_DATA


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """A server in a process of its own, as a user would start it; yields its address."""
    click.secho(f"$ morph serve {folder} --port 0 &", fg="cyan")
    process = subprocess.Popen(
        [sys.executable, "-m", "morph", "serve", str(folder), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise InputError(f"The server did not start; run `morph serve {folder}` to see why.")
        click.echo(line.rstrip())
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=30)
