"""Whatever is known of galaxies in, whatever is not out."""

import json

import numpy as np
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from click.testing import CliRunner

from morph.catalogs.table_files import SUFFIXES, write_table
from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.decision_tree import ANSWER_COLUMNS, ANSWERS, TREE, column_name
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.votes import empty_votes, set_votes
from training.cli.predict import command
from training.prediction import output
from training.prediction.predict import MODALITIES, choose, described, known, parse, predict

N = 10
#: The galaxy of which only its image and its name are known.
BARE = 3


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Galaxies:
    """Ten simulated galaxies as flux, with votes, magnitudes, radius and redshift; one of them has an image only."""
    path = tmp_path_factory.mktemp("data") / "measured"
    random = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] - 47.5
    with GalaxiesWriter(path, "flux", about={"simulated": True}) as writer:
        for i in range(N):
            light = np.exp(-np.hypot(x, y * (1 + i % 3)) / 8)[..., None] * np.array([0.5, 1, 1.4])
            image = (light + random.normal(0, 0.02, light.shape)).astype("float32")
            votes = set_votes(empty_votes(), {"smooth-or-featured_smooth": 30, "smooth-or-featured_artifact": 2})
            properties = {"mag_g": 18.5 + i / 9, "mag_r": 17.9, "mag_i": 17.6, "radius": 2.5, "redshift": 0.1 + i / 99}
            if i == BARE:
                votes, properties = empty_votes(), {"mag_g": 18.0}
            writer.add(Galaxy(f"galaxy-{i}", "des", image, votes, properties=properties))
    return Galaxies.open(path)


@pytest.fixture(scope="module")
def weights(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.keras"
    classifier.save(path)
    return path


@pytest.fixture(scope="module")
def everything(classifier, measured):
    """All but the votes, predicted from the votes, with the image."""
    return predict(classifier, measured, ["votes"], ["image", "photometry", "radius", "redshift"], draws=200)


def invoke(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments)])


def test_redshifts_are_written_for_rail_too(weights, measured, tmp_path):
    import qp

    dataset = measured.about["path"]
    words = (weights, dataset, "--given", "image", "--to", tmp_path / "photoz.csv", "--qp", tmp_path / "photoz.hdf5")
    done = invoke(*words, "--infer", "redshift", "--draws", "100")
    assert done.exit_code == 0, done.output
    assert "photoz.hdf5" in done.output
    assert qp.read(str(tmp_path / "photoz.hdf5")).npdf == N
    refused = invoke(*words, "--infer", "radius")
    assert "add redshift to --infer" in str(refused.exception)


@pytest.mark.parametrize("given", MODALITIES)
def test_any_modality_gives_every_other(classifier, measured, given):
    shapes = {
        "image": (N, classifier.size, classifier.size, 3),
        "votes": (N, len(ANSWERS)),
        "photometry": (N, 40, 3),
        "radius": (N, 40),
        "redshift": (N, 40),
    }
    others = [name for name in MODALITIES if name != given]
    predicted = predict(classifier, measured, [given], others, draws=40)
    assert {name: values.shape for name, values in predicted.values.items()} == {n: shapes[n] for n in others}
    assert all(np.isfinite(values).all() for values in predicted.values.values())


def test_the_names_are_those_of_the_model():
    from morph.model import experts

    assert tuple(MODALITIES) == tuple(experts.MODALITIES)


def test_the_same_seed_draws_the_same(classifier, measured):
    first, again, other = (
        predict(classifier, measured, ["radius"], ["redshift"], draws=20, seed=seed).values["redshift"]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_galaxy_with_nothing_given_has_the_priors_predictions(classifier, measured, everything):
    assert list(np.flatnonzero(everything.from_prior)) == [BARE]
    assert described(everything.used)[BARE] == "prior"
    # Whichever modality is missing, the prior is the same.
    drawn = [
        predict(classifier, measured, [name], ["image"], draws=20).values["image"][BARE]
        for name in ("votes", "redshift")
    ]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-4)


def test_a_galaxy_that_lacks_some_goes_on_with_the_rest(classifier, measured):
    both = predict(classifier, measured, ["image", "votes"], ["redshift"], draws=20)
    alone = predict(classifier, measured, ["image"], ["redshift"], draws=20)
    assert described(both.used)[BARE] == "image"
    assert not both.from_prior.any()
    np.testing.assert_allclose(both.values["redshift"][BARE], alone.values["redshift"][BARE], rtol=1e-3)


def test_magnitudes_in_one_band_alone_are_not_photometry(measured):
    assert not known(measured, "photometry")[BARE]
    assert known(measured, "photometry").sum() == N - 1


def test_a_posterior_is_ninety_nine_quantiles_that_the_column_explains(everything):
    table = output.table(everything, {"made_by": "a test"})
    field = table.schema.field("redshift_quantiles")
    assert np.allclose(json.loads(field.metadata[b"levels"]), np.arange(1, 100) / 100)
    quantiles = np.array(table["redshift_quantiles"].to_pylist())
    assert quantiles.shape == (N, 99)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_allclose(table["redshift_median"].to_numpy(), quantiles[:, 49], rtol=1e-5)
    assert table.schema.field("radius_low").metadata[b"unit"] == b"arcsec"
    assert table.schema.field("mag_g_median").metadata[b"unit"] == b"mag"


