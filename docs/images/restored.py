"""The picture of docs/tutorials/restore-a-field.md: a field, deep, shallow and restored, with what is known of it.

python docs/images/restored.py FOLDER, where the tutorial was followed
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits

#: The part of the field that is shown, rows and columns.
PART = slice(100, 300), slice(100, 300)


def main(folder: str) -> None:
    """Draw docs/images/restored.png."""
    at = Path(folder)
    images = [fits.getdata(at / f"{name}_r.fits") for name in ("deep", "shallow")]
    with fits.open(at / "restored" / "shallow_r.fits") as hdus:
        restored, sigma, prior = (hdus[name].data for name in ("RESTORED", "SIGMA", "PRIOR_FRACTION"))
    images += [restored, fits.getdata(at / "sharper" / "shallow_r.fits", "RESTORED")]
    noise = 1.4826 * np.nanmedian(np.abs(images[1] - np.nanmedian(images[1])))
    figure, panels = plt.subplots(2, 3, figsize=(9, 6), dpi=110, layout="constrained")
    titles = ("deep", "shallow: six times the noise", "restored", "restored and sharpened")
    for panel, image, title in zip(panels.flat, images, titles, strict=False):
        stretched = np.arcsinh((image - np.nanmedian(image))[PART] / noise)
        panel.imshow(stretched, origin="lower", cmap="gray", vmin=-1, vmax=4)
        panel.set_title(title, fontsize=9)
    of_sigma = sigma[PART][np.isfinite(sigma[PART])] / noise
    for panel, values, title, most in (
        (panels[1, 1], sigma / noise, "uncertainty, of the noise", np.percentile(of_sigma, 99)),
        (panels[1, 2], prior, "the prior's share", 1),
    ):
        shown = panel.imshow(values[PART], origin="lower", cmap="viridis", vmin=0, vmax=most)
        panel.set_title(title, fontsize=9)
        # Beside the panel and not of its width, so that all panels are level.
        figure.colorbar(shown, cax=panel.inset_axes((1.02, 0, 0.04, 1))).ax.tick_params(labelsize=7)
    for panel in panels.flat:
        panel.axis("off")
    figure.savefig(Path(__file__).with_name("restored.png"))


if __name__ == "__main__":
    main(sys.argv[1])
