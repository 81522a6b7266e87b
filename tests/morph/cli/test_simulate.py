import pytest
from click.testing import CliRunner

from morph.cli.simulate import command
from morph.dataset import Galaxies
from morph.errors import InputError


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=True)


def test_galaxies_and_their_picture(tmp_path):
    result = run("galaxies", "-n", 3, "--survey", "des", "--to", tmp_path / "s", "--sheet", tmp_path / "s.png")
    assert result.exit_code == 0
    assert "3 simulated des galaxies" in result.output
    assert "smooth-or-featured 3" in result.output
    assert len(Galaxies.open(tmp_path / "s")) == 3
    assert (tmp_path / "s.png").is_file()


def test_a_tile(tmp_path):
    result = run("tile", "--size", 160, "--galaxies", 2, "--to", tmp_path / "t")
    assert result.exit_code == 0
    assert "160 x 160 px in 3 bands, 2 galaxies" in result.output
    assert len(list((tmp_path / "t").glob("*.fits.fz"))) == 3


@pytest.mark.parametrize(
    "arguments",
    [("galaxies", "-n", 0), ("galaxies", "--survey", "nova"), ("tile", "--size", 1), ("tile", "--name", "x")],
)
def test_a_mistake_is_one_sentence(tmp_path, arguments):
    result = run(*arguments, "--to", tmp_path / "out")
    assert isinstance(result.exception, InputError)
    assert str(result.exception).endswith(".")
    assert not (tmp_path / "out").exists()
