"""`morph export`, `morph serve` and `morph classify` as a user types them."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from morph.decision_tree import TREE
from serving.client import MorphClient
from tests.serving.malformed_requests import honest
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def pictures(composites, tmp_path_factory) -> Path:
    """A folder of galaxies: a.png, b.jpg, and the bands of c, whose sky misses some pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, pixels in (("a.png", composites[0]), ("b.jpg", composites[1])):
        Image.fromarray(pixels).resize((200, 200)).save(folder / name, quality=95)
    y, x = np.mgrid[:100, :100] - 50.0
    random = np.random.default_rng(0)
    for band in "gri":
        flux = 500 * np.exp(-np.hypot(x, y / 0.6) / 7) + random.normal(0, 1, x.shape)
        flux[:5] = np.nan
        header = fits.Header({"FILTER": band, "MAGZERO": 30.0})
        fits.PrimaryHDU(flux.astype("float32"), header).writeto(folder / f"c_{band}.fits")
    return folder


def test_every_galaxy_becomes_one_line_of_json(morph, server, pictures):
    status, output, _ = morph("classify", pictures, "--server", server.address, "--json")
    assert status == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["id"] for line in lines] == ["a", "b", "c"]
    for line in lines:
        assert {name: tuple(answers) for name, answers in line["probabilities"].items()} == {
            question.name: question.answers for question in TREE
        }
        tree = line["tree_probabilities"]
        assert sum(tree["bar"].values()) == pytest.approx(tree["disk-edge-on"]["no"], rel=1e-4)
        assert len(line["embedding"]) == 64
        assert np.linalg.norm(line["similarity"]) == pytest.approx(1, abs=1e-4)
        assert isinstance(line["anomaly"], bool)
        assert 0 < line["anomaly_score"] <= 1
        assert line["reconstruction_error"] > 0
        assert (line["model"], line["model_version"]) == ("morph", 3)
    assert "zero_points" not in lines[0]
    assert lines[2]["zero_points"]["r"] == {"magnitude": 30.0, "source": "header MAGZERO"}


def test_a_composite_is_classified_as_the_model_in_memory_does(morph, server, pictures, classifier):
    from morph.stamps.composite import stamp_from_file

    _, output, _ = morph("classify", pictures / "a.png", "--server", server.address, "--json", "--no-embedding")
    line = json.loads(output)
    assert not {"embedding", "similarity"} & line.keys()
    expected = classifier.answer(stamp_from_file(pictures / "a.png", 64)[0][None])["probabilities"][0]
    found = [p for answers in line["probabilities"].values() for p in answers.values()]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_table_shows_the_way_down_the_tree(morph, server, pictures):
    status, output, _ = morph("classify", pictures / "c_r.fits", pictures / "*.jpg", "--server", server.address)
    assert status == 0
    assert "smooth-or-featured" in output
    assert "p = " in output
    assert "Zero points g, r, i: 30.000 by header MAGZERO. (1 of " in output
    given = ("--zero-point", "none", "--server", server.address)
    assert "Zero points g, r, i: unknown by none (option" in morph("classify", pictures / "c_r.fits", *given)[1]
    assert "morph version 3 (des)" in output


@pytest.fixture
def bad(tmp_path, pictures) -> dict[str, Path]:
    """Images that cannot be classified."""
    whole = (pictures / "b.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not an image")
    table = (pictures / "c_r.fits").read_bytes()
    (tmp_path / "short.fits").write_bytes(table[: len(table) // 2])
    header = fits.Header({"FILTER": "r", "MAGZERO": 30.0})
    fits.PrimaryHDU(np.full((64, 64), np.nan, "float32"), header).writeto(tmp_path / "blank.fits")
    fits.PrimaryHDU(np.ones((4, 64, 64), "float32"), header).writeto(tmp_path / "cube.fits")
    return {path.name: path for path in tmp_path.iterdir()} | {"missing.jpg": tmp_path / "missing.jpg"}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("cut.jpg", "cannot be read as a picture"),
        ("text.png", "cannot be read as a picture"),
        ("short.fits", "short.fits"),
        ("blank.fits", "has no data where its galaxy should be"),
        ("missing.jpg", "does not exist"),
    ],
)
def test_a_bad_image_is_one_sentence_and_the_others_are_classified(morph, server, pictures, bad, name, problem):
    status, output, errors = morph("classify", bad[name], "--server", server.address, "--json")
    assert (status, output) == (2, "")
    assert problem in errors
    assert len(errors.splitlines()) == 1
    images = [pictures / "a.png", bad[name], pictures / "b.jpg"]
    status, output, errors = morph("classify", *images, "--server", server.address, "--json")
    assert status == 1
    assert [json.loads(line)["id"] for line in output.splitlines()] == ["a", "b"]
    assert problem in errors


