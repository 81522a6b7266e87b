"""Which models, versions and labels are served: policies, models.config, and requests for another configuration."""

import shutil
import time
from pathlib import Path

import grpc
import pytest

from morph.errors import InputError
from serving.server.configuration import Policy
from tests.serving.server.asking import POLL, Ask


def test_the_policy_chooses_versions():
    assert Policy().choose([3, 1, 2]) == [3]
    assert Policy(latest=2).choose([3, 1, 2]) == [2, 3]
    assert Policy(latest=None).choose([3, 1, 2]) == [1, 2, 3]
    assert Policy(specific=frozenset({1, 7})).choose([3, 1, 2]) == [1]


def config(folder: Path, policy: str, labels: dict[str, int] | None = None, name: str = "small") -> str:
    written = "".join(f'version_labels {{ key: "{key}" value: {value} }} ' for key, value in (labels or {}).items())
    return (
        f'model_config_list {{ config {{ name: "{name}" base_path: "{folder / "small"}" '
        f'model_platform: "tensorflow" model_version_policy {{ {policy} }} {written}}} }}'
    )


@pytest.fixture
def three(tmp_path, exported) -> Path:
    """A folder with three versions, and a models.config that serves two of them under labels."""
    for number in ("1", "2", "3"):
        shutil.copytree(exported[number], tmp_path / "small" / number)
    (tmp_path / "models.config").write_text(
        config(tmp_path, "specific { versions: 1 versions: 3 }", {"stable": 1, "canary": 3})
    )
    return tmp_path


def test_labels_and_policy_are_those_of_models_config_and_follow_its_changes(three):
    path = three / "models.config"
    with Ask(three, models_config=path) as ask:
        assert (ask.version(), ask.version(version_label="stable"), ask.version(version_label="canary")) == (3, 1, 3)
        assert ask.states() == {3: "AVAILABLE", 1: "AVAILABLE"}
        path.write_text(config(three, "all { }", {"stable": 3}))
        ask.wait(lambda: ask.states().get(2) == "AVAILABLE")
        assert ask.version(version_label="stable") == 3
        with pytest.raises(grpc.RpcError, match="Unrecognized servable version label: canary"):
            ask.version(version_label="canary")
        path.write_text("nonsense")
        time.sleep(5 * POLL)
        assert ask.version() == 3


def test_an_older_version_that_answers_less_can_be_gone_back_to(tmp_path, exported):
    shutil.copytree(exported["1"], tmp_path / "small" / "1")
    shutil.copytree(exported["richer"], tmp_path / "small" / "2")
    path = tmp_path / "models.config"
    path.write_text(config(tmp_path, "latest { num_versions: 1 }"))
    with Ask(tmp_path, models_config=path) as ask:
        assert ask.states() == {2: "AVAILABLE"}
        path.write_text(config(tmp_path, "specific { versions: 1 }"))
        ask.wait(lambda: ask.states() == {2: "END", 1: "AVAILABLE"})


def test_a_label_moves_as_soon_as_its_new_version_is_there(folder, exported):
    path = folder / "models.config"
    path.write_text(config(folder, "latest { num_versions: 2 }", {"stable": 1}))
    with Ask(folder, models_config=path) as ask:
        path.write_text(config(folder, "latest { num_versions: 2 }", {"stable": 2}))
        time.sleep(5 * POLL)
        assert ask.version(version_label="stable") == 1
        shutil.copytree(exported["2"], folder / "small" / "2")
        ask.wait(lambda: ask.version(version_label="stable") == 2)


def test_a_models_config_that_changes_while_the_first_versions_load_is_followed(three, monkeypatch):
    from serving.savedmodel.servable import Servable

    path = three / "models.config"
    monkeypatch.setattr(Servable, "warm_up", lambda self: path.write_text(config(three, "specific { versions: 2 }")))
    with Ask(three, models_config=path) as ask:
        ask.wait(lambda: ask.states() == {3: "END", 2: "AVAILABLE", 1: "END"})


