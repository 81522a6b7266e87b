"""The scripts that fill the volume and go back to an older version, with a kubectl that has a folder for a volume."""

import os
import shutil
import subprocess

import pytest

KUBECTL = """#!/usr/bin/env bash
echo "$*" >> "$CALLS"
case "$*" in *" exec "*) ;; *) exit 0 ;; esac
while [ "$1" != -- ]; do shift; done
shift
words=()
for word in "$@"; do words+=("${word//\\/models/$VOLUME}"); done
exec "${words[@]}"
"""


@pytest.fixture
def script(folder, tmp_path_factory):
    """Run a script of the deployment; returns its status and what it says. `volume` and `calls` are attributes."""
    place = tmp_path_factory.mktemp("cluster")
    (place / "kubectl").write_text(KUBECTL)
    (place / "kubectl").chmod(0o755)
    (place / "volume").mkdir()

    def run(name: str, *arguments: str) -> tuple[int, str]:
        environment = os.environ | {
            "PATH": f"{place}:{os.environ['PATH']}",
            "CALLS": str(place / "calls"),
            "VOLUME": str(place / "volume"),
        }
        command = [folder / "kubernetes" / name, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    run.volume, run.calls = place / "volume", place / "calls"
    return run


def test_the_volume_gets_whole_versions_once(script, folder):
    status, said = script("fill-volume.sh")
    assert (status, said.splitlines()[-1]) == (0, "Version 3 is on the volume.")
    there = script.volume / "morph" / "3"
    for file in ("saved_model.pb", "variables/variables.index"):
        assert (there / file).read_bytes() == (folder / "morph" / "3" / file).read_bytes()
    assert [path.name for path in there.parent.iterdir()] == ["3"]
    assert "delete pod morph-fill" in script.calls.read_text().splitlines()[-1]
    assert script("fill-volume.sh", "3") == (0, "Version 3 is there already.\n")
    status, said = script("fill-volume.sh", "9")
    assert (status, said) == (2, "There is no version morph/9.\n")


def test_an_older_version_is_named_and_applied(script, folder):
    config, before = folder / "models.config", (folder / "models.config").read_text()
    status, said = script("roll-back.sh", "3")
    assert status == 2
    assert "Version 3 is not on the volume" in said
    assert config.read_text() == before
    shutil.copytree(folder / "morph" / "3", script.volume / "morph" / "3")
    assert script("roll-back.sh", "3")[0] == 0
    assert "model_version_policy { specific { versions: 3 } }" in config.read_text()
    assert "apply --kustomize ." in script.calls.read_text()
    assert script("roll-back.sh", "latest")[0] == 0
    assert config.read_text() == before
    for wrong in ((), ("x",), ("",), ("1; true",)):
        assert script("roll-back.sh", *wrong)[0] == 2
    assert config.read_text() == before