def test_a_cube_with_another_number_of_bands_is_one_sentence(morph, server, bad):
    status, _, errors = morph("classify", bad["cube.fits"], "--bands", "gri", "--server", server.address)
    assert status == 2
    assert "4 planes and 3 bands" in errors


def test_nothing_but_bad_images_is_status_2(morph, server, bad):
    status, output, errors = morph("classify", bad["cut.jpg"], bad["missing.jpg"], "--server", server.address)
    assert (status, output) == (2, "")
    assert "None of the 2 images can be classified." in errors


def test_an_empty_folder_and_a_glob_without_a_match_are_one_sentence(morph, tmp_path):
    for name, problem in (
        (tmp_path, "contains no JPEG, PNG or FITS image"),
        (tmp_path / "*.png", "No JPEG, PNG or FITS"),
    ):
        status, _, errors = morph("classify", name, "--server", "127.0.0.1:1")
        assert status == 2
        assert problem in errors


def test_no_server_is_one_sentence(morph, pictures):
    status, _, errors = morph("classify", pictures / "a.png", "--server", "127.0.0.1:1")
    assert status == 2
    assert errors == "morph: No server answers at 127.0.0.1:1; start one with `morph serve DIR`.\n"


def test_an_unknown_survey_is_one_sentence(morph, pictures):
    status, _, errors = morph("classify", pictures / "a.png", "--server", "127.0.0.1:1", "--survey", "hubble")
    assert status == 2
    assert "Unknown survey 'hubble'; use one of sdss" in errors


def test_a_model_is_exported_by_name(morph, classifier, tmp_path):
    classifier.save(tmp_path / "model.keras")
    status, output, _ = morph("export", tmp_path / "model.keras", "--to", tmp_path / "models", "--version", 5)
    assert status == 0
    assert str(tmp_path / "models" / "morph" / "5") in output
    status, _, errors = morph("export", tmp_path / "nothing.keras", "--to", tmp_path / "models")
    assert status == 2
    assert "There is no model at" in errors


@pytest.mark.parametrize("kind", ["", "file://"])
def test_serving_a_folder_without_a_model_is_one_sentence(morph, tmp_path, kind):
    status, _, errors = morph("serve", f"{kind}{tmp_path}")
    assert status == 2
    assert "holds no exported model; export one with `morph export MODEL --to DIR`." in errors


@pytest.mark.parametrize("verb", [("serve",), ("deploy", "write")])
def test_only_what_is_on_this_machine_is_served_and_written_to(morph, verb):
    status, _, errors = morph(*verb, "s3://bucket/models")
    assert (status, errors) == (2, "morph: 's3://bucket/models' is not a folder on this machine; give one.\n")


