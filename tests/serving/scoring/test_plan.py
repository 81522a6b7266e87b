"""The plan before the run: what is counted is right, what is measured is plausible, and nothing is written."""

import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from morph.errors import InputError
from morph.surveys import get_survey
from serving.scoring.costs import Costs
from serving.scoring.plan import Plan, lines
from serving.scoring.tile_list import TileList

COSTS = Costs(
    cores=2,
    pixel=3e-8,
    galaxy=1 / 3000,
    detection=0.0,
    answers=500.0,
    remote=False,
    stored=600.0,
    memory=10**9,
    size=64,
)
PLAN = Plan(
    tiles=100,
    done=0,
    galaxies=500_000.0,
    counted="in the catalogue",
    pixels=1e8,
    read=5e10,
    costs=COSTS,
    measured="on a tile",
)


def test_the_arithmetic():
    # 100 tiles of 3 CPU s and 500,000 galaxies at 3,000 a second on 2 cores, and 500 answers a second on both.
    assert PLAN.seconds == pytest.approx((100 * 3 + 500_000 / 3000) / 2 + 500_000 / 500)
    text = "\n".join(lines(PLAN))
    assert "100 tiles, 500,000 galaxies (in the catalogue)" in text
    assert "Reads 50.0 GB, writes about 300.0 MB" in text
    assert "Time: 21 minutes" in text


def test_servers_answer_while_the_cores_read_and_cut():
    remote = Plan(**{**vars(PLAN), "costs": Costs(**{**vars(COSTS), "remote": True, "answers": 1e5})})
    assert remote.seconds == pytest.approx((100 * 3 + 500_000 / 3000) / 2)


def test_gpus_are_worked_out_from_what_a_line_carries():
    (*_, gpus, assumed) = lines(Plan(**{**vars(PLAN), "gpus": 4}))
    seconds = 500_000 / (4 * 10e9 / 8 / (64 * 64 * 12 + 50))
    cores = (100 * 3 + 500_000 / 3000) / seconds
    assert f"{cores:.0f} cores" in gpus
    assert assumed.strip().startswith("Assumed, not measured")


def test_a_dry_run_counts_what_is_left_and_writes_nothing(morph, tiles, tiles_folder, catalogue, weights, tmp_path):
    done = tmp_path / "DES0356-5248.parquet"
    pq.write_table(pq.read_table(tiles[0].truth), done)
    words = ("--catalog", catalogue, "--model", weights, "--out", tmp_path, "--dry-run", "--workers", 500)
    status, printed, errors = morph("score", tiles_folder, *words)
    assert (status, errors) == (0, "")
    assert "1 tile (1 more have scores already), 6 galaxies (in the catalogue)" in printed
    size = sum(path.stat().st_size for path in tiles[1].paths)
    assert f"Reads {size / 1e3:.0f} kB" in printed
    assert float(re.search(r"answers on all cores for ([\d,.]+)", printed)[1].replace(",", "")) > 1
    assert "workers gain nothing" in printed
    assert list(tmp_path.iterdir()) == [done]


def test_a_list_of_tiles_is_read_with_its_sizes(tmp_path):
    path = tmp_path / "tiles.csv"
    path.write_text("tilename;rall;decll;raur;decur\nDES0001-0541;359.6;-0.365;0.3306;0.3656\n")
    tiles = TileList.read(path)
    assert tiles.names == ("DES0001-0541",)
    assert np.sqrt(tiles.pixels(get_survey("des"))) == pytest.approx(10_000, rel=0.001)
    path.write_text("name,ra\na,1\n")
    with pytest.raises(InputError, match="not a list of tiles"):
        TileList.read(path)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--gpus", "4", "--out", "x"), "add --dry-run"),
        ((), "add --out DIR"),
        (("--dry-run", "--where", "a < 1"), "give one with --catalog"),
        (("--dry-run", "--catalog", "none.csv"), "no catalogue at"),
    ],
)
def test_a_mistake_is_one_sentence(morph, tiles_folder, weights, words, reason):
    status, printed, errors = morph("score", tiles_folder, "--model", weights, *words)
    assert (status, printed) == (2, "")
    assert reason in errors
    assert errors.count("\n") == 1


@pytest.mark.real
def test_the_list_of_des_is_planned(real_data):
    tiles = TileList.read(real_data / "des-dr2-tiles.csv")
    assert len(tiles) == 10_169
    assert np.sqrt(tiles.pixels(get_survey("des"))) == pytest.approx(10_000, rel=0.01)
