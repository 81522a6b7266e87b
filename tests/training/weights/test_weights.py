"""The recipe of the weights that ship: what it calls, what it refuses, and what it publishes."""

import errno
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from morph.cli.main import main
from morph.errors import InputError
from morph.model.store import RECORD, load_model
from morph.registry import SHIPPED, SHIPPED_MODELS
from training.cli import import_, pretrain
from training.weights import recipe
from training.weights.__main__ import command
from training.weights.card import (
    CARD,
    MEASURED,
    _detail_text,
    _measure,
    measuring_steps,
    publish,
    publishing_step,
    shipping_steps,
)
from training.weights.detail import detail_step
from training.weights.heads import heads_step
from training.weights.prior import prior_steps
from training.weights.recipe import (
    HELD_OUT,
    LABELLED,
    SIMULATED,
    UNLABELLED,
    UNSEEN,
    Extent,
    data_steps,
    training_steps,
)
from training.weights.restorer import restorer_step
from training.weights.steps import digest

#: What a wheel with both models may weigh, bytes.
MOST = 60e6


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Every set of the recipe, with one picture each."""
    folder = tmp_path / "images"
    for release in (*LABELLED.values(), *UNLABELLED.values(), *UNSEEN.values()):
        (folder / release.folder / "images").mkdir(parents=True)
        Image.radial_gradient("L").convert("RGB").save(folder / release.folder / "images" / "a.png")
        if release.labels:
            (folder / release.folder / release.labels).write_text("id,label\na,elliptical\n")
        if release.properties:
            (folder / release.properties).write_text("id,redshift\na,0.05\n")
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command as its module does; returns exit status and everything printed."""

    def call(*options) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["weights", *map(str, options)])
        with pytest.raises(SystemExit) as stop:
            main(command, "python -m training.weights")
        return stop.value.code, "".join(capsys.readouterr())

    return call


def test_every_step_reads_what_an_earlier_one_makes_and_its_verb_knows_its_options(data):
    work = Path("data")
    trained = [*training_steps(work), detail_step(work), heads_step(work), *prior_steps(work)]
    steps = [*data_steps(data, work), *trained, *shipping_steps(work), *measuring_steps(data, work)]
    made = {output for step in steps for output in step.outputs}
    for number, step in enumerate(steps):
        earlier = {output for before in steps[:number] for output in before.outputs}
        assert all(path in earlier or path.is_relative_to(data) for path in step.inputs), step.name
    read = {path for step in steps for path in step.inputs}
    assert made - read == {path for step in measuring_steps(data, work) for path in step.outputs}
    for step in steps:
        if step.words[0] == "import":
            import_.command.make_context("import", list(step.words[1:]))
        if step.words[0] == "pretrain":
            given = pretrain.command.make_context("pretrain", list(step.words[1:])).params
            assert (given["unlabelled_share"], given["precision"]) == (0.32, "mixed_bfloat16")
            assert given["contrast"] == 0.5


def test_the_large_model_is_the_teacher_of_the_small_one():
    large, small = training_steps(Path("data"))
    assert "large" in large.words
    assert small.words[small.words.index("--teacher") + 1] == str(large.outputs[0])
    assert large.outputs[0] in small.inputs


def test_the_small_model_ships_with_the_detail_decoder_that_is_learned_behind_it():
    work = Path("data")
    _, small = training_steps(work)
    step, short = detail_step(work), detail_step(work, Extent(epochs=2, steps=3))
    assert step.inputs == (small.outputs[0], *(work / name for name in ("gz1", "gz2", "unlabelled", "sim-des")))
    heads, priors = heads_step(work), prior_steps(work)
    assert heads.inputs[0] == step.outputs[0]
    assert [each.inputs[:1] for each in priors] == [(work / "sdss-large.keras",), heads.outputs]
    assert [each.inputs for each in shipping_steps(work)] == [each.outputs for each in priors]
    assert [a for a, b in zip(short.words, step.words, strict=True) if a != b] == ["2", "3"]
    # A larger part of the recipe than 40 minutes would be better spent on the networks.
    assert step.seconds < 45 * 60


@pytest.mark.parametrize(
    ("kept", "said"), [(True, "The large model has none"), (False, "It is left out: the Fréchet")]
)
def test_the_card_says_whether_the_detail_decoder_is_kept(monkeypatch, kept, said):
    about = {"trained_on": ["gz1", "sim-des"], "frechet_distance": 1.5, "frechet_distance_plain": 3.0}
    model = SimpleNamespace(about={"detail": about}, detail=SimpleNamespace(fitted=kept))
    monkeypatch.setattr("morph.model.store.load_model", lambda _: model)
    text = _detail_text(Path("sdss.keras"))
    assert said in text
    assert "learned from `gz1`, `sim-des` with" in text
    assert "is 1.5, and 3 without it" in text


def test_the_lengths_of_the_trainings_are_set_in_one_place(monkeypatch):
    monkeypatch.setitem(recipe.TRAININGS, "sdss", recipe.Length(7, 11, 0.5))
    words = training_steps(Path("data"))[1].words
    assert words[words.index("--epochs") + 1 : words.index("--epochs") + 4] == ("7", "--steps", "11")


def test_a_part_of_the_recipe_has_runs_of_its_own():
    whole, short = training_steps(Path("w")), training_steps(Path("w"), Extent(epochs=1))
    for ours, theirs in zip(whole, short, strict=True):
        assert ours.words[ours.words.index("--name") + 1] != theirs.words[theirs.words.index("--name") + 1]


def test_a_limit_takes_so_many_images_and_galaxies_of_every_set(data):
    for step in data_steps(data, Path("w"), Extent(limit=20)):
        if step.words[0] == "simulate":
            assert step.words[step.words.index("--number") + 1] == "20"
        else:
            assert sum(word.endswith(".png") for word in step.words) == 1
        # The file may hold none of so few galaxies, and is then refused.
        assert "--properties" not in step.words
    assert any("--properties" in step.words for step in data_steps(data, Path("w")))


