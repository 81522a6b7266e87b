import errno
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from morph.dataset import Galaxies, split_position
from morph.dataset_writer import PROPERTIES, GalaxiesWriter, Galaxy
from morph.decision_tree import VOTE_COLUMNS, column_name
from morph.errors import InputError
from morph.votes import empty_votes, set_votes

SIZE = 8


def galaxy(name: str, kind: str = "flux", seed: int = 0, **options) -> Galaxy:
    random = np.random.default_rng(seed)
    image = random.normal(size=(SIZE, SIZE, 3)).astype("float32")
    if kind == "composite":
        image = random.integers(0, 256, (SIZE, SIZE, 3)).astype("uint8")
    votes = set_votes(empty_votes(), {"smooth-or-featured_smooth": 12.5, "smooth-or-featured_artifact": 1})
    return Galaxy(name, "des", image, votes, **options)


def write(path, names, kind: str = "flux", **about) -> Galaxies:
    with GalaxiesWriter(path, kind, SIZE, about) as writer:
        for seed, name in enumerate(names):
            writer.add(galaxy(name, kind, seed))
    return Galaxies.open(path)


@pytest.mark.parametrize("kind", ["flux", "composite"])
def test_what_is_written_is_read(tmp_path, kind):
    full = galaxy("a", kind, ra=10.25, dec=-52.5, properties={"mag_r": 17.5, "redshift": 0.25})
    if kind == "flux":
        full.image[2:4, :, 1] = np.nan
    bare = Galaxy("b", "sdss", galaxy("b", kind, 1).image, empty_votes())
    with GalaxiesWriter(tmp_path / "set", kind, SIZE, {"seed": 7, "simulated": True}) as writer:
        writer.add(full)
        writer.add(bare)
    read = Galaxies.open(tmp_path / "set")
    assert (len(read), read.kind, read.size, read.about["seed"], read.simulated) == (2, kind, SIZE, 7, True)
    assert list(read.ids) == ["a", "b"]
    assert list(read.surveys) == ["des", "sdss"]
    np.testing.assert_array_equal(read.images, [full.image, bare.image])
    assert read.images.dtype == full.image.dtype
    np.testing.assert_array_equal(read.votes, [full.votes, bare.votes])
    np.testing.assert_array_equal(read.ra, [10.25, np.nan])
    np.testing.assert_array_equal(read.properties["redshift"], np.float32([0.25, np.nan]))
    for first, again in zip((full, bare), read, strict=True):
        assert first.id == again.id
        np.testing.assert_array_equal(first.image, again.image)


def test_a_set_is_read_without_its_images(tmp_path):
    whole = write(tmp_path / "set", ["a", "b"])
    light = Galaxies.open(tmp_path / "set", images=False)
    assert light.images.nbytes == 0
    assert light.answered() == whole.answered()
    assert list(light.ids) == ["a", "b"]


def test_many_galaxies_span_several_files(tmp_path):
    names = [f"g{i}" for i in range(GalaxiesWriter.ROWS + 3)]
    assert list(write(tmp_path / "set", names).ids) == names
    assert len(list((tmp_path / "set").glob("*.parquet"))) == 2


def test_an_empty_set_is_a_set(tmp_path):
    empty = write(tmp_path / "set", [])
    assert len(empty) == 0
    assert empty.images.shape == (0, SIZE, SIZE, 3)
    assert set(empty.answered().values()) == {0}


def test_a_selection_can_be_written_again(tmp_path):
    first = write(tmp_path / "set", ["a", "b", "c"], source="somewhere")
    first.select(np.array([2, 0])).write(tmp_path / "part")
    part = Galaxies.open(tmp_path / "part")
    assert list(part.ids) == ["c", "a"]
    assert part.about["source"] == "somewhere"
    np.testing.assert_array_equal(part.images, first.images[[2, 0]])


def interrupt(path) -> None:
    with GalaxiesWriter(path, "flux", SIZE) as writer:
        writer.add(galaxy("half-done"))
        raise KeyboardInterrupt


