"""The one door, as a user opens it: in a process of its own."""

import resource
import signal
import subprocess
import sys

import pytest

from morph import __version__
from morph.cli.main import VERBS
from morph.errors import SAFE

#: Packages that take seconds to import.
SLOW = ("tensorflow", "keras", "mlflow", "jax", "galsim", "matplotlib", "sklearn", "dask")

HELP = f"""
import sys
from morph.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
slow = [name for name in {SLOW!r} if name in sys.modules]
assert not slow, slow
"""


def morph(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "morph", *arguments], capture_output=True, text=True)


def one_sentence(text: str) -> bool:
    return text.startswith("morph: ") and len(text.strip().splitlines()) == 1 and "Traceback" not in text


def test_help_names_every_verb_within_a_second():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = morph("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    shown = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line.split()]
    assert all(shown.count(verb) == 1 for verb in VERBS), "each once, whatever its group"
    # Processor time and not wall time: other tests may run beside this one.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_loads_nothing_slow(verb):
    done = subprocess.run([sys.executable, "-c", HELP, verb, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{verb} [OPTIONS]" in done.stdout


def test_version():
    assert morph("--version").stdout.strip().endswith(__version__)


def test_unknown_verb_is_one_sentence():
    done = morph("clasify")
    assert done.returncode == 2
    assert one_sentence(done.stderr), done.stderr
    assert "clasify" in done.stderr


def test_unknown_option_names_the_help():
    done = morph("import", "--no-such-option")
    assert done.returncode == 2
    assert one_sentence(done.stderr), done.stderr
    assert "--no-such-option" in done.stderr
    assert "morph import --help" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("pretrain", "no-such-set", "--to", "model.keras"),
        ("import", "no-such-folder", "--survey", "sdss", "--to", "out"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_missing_dataset_is_one_sentence(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = morph(*arguments)
    assert done.returncode == 2
    assert one_sentence(done.stderr), done.stderr
    assert "no-such" in done.stderr


#: A signal comes while Python imports the program, or when it has done its work.
EARLY = """
import signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "click":
            signal.raise_signal({number})
sys.meta_path.insert(0, Finder())
from morph.__main__ import main
main()
"""
LATE = """
import atexit, signal
from morph.__main__ import main
atexit.register(signal.raise_signal, {number})
main()
"""
#: Python itself, or a library, raises another error from what the signal raised.
WRAPPED = """
import signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "morph.cli.simulate":
            class Name:
                def __set_name__(self, *_):
                    signal.raise_signal({number})
            class Owner:
                name = Name()
sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["simulate", "--help"]
from morph.__main__ import main
main()
"""


@pytest.mark.parametrize("program", [EARLY, WRAPPED, LATE], ids=["early", "wrapped", "late"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_whenever_it_comes_is_one_sentence(program, number, status):
    command = [sys.executable, "-c", program.format(number=int(number)), "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout != "") == (status, program == LATE)
    assert done.stderr.lstrip() == f"morph: Stopped. {SAFE}\n"
