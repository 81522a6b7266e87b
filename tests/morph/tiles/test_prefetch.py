"""Rows that processes read are those that threads read, whatever becomes of the processes."""

import copy
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from morph.errors import InputError
from morph.tiles import prefetch as reading
from morph.tiles.prefetch import Readers
from morph.tiles.strip_reader import read_strips
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import SIZE, write_tile
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory without a name on this system")

STEP = 32


@pytest.fixture(scope="module")
def readers():
    with Readers.started(2) as started:
        started.wait()
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tile")
    marked = np.random.default_rng(1).random((SIZE, SIZE))
    write_tile(folder, packed=True, mask=np.select([marked < 0.002, marked < 0.004], [1, 2], 0))
    return folder


@pytest.fixture
def elsewhere(monkeypatch):
    """This process may open no tile to read it."""

    @contextmanager
    def filling(*_):
        pytest.fail("this process read rows")
        yield

    monkeypatch.setattr(Tile, "filling", filling)


def strips(tile, readers, weights=False):
    """A copy of all that a walk comes by."""
    low = np.arange(0, SIZE, 7)
    for strip, some in read_strips(tile, low, np.minimum(low + 20, SIZE), weights, STEP, readers=readers):
        yield strip.start, some, copy.deepcopy([strip.flux, strip.saturated, strip.weight])


def same(ours, theirs):
    assert len(ours) == len(theirs) >= SIZE // STEP
    for (start, some, strip), (other_start, other_some, other) in zip(ours, theirs, strict=True):
        assert start == other_start
        np.testing.assert_array_equal(some, other_some)
        for planes, other_planes in zip(strip, other, strict=True):
            assert planes.keys() == other_planes.keys()
            for band, plane in planes.items():
                np.testing.assert_array_equal(plane, other_planes[band])


@pytest.fixture(params=[False, True], ids=["without weights", "with weights"])
def expected(request, folder):
    with Tile.open(folder) as tile:
        return request.param, list(strips(tile, None, request.param))


def test_processes_read_what_threads_read(folder, readers, expected, elsewhere):
    weights, rows = expected
    for _ in range(2):
        with Tile.open(folder) as tile:
            same(list(strips(tile, readers, weights)), rows)


def test_pixels_that_are_in_memory_are_not_read_again(folder, readers):
    with Tile.open(folder) as tile:
        expected = list(strips(tile, None))
        same(list(strips(tile.load(), readers)), expected)


def test_two_tiles_at_once_do_not_write_over_each_other(tmp_path, folder, readers):
    write_tile(tmp_path, galaxies=[])
    with Tile.open(folder) as one, Tile.open(tmp_path) as other:
        expected = [list(strips(tile, None)) for tile in (one, other)]
        pairs = zip(strips(one, readers), strips(other, readers), strict=True)
        for found, rows in zip(zip(*pairs, strict=True), expected, strict=True):
            same(found, rows)


def test_a_tile_that_takes_too_much_memory_is_read_here(folder, readers, monkeypatch):
    with Tile.open(folder) as tile:
        expected = list(strips(tile, None))
        monkeypatch.setattr(reading, "ROOM", 1 << 16)
        same(list(strips(tile, readers)), expected)


def test_work_goes_on_here_until_a_process_has_started_and_when_it_is_killed(folder):
    others = reading_for(os.getpid())
    with Tile.open(folder) as tile, Readers.started(1) as readers:
        expected = list(strips(tile, None))
        same(list(strips(tile, readers)), expected)
        readers.wait()
        coming = strips(tile, readers)
        first = next(coming)
        (process,) = set(reading_for(os.getpid())) - set(others)
        os.kill(process, signal.SIGKILL)
        same([first, *coming], expected)
        same(list(strips(tile, readers)), expected)


def reading_for(parent: int) -> list[int]:
    """The processes that read for another."""
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    lines = {int(pid): Path(f"/proc/{pid}/cmdline") for pid in told.split()}
    return [pid for pid, line in lines.items() if line.exists() and b"morph.tiles.prefetch" in line.read_bytes()]


def test_a_damaged_file_is_named_and_the_next_is_read(tmp_path, folder, readers):
    paths = write_tile(tmp_path, packed=True)
    damaged = next(path for path in paths if path.name.endswith("_r.fits.fz"))
    with Tile.open(tmp_path) as tile:
        content = bytearray(damaged.read_bytes())
        middle = len(content) // 3
        content[middle : middle + 20000] = bytes(20000)
        damaged.write_bytes(content)
        with pytest.raises(InputError, match=r"_r\.fits\.fz' is cut short or damaged"):
            list(strips(tile, readers))
    with Tile.open(folder) as tile:
        assert list(strips(tile, readers))


def test_processes_end_with_the_one_that_is_killed(tmp_path):
    code = (
        "import time\nfrom morph.tiles.prefetch import Readers\n"
        "with Readers.started(2) as readers:\n    readers.wait()\n    print('ready', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        processes = reading_for(process.pid)
        assert len(processes) == 2
        process.kill()
    wait_until(lambda: not any(map(running, processes)))


def running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
