"""Images that overlap, without a survey's rule: each galaxy is scored once, however the job is run, and run again."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from serving.scoring.run import FAILED, score
from tests.serving.scoring.killing import differences
from tests.serving.scoring.sleeping import Sleeping

SIZE = 160
#: Columns between the images' left edges: neighbours share 40, and the third nothing with the first.
STEP = 120
#: Where galaxies are on the sky that all images together show, pixels: two in each overlap, and one in each middle.
GALAXIES = [(40, 80), (130, 40), (150, 120), (200, 80), (250, 40), (270, 120), (350, 80)]
SCALE = 0.263 / 3600

pytestmark = pytest.mark.usefixtures("one_thread")


def sky(left: int) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [180.5 - left, 80.5]
    wcs.wcs.cdelt = [-SCALE, SCALE]
    return wcs


def draw(folder: Path, name: str, left: int) -> Path:
    """An image of the columns from `left` on, with noise of its own."""
    y, x = np.mgrid[:SIZE, left : left + SIZE]
    image = np.random.default_rng(left).normal(0, 0.05, (SIZE, SIZE))
    for x0, y0 in GALAXIES:
        image += 100 / (50 * np.pi) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 50)
    header = sky(left).to_header()
    header.update({"BUNIT": "nanomaggy", "FILTER": "r"})
    folder.mkdir(exist_ok=True)
    fits.PrimaryHDU(image.astype("float32"), header).writeto(folder / f"{name}_r.fits")
    return folder


@pytest.fixture
def row(tmp_path) -> Path:
    """Three images in a row, a, b and c."""
    for number, name in enumerate("abc"):
        draw(tmp_path / "row", name, number * STEP)
    return tmp_path / "row"


@pytest.fixture
def whole(row, tmp_path) -> Path:
    """What a run over all three leaves."""
    score(row, None, Sleeping(), tmp_path / "whole")
    return tmp_path / "whole"


def columns_of(out: Path) -> list[int]:
    """Where the galaxies of a folder are on the row's sky, from the left."""
    tables = [pq.read_table(path, columns=["ra", "dec"]) for path in out.glob("*.parquet")]
    found = [sky(0).wcs_world2pix(table["ra"], table["dec"], 0)[0] for table in tables]
    return sorted(int(x) for x in np.round(np.concatenate(found)))


def test_a_galaxy_on_two_images_is_scored_once_in_whatever_order(row, whole, tmp_path):
    assert columns_of(whole) == [x for x, _ in GALAXIES]
    score([str(row / f"{name}_r.fits") for name in "cab"], None, Sleeping(), tmp_path / "mixed")
    assert differences(tmp_path / "mixed", whole) == []


def test_with_more_images_those_beside_them_are_scored_again_and_no_others(row, whole, tmp_path):
    files = [str(row / f"{name}_r.fits") for name in "abc"]
    score(files[:2], None, Sleeping(), tmp_path / "out")
    assert columns_of(tmp_path / "out") == [x for x, _ in GALAXIES if x < 280]
    summary = score(files, None, Sleeping(), tmp_path / "out")
    assert (summary.changed, [tile.tile for tile in summary.scored if tile.before]) == (["b"], ["a"])
    assert differences(tmp_path / "out", whole) == []


def test_scores_of_images_that_are_not_given_but_show_the_same_sky_are_reported(row, whole, caplog):
    score(row / "a_r.fits", None, Sleeping(), whole)
    assert "other tiles than those given ('b' is the first of 1), and 1 of their galaxies lie on these" in caplog.text
    caplog.clear()
    score(row, None, Sleeping(), whole)
    assert caplog.text == ""
    assert columns_of(whole) == [x for x, _ in GALAXIES]


def test_an_image_left_without_galaxies_loses_the_scores_it_had(row, tmp_path):
    ra, dec = sky(0).wcs_pix2world(*np.transpose(GALAXIES), 0)
    Table({"id": np.arange(7), "ra": ra, "dec": dec}).write(tmp_path / "all.csv")
    draw(row, "z", 0)
    score(row / "z_r.fits", tmp_path / "all.csv", Sleeping(), tmp_path / "out")
    assert columns_of(tmp_path / "out") == [40, 130, 150]
    summary = score(row, tmp_path / "all.csv", Sleeping(), tmp_path / "out")
    assert ([tile.tile for tile in summary.without_galaxies], summary.outside) == (["z"], 0)
    assert columns_of(tmp_path / "out") == [x for x, _ in GALAXIES]


def test_what_a_damaged_image_shows_is_its_neighbours_until_it_is_mended(row, whole, tmp_path):
    """It was scored when it was whole; of that nothing stays."""
    shutil.copytree(whole, tmp_path / "out")
    damaged = row / "b_r.fits"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:50_000])
    summary = score(row, None, Sleeping(), tmp_path / "out")
    assert [tile.tile for tile in summary.failed] == ["b"]
    assert columns_of(tmp_path / "out") == [x for x, _ in GALAXIES if x != 200]
    damaged.write_bytes(content)
    assert score(row, None, Sleeping(), tmp_path / "out").changed == ["a", "c"]
    assert not (tmp_path / "out" / FAILED).exists()
    assert differences(tmp_path / "out", whole) == []
