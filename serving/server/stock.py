"""TensorFlow Serving's own program, where it is installed, started on exported models."""

import contextlib
import math
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

from morph.errors import InputError
from morph.signals import until_stopped
from serving.client import MorphClient, ServerError
from serving.savedmodel.servable import Location, configuration_file, locate
from serving.server.configuration import read_message

PROGRAM = "tensorflow_model_server"

#: Seconds that the program gets to load the model, and to stop.
LOADING, STOPPING = 300.0, 30.0


def installed() -> str | None:
    """The program's path; None where it is not installed."""
    return shutil.which(PROGRAM)


def serve(
    model_dir: str | Path | None,
    name: str = "morph",
    port: int = 8500,
    rest_port: int | None = None,
    monitoring: str | Path | None = None,
    ssl_config: str | Path | None = None,
    *,
    models_config: str | Path | None = None,
    batching: str | Path | None = None,
    poll: float = 1.0,
    max_message_mb: int = 64,
    tensor_content: bool = False,
) -> None:
    """Run `tensorflow_model_server` until SIGTERM or Ctrl-C; it listens on every address of the machine.

    When the model answers, standard output gets one line with the address, and one with that of REST, which has no
    TLS.

    Parameters
    ----------
    model_dir : as for `serving.server.embedded.Server`; None where `models_config` is given.
    port, rest_port : 0 takes a free one; no REST where `rest_port` is None.
    monitoring, ssl_config : files in its format; without them, the `monitoring.config` beside the model, and no TLS.
    models_config : a file in its format; without it, one for `model_dir` is written.
    batching : a file in its format; without it, the `batching_parameters.txt` beside the model.
    poll : seconds between two polls for new versions and of `models_config`, rounded up to whole ones.
    max_message_mb : larger requests are refused.
    tensor_content : its `--enable_serialization_as_tensor_content`.

    Raises
    ------
    InputError : when there is no model, or when the program ends by itself (its own messages are on standard error).
    """
    expected, beside, written = _models(model_dir, name, models_config)
    port = port or free_port()
    rest_port = free_port() if rest_port == 0 else rest_port
    with until_stopped() as stopped, tempfile.TemporaryDirectory() as folder:
        config = Path(models_config or Path(folder) / "models.config")
        if written:
            config.write_text(written)
        options: dict[str, object] = {
            "file_system_poll_wait_seconds": math.ceil(poll),
            "model_config_file_poll_wait_seconds": math.ceil(poll) if models_config else 0,
            "grpc_channel_arguments": f"grpc.max_receive_message_length={max_message_mb * 2**20}",
            "allow_version_labels_for_unavailable_models": "true",
            "enable_serialization_as_tensor_content": str(tensor_content).lower(),
        }
        if rest_port is not None:
            options["rest_api_port"] = rest_port
            options["monitoring_config_file"] = monitoring or configuration_file(beside, "monitoring.config")
        if ssl_config:
            options["ssl_config_file"] = ssl_config
        batching = Path(batching or configuration_file(beside, "batching_parameters.txt"))
        program = [*command(port, config, batching), *(f"--{name}={value}" for name, value in options.items())]
        # Over TLS, only a client with the right certificates can ask for the versions.
        _run(
            program, {} if ssl_config else expected, port, stopped, lambda: _print_addresses(expected, port, rest_port)
        )


def _models(
    model_dir: str | Path | None, name: str, models_config: str | Path | None
) -> tuple[dict[str, int | None], Path, str]:
    """The models to expect with their versions, the folder beside which their files lie, and the text of a
    models.config; empty where the user gives one."""
    if models_config:
        # The program itself knows whether it can read their folders.
        models = read_message(models_config).model_config_list.config
        return {model.name: None for model in models}, Path(models_config).parent, ""
    location = locate(model_dir or "", name)
    return {name: location.version}, location.base_path.parent, model_config(location, name)


def _run(
    program: list[str], expected: dict[str, int | None], port: int, stopped: Event, ready: Callable[[], None]
) -> None:
    """Run the program until `stopped`; call `ready` once it listens and the `expected` versions answer."""
    process = subprocess.Popen(program)
    try:
        for model, version in expected.items():
            _wait_until_ready(process, f"127.0.0.1:{port}", model, version, stopped)
        _wait_until_listening(process, port, stopped)
        if not stopped.is_set():
            ready()
        while not stopped.wait(0.2):
            _require_running(process)
    finally:
        process.terminate()
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()


def _print_addresses(models: dict[str, int | None], port: int, rest_port: int | None) -> None:
    served = [model + (f" version {version}" if version else "") for model, version in models.items()]
    print(f"Serving {' and '.join(served) or 'no model yet'} on 127.0.0.1:{port}", flush=True)
    if rest_port is not None:
        print("/".join([f"REST on http://127.0.0.1:{rest_port}/v1/models", *list(models)[:1]]), flush=True)


def command(port: int, config: Path, batching: Path) -> list[str]:
    """The program and its first options.

    Parameters
    ----------
    port : for gRPC.
    config, batching : files in its format: the models, and the batching parameters.

    Returns
    -------
    The arguments of a process.
    """
    return [
        PROGRAM,
        f"--port={port}",
        f"--model_config_file={config}",
        "--enable_batching=true",
        f"--batching_parameters_file={batching}",
    ]


def model_config(location: Location, name: str) -> str:
    """The configuration that serves one model: its highest version, or the one that the user named."""
    policy = f"  model_version_policy {{ specific {{ versions: {location.version} }} }}\n" if location.pinned else ""
    return (
        "model_config_list { config {\n"
        f'  name: "{name}"\n  base_path: "{location.base_path}"\n  model_platform: "tensorflow"\n{policy}'
        "} }\n"
    )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _wait_until_ready(process: subprocess.Popen, address: str, name: str, version: int | None, stopped: Event) -> None:
    """Return when the version of a model (or any) answers, or when the user stops the program."""
    end = time.monotonic() + LOADING
    with MorphClient(address, name, timeout=2.0) as client:
        while not stopped.wait(0.2):
            _require_running(process)
            with contextlib.suppress(ServerError):
                available = client.available_versions()
                if version in available or (version is None and available):
                    return
            if time.monotonic() > end:
                raise InputError(f"{PROGRAM} did not load the model within {LOADING:g} s.")


def _wait_until_listening(process: subprocess.Popen, port: int, stopped: Event) -> None:
    """Return when the program takes connections, which it does once its models are loaded: over TLS, only a client
    with the right certificates can ask for more."""
    end = time.monotonic() + LOADING
    while not stopped.wait(0.2):
        _require_running(process)
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise InputError(f"{PROGRAM} did not load the model within {LOADING:g} s.") from None


def _require_running(process: subprocess.Popen) -> None:
    if process.poll() is not None:
        raise InputError(f"{PROGRAM} stopped with status {process.returncode}; its messages above give the reason.")
