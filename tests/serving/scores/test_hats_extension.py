"""Scores as an extension of a survey's HATS catalogue: joined by id, in the survey's own partitions."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import morph
from morph.errors import InputError
from serving.scores.hats_extension import APART
from tests.serving.scores.invented import invented_scores, write_scores_of, write_survey, write_tile

COUNT = 60


@pytest.fixture(scope="module")
def sky():
    """Galaxies around the corner of partitions at (0, 0) and their ids, of which each is larger than 2**53."""
    random = np.random.default_rng(0)
    ids = 2**60 + 7 * np.arange(COUNT)
    return ids, random.uniform(-0.3, 0.3, COUNT) % 360, random.uniform(-0.3, 0.3, COUNT)


@pytest.fixture(scope="module")
def survey(sky, tmp_path_factory):
    ids, ra, dec = sky
    return write_survey(tmp_path_factory.mktemp("survey") / "dp2", pa.array(ids), ra, dec)


def write_named(folder, name: str, ids, ra, dec, **changed):
    """A score file of galaxies with these ids."""
    scores = invented_scores(name, np.asarray(ra, float), np.asarray(dec, float), np.zeros((4, 16, 16, 3), "float32"))
    scores.ids = np.array([str(each) for each in ids], dtype=object)
    for key, values in changed.items():
        setattr(scores, key, values)
    write_scores_of(folder, name, scores)


@pytest.fixture(scope="module")
def extension(sky, survey, tmp_path_factory):
    """The survey's first 50 galaxies, scored on two tiles that share ten, an arcsec beside the survey's position."""
    ids, ra, dec = sky
    folder = tmp_path_factory.mktemp("extension")
    moved = dec + 1 / 3600
    flags = np.zeros(30, "int32")
    flags[-10:] = 4
    write_named(folder / "scores", "T1", ids[:30], ra[:30], moved[:30], flags=flags)
    write_named(folder / "scores", "T2", ids[20:50], ra[20:50], moved[20:50], flags=np.zeros(30, "int32"))
    # One that the survey does not have, one whose id is that of a galaxy elsewhere, one without a position.
    write_named(folder / "scores", "T3", [5, ids[55], ids[56]], [ra[0], ra[55], np.nan], [dec[0], dec[55] + 0.01, 0])
    before = sorted((path, path.stat().st_mtime_ns) for path in survey.rglob("*"))
    joined = morph.open_scores(folder / "scores").to_hats_extension(survey, folder / "morph-dp2")
    assert sorted((path, path.stat().st_mtime_ns) for path in survey.rglob("*")) == before
    return folder, joined


def rows_of(folder) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(path, partitioning=None) for path in sorted((folder / "morph-dp2/morph").rglob("Npix=*"))
    )


def test_each_galaxy_is_once_in_the_surveys_partition_at_its_position(extension, sky, survey):
    folder, _ = extension
    rows, (ids, ra, dec) = rows_of(folder), sky
    assert sorted(rows["objectId"].to_pylist()) == ids[:50].tolist()
    place = dict(zip(ids.tolist(), zip(ra, dec, strict=True), strict=True))
    assert [place[id_] for id_ in rows["objectId"].to_pylist()] == list(
        zip(rows["coord_ra"].to_pylist(), rows["coord_dec"].to_pylist(), strict=True)
    )
    for path in (folder / "morph-dp2/morph").rglob("Npix=*"):
        theirs = pq.read_table(survey / "object" / path.relative_to(folder / "morph-dp2/morph"), partitioning=None)
        ours = pq.read_table(path, partitioning=None)
        assert set(ours["objectId"].to_pylist()) <= set(theirs["objectId"].to_pylist())
        assert (np.diff(ours["_healpix_29"].to_numpy()) >= 0).all()


def test_of_two_rows_of_a_galaxy_that_with_fewer_flags_is_taken(extension):
    rows = rows_of(extension[0]).to_pandas().set_index("objectId").sort_index()
    assert rows["tile"].tolist() == ["T1"] * 20 + ["T2"] * 30


def test_what_is_left_out_is_said(extension):
    _, joined = extension
    assert str(joined) == (
        "50 of 63 galaxies joined; left out: 10 of a galaxy that another row has, with fewer flags or earlier, "
        f"1 more than {APART:g} arcsec from the catalogue's galaxy of that id, "
        "2 with an id that the catalogue does not have there."
    )


def test_ids_that_several_rows_have_are_left_out(sky, tmp_path):
    ids, ra, dec = sky
    same = ids.copy()
    same[1] = same[0]
    survey = write_survey(tmp_path / "dp2", pa.array(same.astype(str)), ra % 0.01, dec % 0.01)
    write_named(tmp_path / "scores", "T1", ids[:4], (ra % 0.01)[:4], (dec % 0.01)[:4])
    joined = morph.open_scores(tmp_path / "scores").to_hats_extension(survey, tmp_path / "x")
    assert (joined.joined, joined.ambiguous, joined.unmatched) == (2, 1, 1)


def test_ids_of_another_kind_are_refused(sky, survey, tmp_path):
    ids, ra, dec = sky
    write_tile(tmp_path / "scores", "T1", ra[:5], dec[:5])
    scores = morph.open_scores(tmp_path / "scores")
    with pytest.raises(InputError, match=r"No scored galaxy .* 0 of 5 .* like 'T1-0', those in 'objectId' like '115"):
        scores.to_hats_extension(survey, tmp_path / "x")
    rounded = write_survey(tmp_path / "rounded", pa.array(ids.astype(float)), ra, dec)
    with pytest.raises(InputError, match=r"'objectId' of .* kept as floating-point numbers and have lost digits"):
        scores.to_hats_extension(rounded, tmp_path / "x")
    unnamed = write_survey(tmp_path / "unnamed", pa.array([f"T1-{k}" for k in range(COUNT)]), ra, dec, "mine")
    with pytest.raises(InputError, match=r"no single column with a usual name of ids; give id_column, one of .*mine"):
        scores.to_hats_extension(unnamed, tmp_path / "x")
    with pytest.raises(InputError, match="no column 'yours'"):
        scores.to_hats_extension(unnamed, tmp_path / "x", "yours")
    assert not (tmp_path / "x").exists()
    assert scores.to_hats_extension(unnamed, tmp_path / "x", "mine").joined == 5


def test_nothing_else_is_replaced(extension, survey):
    folder, _ = extension
    scores = morph.open_scores(folder / "scores")
    for place in (survey, survey / "morph", survey.parent):
        with pytest.raises(InputError, match="is not apart from the catalogue"):
            scores.to_hats_extension(survey, place)
    with pytest.raises(InputError, match="is there already, and is not an extension"):
        scores.to_hats_extension(survey, folder / "scores")
    with pytest.raises(InputError, match="There is no HATS catalogue at"):
        scores.to_hats_extension(folder / "scores", folder / "new")
    assert scores.to_hats_extension(survey, folder / "morph-dp2").joined == 50


@pytest.mark.filterwarnings(
    # Partitions that are the survey's own need no margin.
    "ignore:Right catalog does not have a margin cache",
    "ignore:The inplace keyword in NestedFrame",
)
def test_lsdb_joins_it_to_the_surveys_catalogue(extension, survey, sky):
    lsdb = pytest.importorskip("lsdb", reason="lsdb is not installed")
    folder, _ = extension
    catalogue = lsdb.open_catalog(survey).load_extension(folder / "morph-dp2/morph.properties")
    assert catalogue.extensions == ("morph",)
    joined = catalogue.compute().set_index("objectId").sort_index()
    # The survey's galaxies are all there; those without scores have missing values.
    assert joined.index.tolist() == sky[0].tolist()
    assert joined["tile"].isna().sum() == COUNT - 50
    assert (joined["g_psfFlux"] == 7).all()
    scores = pq.read_table(folder / "scores").to_pandas().set_index("id")
    for id_ in sky[0][[0, 25, 49]]:
        (expected,) = (row for _, row in scores.loc[[str(id_)]].iterrows() if row["tile"] == joined.loc[id_, "tile"])
        np.testing.assert_array_equal(joined.loc[id_, "similarity"], expected["similarity"])
        assert joined.loc[id_, "smooth_or_featured_smooth"] == pytest.approx(
            expected["smooth_or_featured_smooth"], nan_ok=True
        )
    # It is a catalogue of its own, too.
    assert len(lsdb.open_catalog(folder / "morph-dp2/morph")) == 50
