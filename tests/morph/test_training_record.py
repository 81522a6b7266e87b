"""Whether a model was trained on some galaxies: by name and picture, whatever their dataset is called."""

import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.model.store import load_model
from morph.training_record import TrainingRecord


def made(names, seed: int = 0, survey: str = "sdss") -> Galaxies:
    """Galaxies of these names; the same name and seed have the same picture."""
    images = [
        np.random.default_rng([seed, *name.encode()]).integers(0, 256, (8, 8, 3)).astype("uint8") for name in names
    ]
    n = len(names)
    columns = {"id": np.array(names), "survey": np.full(n, survey), "image": np.array(images).reshape(n, 8, 8, 3)}
    return Galaxies({"kind": "composite", "size": 8, "path": "some-folder"}, columns)


OWN = [f"5877229817489656{i:02d}" for i in range(20)]
RUNNING = [f"{i:04d}" for i in range(20)]


def test_a_survey_s_own_name_is_enough_and_the_folder_s_name_says_nothing():
    record = TrainingRecord.of({"labelled": [made(OWN[:10])]})
    overlap = record.overlap(made(OWN[5:], seed=1))
    assert (overlap.of, overlap.counts["labelled"], overlap.doubtful) == (15, 5, 0)
    (line,) = overlap.notes("models:/morph@mine")
    assert line.startswith("models:/morph@mine was trained on 5 of these 15 galaxies")
    others = made([f"1{name[1:]}" for name in OWN], seed=1)
    assert record.overlap(others).notes("it") == [], "the same folder name, other galaxies"


def test_a_picture_is_enough_under_another_name():
    trained = made(RUNNING)
    renamed = trained.with_columns(id=np.array([f"img-{name}" for name in RUNNING]))
    assert TrainingRecord.of({"labelled": [trained]}).overlap(renamed).counts["labelled"] == 20


def test_a_running_number_with_another_picture_decides_nothing():
    overlap = TrainingRecord.of({"labelled": [made(RUNNING[:6])]}).overlap(made(RUNNING, seed=1))
    assert (overlap.counts["labelled"], overlap.doubtful) == (0, 6)
    assert "whether they are the same is not known" in overlap.notes("it")[0]
    elsewhere = made(RUNNING, seed=1, survey="des")
    record = TrainingRecord.of({"labelled": [made(RUNNING)]})
    assert record.overlap(elsewhere).doubtful == 0, "numbers of another survey"


def test_each_galaxy_counts_once_by_what_it_was_for():
    sets = {"labelled": [made(OWN[:4])], "unlabelled": [made(OWN[2:8])], "held out": [made(OWN[8:9])]}
    record = TrainingRecord.of(sets)
    overlap = record.overlap(made(OWN))
    assert overlap.counts == {"labelled": 4, "unlabelled": 4, "held out": 1}
    assert [line.split(" of these")[0] for line in overlap.notes("it")] == [
        "it was trained on 4",
        "it was trained on the images, not the votes, of 4",
        "it was calibrated on 1",
    ]


def test_a_record_survives_its_text_and_joins_that_of_the_parent():
    parent = TrainingRecord.of({"labelled": [made(OWN[:5])], "held out": [made(OWN[5:6])]})
    child = TrainingRecord.of({"labelled": [made(OWN[3:8])]}).merged(TrainingRecord.from_text(parent.to_text()))
    read = TrainingRecord.from_text(child.to_text())
    assert read.complete
    assert read.overlap(made(OWN)).counts == {"labelled": 8, "held out": 0}
    assert len(read.to_text()) < 9 * 20 + 60, "some fourteen characters a galaxy"


def test_a_missing_record_is_reported():
    assert TrainingRecord.from_text("").overlap(made(OWN)).notes("it", ["gz1", "gz2"]) == [
        "it has no record of its training galaxies, only the names of datasets (gz1, gz2); whether these are among "
        "them is not known."
    ]
    child = TrainingRecord.of({"labelled": [made(OWN[:2])]}).merged(TrainingRecord.from_text(""))
    lines = TrainingRecord.from_text(child.to_text()).overlap(made(OWN)).notes("it")
    assert "was trained on 2 of" in lines[0]
    assert lines[1].startswith("The parent of it has no record")


@pytest.mark.parametrize("names", [[], ["ra10.5_dec-3.25"]])
def test_few_or_no_galaxies(names):
    assert TrainingRecord.of({"labelled": [made(OWN)]}).overlap(made(names)).counts == {"labelled": 0}


def test_the_weights_that_ship_know_their_training_galaxies():
    """Two galaxies of Galaxy Zoo 1's training split, two of its test split, and one of neither."""
    shipped = load_model("models:/morph@sdss")
    assert shipped.about["votes"] == "raw"
    trained, tested = ["587722981750014083", "587722982273384452"], ["587722981748965649", "587722982271615079"]
    overlap = TrainingRecord.from_text(shipped.seen).overlap(made([*trained, *tested, "999999999999999999"]))
    assert (overlap.counts, overlap.complete) == ({"labelled": 2, "unlabelled": 0, "held out": 0}, True)


def test_each_galaxy_s_role_is_the_first_that_holds_it():
    record = TrainingRecord.of({"labelled": [made(OWN[:3])], "held out": [made(OWN[2:6])]})
    roles = record.roles(made(OWN[:8]))
    assert roles.tolist() == ["labelled"] * 3 + ["held out"] * 3 + [""] * 2
    assert record.overlap(made(OWN[:8])).counts == {"labelled": 3, "held out": 3}
