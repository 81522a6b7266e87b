"""The checks of the model pass on what was exported, and find what stock TensorFlow Serving could not run."""

import copy
import shutil

import pytest

from morph.errors import InputError
from serving.deploy import stock
from serving.deploy.deployment import Deployment
from tests.serving.deploy.making import make


def changed(whole: Deployment, change) -> Deployment:
    """The model with another graph: `change` is given the MetaGraphDef to alter."""
    graph = copy.deepcopy(whole.graph)
    change(graph)
    deployment = Deployment(whole.folder, whole.name)
    deployment.graph, deployment.loaded = graph, whole.loaded
    return deployment


def _another_op(name: str):
    def change(graph):
        graph.graph_def.node[0].op = name

    return change


def _another_attribute(graph):
    node = next(
        node for function in graph.graph_def.library.function for node in function.node_def if node.op == "Conv2D"
    )
    node.attr["tomorrow"].i = 1


def _new_runtime(graph):
    graph.graph_def.versions.min_consumer = stock.GRAPH_VERSION + 1


def _rename(graph):
    outputs = graph.signature_def["serving_default"].outputs
    outputs["probability"].CopyFrom(outputs["probabilities"])
    del outputs["probabilities"]


def _retype(graph):
    graph.signature_def["composite"].inputs["image"].dtype = 1


def _fix(graph):
    graph.signature_def["serving_default"].inputs["image"].tensor_shape.dim[0].size = 1


def _remove(graph):
    del graph.signature_def["reconstruct"]


def _undescribed(graph):
    del graph.signature_def["describe"]


@pytest.mark.parametrize(
    ("about", "change", "sentence"),
    [
        (
            "operations",
            _another_op("EagerPyFunc"),
            "calls Python (EagerPyFunc), which TensorFlow Serving does not have",
        ),
        ("operations", _another_op("MyOwnOp"), "does not know MyOwnOp; build these from other operations"),
        ("operations", _another_attribute, "knows Conv2D without tomorrow"),
        ("graph version", _new_runtime, "Export with an older TensorFlow or serve with a newer image"),
        ("signatures", _rename, "'serving_default' has no output 'probabilities'"),
        ("signatures", _retype, "input 'image' is float32 [n, 64, 64, 3]; it must be uint8 [n, 64, 64, 3]"),
        ("signatures", _remove, "has no signature 'reconstruct'; it has composite, describe"),
        ("description", _undescribed, "has no signature 'describe'"),
        ("any number of galaxies", _fix, "'image' has a fixed number of rows"),
    ],
)
def test_a_model_that_the_server_cannot_run_is_reported(whole, about, change, sentence):
    make(about, whole)
    with pytest.raises(InputError) as problem:
        make(about, changed(whole, change))
    assert sentence in str(problem.value)


def test_a_model_that_calls_itself_otherwise_is_reported(whole, tmp_path):
    (tmp_path / "morph").mkdir()
    (tmp_path / "morph" / "9").symlink_to(whole.version)
    with pytest.raises(InputError, match="calls itself version 3 and lies in '9/'"):
        make("description", Deployment(tmp_path))


def test_a_damaged_model_or_warm_up_is_reported(model_dir, whole, tmp_path):
    shutil.copytree(model_dir / "morph", tmp_path / "morph")
    shutil.copy(model_dir / "batching_parameters.txt", tmp_path)
    (warmup,) = tmp_path.glob("morph/3/assets.extra/*")
    warmup.write_bytes(warmup.read_bytes()[:-5])
    with pytest.raises(InputError, match="The warm-up cannot be read"):
        make("warm-up", Deployment(tmp_path))
    (tmp_path / "morph" / "3" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(InputError, match="TensorFlow cannot load the model"):
        make("loads", Deployment(tmp_path))
    with pytest.raises(InputError, match="is not a SavedModel; export it again"):
        make("operations", Deployment(tmp_path))