def test_the_plan_lists_every_step_and_an_estimate(run, data, tmp_path):
    status, output = run("--data", data, "--work", tmp_path / "work", "--plan")
    assert status == 0
    trained = "train sdss-large", "train sdss", "train detail", "train restorer"
    fitted = "fit heads", "fit prior of sdss-large", "fit prior of sdss"
    for name in ("import gz1", "simulate pairs-des", *trained, *fitted, "store sdss", "publish"):
        assert f"  {name}\n" in output
    assert re.search(r"\d+ of \d+ steps are left, about .* on two cores", output)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("options", [["--epochs", "1"], ["--limit", "50"], ["--steps", "2"]])
def test_a_part_of_the_recipe_never_replaces_the_weights_that_ship(run, options):
    status, output = run(*options)
    assert (status, "--out" in output) == (2, True)


@pytest.mark.parametrize(
    "missing", ["", "sdss-galaxyzoo2", "sdss-galaxyzoo1/labels.csv", "sdss-spirals/images/a.png", "extra-labels.csv"]
)
def test_a_missing_set_is_named_with_its_source_before_anything_is_done(run, data, tmp_path, missing):
    path = data / missing
    path.unlink() if path.is_file() else shutil.rmtree(path)
    status, output = run("--data", data, "--work", tmp_path / "new", "--out", tmp_path / "out", "--limit", 20)
    assert status == 2
    assert "MORPH_DATA" in output or "https://" in output
    assert missing.partition("/")[0] in output
    assert output.count("\n") == 1, "one sentence"
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_refused_beforehand(run, data, tmp_path):
    (tmp_path / "file").write_text("")
    for option, other in (("--work", "--out"), ("--out", "--work")):
        status, output = run("--data", data, option, tmp_path / "file", other, tmp_path / "new", "--limit", 20)
        assert (status, option in output, "is a file" in output) == (2, True, True)


def test_a_disk_without_room_is_refused_beforehand(run, data, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000_000))
    status, output = run("--data", data, "--work", tmp_path / "new", "--out", tmp_path / "out", "--limit", 20)
    assert (status, "0.0 GB free" in output) == (2, True)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "part.parquet"), "No space left on device"),
        (MemoryError(), "memory is used up"),
    ],
)
def test_a_disk_or_memory_that_fills_up_is_one_sentence(run, data, tmp_path, monkeypatch, error, said):
    def fail(*_):
        raise error

    monkeypatch.setattr("training.weights.__main__.run_steps", fail)
    status, output = run("--data", data, "--out", tmp_path / "out", "--limit", 20)
    assert (status, said in output, "Traceback" in output) == (2, True, False)


def test_weights_and_card_are_replaced_together(tmp_path):
    to, models = tmp_path / "ship", [tmp_path / "sdss.keras", tmp_path / "sdss-large.keras"]
    to.mkdir()
    (to / "sdss.keras").write_text("old")
    (to / RECORD.name).write_text("the record of the old weights")
    for model in models:
        model.write_text(f"new {model.name}")
    publish(models, "new card", to)
    assert {path.name: path.read_text() for path in to.iterdir()} == {
        "sdss.keras": "new sdss.keras",
        "sdss-large.keras": "new sdss-large.keras",
        CARD: "new card",
    }
    models[1].unlink()
    with pytest.raises(FileNotFoundError):
        publish(models, "newer card", to)
    assert (to / CARD).read_text() == "new card"


def test_the_card_the_files_and_describe_state_the_same_digests():
    card = SHIPPED.with_name(CARD).read_text()
    there = [path for path in SHIPPED_MODELS.values() if path.exists()]
    assert SHIPPED in there
    assert sum(path.stat().st_size for path in there) < MOST
    assert set(re.findall(r"`([0-9a-f]{32})`", card)) == {digest(path) for path in there}
    for path in there:
        assert load_model(path).describe()["weights"] == digest(path)


def test_what_is_measured_reads_sets_of_the_recipe():
    steps = measuring_steps(Path("d"), Path("w"))
    assert len(steps) == sum(len(each.models) for each in MEASURED)
    assert all(
        name in SIMULATED | HELD_OUT | LABELLED | UNLABELLED | UNSEEN
        for step in steps
        for name in (p.name for p in step.inputs[1:])
    )


@pytest.mark.parametrize("words", ["morph simulate galaxies --help", "python benchmarks/weights_kills.py --help"])
def test_the_card_shows_a_command_and_what_it_prints(tmp_path, words):
    _measure(words.split(), tmp_path / "text", {"benchmarks/": "there/"}, tmp_path)
    first, *printed = (tmp_path / "text").read_text().splitlines()
    assert first == f"$ {words}".replace("benchmarks/", "there/")
    assert any("--help" in line for line in printed)


def test_a_script_that_fails_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"`python benchmarks/weights_kills.py --none` failed: .*No such option"):
        _measure(["python", "benchmarks/weights_kills.py", "--none"], tmp_path / "text", {}, tmp_path)
    assert not (tmp_path / "text").exists()


def test_the_restorer_is_trained_and_published_beside_the_models(data, tmp_path):
    from morph.model.restorer import Restorer

    extent = Extent(epochs=1, steps=2, limit=8)
    step = restorer_step(tmp_path, extent)
    step.action()
    made = Restorer()
    made.read(*step.outputs)
    assert made.fitted
    published = publishing_step(data, tmp_path, tmp_path / "out", extent, "make weights")
    assert step.outputs[0] in published.inputs
    assert tmp_path / "out" / "restorer.npz" in published.outputs
