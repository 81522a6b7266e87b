"""The steps of a recipe: nothing is done twice, and nothing stays that was made from something else."""

from pathlib import Path

import pytest

from morph.errors import InputError
from training.weights.log import logged
from training.weights.steps import Record, Step, digest, locked, run_steps


class Workshop:
    """Three steps, each of which writes the word that it is given and all that it reads."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.words = {"data": "1", "teacher": "2", "weights": "3"}
        self.called: list[str] = []
        self.fails = ""

    def steps(self) -> list[Step]:
        files = [self.folder / name for name in ("source", *self.words)]
        return [
            Step(name, ("make", word), (read,), (made,), 60.0)
            for (name, word), read, made in zip(self.words.items(), files, files[1:], strict=False)
        ]

    def run(self, **changed: str) -> list[str]:
        self.called = []
        self.words |= changed
        run_steps(self.steps(), self.folder, self.make)
        return self.called

    def make(self, step: Step) -> None:
        if step.name == self.fails:
            raise InputError("a step went wrong.")
        self.called.append(step.name)
        step.outputs[0].write_text(step.words[1] + step.inputs[0].read_text())


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    (tmp_path / "source").write_text("0")
    return Workshop(tmp_path)


def test_what_is_done_is_not_done_again(workshop):
    assert workshop.run() == ["data", "teacher", "weights"]
    assert (workshop.folder / "weights").read_text() == "3210"
    assert workshop.run() == []


def test_a_run_that_broke_goes_on_where_it_broke(workshop):
    workshop.fails = "teacher"
    with pytest.raises(InputError):
        workshop.run()
    workshop.fails = ""
    assert workshop.run() == ["teacher", "weights"]


def test_a_changed_command_repeats_a_step_and_what_follows_even_after_a_break(workshop):
    workshop.run()
    workshop.fails = "teacher"
    with pytest.raises(InputError):
        workshop.run(data="other")
    workshop.fails = ""
    assert workshop.run() == ["teacher", "weights"], "weights of the other data are there, and are not these"


def test_a_changed_input_repeats_what_follows(workshop):
    workshop.run()
    (workshop.folder / "source").write_text("new")
    assert workshop.run() == ["data", "teacher", "weights"]
    assert (workshop.folder / "weights").read_text() == "321new"


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("cu")])
def test_an_output_that_is_missing_or_cut_off_is_made_again(workshop, damage):
    workshop.run()
    damage(workshop.folder / "teacher")
    assert workshop.run() == ["teacher"], "it is what it was, so that nothing else changes"


def test_a_step_that_makes_nothing_is_an_error_and_not_finished(workshop):
    step = Step("empty", ("make",), (), (workshop.folder / "nothing",))
    with pytest.raises(InputError, match="'empty' did not make"):
        run_steps([step], workshop.folder, lambda _: None)
    assert not Record(workshop.folder).is_done(step)


def test_a_record_that_cannot_be_read_is_named(workshop):
    (workshop.folder / "steps.json").write_text("{")
    with pytest.raises(InputError, match=r"steps\.json' is not a record of steps"):
        workshop.run()


def test_progress_and_time_left_are_printed_and_logged(workshop, capsys):
    with logged(workshop.folder / "log"):
        workshop.run()
    printed = capsys.readouterr().err
    assert "Step 1 of 3, data: morph make 1" in printed
    assert "about 0:02:00 to go" in printed
    lines = (workshop.folder / "log").read_text().splitlines()
    assert [line[21:] for line in lines] == printed.splitlines()
    assert lines[0][:2] == "20", "the time comes first"


def test_a_folders_digest_follows_names_and_content(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = digest(folder)
    (folder / ".building").write_text("left by a killed command")
    assert digest(folder) == first
    (folder / "a").write_text("22")
    second = digest(folder)
    (folder / "a").rename(folder / "b")
    assert len({first, second, digest(folder)}) == 3
    assert digest(tmp_path / "none") is None


def test_two_runs_do_not_work_in_one_folder(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match=r"makes weights in .* already"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
