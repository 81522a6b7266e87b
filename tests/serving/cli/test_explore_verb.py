"""morph explore: it serves until it is stopped, and one sentence for whatever is wrong."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.serving.similarity.exploring import make_index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("index"), tiles=1)


def test_it_serves_until_it_is_stopped(index):
    command = [sys.executable, "-m", "morph", "explore", str(index), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert server.stdout
    page, grpc = server.stdout.readline(), server.stdout.readline()
    assert page.startswith(f"Exploring {index} on http://127.0.0.1:")
    assert grpc.startswith("gRPC on 127.0.0.1:")
    with urllib.request.urlopen(page.split()[-1], timeout=60) as answer:
        assert b"galaxies.index" in answer.read()
    server.send_signal(signal.SIGTERM)
    assert server.communicate(timeout=60) == ("", "")
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere.index",), "There is no index at 'nowhere.index'; make one with `morph index"),
        ((".",), "is not an index"),
        (("INDEX", "--server", "8500"), "'8500' is not a server's address; write HOST:PORT"),
        (("INDEX", "--server", "127.0.0.1:1"), "No server answers at 127.0.0.1:1"),
        (("INDEX", "--tiles", "nowhere/*.fits"), "nowhere"),
        (("INDEX", "--ssl-config", "nowhere"), "'nowhere' cannot be read"),
        (("INDEX", "--server", "a:1", "--certificate", __file__), "give --certificate and --key"),
    ],
)
def test_what_cannot_be_explored_is_one_sentence(index, morph, arguments, sentence):
    status, output, error = morph("explore", *(index if each == "INDEX" else each for each in arguments), "--port", 0)
    assert (status, output) == (2, "")
    assert sentence in error
    assert error.count("\n") == 1
