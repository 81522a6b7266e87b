"""A tile made strip by strip: the same with any strips, whole or not there, in memory that does not grow with it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from morph.errors import InputError
from morph.fits.images import verify
from morph.simulation import tile as tiles
from morph.simulation.coadd_files import Mask, Tilename, write_band
from morph.simulation.field import divide, draw_field, draw_strip
from morph.simulation.tile import simulate_tile
from tests.waiting import wait_until


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_files_do_not_depend_on_the_strips_nor_on_the_processes(tmp_path, monkeypatch):
    made = []
    for height, processes in ((400, 1), (61, 1), (100, 2)):
        monkeypatch.setattr(tiles, "STRIP", height)
        folder = tmp_path / str(height)
        simulate_tile(folder, 400, galaxies=6, seed=1, progress=False, processes=processes)
        made.append(contents(folder))
    assert made[0] == made[1] == made[2]


def test_strips_join_into_what_astropy_writes_at_once(tmp_path, des):
    flux = np.random.default_rng(0).normal(0, 1, (150, 150)).astype("float32")
    mask = np.zeros((150, 150), "int32")
    mask[20:40, 30:90] = Mask.STAR
    name = Tilename("DES0356-5248")
    write_band(tmp_path / "band.fits.fz", flux, mask, des, 1, name, name.wcs(150, des.pixel_scale))
    verify(tmp_path / "band.fits.fz")
    assert [path.name for path in tmp_path.iterdir()] == ["band.fits.fz"]
    with fits.open(tmp_path / "band.fits.fz", checksum=True) as hdus:
        hdus.verify("exception")
        at_once = fits.CompImageHDU(
            flux * np.float32(1000), compression_type="RICE_1", quantize_level=16, quantize_method=2, dither_seed=1
        )
        fits.HDUList([fits.PrimaryHDU(), at_once]).writeto(tmp_path / "once.fits")
        np.testing.assert_array_equal(hdus["SCI"].data, fits.getdata(tmp_path / "once.fits"))
        np.testing.assert_array_equal(hdus["MSK"].data, mask)


def test_noise_does_not_change_where_strips_meet(des):
    conditions, _ = draw_field(des, 256, 1, seed=3)
    rows = np.concatenate([draw_strip(conditions, *strip).image for strip in divide(conditions, [], 32)])
    across = np.array([np.corrcoef(rows[k, :, 1], rows[k + 1, :, 1])[0, 1] for k in range(255)])
    seams = np.arange(31, 255, 32)
    assert across[seams].mean() == pytest.approx(np.delete(across, seams).mean(), abs=0.08)
    assert across.mean() > 0.08


MEMORY = """
import resource, sys
from morph.simulation.tile import simulate_tile
from tests.waiting import wait_until
simulate_tile(sys.argv[1], int(sys.argv[2]), galaxies=2, progress=False, processes=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_grows_with_a_tiles_width_and_not_with_its_area(tmp_path):
    def peak(size: int) -> float:
        command = [sys.executable, "-c", MEMORY, str(tmp_path / str(size)), str(size)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    small, large = peak(400), peak(2400)
    # Six planes of 32 bits of the whole tile are what it would take at least to keep light and mask.
    assert large - small < 130 < 6 * 4 * 2400**2 / 1e6


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_simulation_leaves_nothing(tmp_path, stop):
    command = [sys.executable, "-m", "morph", "simulate", "tile", "--size", "6000", "--to", str(tmp_path / "a" / "b")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(tmp_path.rglob("*.heap")), seconds=300)
    time.sleep(1)
    process.send_signal(stop)
    _, output = process.communicate(timeout=300)
    assert process.returncode == 128 + stop
    assert output.splitlines()[-1] == "morph: Stopped; no tile was written."
    assert "Traceback" not in output
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path, monkeypatch):
    simulate_tile(tmp_path / "tile", 128, galaxies=1, progress=False)
    before = contents(tmp_path / "tile")

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(tiles.StripWriter, "write", full)
    with pytest.raises(InputError, match=r"cannot be written to .*No space left on device"):
        simulate_tile(tmp_path / "tile", 128, galaxies=1, seed=1, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["tile"]
    assert contents(tmp_path / "tile") == before


def test_too_little_room_is_found_before_anything_is_drawn(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**5))
    monkeypatch.setattr(tiles, "draw_field", None)
    with pytest.raises(InputError, match=r"needs 0.3 MB .* has 0.1 MB left"):
        simulate_tile(tmp_path / "deep" / "tile", 256, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*; choose another --to"):
        simulate_tile(tmp_path / "file" / "tile", 128, progress=False)


def test_stars_have_a_table_of_their_own_with_the_saturated_ones_flagged(tmp_path):
    made = simulate_tile(tmp_path, 1500, galaxies=1, seed=1, progress=False, processes=1)
    stars = Table.read(tmp_path / "DES0356-5248_stars.fits")
    assert len(Table.read(made.catalogue)) == 1
    assert set(stars["EXTENDED_CLASS_COADD"]) == {0}
    saturated = stars["FLAGS"] == 4
    assert 0 < saturated.sum() < len(stars)
    assert (stars["MAG_AUTO_R"] < 15.0).tolist() == saturated.tolist()
    with fits.open(made.paths[1]) as hdus:
        columns, rows = (np.rint(stars[name] - 1).astype(int).clip(0, 1499) for name in ("XWIN_IMAGE", "YWIN_IMAGE"))
        assert ((hdus["MSK"].data[rows, columns] & Mask.SATURATED) > 0)[saturated].all()
        # A star without neighbours has its catalogue flux within three times the seeing.
        light = hdus["SCI"].data
        bright = np.flatnonzero((stars["MAG_AUTO_R"] > 16.5) & (stars["MAG_AUTO_R"] < 19))
        y, x = np.mgrid[:1500, :1500]
        ratios = []
        for k in bright:
            near = np.hypot(x - columns[k], y - rows[k]) < 3 * 0.95 / 0.263
            ratios.append((light[near] - np.median(light)).sum() / 10 ** (0.4 * (30 - stars["MAG_AUTO_R"][k])))
        assert np.median(ratios) == pytest.approx(0.95, abs=0.07)
