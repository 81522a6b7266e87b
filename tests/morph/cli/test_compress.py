"""`morph compress` and `morph decompress` with the weights that ship."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from morph.dataset import Galaxies
from morph.registry import SHIPPED_NAME


@pytest.mark.slow
def test_a_sample_is_compressed_to_64_bytes_a_galaxy_and_comes_back(morph, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = ["simulate", "galaxies", "--number", "12", "--seed", "2", "--processes", "1", "--to", "sample"]
    assert morph(*made)[0] == 0
    status, output, _ = morph("compress", "sample", "--to", "codes.parquet")
    assert (status, "12 galaxies in 64 bytes each, 14 of them side numbers" in output) == (0, True)
    assert {len(code) for code in pq.read_table("codes.parquet")["code"].to_pylist()} == {64}
    assert morph("decompress", "codes.parquet", "--to", "decoded")[0] == 0
    before, after = Galaxies.open("sample"), Galaxies.open("decoded")
    assert after.simulated
    assert after.about["decoded"]["model"] == SHIPPED_NAME
    centre = before.images[:, 36:60, 36:60], after.images[:, 20:44, 20:44]
    light = [image.sum(axis=(1, 2, 3)) for image in centre]
    assert np.median(np.abs(light[1] / light[0] - 1)) < 0.03
    status, _, error = morph("decompress", "sample/part-00000.parquet", "--to", "other")
    assert (status, error.count("\n")) == (2, 1)
    assert "does not hold codes" in error
    for wrong in (["--numbers", "0"], ["--bits", "17"], ["--bits", "1"], ["--to", "codes.fits"]):
        assert morph("compress", "sample", "--to", "codes.parquet", *wrong)[0] == 2