def test_a_version_that_is_wanted_again_while_it_is_drained_is_available(three):
    path = three / "models.config"
    with Ask(three, models_config=path) as ask:
        first, _ = ask.server.models.loaded("small")
        with first.in_use():
            path.write_text(config(three, "specific { versions: 3 }"))
            ask.wait(lambda: ask.states()[1] == "UNLOADING")
            path.write_text(config(three, "specific { versions: 1 versions: 3 }"))
            ask.wait(lambda: ask.states()[1] == "AVAILABLE")
        # The thread that unloads is the one that loads: when another version is there, the first one has gone.
        path.write_text(config(three, "all { }"))
        ask.wait(lambda: ask.states().get(2) == "AVAILABLE")
        assert ask.states()[1] == "AVAILABLE"
        assert ask.version(version=1) == 1


def test_another_configuration_is_taken_by_request(three):
    from google.protobuf import text_format
    from tensorflow_serving.apis import model_management_pb2

    def reload(text: str):
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(text, request.config)
        return ask.models.HandleReloadConfigRequest(request)

    def refused(text: str) -> tuple[str, str]:
        with pytest.raises(grpc.RpcError) as caught:
            reload(text)
        return caught.value.code().name, caught.value.details()

    with Ask(three, models_config=three / "models.config", admin=True) as ask:
        assert refused(config(three, "all { }", {"stable": 2})) == (
            "FAILED_PRECONDITION",
            "Request to assign label to version 2 of model small, which is not currently available for inference",
        )
        assert refused("custom_model_config { }")[0] == "INVALID_ARGUMENT"
        assert "Only ModelConfigList" in refused("custom_model_config { }")[1]
        assert ask.version(version_label="stable") == 1
        assert reload(config(three, "latest { num_versions: 2 }", name="renamed")).status.error_code == 0
        assert ask.version(name="renamed") == 3
        assert ask.version(name="renamed", version=2) == 2
        ask.wait(lambda: set(ask.states().values()) == {"END"})
        with pytest.raises(grpc.RpcError, match=r"Servable not found for request: Latest\(small\)"):
            ask.version()


def test_no_client_changes_what_is_served_unless_the_server_allows_it(folder):
    from tensorflow_serving.apis import model_management_pb2

    with Ask(folder) as ask:
        with pytest.raises(grpc.RpcError, match="start the server with --admin") as caught:
            ask.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest())
        assert caught.value.code().name == "PERMISSION_DENIED"
        assert ask.version() == 1


def test_a_version_that_is_being_copied_is_not_touched_when_the_configuration_changes(folder, exported, monkeypatch):
    from google.protobuf import text_format
    from tensorflow_serving.apis import model_management_pb2

    # Only the request looks at the folder.
    monkeypatch.setitem(globals(), "POLL", 1000.0)
    with Ask(folder, admin=True) as ask:
        shutil.copytree(exported["2"], folder / "small" / "2", ignore=shutil.ignore_patterns("variables.data*"))
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(config(folder, "latest { num_versions: 2 }"), request.config)
        ask.models.HandleReloadConfigRequest(request)
        assert ask.states() == {2: "START", 1: "AVAILABLE"}
        shutil.rmtree(folder / "small" / "2")
        ask.models.HandleReloadConfigRequest(request)
        assert ask.states() == {2: "END", 1: "AVAILABLE"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model_config_list { config { name: 3 } }", "is not a models.config"),
        ('model_config_list { config { name: "a" base_path: "models" } }', "to have an absolute path"),
        ('model_config_list { config { name: "a" base_path: "gs://b/a" } }', "reads local folders only"),
        ('model_config_list { config { name: "a" base_path: "/a" model_platform: "torch" } }', "platform torch"),
        ("", "Only ModelConfigList"),
    ],
)
def test_a_wrong_models_config_is_bad_input(tmp_path, text, problem):
    from serving.server.embedded import Server

    (tmp_path / "models.config").write_text(text)
    with pytest.raises(InputError, match=problem):
        Server(None, models_config=tmp_path / "models.config")
