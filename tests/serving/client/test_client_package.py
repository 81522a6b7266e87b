"""The distribution morph-client: it answers with NumPy, gRPC and Protobuf alone, and beside morph-galaxies."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """`pip install` builds it from the same folder; here without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    source = ROOT / "serving" / "client_package"
    subprocess.run([*pip, "--no-build-isolation", "--no-deps", "--wheel-dir", folder, source], check=True)
    return next(folder.glob("morph_client-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder where its packages are."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder)
    return folder


def run(installed: Path, program: str, *arguments: str, beside: Path | None = None) -> str:
    """The output of a program that has the installed client, and what is `beside` it, before everything else."""
    paths = [installed, *([beside] if beside else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


#: Leaves the program with what `pip install morph-client` brings.
ALONE = """
import sys
class Alone:
    HERE = {"numpy", "grpc", "google", "typing_extensions", "morph_client", *sys.stdlib_module_names}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in self.HERE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
sys.meta_path.insert(0, Alone())
"""

CLASSIFY = """
import asyncio, json, sys
import numpy as np
from morph_client import AsyncMorphClient, MorphClient
from morph_client.morph.errors import InputError
images = np.load("images.npy")
with MorphClient(sys.argv[1]) as client:
    answers = client.classify(images)
    named = answers.named()
    sentences = []
    for wrong in (lambda: client.classify("a.png"), answers.to_table, client.reference_sample):
        try:
            wrong()
        except InputError as error:
            sentences.append(str(error))
async def ask():
    async with AsyncMorphClient(sys.argv[1]) as client:
        return [each["anomaly_score"].tolist() async for each in client.stream(images)]
scores = asyncio.run(ask())
import morph_client
print(json.dumps([answers["probabilities"].tolist(), named[0], scores, sentences, morph_client.__file__]))
"""


def test_the_client_alone_answers(installed, server, client, flux):
    np.save(installed / "images.npy", flux)
    found = json.loads(run(installed, ALONE + CLASSIFY, server.address))
    probabilities, named, scores, sentences, file = found
    expected = client.classify(flux)
    np.testing.assert_allclose(probabilities, expected["probabilities"], rtol=1e-5, atol=1e-6)
    assert named.keys() == expected.named()[0].keys()
    np.testing.assert_allclose(np.ravel(scores), expected["anomaly_score"], rtol=1e-3)
    assert Path(file).is_relative_to(installed)
    assert [sentence.split("`")[1] for sentence in sentences[:2]] == [
        "pip install 'morph-client[images]'",
        "pip install 'morph-client[tables]'",
    ]
    assert sentences[2].endswith("the package morph-galaxies; install it.")


def test_every_module_of_the_wheel_finds_what_it_imports(installed):
    names = [
        ".".join(path.relative_to(installed).with_suffix("").parts).removesuffix(".__init__")
        for path in installed.rglob("*.py")
    ]
    assert {"morph_client.sync_client", "morph_client.pictures", "morph_client.morph.fits.planes"} <= {*names}
    # Nothing is installed in the place of a module of morph-galaxies.
    assert all(name.startswith("morph_client") for name in names)
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    loaded = {name.split(".")[0] for name in run(installed, program, *names).split()}
    assert not loaded & {
        "morph",
        "serving",
        "tensorflow",
        "keras",
        "mlflow",
        "pyarrow",
        "scipy",
        "pandas",
        "dask",
        "galsim",
    }


def test_a_file_is_read_as_morph_galaxies_reads_it(installed, tmp_path, composites):
    """And both are there in one process: each by its own modules."""
    from PIL import Image

    from serving.client.pictures import FitsLayout, read_pictures

    path = tmp_path / "galaxy.png"
    Image.fromarray(composites[0]).save(path)
    program = (
        "import sys, pathlib, morph_client, serving.client\n"
        "from morph_client.pictures import FitsLayout, read_pictures\n"
        "assert morph_client.MorphClient is not serving.client.MorphClient\n"
        "(picture,) = read_pictures([[pathlib.Path(sys.argv[1])]], 64, FitsLayout())\n"
        "print(picture.image.tobytes().hex())"
    )
    (expected,) = read_pictures([[path]], 64, FitsLayout())
    assert bytes.fromhex(run(installed, program, str(path), beside=ROOT)) == expected.image.tobytes()


def test_importing_the_client_is_quick_and_loads_nothing_else(installed):
    program = (
        "import sys, time; start = time.process_time(); import morph_client; print(time.process_time() - start);"
        "print(*{name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    times, loaded = zip(*(run(installed, program).split("\n", 1) for _ in range(3)), strict=True)
    assert min(map(float, times)) < 0.5
    # gRPC looks for its own additions; its compiled parts have modules of their own. Debian's Python brings a
    # sitecustomize.
    known = {"numpy", "grpc", "google", "morph_client", "typing_extensions", "grpc_health", "grpc_reflection"}
    assert {name for name in loaded[0].split() if not name.startswith(("_", "cython"))} <= known | {
        "grpc_status",
        "sitecustomize",
    }


def test_the_wheel_asks_for_no_more_than_it_needs_and_for_what_morph_asks(wheel):
    def lower_bounds(requirements: list[str]) -> dict[str, str]:
        return dict(requirement.split(">=", 1) for requirement in requirements if ">=" in requirement)

    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    thin = tomllib.loads((ROOT / "serving" / "client_package" / "pyproject.toml").read_text())["project"]
    assert lower_bounds(thin["dependencies"]).keys() == {"numpy", "grpcio", "protobuf"}
    extras = [each for group in thin["optional-dependencies"].values() for each in group]
    bounds = lower_bounds([*thin["dependencies"], *extras])
    assert bounds == {name: lower_bounds(whole["dependencies"])[name] for name in bounds}
    assert thin["requires-python"] == whole["requires-python"]
    with zipfile.ZipFile(wheel) as files:
        assert any(name.endswith("LICENSE") for name in files.namelist())
        assert sum(file.file_size for file in files.infolist()) < 400_000
