import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.decision_tree import VOTE_COLUMNS
from morph.errors import InputError
from morph.model.experts import restore
from morph.votes import empty_votes, set_votes
from training.fitting.batches import Batches, given_of, linear, mostly_artifact, rarity, unanswered


def votes(*galaxies: dict[str, float]) -> np.ndarray:
    return np.stack([set_votes(empty_votes(), counts) for counts in galaxies])


@pytest.fixture
def coloured(tmp_path):
    """A function that makes a set of flux stamps, each of one constant value: so a batch says what it drew."""

    def make(name: str, values, size: int = 8) -> Galaxies:
        with GalaxiesWriter(tmp_path / name, "flux", size) as writer:
            for i, value in enumerate(values):
                image = np.full((size, size, 3), value, "float32")
                writer.add(Galaxy(f"{name}-{i}", "des", image, votes({"bar_no": 1})[0]))
        return Galaxies.open(tmp_path / name)

    return make


def drawn(batches: Batches) -> np.ndarray:
    """The value of every stamp of the epoch, in order."""
    return np.concatenate([batches[i][0]["image"][:, 0, 0, 0] for i in range(len(batches))])


def test_batches_are_the_same_for_the_same_seed_and_epoch(coloured):
    galaxies = coloured("a", range(40))
    one, other = (Batches([(galaxies, 1.0)], 8, seed=3) for _ in range(2))
    np.testing.assert_array_equal(drawn(one), drawn(other))
    first = drawn(one)
    for epoch in (1, 2):
        one.begin_epoch(epoch)
    other.begin_epoch(2)
    np.testing.assert_array_equal(drawn(one), drawn(other))
    assert not np.array_equal(drawn(one), first)
    assert not np.array_equal(drawn(Batches([(galaxies, 1.0)], 8, seed=4)), first)


def test_an_epoch_shows_every_galaxy_of_a_balanced_set_once(coloured):
    batches = Batches([(coloured("a", range(40)), 1.0)], 8)
    assert len(batches) == 5
    assert sorted(drawn(batches)) == list(range(40))


def test_sets_are_drawn_in_their_shares(coloured):
    few, many = coloured("few", [1] * 4), coloured("many", [2] * 200)
    batches = Batches([(few, 3.0), (many, 1.0)], 20, steps=50)
    assert np.mean(drawn(batches) == 1) == pytest.approx(0.75, abs=0.05)


def test_votes_come_with_their_images(coloured):
    galaxies = coloured("a", range(6))
    galaxies.votes[:, VOTE_COLUMNS.index("bar_no")] = np.arange(6)
    given, counts = Batches([(galaxies, 1.0)], 6)[0]
    np.testing.assert_array_equal(given["image"][:, 0, 0, 0], counts[:, VOTE_COLUMNS.index("bar_no")])
    assert not np.isnan(counts).any()


def test_measurements_come_as_the_experts_read_them(tmp_path):
    known = {"mag_g": 17.6, "mag_r": 16.9, "mag_i": 16.5, "radius": 3.0}
    with GalaxiesWriter(tmp_path / "measured", "flux", 8) as writer:
        writer.add(Galaxy("known", "des", np.ones((8, 8, 3), "float32"), empty_votes(), properties=known))
    measured = given_of(Galaxies.open(tmp_path / "measured"))["measurements"]
    np.testing.assert_allclose(restore(measured)[0, :4], list(known.values()), rtol=1e-5)
    assert np.isnan(measured[0, 4]), "the redshift is unknown"


def test_sets_that_cannot_be_trained_on(coloured):
    with pytest.raises(InputError, match="no galaxies to train on"):
        Batches([(coloured("none", []), 1.0)])
    with pytest.raises(InputError, match="different sizes"):
        Batches([(coloured("small", [1], 8), 1.0), (coloured("large", [1], 10), 1.0)])


def test_stamps_are_cut_to_what_the_network_can_turn(coloured):
    galaxies = coloured("a", range(6), 12)
    for view, side in ((4, 6), (8, 12)):
        assert Batches([(galaxies, 1.0)], 2, view=view)[0][0]["image"].shape == (2, side, side, 3)
    assert Batches([(galaxies, 1.0)], 2, view=10)[0][0]["image"].shape == (2, 12, 12, 3), "there is no more"
    with pytest.raises(InputError, match=r"stamps of 12 px and the network reads 16; .* --stamp-size 20"):
        Batches([(galaxies, 1.0)], view=16)


def test_pictures_come_as_brightness_from_blue_to_red():
    picture = np.zeros((1, 2, 2, 3), "uint8")
    picture[..., 0] = 255
    brightness = linear(picture)
    assert brightness.dtype == np.float32
    assert (brightness[..., 2] > 0).all(), "a composite's red is the last band"
    assert (brightness[..., :2] == 0).all()


def test_rare_answers_are_drawn_more_often():
    common, rare = {"how-rounded_round": 30.0}, {"how-rounded_cigar-shaped": 30.0}
    weight = rarity(votes(*[common] * 16, *[rare] * 4))
    np.testing.assert_allclose(weight, [1.0] * 16 + [2.0] * 4)
    np.testing.assert_allclose(rarity(votes(*[common] * 16, *[rare] * 4), power=0), 1)


def test_no_galaxy_is_drawn_more_than_six_times_as_often():
    weight = rarity(votes(*[{"bar_no": 5.0}] * 100, {"bar_strong": 5.0}), power=1)
    assert weight.max() == 6


def test_a_galaxys_rarest_answer_decides():
    ordinary = {"bar_no": 9.0, "has-spiral-arms_yes": 9.0}
    odd = {"bar_strong": 9.0, "has-spiral-arms_yes": 9.0}
    unasked: dict[str, float] = {}
    weight = rarity(votes(*[ordinary] * 9, odd, unasked))
    assert weight[9] == pytest.approx(3)
    assert weight[10] == 1


def test_unanswered_galaxies_keep_their_images(coloured):
    galaxies = coloured("a", range(3))
    blank = unanswered(galaxies)
    assert np.isnan(blank.votes).all()
    assert not np.isnan(galaxies.votes).all(), "the set itself keeps its votes"
    np.testing.assert_array_equal(blank.images, galaxies.images)


def test_an_artifact_is_what_most_volunteers_call_one():
    artifact, smooth, disk = (f"smooth-or-featured_{answer}" for answer in ("artifact", "smooth", "featured-or-disk"))
    several = votes(
        {artifact: 21.0, smooth: 10.0, disk: 10.0}, {artifact: 15.0, smooth: 10.0, disk: 10.0}, {"bar_no": 3.0}
    )
    assert mostly_artifact(several).tolist() == [True, False, False]
