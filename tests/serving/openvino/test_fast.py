"""The fast path: Keras's answers in less time, from conversions that are kept and never stale."""

import hashlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from morph.errors import InputError
from morph.registry import SHIPPED
from serving.openvino import engine
from serving.openvino.conversion import LIMITS, Parity
from serving.openvino.model import CHUNK, FastModel
from serving.protocol import OUTPUTS
from serving.scoring.backends import LocalModel


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's cache with the conversion of the weights that ship."""
    folder = tmp_path_factory.mktemp("home")
    engine.converted(SHIPPED, folder / "morph" / "openvino")
    return folder


@pytest.fixture
def at_home(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setenv("MORPH_FAST", "1")


@pytest.fixture(scope="module")
def fast(home):
    with FastModel(engine.converted(SHIPPED, home / "morph" / "openvino"), threads=2) as model:
        yield model


@pytest.fixture(scope="module")
def stamps() -> np.ndarray:
    """Simulated galaxies of DES, turned and mirrored: flux [n, 96, 96, 3]; some lack pixels, bands or everything."""
    from morph.simulation.sample import simulate_galaxy
    from morph.surveys import get_survey

    seen = np.stack([simulate_galaxy(3, index, get_survey("des")).galaxy.image for index in range(30)])
    turned = [np.rot90(each, turns, axes=(1, 2)) for each in (seen, seen[:, :, ::-1]) for turns in range(4)]
    images = np.concatenate(turned).astype("float32")
    images[40:60, :30], images[60:80, ..., 2], images[80] = np.nan, np.nan, np.nan
    # Two galaxies of every other set of bands.
    for place, lost in enumerate(([0], [1], [0, 1], [0, 2], [1, 2])):
        images[82 + 2 * place : 84 + 2 * place, ..., lost] = np.nan
    return images


def test_answers_are_those_of_keras(fast, stamps):
    from morph.model.store import load_model

    model = load_model(SHIPPED)
    expected, found = model.answer(stamps), fast.answer(stamps, OUTPUTS)
    parity = Parity.of(found, expected)
    assert parity.within(LIMITS), parity
    for name in OUTPUTS:
        assert found[name].shape == expected[name].shape
        assert found[name].dtype == expected[name].dtype
    assert np.abs(found["anomaly_score"] - expected["anomaly_score"]).max() < 0.05
    assert fast.description == model.describe()
    assert fast.reference_sample.to_text() == model.reference_sample.sample.to_text()


def test_a_galaxy_has_one_answer_whatever_it_is_sent_with(fast, stamps):
    """In any place of a batch, from any thread, in chunks that are full or not."""
    whole = fast.answer(stamps, OUTPUTS)
    pieces = [stamps[start : start + CHUNK + 5] for start in range(0, len(stamps), CHUNK + 5)]
    with ThreadPoolExecutor(4) as pool:
        answered = list(pool.map(lambda piece: fast.answer(piece, OUTPUTS), pieces))
    for name in OUTPUTS:
        np.testing.assert_array_equal(np.concatenate([each[name] for each in answered]), whole[name])


#: Two threads answer at once, as soon as they can, where every import takes a moment: OpenVINO's first use has one,
#: and whoever comes meanwhile would wait for its end with the lock that the import waits for.
AT_ONCE = """
import builtins, faulthandler, sys, time
from pathlib import Path
import numpy as np
from serving.openvino.model import CHUNK, FastModel
faulthandler.dump_traceback_later(30, exit=True)
def slowly(*arguments, import_one=builtins.__import__, **more):
    time.sleep(0.2)
    return import_one(*arguments, **more)
with FastModel(Path(sys.argv[1]), threads=2) as model:
    builtins.__import__ = slowly
    size = model.description["size"]
    print(len(model.answer(np.zeros((2 * CHUNK, size, size, 3), "float32"), ["anomaly"])["anomaly"]) // CHUNK)
"""


def test_threads_that_begin_at_once_do_not_wait_for_each_other(home):
    folder = engine.converted(SHIPPED, home / "morph" / "openvino")
    done = subprocess.run([sys.executable, "-c", AT_ONCE, folder], capture_output=True, text=True)
    assert done.stdout == "2\n", done.stderr


def test_a_conversion_is_made_once(home, monkeypatch):
    monkeypatch.setattr(engine, "convert", None)
    folder = home / "morph" / "openvino"
    assert engine.converted(SHIPPED, folder).parent == folder


def test_whatever_changes_the_answers_changes_the_name(tmp_path, monkeypatch):
    weights = tmp_path / "model.keras"
    weights.write_bytes(b"weights")
    names = {engine._key(weights)}
    monkeypatch.setattr("openvino.__version__", "2030.1")
    names.add(engine._key(weights))
    weights.write_bytes(b"other weights")
    names.add(engine._key(weights))
    assert len(names) == 3
    # The same weights under another name are the same.
    assert engine._key(shutil.copy(weights, tmp_path / "copy.keras")) in names


def test_a_stopped_conversion_leaves_nothing(tmp_path, monkeypatch):
    def stopped(classifier, folder):
        (folder / "way-in.xml").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "convert", stopped)
    with pytest.raises(KeyboardInterrupt):
        engine.converted(SHIPPED, tmp_path / "openvino")
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_to_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(engine, "_make", lambda _, folder: (folder / "part").touch())
    folder = engine.converted(SHIPPED, tmp_path / "file" / "openvino")
    assert (folder / "part").is_file()
    assert tmp_path not in folder.parents


def test_old_conversions_make_room(tmp_path):
    for index in range(engine.KEPT + 3):
        (tmp_path / f"{index}").mkdir()
    engine._tidy(tmp_path / f"{index}")
    assert len(list(tmp_path.iterdir())) == engine.KEPT
    assert (tmp_path / f"{index}").is_dir()


def test_opening_a_kept_conversion_loads_no_keras(at_home):
    program = (
        "import sys; from serving.scoring.backends import LocalModel\n"
        f"with LocalModel({str(SHIPPED)!r}).open() as answerer:\n"
        "    print(answerer.description['engine'], {'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino", "set()"]


def test_a_backend_says_what_computes(at_home, stamps):
    with LocalModel(str(SHIPPED)).open() as answerer:
        assert answerer.description["engine"] == "openvino"
        assert answerer.description["version"] == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:12]
        assert set(answerer.answer(stamps[:2])) == set(OUTPUTS)


def test_keras_answers_where_openvino_cannot(at_home, monkeypatch):
    def broken(path):
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr(engine, "converted", broken)
    with pytest.warns(UserWarning, match="no such operation"), engine.opened(SHIPPED) as model:
        assert model is None
    with pytest.raises(InputError, match="use the engine keras"), engine.opened(SHIPPED, "openvino"):
        pass


def test_the_engine_is_openvino_where_it_is_installed_and_wanted(monkeypatch):
    monkeypatch.setenv("MORPH_FAST", "1")
    assert (engine.choose(), engine.choose("keras")) == ("openvino", "keras")
    monkeypatch.setenv("MORPH_FAST", "0")
    assert (engine.choose(), engine.choose("openvino")) == ("keras", "openvino")
    monkeypatch.delenv("MORPH_FAST")
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert engine.choose() == "keras"
    with pytest.raises(InputError, match=r"pip install 'morph-galaxies\[fast\]'"):
        engine.choose("openvino")
    with pytest.raises(InputError, match="choose auto, keras or openvino"):
        engine.choose("onnx")
