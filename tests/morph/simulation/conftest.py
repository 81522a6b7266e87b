import pytest

from morph.dataset import Galaxies
from morph.simulation.sample import simulate_galaxies
from morph.simulation.scenes import Arms, Bar, Bulge, Colours, Disk, Scene
from morph.simulation.tile import SimulatedTile, simulate_tile
from morph.surveys import get_survey


@pytest.fixture(scope="session")
def sdss():
    return get_survey("sdss")


@pytest.fixture(scope="session")
def des():
    return get_survey("des")


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Galaxies:
    path = tmp_path_factory.mktemp("simulated") / "sdss"
    return simulate_galaxies(path, 96, "sdss", seed=5, processes=1, mix="balanced", progress=False)


@pytest.fixture(scope="session")
def tile(tmp_path_factory) -> SimulatedTile:
    return simulate_tile(tmp_path_factory.mktemp("tile") / "made", 640, galaxies=12, seed=2, progress=False)


@pytest.fixture
def spiral() -> Scene:
    """A bright, large, face-on barred spiral with two arms."""
    return Scene(
        kind="disk",
        flux=1000.0,
        radius=8.0,
        angle=30.0,
        redshift=0.03,
        old=Colours(0.8, 0.4),
        young=Colours(0.3, 0.2),
        seed=3,
        bulge=Bulge(0.15, 0.15, 2.0),
        disk=Disk(0.9, young=0.6, clumpiness=0.2),
        bar=Bar(0.12, 0.7, 0.25, 40.0),
        arms=Arms(2, 18.0, 5.0, 0.0, irregularity=0.05),
    )


@pytest.fixture
def elliptical() -> Scene:
    return Scene(
        kind="elliptical",
        flux=200.0,
        radius=4.0,
        angle=0.0,
        redshift=0.1,
        old=Colours(0.9, 0.4),
        young=Colours(0.4, 0.2),
        seed=1,
        bulge=Bulge(1.0, 1.0, 4.0, 0.95),
    )


@pytest.fixture
def edge_on() -> Scene:
    return Scene(
        kind="edge-on",
        flux=300.0,
        radius=7.0,
        angle=20.0,
        redshift=0.05,
        old=Colours(0.8, 0.4),
        young=Colours(0.4, 0.2),
        seed=2,
        bulge=Bulge(0.2, 0.2, 2.0, 0.7),
        disk=Disk(1.0, thickness=0.12),
    )
