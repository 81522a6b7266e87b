"""The picture of docs/how-to/score.md: a field, and the stamps cut from it, with their most likely answers.

python docs/images/scoring.py $MORPH_DATA/des-coadd-cutout scores
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from matplotlib.patches import Rectangle

from morph.stamps.cutting import cut, side
from morph.stamps.stretch import to_composite, to_pictures
from morph.tiles.tile import Tile

#: Nanomaggies a pixel that are white in the field, and the stretch.
WHITE, SOFTENING = 0.6, 20.0


def main(field: str, scores: str) -> None:
    """Draw docs/images/scoring.png from a field's images and the folder of its scores."""
    with Tile.open(field) as tile:
        rows = pq.read_table(Path(scores) / f"{tile.name}.parquet").to_pandas()
        value_added = pq.read_table(Path(scores).with_name(f"{Path(scores).name}-catalogue") / "value_added.parquet")
        radius = rows.radius.to_numpy() / tile.pixel_scale
        stamps, _ = cut(tile, rows.x.to_numpy(), rows.y.to_numpy(), radius)
        flux = np.nan_to_num(np.stack([tile.plane(band) for band in tile.channels], axis=-1))
        arcsec = tile.pixel_scale
    figure = plt.figure(figsize=(10, 4.6), dpi=110)
    grid = figure.add_gridspec(2, 5, wspace=0.05, hspace=0.25, left=0.01, right=0.99, top=0.93, bottom=0.02)
    whole = figure.add_subplot(grid[:, :2])
    # FITS counts rows from the bottom: with the origin there, north is up and east is left.
    whole.imshow(to_composite(flux, WHITE, SOFTENING), origin="lower")
    whole.set_title(f"{tile.name}: DES, g r i, north up, east left", fontsize=8)
    whole.plot([12, 12 + 10 / arcsec], [10, 10], "w", lw=2)
    whole.text(12, 14, '10"', color="w", fontsize=8)
    for k, row in rows.iterrows():
        across = float(side(radius[k]))
        whole.add_patch(
            Rectangle((row.x - across / 2, row.y - across / 2), across, across, fill=False, ec="w", lw=0.7)
        )
        whole.text(row.x - across / 2 + 2, row.y + across / 2 + 2, str(k + 1), color="w", fontsize=8)
    for k, picture in enumerate(to_pictures(stamps)):
        panel = figure.add_subplot(grid[k // 3, 2 + k % 3])
        panel.imshow(picture, origin="lower")
        answer = value_added["summary"][k].as_py() or "no answer"
        odd = ", unusual" if rows.anomaly[k] else ""
        panel.set_title(f'{k + 1}: {answer}{odd}\nr = {rows.mag_r[k]:.1f}, {rows.radius[k]:.2f}"', fontsize=7)
        panel.axis("off")
    whole.axis("off")
    figure.savefig(Path(__file__).with_name("scoring.png"))


if __name__ == "__main__":
    main(*sys.argv[1:3])
