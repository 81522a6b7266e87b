"""The same galaxy in two releases is found; another galaxy is not taken for it."""

import csv

import numpy as np
import pytest
from PIL import Image

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.sizes import STAMP_SIZE
from morph.stamps.composite import stamp_from_file
from morph.votes import empty_votes
from training.importers.overlap import without_duplicates


@pytest.fixture
def dataset(tmp_path):
    """A function that makes a dataset of stamps called by their numbers."""

    def make(name: str, images, **about) -> Galaxies:
        with GalaxiesWriter(tmp_path / name, "composite", about=about) as writer:
            for i, image in enumerate(images):
                writer.add(Galaxy(str(i), "sdss", image, empty_votes()))
        return Galaxies.open(tmp_path / name)

    return make


def field(seed: int) -> np.ndarray:
    """A galaxy of random shape with knots and neighbours: uint8 [300, 300, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:300, :300] - 149.5
    angle, flat = random.uniform(0, np.pi), random.uniform(0.3, 1)
    along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / flat
    light = 180 * np.exp(-np.hypot(along, across) / 25)
    for _ in range(12):
        x0, y0 = random.uniform(-70, 70, 2)
        light += random.uniform(20, 90) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / random.uniform(2, 5) ** 2)
    return np.clip(light[..., None] + random.normal(8, 4, (300, 300, 3)), 0, 255).astype("uint8")


def release(picture: np.ndarray, across: float, brightness: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """A stamp of a picture, cut and stretched as one release does."""
    low = (300 - across) / 2 + shift
    stretched = 255 * (picture / 255.0) ** brightness
    image = Image.fromarray(stretched.astype("uint8"))
    return np.asarray(
        image.resize((STAMP_SIZE, STAMP_SIZE), Image.Resampling.BOX, (low, low, low + across, low + across))
    )


def found(mine: Galaxies, theirs: Galaxies) -> list[int]:
    """Which of `mine` are taken out as occurring among `theirs`."""
    kept = without_duplicates(mine, [theirs]).ids
    return np.flatnonzero(~np.isin(mine.ids, kept)).tolist()


def test_the_same_galaxy_is_found_across_crop_stretch_and_centre(dataset):
    mine = dataset("mine", [release(field(seed), 200) for seed in range(12)])
    theirs = dataset(
        "theirs",
        [
            release(field(3), 230),
            release(field(5), 110, brightness=0.8),
            release(field(8), 200, brightness=1.2, shift=3),
            *(release(field(seed), 200) for seed in range(50, 60)),
        ],
    )
    assert found(mine, theirs) == [3, 5, 8]
    assert found(theirs, mine) == [0, 1, 2]


def test_what_is_held_out_is_taken_out(dataset):
    mine = dataset("mine", [release(field(seed), 200) for seed in range(6)])
    test = dataset("test", [release(field(seed), 215) for seed in (1, 4, 70)])
    assert without_duplicates(mine, [test]).ids.tolist() == ["0", "2", "3", "5"]


def test_simulated_galaxies_are_nobodys_duplicates(dataset):
    mine = dataset("mine", [release(field(seed), 200) for seed in range(3)])
    simulated = dataset("simulated", [release(field(1), 200)], simulated=True)
    assert len(without_duplicates(mine, [simulated])) == 3


def test_nothing_is_in_an_empty_set(dataset):
    some, none = dataset("some", [release(field(0), 200)]), dataset("none", [])
    assert found(some, none) == []
    assert found(none, some) == []


@pytest.mark.real
def test_galaxies_in_galaxy_zoo_1_and_2_are_those_of_one_objid(dataset, real_data):
    first, second = real_data / "sdss-galaxyzoo1" / "images", real_data / "sdss-galaxyzoo2"
    with open(second / "votes.csv", encoding="utf-8") as file:
        assets = {row["dr7objid"]: row["id"] for row in csv.DictReader(file)}
    names = sorted(path.stem for path in first.iterdir())
    both = [name for name in names if name in assets]
    assert len(both) == 6
    mine = [*both, *names[:20]]
    others = [assets[name] for name in both] + sorted(assets.values())[:20]
    a = dataset("a", [stamp_from_file(first / f"{name}.jpeg")[0] for name in mine])
    b = dataset("b", [stamp_from_file(second / "images" / f"{name}.jpg")[0] for name in dict.fromkeys(others)])
    assert found(a, b) == list(range(6))
