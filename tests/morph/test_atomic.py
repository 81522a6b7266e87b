"""Files and folders that appear whole or not at all."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import morph.atomic as atomic_module
from morph.atomic import atomic, atomic_files
from morph.errors import InputError
from morph.signals import stoppable

#: Replaces the folder that it is told by one that holds a letter, without end.
AGAIN_AND_AGAIN = """
import sys
from pathlib import Path
from morph.atomic import atomic
while True:
    with atomic(Path(sys.argv[1])) as building:
        building.mkdir()
        (building / "part").write_text(1000 * sys.argv[2])
"""


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path, text: str, **how) -> None:
    with atomic(path, **how) as building:
        building.write_text(text)


def make(path, text: str, **how) -> None:
    with atomic(path, **how) as building:
        building.mkdir()
        (building / "part").write_text(text)


def stopped(path, error, **how) -> None:
    """Writing that is stopped by an error when it has begun."""
    with atomic(path, **how) as building:
        building.mkdir()
        (building / "part").write_text("half")
        raise error


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_appears_with_its_folders_and_replaces_an_older_one(tmp_path):
    for text in ("old", "new"):
        write(tmp_path / "a" / "b" / "table.csv", text)
        assert (tmp_path / "a" / "b" / "table.csv").read_text() == text
    assert names(tmp_path / "a" / "b") == ["table.csv"]


def test_a_folder_replaces_an_older_one_with_all_its_files(tmp_path):
    make(tmp_path / "set", "old")
    (tmp_path / "set" / "more").touch()
    make(tmp_path / "set", "new")
    assert names(tmp_path) == ["set"]
    assert names(tmp_path / "set") == ["part"]
    assert (tmp_path / "set" / "part").read_text() == "new"


@pytest.mark.parametrize("raises", [ZeroDivisionError, KeyboardInterrupt])
def test_what_fails_leaves_nothing_and_takes_nothing_away(tmp_path, raises):
    make(tmp_path / "set", "old")
    for path in (tmp_path / "set", tmp_path / "deep" / "er" / "table"):
        with pytest.raises(raises):
            stopped(path, raises)
    assert names(tmp_path) == ["set"]
    assert (tmp_path / "set" / "part").read_text() == "old"


def test_a_full_disk_is_one_sentence_that_says_what_is_safe(tmp_path):
    write(tmp_path / "there", "old")
    with pytest.raises(InputError, match=r"No space left on device.*what was there before is untouched"):
        stopped(tmp_path / "there", FULL)
    with pytest.raises(
        InputError, match=r"^The sum cannot be written to '.*' \(No space.*nothing half-written is left"
    ):
        stopped(tmp_path / "not there", FULL, what="The sum")
    assert (tmp_path / "there").read_text() == "old"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("ResourceExhausted: /x/variables; No space left on device"), "No space left"),
        (OSError("12288 requested and 4096 written"), "not everything could be written"),
        (OSError("encoder error -2 when writing image file"), "not everything could be written"),
    ],
    ids=["TensorFlow", "NumPy", "Pillow"],
)
def test_a_library_that_reports_a_full_disk_in_words_is_understood(error, said, tmp_path):
    with pytest.raises(InputError, match=said), atomic(tmp_path / "model"):
        raise error


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "model"):
        (tmp_path / "no such input").read_text()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written: a part of its path is a file"):
        write(tmp_path / "file" / "below", "x")


def test_a_file_is_not_replaced_by_a_folder_nor_a_folder_by_a_file(tmp_path):
    write(tmp_path / "file", "old")
    make(tmp_path / "folder", "old")
    with pytest.raises(InputError, match="is a file"):
        make(tmp_path / "file", "new")
    with pytest.raises(InputError, match="Is a directory"):
        write(tmp_path / "folder", "new")
    assert names(tmp_path) == ["file", "folder"]


def test_several_files_appear_together_or_not_at_all(tmp_path):
    with atomic_files(tmp_path / "a", tmp_path / "b") as (a, b):
        a.write_text("a")
        b.write_text("b")
    with pytest.raises(FileNotFoundError), atomic_files(tmp_path / "c", tmp_path / "a") as (c, _):
        c.write_text((tmp_path / "no such input").read_text())
    assert names(tmp_path) == ["a", "b"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    make(tmp_path / "disk" / "set", "old")
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "set")
    make(tmp_path / "set", "new")
    assert (tmp_path / "set").is_symlink()
    assert (tmp_path / "disk" / "set" / "part").read_text() == "new"


def test_what_a_killed_process_left_is_removed_and_what_it_moved_away_comes_back(tmp_path):
    left = tmp_path / ".set.building"
    (left / "set").mkdir(parents=True)
    (left / ".set.old").mkdir()
    (left / ".set.old" / "part").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "set"):
        raise ZeroDivisionError
    assert names(tmp_path) == ["set"]
    assert (tmp_path / "set" / "part").read_text() == "old"


def test_a_half_built_file_of_an_earlier_version_is_removed(tmp_path):
    (tmp_path / ".table.building").write_text("half")
    write(tmp_path / "table", "whole")
    assert names(tmp_path) == ["table"]


def test_two_at_once_do_not_meet_and_the_last_one_stays(tmp_path):
    with atomic(tmp_path / "set") as first:
        first.mkdir()
        (first / "part").write_text("first")
        make(tmp_path / "set", "second")
        assert (tmp_path / "set" / "part").read_text() == "second"
    assert (tmp_path / "set" / "part").read_text() == "first"
    assert names(tmp_path) == ["set"]


def test_a_folder_that_came_between_is_kept_where_it_must_not_be_replaced(tmp_path):
    def overtaken() -> None:
        with atomic(tmp_path / "1", replace=False) as building:
            building.mkdir()
            make(tmp_path / "1", "faster")

    with pytest.raises(FileExistsError):
        overtaken()
    assert (tmp_path / "1" / "part").read_text() == "faster"
    assert names(tmp_path) == ["1"]


def test_many_at_once_leave_one_whole_folder(tmp_path):
    def again_and_again(text: str) -> None:
        for _ in range(50):
            make(tmp_path / "set", text)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(again_and_again, "abcd"))
    assert names(tmp_path) == ["set"]
    assert (tmp_path / "set" / "part").read_text() in "abcd"


def test_a_file_system_without_locks_still_keeps_two_apart(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with atomic(tmp_path / "a") as building:
        building.write_text("a")
        write(tmp_path / "a", "b")
    assert (tmp_path / "a").read_text() == "a"
    assert names(tmp_path) == ["a"]


def test_what_several_killed_processes_left_is_removed_by_the_next(tmp_path):
    write(tmp_path / "table", "old")
    for name in (".table.building", ".table.building-1", ".table.building-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table").write_text("half")
    write(tmp_path / "table", "new")
    assert names(tmp_path) == ["table"]


def test_what_an_earlier_version_had_moved_away_comes_back(tmp_path):
    (tmp_path / ".set.building").mkdir()
    (tmp_path / ".set.old").mkdir()
    (tmp_path / ".set.old" / "part").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "set"):
        raise ZeroDivisionError
    assert names(tmp_path) == ["set"]
    assert (tmp_path / "set" / "part").read_text() == "old"


def test_a_signal_does_not_part_files_that_appear_together(tmp_path, monkeypatch):
    put = atomic_module._put

    def and_then_a_signal(*arguments) -> None:
        put(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(atomic_module, "_put", and_then_a_signal)
    with pytest.raises(KeyboardInterrupt), stoppable(), atomic_files(tmp_path / "a", tmp_path / "b") as building:
        [each.write_text("whole") for each in building]
    assert names(tmp_path) == ["a", "b"]


def test_processes_that_are_killed_at_any_moment_leave_one_whole_folder(tmp_path):
    make(tmp_path / "set", "x" * 1000)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", AGAIN_AND_AGAIN, str(tmp_path / "set")]
    jobs = [subprocess.Popen([*command, letter], env=environment) for letter in "abcd"]
    time.sleep(1)
    for job in jobs:
        time.sleep(0.05)
        job.kill()
        job.wait()
    make(tmp_path / "set", "y" * 1000)
    assert names(tmp_path) == ["set"]
    assert (tmp_path / "set" / "part").read_text() == "y" * 1000


def test_files_of_two_commands_do_not_mix(tmp_path):
    def write(text: str) -> None:
        with atomic_files(tmp_path / "a", tmp_path / "b") as building:
            for path in building:
                path.write_text(text)

    lock = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    other = threading.Thread(target=write, args=("other",))
    other.start()
    other.join(0.3)
    assert not (tmp_path / "a").exists(), "its files wait for those that are being moved"
    os.close(lock)
    other.join(10)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "other"
