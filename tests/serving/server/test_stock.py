"""Waiting for TensorFlow Serving's own program."""

import subprocess
import sys
from threading import Event

import pytest

from morph.errors import InputError
from serving.server import stock as model_server


def test_a_program_that_answers_and_never_loads_the_version_is_not_waited_for_in_vain(server, monkeypatch):
    monkeypatch.setattr(model_server, "LOADING", 0.5)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with pytest.raises(InputError, match=r"did not load the model within 0.5 s"):
            model_server._wait_until_ready(process, server.address, "morph", 99, Event())
        model_server._wait_until_ready(process, server.address, "morph", 3, Event())
        process.kill()
