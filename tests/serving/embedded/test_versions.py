"""Versions come, are refused, are switched, and go, while the server answers."""

import shutil
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from small_models import small_request, write_small_model

from morph.errors import BadInput
from serving.client import MorphClient, ServerError
from serving.embedded import keeper
from serving.embedded.configuration import Policy
from serving.messages import PredictResponse, from_tensor

POLL = 0.05


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict[str, Path]:
    """Small models to copy: three good ones, one with another output, and one for wider rows."""
    folder = tmp_path_factory.mktemp("exported")
    return {
        **{str(number): write_small_model(folder / str(number), adds=float(number)) for number in (1, 2, 3)},
        "renamed": write_small_model(folder / "renamed", outputs=("total",)),
        "wider": write_small_model(folder / "wider", width=3),
        "richer": write_small_model(folder / "richer", outputs=("sum", "total")),
    }


class Ask:
    """A server on a folder of small models, asked over gRPC."""

    def __init__(self, folder: Path, **options):
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        from serving.server import Server

        self.server = Server(None if "models_config" in options else folder, "small", poll=POLL, **options)
        self.server.start()
        self.channel = grpc.insecure_channel(self.server.address)
        self._predict = self.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def __enter__(self) -> "Ask":
        return self

    def __exit__(self, *_) -> None:
        self.channel.close()
        self.server.stop()

    def version(self, **spec) -> int:
        """The version that answers, whose number the answer must show too."""
        response = PredictResponse.FromString(self._predict(small_request(**spec).SerializeToString()))
        number = response.model_spec.version.value
        assert from_tensor(response.outputs["sum"]).tolist() == [2.0 + number]
        return number

    def states(self, name: str = "small") -> dict[int, str]:
        """Version -> state, and what went wrong."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        kinds = get_model_status_pb2.ModelVersionStatus.State
        found = self.models.GetModelStatus(request).model_version_status
        return {each.version: f"{kinds.Name(each.state)} {each.status.error_message}".strip() for each in found}

    def wait(self, until, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, self.states()
            time.sleep(0.01)


@pytest.fixture
def folder(tmp_path, exported) -> Path:
    """A folder with version 1 of `small`."""
    shutil.copytree(exported["1"], tmp_path / "small" / "1")
    return tmp_path


def test_a_new_version_is_switched_to_and_the_old_one_unloaded(folder, exported):
    with Ask(folder) as ask:
        assert ask.version() == 1
        shutil.copytree(exported["3"], folder / "small" / "3")
        ask.wait(lambda: ask.states().get(1) == "END")
        assert ask.states() == {3: "AVAILABLE", 1: "END"}
        assert ask.version() == ask.version(version=3) == 3
        with pytest.raises(grpc.RpcError, match=r"Specific\(small, 1\)"):
            ask.version(version=1)


def test_no_request_fails_while_versions_are_switched(folder, exported):
    with Ask(folder) as ask:
        seen, failures, done = [], [], threading.Event()

        def client():
            while not done.is_set():
                try:
                    seen.append(ask.version())
                except Exception as error:  # any failure at all is one too many
                    failures.append(error)

        clients = [threading.Thread(target=client) for _ in range(8)]
        for thread in clients:
            thread.start()
        for number in (2, 3):
            shutil.copytree(exported[str(number)], folder / "small" / str(number))
            ask.wait(lambda number=number: ask.states().get(number) == "AVAILABLE")
        time.sleep(0.1)
        done.set()
        for thread in clients:
            thread.join()
    assert not failures
    assert set(seen) == {1, 2, 3}


def test_a_half_copied_version_is_refused_until_its_files_are_there(folder, exported):
    with Ask(folder) as ask:
        target = folder / "small" / "2"
        shutil.copytree(exported["2"], target, ignore=shutil.ignore_patterns("variables.data*"))
        ask.wait(lambda: ask.states().get(2, "").startswith("END"))
        assert "cannot be loaded" in ask.states()[2]
        assert ask.version() == 1
        variables = "variables/variables.data-00000-of-00001"
        shutil.copy(exported["2"] / variables, target / variables)
        ask.wait(lambda: ask.states()[2] == "AVAILABLE")
        assert ask.version() == 2


def test_a_folder_without_a_saved_model_is_no_version(folder, exported):
    with Ask(folder) as ask:
        shutil.copytree(exported["2"], folder / "small" / "2", ignore=shutil.ignore_patterns("saved_model.pb"))
        time.sleep(5 * POLL)
        assert ask.states() == {1: "AVAILABLE"}


def test_a_folder_that_is_away_for_a_while_takes_no_version_with_it(folder, exported):
    with Ask(folder) as ask:
        (folder / "small").rename(folder / "away")
        time.sleep(5 * POLL)
        assert ask.version() == 1
        shutil.copytree(exported["2"], folder / "away" / "2")
        (folder / "away").rename(folder / "small")
        ask.wait(lambda: ask.states().get(1) == "END")
        assert ask.version() == 2


def test_a_look_that_fails_is_not_the_last(folder, exported, monkeypatch):
    from serving.embedded import keeper

    bring, failures = keeper.Keeper._bring, []

    async def sometimes(self, *given):
        if len(failures) < 2:
            failures.append(given)
            raise RuntimeError("something that nobody thought of")
        await bring(self, *given)

    with Ask(folder) as ask:
        monkeypatch.setattr(keeper.Keeper, "_bring", sometimes)
        shutil.copytree(exported["2"], folder / "small" / "2")
        ask.wait(lambda: ask.version() == 2)
    assert len(failures) == 2


def test_a_corrupt_version_is_refused(folder, exported):
    with Ask(folder) as ask:
        (folder / "small" / "2").mkdir()
        (folder / "small" / "2" / "saved_model.pb").write_bytes(b"no model")
        ask.wait(lambda: ask.states().get(2, "").startswith("END The model at"))
        assert ask.version() == 1


def test_a_version_is_tried_again_some_times(folder, exported, monkeypatch):
    """What kept it from being read may have passed, without a change of its files."""
    monkeypatch.setattr(keeper, "RETRY_AFTER", 0.05)
    read, tried = keeper.Keeper._read, []

    def at_the_third_try(self, location):
        tried.append(location.version)
        if (location.version == 3 and tried.count(3) < 3) or location.version == 4:
            raise OSError("the disk is away")
        return read(self, location)

    monkeypatch.setattr(keeper.Keeper, "_read", at_the_third_try)
    with Ask(folder) as ask:
        shutil.copytree(exported["3"], folder / "small" / "3")
        ask.wait(lambda: ask.states().get(3) == "AVAILABLE")
        shutil.copytree(exported["3"], folder / "small" / "4")
        ask.wait(lambda: tried.count(4) == 1 + keeper.RETRIES)
        ask.wait(lambda: ask.states().get(4) == "END the disk is away")
        time.sleep(0.3)
        assert tried.count(4) == 1 + keeper.RETRIES
        assert ask.version() == 3


@pytest.mark.parametrize("kind", ["renamed", "wider"])
def test_a_version_that_clients_could_not_use_is_refused(folder, exported, kind):
    with Ask(folder) as ask:
        shutil.copytree(exported[kind], folder / "small" / "2")
        ask.wait(lambda: ask.states().get(2, "").startswith("END"))
        assert "changes the inputs or outputs of the signature 'serving_default' of version 1" in ask.states()[2]
        assert ask.version() == 1


def test_a_version_may_answer_more_than_the_one_before(folder, exported):
    with Ask(folder) as ask:
        shutil.copytree(exported["richer"], folder / "small" / "2")
        ask.wait(lambda: ask.states().get(2) == "AVAILABLE")


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
    from serving.servable import Servable

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

    with Ask(three, models_config=three / "models.config") as ask:
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


def test_a_version_that_is_being_copied_is_not_touched_when_the_configuration_changes(folder, exported, monkeypatch):
    from google.protobuf import text_format
    from tensorflow_serving.apis import model_management_pb2

    # Only the request looks at the folder.
    monkeypatch.setitem(globals(), "POLL", 1000.0)
    with Ask(folder) as ask:
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
        ("model_config_list { config { name: 3 } }", "is no models.config"),
        ('model_config_list { config { name: "a" base_path: "models" } }', "to have an absolute path"),
        ('model_config_list { config { name: "a" base_path: "gs://b/a" } }', "reads local folders only"),
        ('model_config_list { config { name: "a" base_path: "/a" model_platform: "torch" } }', "platform torch"),
        ("", "Only ModelConfigList"),
    ],
)
def test_a_wrong_models_config_is_bad_input(tmp_path, text, problem):
    from serving.server import Server

    (tmp_path / "models.config").write_text(text)
    with pytest.raises(BadInput, match=problem):
        Server(None, models_config=tmp_path / "models.config")


def test_a_server_may_start_before_there_is_a_model(tmp_path, monkeypatch, capsys):
    from serving import server

    @contextmanager
    def stopped_at_once():
        event = threading.Event()
        event.set()
        yield event

    monkeypatch.setattr(server, "until_stopped", stopped_at_once)
    path = tmp_path / "models.config"
    path.write_text("model_config_list { }")
    server.serve(None, port=0, rest_port=0, models_config=path)
    serving, rest = capsys.readouterr().out.splitlines()
    assert serving.startswith("Serving no model yet on ")
    assert rest.endswith("/v1/models")


@pytest.mark.parametrize("host", ["::1", "0.0.0.0"])
def test_any_address_of_the_machine_can_be_listened_on(folder, host):
    with Ask(folder, host=host, rest_port=0) as ask:
        assert ask.version() == 1
        with urllib.request.urlopen(f"{ask.server.rest_address}/healthz/ready", timeout=10) as answer:
            assert answer.read() == b"ok\n"


def test_who_comes_before_the_first_version_is_loaded_is_told_to_come_again(folder, monkeypatch):
    from serving.model_server import free_port
    from serving.servable import Servable
    from serving.server import Server

    loaded = threading.Event()
    monkeypatch.setattr(Servable, "warm_up", lambda self: loaded.wait(20))
    server = Server(folder, "small", port=free_port())
    starting = threading.Thread(target=server.start)
    starting.start()
    with grpc.insecure_channel(server.address) as channel:
        grpc.channel_ready_future(channel).result(20)
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            predict(small_request().SerializeToString())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "The server is still loading its models."
        told = r"The server is still loading its models \(127.0.0.1:\d+\)"
        with MorphClient(server.address, "small", retries=0) as client, pytest.raises(ServerError, match=told):
            client.describe()
        loaded.set()
        starting.join()
        predict(small_request().SerializeToString())
    server.stop()


def test_requests_under_way_are_answered_when_the_server_stops(folder):
    with Ask(folder) as ask:
        statuses: list[str] = []
        ask.server.models.observers.append(lambda seen: statuses.append(seen.status))
        request = small_request().SerializeToString()
        calls = [ask._predict.future(request) for _ in range(300)]
        ask.wait(lambda: len(statuses) > 20)
        ask.server.stop()
        codes = [call.code().name for call in calls]
        # Whatever was taken in was answered; the rest was told that nobody is there.
        assert set(codes) | set(statuses) <= {"OK", "UNAVAILABLE"}
        assert codes.count("OK") == statuses.count("OK") > 20


def test_versions_that_come_and_go_leave_no_memory_behind(exported):
    from serving.servable import Location, Servable

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def once():
        servable = Servable(Location(exported["1"].parent, 1), max_rows=8)
        servable.signatures["serving_default"].run({"x": np.ones((8, 2), "float32")})
        servable.close()

    for _ in range(5):
        once()
    before = resident()
    for _ in range(30):
        once()
    assert resident() - before < 30e6
