"""A census from score files: what it writes, what it leaves out, and what it refuses in a sentence."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from PIL import Image

from morph.analysis.census.census import Request, take_census
from morph.analysis.census.classes import index_of
from morph.analysis.census.labelled import save_labelled
from morph.decision_tree import ANSWERS, tree_probabilities
from tests.morph.analysis.census.invented import (
    labelled,
    model_answers,
    population,
    score_table,
    visible,
    write_scores,
)
from tests.serving.scores.invented import write_tiles

SMOOTH, FEATURED = index_of("smooth-or-featured_smooth"), index_of("smooth-or-featured_featured-or-disk")


def scored(count: int = 900, seed: int = 3) -> tuple[pa.Table, np.ndarray]:
    """Scores of galaxies whose featured fraction falls with magnitude, and what volunteers say of them."""
    random = np.random.default_rng(seed)
    magnitude = random.uniform(14, 18, count)
    bright = magnitude < 16
    truth = np.where(bright[:, None], population(count, 0.6, seed), population(count, 0.2, seed + 1))
    size, snr = np.full(count, 3.5), np.full(count, 250.0)
    table = score_table(
        model_answers(truth, visible(size, snr), seed + 2),
        mag_r=magnitude.astype("float32"),
        redshift=random.uniform(0.02, 0.1, count).astype("float32"),
        radius=(size * 1.3).astype("float32"),
        psf_fwhm=np.full(count, 1.3, "float32"),
        snr=snr.astype("float32"),
        flags=np.zeros(count, "int32"),
    )
    about = {"survey": "sdss", "model": "m", "weights": "0" * 32, "model_version": "0" * 12, "model_survey": "sdss"}
    return table.replace_schema_metadata({b"morph": json.dumps(about).encode()}), truth


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    table, truth = scored()
    return write_scores(tmp_path_factory.mktemp("scores") / "scores", table), truth


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    path = tmp_path_factory.mktemp("labelled") / "labelled.parquet"
    save_labelled(labelled(400), path)
    return path


def _bars(table: pa.Table) -> np.ndarray:
    return np.stack([table[f"bar_{answer}"].to_numpy() for answer in ("strong", "weak", "no")], axis=1)


def test_raw_fractions_are_means_of_probabilities_never_counts(scores, tmp_path):
    census = take_census(scores[0], tmp_path / "census")
    p = np.concatenate([pq.read_table(f)["smooth_or_featured_smooth"].to_numpy() for f in scores[0].glob("*.parquet")])
    row = census.rows[0][SMOOTH]
    bars = np.concatenate([_bars(pq.read_table(file)) for file in scores[0].glob("*.parquet")])
    counted = (bars.argmax(axis=1) == 0).mean()
    assert row.raw == pytest.approx(p.mean(), abs=1e-5)
    assert abs(census.rows[0][index_of("bar_strong")].raw - counted) > 0.01
    assert row.low < row.raw < row.high
    assert row.high - row.low == pytest.approx(2 * p.std() / np.sqrt(len(p)), rel=0.35)
    assert row.beyond is None
    assert "not-corrected" in row.flags
    assert row.count == 900


@pytest.fixture(scope="module")
def corrected(scores, known, tmp_path_factory):
    """A corrected census in two bins of magnitude, and its folder."""
    to = tmp_path_factory.mktemp("corrected") / "census"
    request = Request(by="magnitude", bins=["magnitude=14,16,18"], correct=str(known))
    return take_census(scores[0], to, request), to


def test_the_correction_brings_fractions_to_what_volunteers_say(scores, corrected):
    census, to = corrected
    bright = np.concatenate([pq.read_table(f)["mag_r"].to_numpy() for f in sorted(scores[0].glob("*.parquet"))]) < 16
    truth = tree_probabilities(scores[1])
    for rows, some in zip(census.rows[1:], (bright, ~bright), strict=True):
        row = rows[FEATURED]
        assert row.corrected == pytest.approx(truth[some, 1].mean(), abs=0.025)
        assert abs(row.corrected - truth[some, 1].mean()) < abs(row.raw - truth[some, 1].mean())
        assert row.corrected_low < row.corrected < row.corrected_high
        assert row.completeness > 0.7
        assert row.beyond is ("uncertain" in row.flags)
        hubble = [each.corrected for each in rows if each.index >= len(rows) - 14]
        assert sum(hubble) == pytest.approx(1, abs=1e-3)
    # Every file holds the same rows, with the provenance.
    assert sorted(file.name for file in to.iterdir()) == [
        "census.csv", "census.fits", "census.parquet", "hubble_sequence.png", "labelled.parquet", "report.html"
    ]  # fmt: skip
    table = pq.read_table(to / "census.parquet")
    about = json.loads(table.schema.metadata[b"morph"])
    assert (about["model_version"], about["tiles"], about["galaxies"]) == ("0" * 12, 2, 900)
    assert about["labelled"]["dataset"] == "invented"
    assert about["options"]["by"] == "magnitude"
    fits = Table.read(to / "census.fits")
    assert len(fits) == table.num_rows == 3 * len(census.rows[0])
    np.testing.assert_allclose(fits["corrected"], table["corrected"].to_numpy(), equal_nan=True)
    assert any("0" * 12 in line for line in fits.meta["HISTORY"])
    assert f"m {'0' * 12} {'0' * 32}" in (to / "census.csv").read_text().splitlines()[1]
    with Image.open(to / "hubble_sequence.png") as figure:
        assert "0" * 32 in figure.text["Description"]
    page = (to / "report.html").read_text()
    assert "Featured:" in page
    assert "simulated" in page
    # The labelled galaxies that it wrote serve the next census.
    again = take_census(scores[0], to, Request(correct=f"{to}/labelled.parquet"))
    assert again.rows[0][FEATURED].corrected == pytest.approx(census.rows[0][FEATURED].corrected, abs=1e-4)


def test_every_class_has_a_sentence_that_states_its_limit(corrected):
    said = corrected[0].sentences()
    assert len(said) == 62
    assert all("limit" in sentence or "certain enough" in sentence for sentence in said)


def test_weights_undo_a_limit_in_magnitude(tmp_path):
    """Two kinds of galaxies, of which the luminous ones are smooth, are half of a volume each."""
    from astropy.cosmology import Planck18

    random = np.random.default_rng(0)
    z = 0.2 * random.random(30_000) ** (1 / 3)
    smooth = random.random(len(z)) < 0.5
    magnitude = np.where(smooth, -22.0, -20.5) + Planck18.distmod(z).value
    seen = magnitude < 17.0
    truth = np.where(smooth[:, None], population(len(z), 0.02, 1), population(len(z), 0.95, 2))
    table = score_table(truth[seen], mag_r=magnitude[seen], redshift=z[seen])
    write_scores(tmp_path / "scores", table)
    plain = take_census(tmp_path / "scores", tmp_path / "plain").rows[0][SMOOTH]
    request = Request(weights="vmax", limit=17.0)
    weighted = take_census(tmp_path / "scores", tmp_path / "weighted", request)
    assert plain.raw > 0.7
    assert weighted.rows[0][SMOOTH].raw == pytest.approx(0.5, abs=0.04)
    assert weighted.rows[0][SMOOTH].effective < plain.effective
    assert any("1/Vmax" in note and "Planck18" in note for note in weighted.notes)


def test_redshifts_of_another_table_are_joined_by_id(scores, tmp_path):
    table, _ = scored()
    bare = write_scores(tmp_path / "scores", table.drop_columns("redshift"))
    with pytest.raises(Exception, match="no column 'redshift'; give --redshifts"):
        take_census(bare, tmp_path / "none", Request(by="redshift"))
    order = np.random.default_rng(0).permutation(len(table))[:800]
    pq.write_table(table.select(["id", "redshift"]).take(order), tmp_path / "z.parquet")
    request = Request(by="redshift", bins=["redshift=0:0.1:0.05"], redshifts=str(tmp_path / "z.parquet"))
    joined = take_census(bare, tmp_path / "joined", request)
    own = take_census(scores[0], tmp_path / "own", Request(by="redshift", bins=["redshift=0:0.1:0.05"]))
    assert joined.sums.count.sum() == 800
    assert joined.sums.unknown == 100
    assert any("100 galaxies are left out for no value to bin by" in note for note in joined.notes)
    assert joined.rows[1][SMOOTH].raw == pytest.approx(own.rows[1][SMOOTH].raw, abs=0.02)


def test_a_galaxy_that_is_there_many_times_counts_as_one_in_the_uncertainty(tmp_path):
    table, _ = scored(50)
    write_scores(tmp_path / "scores", pa.concat_tables([table] * 20))
    row = take_census(tmp_path / "scores", tmp_path / "census").rows[0][SMOOTH]
    once = take_census(write_scores(tmp_path / "one", table), tmp_path / "once").rows[0][SMOOTH]
    assert row.count == 1000
    assert row.effective == pytest.approx(50, rel=0.1)
    assert row.high - row.low == pytest.approx(once.high - once.low, rel=0.1)


def test_one_galaxy_is_flagged_and_none_is_a_sentence(scores, tmp_path, known):
    one = take_census(scores[0], tmp_path / "one", Request(where="id == 'g7'", correct=str(known)))
    row = one.rows[0][SMOOTH]
    assert (row.count, "few" in row.flags, np.isnan(row.low)) == (1, True, True)
    with pytest.raises(Exception, match=r"No galaxy of .* is left for a census"):
        take_census(scores[0], tmp_path / "none", Request(where="mag_r > 30"))
    assert not (tmp_path / "none").exists()


def test_scores_of_the_command_itself_are_read_and_flagged_galaxies_left_out(tmp_path):
    folder = write_tiles(tmp_path / "scores")
    census = take_census(folder, tmp_path / "census", Request(by="magnitude", bins=["magnitude=21,21.5,22.5"]))
    assert census.sums.count.sum() == 108
    assert census.sums.flagged == 12
    assert any("12 galaxies are left out for something wrong" in note for note in census.notes)
    assert any("calibrated on sdss and these are galaxies of des" in note for note in census.notes)
    assert any("simulated" in note for note in census.notes)
    assert any(examples for examples in census.sums.examples.values())


def test_dask_gives_the_same_census(scores, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        request = Request(by="magnitude", scheduler=cluster.scheduler_address)
        spread = take_census(scores[0], tmp_path / "spread", request)
    alone = take_census(scores[0], tmp_path / "alone", Request(by="magnitude"))
    np.testing.assert_allclose(spread.sums.classes, alone.sums.classes, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--weights", "vmax"], "needs --limit"),
        (["--weights", "volume"], "There are no weights 'volume'"),
        (["--weights", "vmax", "--limit", "17", "--cosmology", "Ptolemy"], "There is no cosmology 'Ptolemy'"),
        (["--by", "halo"], "no usual edges"),
        (["--by", "halo", "--bins", "halo=1,2"], "have no column 'halo'"),
        (["--where", "snr >"], "cannot be understood"),
        (["--correct", "nowhere"], "There are no labelled galaxies at 'nowhere'"),
        (["--redshifts", "nowhere.csv", "--by", "redshift"], "There is no catalogue at 'nowhere.csv'"),
        (["--scheduler", "tcp://127.0.0.1:9"], "There is no Dask scheduler"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(morph, scores, tmp_path, options, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("morph.analysis.census.census.PATIENCE", "0.2s")
    status, _, error = morph("census", scores[0], *options, "--to", tmp_path / "census")
    assert (status, words in error, error.count("\n")) == (2, True, 1), error
    assert not (tmp_path / "census").exists()


def test_labelled_galaxies_of_another_model_or_survey_are_refused(morph, tmp_path, known, scores):
    made = labelled(60)
    for name, about, words in (
        ("model", {**made.about, "weights": "f" * 32}, "a correction needs labelled galaxies that the same model"),
        ("survey", {**made.about, "survey": ["des"]}, "label galaxies of the scores' own survey"),
        ("old", {**made.about, "format": 0}, "written by another version"),
    ):
        path = tmp_path / f"{name}.parquet"
        save_labelled(type(made)(**{**vars(made), "about": about}), path)
        status, _, error = morph("census", scores[0], "--correct", path, "--to", tmp_path / "census")
        assert (status, words in error) == (2, True), error
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    _, _, error = morph("census", scores[0], "--correct", tmp_path / "other.parquet", "--to", tmp_path / "census")
    assert "does not hold the labelled galaxies of a census" in error
    _, _, error = morph("census", tmp_path / "other.parquet", "--to", tmp_path / "census")
    assert "these are not scores of morph" in error


def test_a_folder_with_something_else_is_not_replaced(morph, scores, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    _, _, error = morph("census", scores[0], "--to", tmp_path / "mine")
    assert "exists and is not a census" in error


def test_the_command_says_what_it_found(morph, scores, known, tmp_path):
    options = ("--by", "magnitude", "--bins", "magnitude=14,18", "--correct", known)
    status, out, _ = morph("census", scores[0], *options, "--to", tmp_path / "census")
    assert status == 0
    assert "Featured: " in out
    assert "900 galaxies in 1 bin" in out


def test_pictures_are_cut_from_the_tiles_that_were_scored(tile_folder, tmp_path):
    """The roundest galaxy is the one of the most flux, whose picture shows it in the middle."""
    p = population(3, 0.05, 0)
    p[:, ANSWERS.index("how-rounded_round")] = [0.2, 0.3, 0.9]
    places = {"x": [60.3, 120.0, 180.0], "y": [170.6, 120.0, 60.0], "radius": np.full(3, 1.5)}
    table = score_table(p, **places).set_column(1, "tile", pa.array(["DES0356-5248"] * 3))
    about = json.dumps({"survey": "des"}).encode()
    scores = write_scores(tmp_path / "scores", table.replace_schema_metadata({b"morph": about}), parts=1)
    without = take_census(scores, tmp_path / "without")
    assert not any(without.sums.examples.values())
    made = take_census(scores, tmp_path / "with", Request(tiles=[str(tile_folder)]))
    (best,) = made.sums.examples[index_of("hubble_e0")]
    assert best.id == "g2"
    pixels = np.asarray(Image.open(io.BytesIO(best.picture))).sum(axis=-1).astype(float)
    assert pixels.shape == (96, 96)
    assert np.unravel_index(pixels.argmax(), pixels.shape) == pytest.approx((48, 48), abs=6)
    away = score_table(p, **places).set_column(1, "tile", pa.array(["DES0000-0000"] * 3))
    missing = take_census(write_scores(tmp_path / "away", away), tmp_path / "none", Request(tiles=[str(tile_folder)]))
    assert any("DES0000-0000" in note and "not among --tiles" in note for note in missing.notes)
    with pytest.raises(Exception, match="nowhere"):
        take_census(scores, tmp_path / "no", Request(tiles=["nowhere"]))
