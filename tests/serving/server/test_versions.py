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

from serving.client import MorphClient, ServerError
from serving.server import version_manager as manager
from tests.serving.server.asking import POLL, Ask
from tests.serving.server.small_models import small_request


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
        try:
            for number in (2, 3):
                shutil.copytree(exported[str(number)], folder / "small" / str(number))
                ask.wait(lambda number=number: ask.states().get(number) == "AVAILABLE")
            time.sleep(0.1)
        finally:
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


def test_versions_are_numbered_as_tensorflow_serving_reads_them(folder, exported):
    for name in ("00000123", "\u00b2", "99999999999999999999"):
        shutil.copytree(exported["3"], folder / "small" / name)
    shutil.copytree(exported["3"], folder / "small" / "1.5")
    with Ask(folder) as ask:
        assert ask.states() == {123: "AVAILABLE"}


def test_a_damaged_warm_up_is_refused(folder, exported):
    with Ask(folder) as ask:
        shutil.copytree(exported["2"], folder / "building")
        (folder / "building" / "assets.extra").mkdir()
        (folder / "building" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"1234567")
        (folder / "building").rename(folder / "small" / "2")
        ask.wait(lambda: ask.states().get(2, "").startswith("END"))
        assert "is damaged (truncated record); export it again" in ask.states()[2]
        assert ask.version() == 1


def test_a_folder_without_a_saved_model_is_not_a_version(folder, exported):
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
    from serving.server import version_manager as manager

    bring, failures = manager.VersionManager._update, []

    async def sometimes(self, *given):
        if len(failures) < 2:
            failures.append(given)
            raise RuntimeError("something that nobody thought of")
        await bring(self, *given)

    with Ask(folder) as ask:
        monkeypatch.setattr(manager.VersionManager, "_update", sometimes)
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
    monkeypatch.setattr(manager, "RETRY_AFTER", 0.05)
    read, tried = manager.VersionManager._read, []

    def at_the_third_try(self, location):
        tried.append(location.version)
        if (location.version == 3 and tried.count(3) < 3) or location.version == 4:
            raise OSError("the disk is away")
        return read(self, location)

    monkeypatch.setattr(manager.VersionManager, "_read", at_the_third_try)
    with Ask(folder) as ask:
        shutil.copytree(exported["3"], folder / "small" / "3")
        ask.wait(lambda: ask.states().get(3) == "AVAILABLE")
        shutil.copytree(exported["3"], folder / "small" / "4")
        ask.wait(lambda: tried.count(4) == 1 + manager.RETRIES)
        ask.wait(lambda: ask.states().get(4) == "END the disk is away")
        time.sleep(0.3)
        assert tried.count(4) == 1 + manager.RETRIES
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


def test_a_server_may_start_before_there_is_a_model(tmp_path, monkeypatch, capsys):
    from serving.server import embedded as server

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


def test_a_client_before_the_first_version_is_loaded_is_asked_to_retry(folder, monkeypatch):
    from serving.savedmodel.servable import Servable
    from serving.server.embedded import Server
    from serving.server.stock import free_port

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
    from serving.savedmodel.servable import Location, Servable

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
