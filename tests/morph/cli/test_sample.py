"""`morph sample` with the weights that ship."""

import pytest
from PIL import Image

from morph.dataset import Galaxies
from morph.registry import SHIPPED_NAME


@pytest.mark.slow
def test_a_sample_is_a_dataset_with_a_sheet(morph, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ["--given", "redshift=0.1..0.2, mag_r=18, radius=3, bar_strong=1", "--noise", "--seed", "1"]
    status, output, _ = morph("sample", SHIPPED_NAME, "-n", "6", *asked, "--to", "set", "--sheet", "set.png")
    assert (status, "set: 6 sampled des galaxies." in output, "Effective sample size" in output) == (0, True, True)
    galaxies = Galaxies.open("set")
    assert set(galaxies.properties["radius"]) == {3.0}
    assert galaxies.about["given"] == "redshift=0.1..0.2, mag_r=18, radius=3, bar_strong=1"
    assert Image.open("set.png").width > 500
    for wrong, said in (
        (["--given", "mag_r=12"], "effective sample size"),
        (["--given", "size=3"], "is not a condition"),
        (["--survey", "lsst"], "has not been fitted on 'lsst'"),
        (["-n", "0"], "at least 1"),
    ):
        status, _, error = morph("sample", SHIPPED_NAME, "--to", "other", *wrong)
        assert (status, error.count("\n"), said in error) == (2, 1, True), error
