"""Commands that write, where something hinders them; `benchmarks/faults.py` tries all verbs under all faults."""

import signal
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.votes import empty_votes
from tests.faulty import (
    AT_ONCE,
    VERBS,
    Place,
    both,
    closed_pipe,
    damaged,
    digest,
    judged,
    leave_unsent,
    little_memory,
    one_core,
    read_only,
    respecting_modes,
    small_files,
    stop,
)

#: Verbs that start fast.
FAST = ("import", "simulate galaxies", "deploy write")


@pytest.fixture(scope="session")
def cutouts(tmp_path_factory) -> Path:
    """A folder whose cutouts are three galaxies in FITS."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "cutouts").mkdir()
    y, x = np.mgrid[:64, :64] - 31.5
    for number in range(3):
        disk = 20 * np.exp(-np.hypot(x, y) / (4 + number)) * np.ones((3, 1, 1))
        cube = fits.PrimaryHDU((disk + np.random.default_rng(number).normal(0, 0.1, disk.shape)).astype("float32"))
        cube.header.update({"BANDS": "gri", "MAGZERO": 22.5, "CDELT1": -0.263 / 3600, "CDELT2": 0.263 / 3600})
        cube.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 50.0, "CRVAL2": -50.0})
        cube.header.update({"CRPIX1": 32.5, "CRPIX2": 32.5})
        cube.writeto(folder / "cutouts" / f"{number}.fits")
    return folder


@pytest.fixture
def place(cutouts, tmp_path) -> Place:
    return Place(tmp_path, cutouts)


@pytest.mark.parametrize("name", FAST)
def test_a_disk_that_fills_up_is_one_sentence_and_costs_nothing_that_was_there(name, place):
    (place.to / "older").write_text("older")
    older = digest(place.to)
    assert judged(VERBS[name], place, *place.run(VERBS[name], small_files(1000)), (2,), older) == []
    # Small files of a deployment fit.
    assert damaged(VERBS[name], place.to)


@pytest.mark.parametrize("name", FAST)
def test_a_folder_that_may_not_be_written_to_is_one_sentence(name, place):
    with read_only(place.to):
        assert judged(VERBS[name], place, *place.run(VERBS[name], respecting_modes), (2,)) == []
    assert not [*place.to.iterdir()]


@pytest.mark.parametrize("name", FAST)
def test_an_old_locale_a_closed_pipe_one_core_and_little_memory_cost_nothing(name, place):
    def hindered() -> None:
        one_core()
        little_memory()

    with closed_pipe() as nobody:
        done = place.run(VERBS[name], hindered, stdout=nobody, env={"LANG": "C", "LC_ALL": "C"})
    assert judged(VERBS[name], place, *done, (0,)) == []


def test_two_at_once_end_with_one_whole_result(place):
    assert both(VERBS["simulate galaxies"], place) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_while_it_writes_leaves_what_was_there_and_goes_on(number, status, place):
    verb = VERBS["simulate galaxies"]
    write_older(place.to / "set")
    before = digest(place.to)
    found, errors, seconds = stop(place.start(verb), number, lambda: any(place.to.glob(".set.building*/set/*")))
    assert judged(verb, place, found, errors, (status, 0), before) == []
    assert seconds < AT_ONCE
    assert judged(verb, place, *place.run(verb), (0,)) == []


def test_records_that_two_commands_send_at_once_arrive(place):
    leave_unsent(place.work)
    assert both(VERBS["sync"], place) == []


def write_older(path: Path) -> None:
    """An older dataset where the new one is to be."""
    with GalaxiesWriter(path, "flux", size=4) as writer:
        writer.add(Galaxy("a", "sdss", np.zeros((4, 4, 3), "float32"), empty_votes()))
