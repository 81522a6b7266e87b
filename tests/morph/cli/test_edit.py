"""`morph edit` with the weights that ship."""

import numpy as np
import pytest
from PIL import Image

from morph.registry import SHIPPED_NAME


@pytest.mark.slow
def test_a_picture_comes_back_larger_with_a_strip(morph, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    light = 180 * np.exp(-np.hypot(*(np.mgrid[:96, :96] - 47.5)) / 6)[..., None] * [1.0, 0.9, 0.8]
    pixels = light + np.random.default_rng(0).normal(6, 2, light.shape)
    Image.fromarray(pixels.clip(0, 255).astype("uint8")).save("galaxy.png")
    status, output, _ = morph("edit", SHIPPED_NAME, "galaxy.png", "--set", "radius=x1.5", "--to", "edited")
    assert (status, output) == (0, "edited/galaxy.png, with galaxy-strip.png\n")
    before, after = (np.asarray(Image.open(name), dtype=float) for name in ("galaxy.png", "edited/galaxy.png"))
    assert after.shape == before.shape
    # Farther out it is brighter, and in the middle fainter.
    assert after[47, 64:70].mean() > before[47, 64:70].mean() + 2
    assert after[45:50, 45:50].mean() < before[45:50, 45:50].mean()
    strip = Image.open("edited/galaxy-strip.png")
    assert strip.width > 4 * strip.height
    for wrong, said in (
        (["--set", "radius=3"], "has no pixel scale"),
        (["--set", "size=x2"], "a change of radius"),
        (["--set", "radius=x2", "--hold", "radius"], "held and changed"),
    ):
        status, _, error = morph("edit", SHIPPED_NAME, "galaxy.png", "--to", "edited", *wrong)
        assert (status, error.count("\n"), said in error) == (2, 1, True), error
