"""The cutouts that the quickstart classifies."""

import numpy as np

from morph.cli.quickstart import CUTOUTS, _write_cutouts
from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.votes import empty_votes


def test_the_largest_galaxies_are_classified_but_for_those_without_data(tmp_path):
    y, x = np.mgrid[:96, :96] - 47.5
    light = np.exp(-np.hypot(x, y) / 6)[..., None] * [0.5, 1.0, 1.5]
    random = np.random.default_rng(0)
    with GalaxiesWriter(tmp_path / "sample", "flux") as writer:
        for number in range(80):
            image = (light + random.normal(0, 0.02, light.shape)).astype("float32")
            # As where a survey's coadd ends: zeros.
            image[:, 30:] *= number % 2
            properties = {"radius": 1.0 + number, "pixel_scale": 0.26}
            writer.add(Galaxy(f"g{number:02d}", "des", image, empty_votes(), 10.0, -50.0, properties))
    test = Galaxies.open(tmp_path / "sample").split()["test"]
    odd = [name for name in test.ids[np.argsort(-test.properties["radius"])] if int(name[1:]) % 2]
    assert len(odd) < len(test)
    written = {path.stem for path in _write_cutouts(tmp_path / "sample", tmp_path / "cutouts").iterdir()}
    assert written == set(odd[:CUTOUTS])