def test_votes_are_probabilities_that_sum_to_one(classifier, measured):
    table = output.table(predict(classifier, measured, ["image"], ["votes"], draws=20), {"made_by": "a test"})
    for question in TREE:
        total = sum(table[column].to_numpy() for column in map(column_name, question.columns))
        np.testing.assert_allclose(total, 1, rtol=1e-5)
    assert json.loads(table.schema.field("concentration").metadata[b"order"]) == list(ANSWER_COLUMNS)


def test_fits_and_csv_hold_what_parquet_holds(everything, tmp_path):
    table = output.table(everything, {"made_by": "a test"})
    for suffix in SUFFIXES:
        write_table(table, tmp_path / f"all{suffix}")
    quantiles = np.array(pq.read_table(tmp_path / "all.parquet")["redshift_quantiles"].to_pylist())
    fits, flat = Table.read(tmp_path / "all.fits"), csv.read_csv(tmp_path / "all.csv")
    np.testing.assert_allclose(fits["redshift_quantiles"], quantiles, rtol=1e-6)
    assert str(fits["radius_median"].unit) == "arcsec"
    assert list(fits["id"]) == flat["id"].to_pylist() == list(everything.ids)
    np.testing.assert_allclose(flat["redshift_quantiles_0.01"].to_numpy(), quantiles[:, 0], rtol=1e-4)


def test_the_verb_writes_a_catalogue_and_says_how_good_it_is(weights, measured, tmp_path):
    to = tmp_path / "photoz.parquet"
    done = invoke(weights, measured.about["path"], "--given", "photometry,radius", "--infer", "redshift", "--to", to)
    assert done.exit_code == 0, done.output
    assert "simulated" in done.output
    assert "σ_MAD" in done.output
    assert "1 of 10 galaxies: nothing that is given" in done.output
    table = pq.read_table(to)
    assert table["predicted_from"].to_pylist().count("prior") == 1
    assert json.loads(table.schema.metadata[b"morph"])["simulated"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["photoz.parquet"]


def test_predicted_images_come_as_stamps_and_as_a_sheet(weights, measured, classifier, tmp_path):
    to = tmp_path / "drawn.parquet"
    done = invoke(weights, measured.about["path"], "--given", "votes,photometry", "--infer", "image", "--to", to)
    assert done.exit_code == 0, done.output
    assert np.load(tmp_path / "drawn_images.npy").shape == (N, classifier.size, classifier.size, 3)
    assert (tmp_path / "drawn_images.png").stat().st_size > 10_000
    assert "raw or debiased" not in done.output, "votes that state no kind are not compared"


def test_debiased_votes_given_to_a_model_of_raw_ones_are_reported(classifier, measured, tmp_path):
    measured.with_votes(measured.votes, "debiased").write(tmp_path / "debiased")
    known_to_be_raw = Classifier.from_config({**classifier.get_config(), "about": {"votes": "raw"}})
    known_to_be_raw.save(tmp_path / "raw.keras")
    words = ("--given", "votes", "--infer", "radius", "--to", tmp_path / "radius.csv")
    done = invoke(tmp_path / "raw.keras", tmp_path / "debiased", *words)
    assert "answers are raw and the votes of this dataset are debiased: the two differ" in done.output


def test_left_to_itself_it_predicts_from_all_that_is_not_asked_for(measured):
    assert choose(measured, None, ["redshift"]) == ("image", "votes", "photometry", "radius")


@pytest.mark.parametrize(
    ("given", "infer", "complaint"),
    [
        ("image,shape", "redshift", "'shape'"),
        ("image", "colour", "'colour'"),
        ("", "redshift", "No modality"),
        ("image,redshift", "redshift", "given and asked for at once"),
    ],
)
def test_modalities_that_make_no_sense_are_bad_input(measured, given, infer, complaint):
    with pytest.raises(InputError, match=complaint):
        choose(measured, parse(given), parse(infer))


def test_a_modality_that_no_galaxy_has_is_bad_input(sample):
    with pytest.raises(InputError, match=r"no redshift for any of its 48 galaxies.*give image and votes instead"):
        choose(sample, ["image", "redshift"], ["photometry"])
    with pytest.raises(InputError, match="ask for less"):
        choose(sample, None, ["image", "votes"])


@pytest.mark.parametrize(("name", "complaint"), [("out.xls", "ending in"), ("missing/out.fits", "does not exist")])
def test_a_catalogue_that_cannot_be_written_is_reported_first(tmp_path, name, complaint):
    done = invoke("no-model.keras", "no-such-set", "--infer", "redshift", "--to", tmp_path / name)
    assert isinstance(done.exception, InputError)
    assert complaint in str(done.exception)


def test_the_similarity_vector_follows_from_the_image(measured, weights, classifier, tmp_path):
    result = invoke(
        weights, measured.about["path"], "--given", "image", "--infer", "similarity", "--to", tmp_path / "a.parquet"
    )
    assert result.exit_code == 0, result.output
    found = pq.read_table(tmp_path / "a.parquet")["similarity"]
    expected = classifier.answer(measured.images)["similarity"]
    np.testing.assert_allclose(np.array(found.to_pylist()), expected, atol=1e-5)
    with pytest.raises(InputError, match="computed from the image; give the image"):
        choose(measured, ["votes"], ["similarity"])
