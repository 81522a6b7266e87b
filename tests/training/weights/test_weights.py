"""The recipe of the weights that ship, and that it is followed without doing anything twice or by halves."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from morph.errors import InputError
from morph.registry import SHIPPED
from training.cli import pretrain
from training.weights.__main__ import command
from training.weights.card import HISTORY, digest, publish
from training.weights.recipe import Extent, run_verbs, verbs

CARD = SHIPPED.with_name("MODEL_CARD.md").read_text()


class Workshop:
    """Does what verbs are for: writes a file. Remembers what it was asked for, and fails at one of them if told to."""

    def __init__(self, folder: Path, **words: str):
        self.folder, self.words = folder, words
        self.called: list[str] = []
        self.fails = ""

    def run(self, **changed: str) -> list[str]:
        self.called = []
        self.words |= changed
        steps = [["make", word, f"{self.folder / name}"] for name, word in self.words.items()]
        run_verbs(steps, self.folder, self.make)
        return self.called

    def make(self, words: list[str]) -> None:
        name = Path(words[-1]).name
        if name == self.fails:
            raise InputError("a verb went wrong.")
        self.called.append(name)
        Path(words[-1]).write_text(words[1])


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "work", data="1", teacher="2", weights="3")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()


def test_the_card_names_the_recipes_last_verb():
    last = verbs(Path("elsewhere"), Path("data"))[-1]
    assert f"    {shlex.join(['morph', *last])}\n" in CARD


def test_the_card_contains_the_history_of_the_very_weights_beside_it():
    told = {key for key, history in HISTORY.items() if history in CARD}
    assert told == HISTORY.keys() & {digest(SHIPPED)}


def test_every_verb_of_the_recipe_makes_what_a_later_one_takes_and_knows_its_options():
    steps = verbs(Path("elsewhere"), Path("data"))
    made = [words[words.index("--to") + 1] for words in steps]
    assert [words[-1] for words in steps] == made
    assert made[-1] == "data/sdss.keras"
    for number, name in enumerate(made[:-1]):
        assert any(name in (word, word.rpartition(":")[0]) for words in steps[number + 1 :] for word in words), name
    for words in steps[-2:]:
        assert pretrain.command.make_context("pretrain", words[1:]).params["unlabelled_share"] == 0.32


def test_a_part_of_the_recipe_takes_no_name_that_the_whole_uses(tmp_path):
    short = verbs(tmp_path, tmp_path, Extent(epochs=1))[-2:]
    for words, whole in zip(short, verbs(tmp_path, tmp_path)[-2:], strict=True):
        assert "--alias" not in words
        assert words[words.index("--name") + 1] != whole[whole.index("--name") + 1]


def test_what_is_done_is_not_done_again(workshop):
    assert workshop.run() == ["data", "teacher", "weights"]
    assert workshop.run() == []


def test_a_chain_that_broke_goes_on_where_it_broke(workshop):
    workshop.fails = "teacher"
    with pytest.raises(InputError):
        workshop.run()
    workshop.fails = ""
    assert workshop.run() == ["teacher", "weights"]


def test_all_that_was_made_from_what_changed_is_made_anew_even_after_a_break(workshop):
    workshop.run()
    workshop.fails = "teacher"
    with pytest.raises(InputError):
        workshop.run(data="other")
    workshop.fails = ""
    assert workshop.run() == ["teacher", "weights"], "weights of the other data are there, and are not these"
    (workshop.folder / "teacher").unlink()
    assert workshop.run() == ["teacher", "weights"]


def test_weights_and_card_are_replaced_together(tmp_path):
    new, to = tmp_path / "new.keras", tmp_path / "ship"
    new.write_text("new weights")
    to.mkdir()
    (to / "sdss.keras").write_text("old weights")
    publish(new, "new card", to)
    assert {path.name: path.read_text() for path in to.iterdir()} == {
        "sdss.keras": "new weights",
        "MODEL_CARD.md": "new card",
    }


@pytest.mark.parametrize("options", [["--epochs", "1"], ["--limit", "50"], ["--steps", "2"]])
def test_a_part_of_the_recipe_never_replaces_the_weights_that_ship(options):
    done = CliRunner().invoke(command, options)
    assert done.exit_code == 2
    assert "--out" in done.output


def test_missing_images_are_said_before_anything_is_done(tmp_path):
    done = CliRunner().invoke(command, ["--data", str(tmp_path / "nowhere"), "--work", str(tmp_path / "new")])
    assert done.exit_code == 2
    assert "MORPH_DATA" in done.output
    assert not (tmp_path / "new").exists()


@pytest.mark.real
def test_a_limit_takes_so_many_images_of_every_set(real_data, tmp_path):
    for words in verbs(real_data, tmp_path, Extent(limit=20))[:4]:
        assert sum(Path(word).suffix in (".jpg", ".jpeg") for word in words) == 20
