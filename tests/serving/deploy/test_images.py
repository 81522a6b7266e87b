"""The images of a deployment: each names one release, the same everywhere, and can be pinned to its content."""

import os
import re
import subprocess

import pytest

from serving.deploy.deployment import Deployment
from tests.serving.deploy.making import make


def images(folder) -> set[str]:
    files = [*folder.glob("compose*.yaml"), *folder.glob("kubernetes/**/*.yaml")]
    return {found for file in files for found in re.findall(r"^ *image: *(\S+)$", file.read_text(), re.MULTILINE)}


def test_every_image_names_one_release(folder):
    found = images(folder)
    assert len(found) == 7
    for image in found:
        assert re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+[-.\w]*(@sha256:[0-9a-f]{64})?", image), image
    names = [re.split("[:@]", image)[0] for image in found if not image.startswith("tensorflow/serving")]
    assert len(names) == len(set(names))


CRANE = """#!/usr/bin/env bash
echo "$*" >> "$CALLS"
echo "sha256:$(echo "$2" | sha256sum | cut -c 1-64)"
"""
NO_DIGEST = """#!/usr/bin/env bash
echo nothing
"""


@pytest.fixture
def pin(folder, tmp_path_factory):
    """Run the script with a program in crane's place; returns its status and what it says. `calls` is a file."""
    place = tmp_path_factory.mktemp("bin")

    def run(crane: str, *options: str):
        (place / "crane").write_text(crane)
        (place / "crane").chmod(0o755)
        environment = os.environ | {"PATH": f"{place}:{os.environ['PATH']}", "CALLS": str(place / "calls")}
        command = [folder / "pin-images.sh", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    run.calls = place / "calls"
    return run


def test_images_are_pinned_once_and_the_checks_take_them(folder, whole, pin):
    before = {image for image in images(folder) if "@" not in image}
    assert any(image.startswith("tensorflow/serving:") for image in before)
    status, said = pin(CRANE)
    assert status == 0
    assert {line.split("@")[0] for line in said.split()} == before
    assert all("@sha256:" in image for image in images(folder))
    deployment = Deployment(folder)
    deployment.loaded = whole.loaded
    make("Compose server", deployment)
    make("Kubernetes server", deployment)
    asked = pin.calls.read_text()
    assert pin(CRANE) == (0, "")
    assert pin.calls.read_text() == asked


def test_what_is_not_a_digest_changes_nothing(folder, pin):
    before = images(folder)
    status, said = pin(NO_DIGEST)
    assert (status, "gave no digest" in said) == (1, True)
    assert images(folder) == before


def test_digests_are_compared_with_the_registry(folder, pin):
    written = images(folder)
    pinned = sorted(image for image in written if "@" in image)
    assert {re.split("[:@]", image)[0] for image in pinned} == {
        "envoyproxy/envoy",
        "grafana/grafana",
        "prom/alertmanager",
        "prom/prometheus",
    }
    digests = "\n".join(f"{image.split('@')[0]}) echo {image.split('@')[1]} ;;" for image in pinned)
    registry = f'#!/usr/bin/env bash\ncase "$2" in\n{digests}\nesac\n'
    assert pin(registry, "--check") == (0, "".join(f"{image}\n" for image in pinned))
    moved = pinned[0].split("@")[1]
    status, said = pin(registry.replace(moved, f"sha256:{'0' * 64}"), "--check")
    assert status == 1
    assert f"{pinned[0]} is pinned, and its tag is sha256:{'0' * 64} in the registry." in said
    assert pinned[1] in said, "all are compared"
    assert images(folder) == written
