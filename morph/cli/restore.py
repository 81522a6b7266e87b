"""`morph restore`: images without noise, and with a narrower point-spread function."""

from pathlib import Path

import click

from morph.registry import SHIPPED_NAME


@click.command("restore")
@click.argument("images", nargs=-1, required=True)
@click.option("--model", default=SHIPPED_NAME, show_default=True, help="The model whose restorer is used.")
@click.option(
    "--psf",
    help="The images' point-spread function: its full width at half maximum in arcsec, a FITS image of a star, or a "
    "model of PSFEx; or one for each band, g=1.1,r=0.95,i=psf_i.fits.  [default: nothing is sharpened]",
)
@click.option(
    "--target-fwhm",
    type=click.FloatRange(0, min_open=True),
    help="Full width at half maximum of the restored images, arcsec: a Gaussian.  [default: as it is]",
)
@click.option(
    "--draws",
    default=0,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Images drawn from the posterior, beside the restored one.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed of the draws.")
@click.option(
    "--pixel-scale", type=click.FloatRange(0, min_open=True), help="Arcsec a pixel, where the images do not say it."
)
@click.option("--survey", help="The survey of FITS files, where they do not say it.")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The folder of the output.")
def command(
    images: tuple[str, ...],
    model: str,
    psf: str | None,
    target_fwhm: float | None,
    draws: int,
    seed: int,
    pixel_scale: float | None,
    survey: str | None,
    to: Path,
) -> None:
    """Take the noise out of IMAGES and, with --psf and --target-fwhm, blur: FITS files, tiles, colour pictures or a
    dataset.

    What is restored keeps the data's flux, units and WCS, and invents nothing: a structure that the model does not
    know stays as the data shows it. Beside each image are the uncertainty of every pixel and the share of it that the
    model says and the data does not. The same command goes on after an interruption.

    \b
    morph restore tile/ --to restored
    morph restore tile/ --psf g=1.11,r=0.95,i=0.88 --target-fwhm 0.6 --to restored
    morph restore sample --to restored
    """
    from morph.analysis.restoring.files import Options
    from morph.analysis.restoring.run import restore

    for line in restore(images, model, to, Options(psf, target_fwhm, draws, seed, pixel_scale), survey):
        click.echo(line)