def serve(model_dir: Path, *options: str, path: Path | None = None) -> tuple[subprocess.Popen, str]:
    """Start `morph serve` on a free port; returns the process and the address that it prints."""
    environment = dict(os.environ)
    if path:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    command = [sys.executable, "-m", "morph", "serve", str(model_dir), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("Serving morph version 3 on 127.0.0.1:"), line
    return process, line.split()[-1]


def rest_of(process: subprocess.Popen) -> str:
    """The URL in the second line that `morph serve` prints."""
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("REST on http://127.0.0.1:"), line
    return line.split()[-1]


def test_the_server_prints_its_addresses_and_finishes_requests_under_way(model_dir, composites, tmp_path):
    (tmp_path / "monitoring.config").write_text('prometheus_config { enable: true, path: "/elsewhere" }')
    process, address = serve(model_dir, "--embedded", "--monitoring", str(tmp_path / "monitoring.config"))
    rest = rest_of(process)
    assert rest.endswith("/v1/models/morph")
    with MorphClient(address) as client:
        assert len(client.classify(composites)["anomaly"]) == len(composites)
    with urllib.request.urlopen(rest.replace("/v1/models/morph", "/elsewhere"), timeout=30) as page:
        assert b'morph_galaxies{model="morph",signature="composite",version="3"} 6.0' in page.read()
    with grpc.insecure_channel(address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        statuses: Counter = Counter()

        def send() -> None:
            predict.future(honest()).add_done_callback(again)

        def again(call) -> None:
            statuses[call.code().name] += 1
            if call.code() is grpc.StatusCode.OK:
                send()

        for _ in range(16):
            send()
        wait_until(lambda: statuses["OK"] >= 50)
        process.terminate()
        assert process.wait(30) == 0
        wait_until(lambda: sum(statuses.values()) - statuses["OK"] >= 16)
    assert set(statuses) == {"OK", "UNAVAILABLE"}


STAND_IN = """#!{python}
# Takes the options of tensorflow_model_server and nothing else.
import argparse
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
from serving.protocol.configuration import BatchingParameters
from serving.server.embedded import Server
from morph.signals import until_stopped

parser = argparse.ArgumentParser(allow_abbrev=False)
for option in (
    "port",
    "rest_api_port",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "file_system_poll_wait_seconds",
    "enable_batching",
    "batching_parameters_file",
    "monitoring_config_file",
    "grpc_channel_arguments",
    "allow_version_labels_for_unavailable_models",
    "enable_serialization_as_tensor_content",
):
    parser.add_argument(f"--{{option}}", required=True)
options = parser.parse_args()
text = open(options.model_config_file).read()
(model,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
assert options.enable_batching == "true"
versions = list(model.model_version_policy.specific.versions)
folder = f"{{model.base_path}}/{{versions[0]}}" if versions else model.base_path
batching = BatchingParameters.read(options.batching_parameters_file)
rest = {{"rest_port": int(options.rest_api_port), "monitoring": options.monitoring_config_file}}
with until_stopped() as stopped, Server(folder, model.name, int(options.port), batching=batching, **rest):
    stopped.wait()
open({marker!r}, "w").write(f"stopped {{versions}}")
"""


def test_tensorflow_serving_is_used_where_it_is_installed(model_dir, composites, tmp_path):
    program = tmp_path / "tensorflow_model_server"
    marker = tmp_path / "marker"
    program.write_text(STAND_IN.format(python=sys.executable, marker=str(marker)))
    program.chmod(0o755)
    process, address = serve(model_dir / "morph" / "3", path=tmp_path)
    with urllib.request.urlopen(rest_of(process), timeout=30) as status:
        assert b"AVAILABLE" in status.read()
    with MorphClient(address) as client:
        assert len(client.classify(composites)["anomaly"]) == len(composites)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert marker.read_text() == "stopped [3]"


def test_a_program_that_cannot_start_is_one_sentence(model_dir, tmp_path):
    program = tmp_path / "tensorflow_model_server"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    models = tmp_path / "models.config"
    models.write_text('model_config_list { config { name: "a" base_path: "gs://b/a" model_platform: "tensorflow" } }')
    for where in ([str(model_dir)], ["--models-config", str(models)]):
        command = [sys.executable, "-m", "morph", "serve", *where, "--port", "0"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 2
        assert "tensorflow_model_server stopped with status 3" in done.stderr


def test_a_port_that_is_taken_is_one_sentence(morph, model_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, errors = morph("serve", model_dir, "--embedded", "--port", port)
    assert status == 2
    assert f"Port {port} of 127.0.0.1 is not free" in errors