def test_an_interrupted_writing_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupt(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writing_keeps_the_older_set(tmp_path):
    before = write(tmp_path / "set", ["a"])
    with pytest.raises(KeyboardInterrupt):
        interrupt(tmp_path / "set")
    assert Galaxies.open(tmp_path / "set").digest == before.digest


def test_writing_again_replaces_the_set(tmp_path):
    write(tmp_path / "set", ["a", "b"])
    assert list(write(tmp_path / "set", ["c"]).ids) == ["c"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not a galaxies dataset"):
        GalaxiesWriter(tmp_path, "flux", SIZE)
    assert (tmp_path / "thesis.txt").exists()


def test_an_id_may_occur_once(tmp_path):
    with pytest.raises(InputError, match="'a' occurs twice"):
        write(tmp_path / "set", ["a", "a"])


def test_stamps_have_one_size(tmp_path):
    odd = Galaxy("a", "des", np.zeros((SIZE, SIZE + 1, 3), "float32"), empty_votes())
    with (
        pytest.raises(InputError, match=r"'a' has an image of shape \(8, 9, 3\)"),
        GalaxiesWriter(tmp_path / "set", "flux", SIZE) as writer,
    ):
        writer.add(odd)


def test_missing_and_foreign_and_damaged_sets_say_so(tmp_path):
    with pytest.raises(InputError, match="There is no dataset at"):
        Galaxies.open(tmp_path / "none")
    with pytest.raises(InputError, match="is not a galaxies dataset"):
        Galaxies.open(tmp_path)
    write(tmp_path / "set", ["a", "b"])
    part = tmp_path / "set" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot be read"):
        Galaxies.open(tmp_path / "set")


def test_kinds_do_not_mix(tmp_path):
    flux, composite = write(tmp_path / "flux", ["a"]), write(tmp_path / "composite", ["b"], "composite")
    with pytest.raises(InputError, match="different kinds or sizes"):
        Galaxies.concatenate([flux, composite])
    assert list(Galaxies.concatenate([flux, flux.select(np.array([0]))]).ids) == ["a", "a"]


def test_split_follows_the_galaxy_and_not_the_row(tmp_path):
    names = [f"galaxy {i}" for i in range(200)]
    galaxies = write(tmp_path / "set", names)
    parts = galaxies.split()
    shuffled = galaxies.select(np.random.default_rng(0).permutation(200)[:120]).split()
    for name, part in parts.items():
        assert set(shuffled[name].ids) <= set(part.ids)
    assert sorted(np.concatenate([part.ids for part in parts.values()])) == sorted(names)


def test_split_has_the_shares_that_were_asked_for():
    place = split_position(f"id{i}" for i in range(20_000))
    assert (place >= 0).all()
    assert (place < 1).all()
    assert np.mean(place < 0.2) == pytest.approx(0.2, abs=0.01)
    other = split_position((f"id{i}" for i in range(20_000)), seed=1)
    assert abs(np.corrcoef(place, other)[0, 1]) < 0.03


def test_digest_is_that_of_the_content(tmp_path):
    first = write(tmp_path / "one", ["a", "b"])
    assert first.digest == write(tmp_path / "two", ["a", "b"]).digest
    assert first.digest != write(tmp_path / "three", ["a", "c"]).digest
    other = first.select(np.array([0, 1]))
    other.votes[0, 0] += 1
    assert other.digest != first.digest


def test_answered_counts_galaxies_with_any_vote(tmp_path):
    with GalaxiesWriter(tmp_path / "set", "flux", SIZE) as writer:
        writer.add(galaxy("a"))
        zero = set_votes(empty_votes(), {"bar_no": 0})
        zero[VOTE_COLUMNS.index("bar_strong-or-weak")] = 2
        writer.add(Galaxy("b", "des", galaxy("b").image, zero))
    answered = Galaxies.open(tmp_path / "set").answered()
    assert answered["smooth-or-featured"] == 1
    assert answered["bar"] == 1, "a coarse answer is one too"
    assert answered["merging"] == 0


def test_properties_that_were_not_measured_are_unknown(tmp_path):
    galaxies = write(tmp_path / "set", ["a"])
    assert set(galaxies.properties) == set(PROPERTIES)
    assert all(np.isnan(values).all() for values in galaxies.properties.values())


def test_the_kind_of_votes_goes_with_them(tmp_path):
    with GalaxiesWriter(tmp_path / "set", "flux", SIZE, {"votes": "debiased"}) as writer:
        writer.add(galaxy("a", vote_kind="debiased"))
        writer.add(Galaxy("bare", "des", galaxy("b").image, empty_votes(), vote_kind="debiased"))
    debiased = Galaxies.open(tmp_path / "set")
    assert debiased.vote_kind.tolist() == ["debiased", ""], "who has no votes has no kind of them"
    raw = debiased.with_votes(debiased.votes, "raw")
    both = Galaxies.concatenate([debiased, raw])
    assert (debiased.about["votes"], raw.about["votes"]) == ("debiased", "raw")
    assert "votes" not in both.about
    part = both.select(np.array([2, 0]))
    assert part.vote_kind.tolist() == ["raw", "debiased"]
    renamed = part.with_columns(id=np.array(["x", "y"]))
    renamed.write(tmp_path / "part")
    assert Galaxies.open(tmp_path / "part").vote_kind.tolist() == ["raw", "debiased"]
    column = pq.read_table(tmp_path / "set" / "part-00000.parquet")["vote_kind"]
    assert column.to_pylist() == ["debiased", None]


def test_an_older_dataset_and_pictures_have_no_zero_points(tmp_path):
    with GalaxiesWriter(tmp_path / "set", "flux", SIZE) as writer:
        writer.add(galaxy("a"))
    part = tmp_path / "set" / "part-00000.parquet"
    table = pq.read_table(part)
    assert table["zero_points"].to_pylist() == [None]
    pq.write_table(table.drop_columns(["zero_points"]), part)
    galaxies = Galaxies.open(tmp_path / "set")
    assert galaxies.zero_points.tolist() == [""]
    assert galaxies.zero_point_lines() == []


def test_votes_of_an_older_dataset_are_of_no_known_kind(tmp_path):
    write(tmp_path / "set", ["a"])
    part = tmp_path / "set" / "part-00000.parquet"
    pq.write_table(pq.read_table(part).drop_columns(["vote_kind"]), part)
    assert Galaxies.open(tmp_path / "set").vote_kind.tolist() == [""]


@pytest.mark.parametrize("votes", [-1.0, np.inf])
def test_impossible_votes_are_refused(tmp_path, votes):
    bad = replace(galaxy("a"), votes=np.full(len(VOTE_COLUMNS), votes, "float32"))
    with (
        pytest.raises(InputError, match="'a' has votes below 0"),
        GalaxiesWriter(tmp_path / "set", "flux", 8) as writer,
    ):
        writer.add(bad)


def test_votes_are_written_with_underscores_and_read_in_either_spelling(tmp_path):
    written = write(tmp_path / "set", ["a"])
    part = tmp_path / "set" / "part-00000.parquet"
    table = pq.read_table(part)
    assert [field.name for field in table.schema.field("votes").type] == list(map(column_name, VOTE_COLUMNS))
    place, votes = table.schema.get_field_index("votes"), table["votes"].combine_chunks()
    older = pa.StructArray.from_arrays(votes.flatten(), names=list(VOTE_COLUMNS))
    pq.write_table(table.set_column(place, "votes", older).replace_schema_metadata(table.schema.metadata), part)
    np.testing.assert_array_equal(Galaxies.open(tmp_path / "set").votes, written.votes)


def test_a_dataset_that_cannot_be_finished_leaves_the_one_before(tmp_path, monkeypatch):
    def full(*_, **__) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(tmp_path / "set", ["old"])
    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(InputError, match=r"No space left on device.*untouched"):
        write(tmp_path / "set", ["new"])
    monkeypatch.undo()
    assert Galaxies.open(tmp_path / "set").ids.tolist() == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
