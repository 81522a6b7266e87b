"""The files of models: half precision, digests, and the weights that ship."""

import io
import zipfile

import h5py
import numpy as np
import pytest

from morph.errors import InputError
from morph.model.store import FEWEST_HALF, digest, load_model, write_half
from morph.registry import SHIPPED_MODELS, SHIPPED_NAME, find_model


@pytest.fixture(scope="module")
def files(classifier, tmp_path_factory):
    """A model as it is saved, and in half precision."""
    folder = tmp_path_factory.mktemp("models")
    classifier.save(folder / "whole.keras")
    write_half(folder / "whole.keras", folder / "half.keras")
    return folder / "whole.keras", folder / "half.keras"


def arrays(path) -> dict[str, np.ndarray]:
    found = {}
    with zipfile.ZipFile(path) as file, h5py.File(io.BytesIO(file.read("model.weights.h5"))) as weights:
        weights.visititems(
            lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    return found


def test_kernels_take_half_the_room_and_all_else_stays_as_it_was(files):
    whole, half = (arrays(path) for path in files)
    assert whole.keys() == half.keys()
    kernels = {name for name, values in half.items() if values.dtype == np.float16}
    network = [name for name in whole if name.split("/")[0] in ("encoder", "decoder", "heads")]
    assert {name for name in network if whole[name].ndim >= 2 and whole[name].size >= FEWEST_HALF} <= kernels
    for name in whole:
        if name in kernels:
            np.testing.assert_array_equal(half[name], whole[name].astype("float16"))
        else:
            np.testing.assert_array_equal(half[name], whole[name], err_msg=name)
    assert all(values.ndim >= 2 for name, values in half.items() if name in kernels and name in network)
    assert files[1].stat().st_size < 0.75 * files[0].stat().st_size


def test_half_precision_changes_the_answers_less_than_bfloat16(files, galaxies):
    images = galaxies(6, seed=2)
    models = (load_model(files[0]), load_model(files[1]), load_model(files[0], "mixed_bfloat16"))
    whole, half, rough = (model.answer(images) for model in models)
    for name in ("probabilities", "embedding", "reconstruction_error"):
        difference, allowed = (np.abs(each[name] - whole[name]).max() for each in (half, rough))
        assert difference < 0.5 * allowed, name
    assert models[1].encoder.get_weights()[0].dtype == np.float32


def test_the_same_model_gives_the_same_bytes_and_they_are_its_digest(files, tmp_path):
    write_half(files[0], tmp_path / "again.keras")
    assert digest(tmp_path / "again.keras") == digest(files[1])
    assert [path.name for path in tmp_path.iterdir()] == ["again.keras"]
    assert load_model(files[1]).describe()["weights"] == digest(files[1])


def test_shipped_models_have_names_that_work_where_nothing_is_tracked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    large = f"{SHIPPED_NAME}-large"
    assert find_model(SHIPPED_NAME) == SHIPPED_MODELS[SHIPPED_NAME]
    there = tmp_path / "sdss-large.keras"
    monkeypatch.setitem(SHIPPED_MODELS, large, there)
    with pytest.raises(InputError, match="not part of this installation; `make weights` makes them"):
        find_model(large)
    there.touch()
    assert find_model(large) == there
