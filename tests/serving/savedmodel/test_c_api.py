"""The exported model needs no Python: TensorFlow's C library, which TensorFlow Serving is built on, gives Keras's
numbers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from morph.errors import InputError
from serving.savedmodel.c_api import SavedModel
from serving.savedmodel.export import SCORE_TOLERANCE
from serving.savedmodel.servable import locate

#: Reads arrays and the names of tensors, answers with arrays, and must not have met TensorFlow's Python.
PROCESS = """
import json, sys
import numpy as np
from serving.savedmodel.c_api import SavedModel

arrays = dict(np.load("inputs.npz", allow_pickle=False))
outputs = {}
with SavedModel(sys.argv[1]) as model:
    for signature, (inputs, wanted) in json.load(open("signatures.json")).items():
        feeds = {tensor: arrays[signature] for tensor in inputs.values()}
        for name, array in zip(wanted, model.run(feeds, list(wanted.values()))):
            outputs[f"{signature}.{name}"] = array
np.savez("outputs.npz", **outputs)
python = [name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras")]
assert not python, python
"""


#: Says how many threads there are when a model was loaded with so many for its operations.
THREADS = """
import os, sys
from serving.savedmodel.c_api import SavedModel
model = SavedModel(sys.argv[1], threads=int(sys.argv[2]))
print(len(os.listdir("/proc/self/task")))
"""


@pytest.fixture(scope="module")
def signatures(model_dir) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Signature -> the tensors of its inputs and of its outputs, by name, as the file has them."""
    from tensorflow.core.protobuf import saved_model_pb2

    content = (locate(model_dir).folder / "saved_model.pb").read_bytes()
    definitions = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def
    return {
        key: ({n: i.name for n, i in each.inputs.items()}, {n: i.name for n, i in each.outputs.items()})
        for key, each in definitions.items()
    }


@pytest.fixture(scope="module")
def answers(model_dir, signatures, flux, composites, tmp_path_factory) -> dict[str, np.ndarray]:
    """`signature.output` -> what a process without TensorFlow's Python gets from the C library."""
    folder = tmp_path_factory.mktemp("c-api")
    images = {"serving_default": flux, "composite": composites, "reconstruct": flux}
    np.savez(folder / "inputs.npz", **images)
    (folder / "signatures.json").write_text(json.dumps({key: signatures[key] for key in images}))
    command = [sys.executable, "-c", PROCESS, str(locate(model_dir).folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "outputs.npz"))


@pytest.mark.parametrize("signature", ["serving_default", "composite"])
def test_the_c_library_gives_the_keras_models_numbers(answers, signature, classifier, request):
    images = request.getfixturevalue("flux" if signature == "serving_default" else "composites")
    expected = classifier.answer(images)
    found = {key.partition(".")[2]: array for key, array in answers.items() if key.startswith(f"{signature}.")}
    assert set(found) == set(expected)
    for key in set(expected) - {"anomaly", "anomaly_score"}:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-5, atol=1e-5, err_msg=key)
    np.testing.assert_allclose(found["anomaly_score"], expected["anomaly_score"], atol=SCORE_TOLERANCE)
    np.testing.assert_array_equal(found["anomaly"], expected["anomaly"])


def test_the_c_library_gives_the_keras_models_reconstruction(answers, classifier, flux):
    expected = classifier.reconstruct_images(flux)
    np.testing.assert_allclose(answers["reconstruct.reconstruction"], expected, rtol=1e-5, atol=1e-5)


def test_text_goes_in_and_comes_out_whole(model_dir, signatures):
    (query,), (described,) = (names.values() for names in signatures["describe"])
    with SavedModel(locate(model_dir).folder) as model:
        # Short texts are kept in their place and long ones elsewhere: both must work.
        (texts,) = model.run({query: np.array([b"", b"a long question " * 20], object)}, [described])
    assert [json.loads(text)["version"] for text in texts] == [3, 3]


def test_what_the_library_refuses_it_says_in_its_own_words(model_dir, signatures, tmp_path):
    (query,), (described,) = (names.values() for names in signatures["describe"])
    with SavedModel(locate(model_dir).folder) as model:
        with pytest.raises(ValueError, match="to be string but float is provided"):
            model.run({query: np.zeros(2, "float32")}, [described])
        with pytest.raises(ValueError, match="the graph has no tensor 'nothing:0'"):
            model.run({"nothing:0": np.zeros(2, "float32")}, [described])
    with pytest.raises(InputError, match="Could not find SavedModel"):
        SavedModel(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in Linux's /proc")
def test_the_threads_within_an_operation_are_as_many_as_asked(model_dir):
    def there(threads: int) -> int:
        command = [sys.executable, "-c", THREADS, str(locate(model_dir).folder), str(threads)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert there(5) - there(1) == 4
