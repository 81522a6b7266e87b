"""The thin client: light to import, the same numbers for any number of galaxies, one sentence for any mistake."""

import socket
import subprocess
import sys

import numpy as np
import pytest

from morph.decision_tree import TREE
from morph.errors import InputError
from serving.client import MorphClient, ServerError


def test_the_client_imports_nothing_heavy():
    program = (
        "import sys, time; start = time.process_time(); import serving.client; spent = time.process_time() - start;"
        "heavy = {'tensorflow', 'tensorflow_serving', 'mlflow', 'keras', 'astropy', 'pyarrow', 'scipy', 'pandas'};"
        "print(spent, *sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert output[1:] == []
    assert float(output[0]) < 0.5


def test_large_sets_are_split_and_joined_in_order(server, classifier, flux):
    images = np.concatenate([flux, flux[::-1], flux])
    with MorphClient(server.address, batch_size=4) as client:
        answers = client.classify(images, outputs=["embedding", "anomaly"])
    assert set(answers) == {"embedding", "anomaly"}
    np.testing.assert_allclose(answers["embedding"], classifier.answer(images)["embedding"], rtol=1e-5, atol=1e-5)


def test_no_galaxies_give_empty_answers_of_the_right_shape(client, flux):
    answers = client.classify(flux[:0])
    assert answers["probabilities"].shape == (0, len(TREE.columns))
    assert answers["anomaly"].dtype == bool


def test_float64_flux_is_taken(client, flux):
    np.testing.assert_array_equal(
        client.classify(flux.astype(float))["probabilities"], client.classify(flux)["probabilities"]
    )


def test_the_reconstruction_has_the_shape_and_units_of_the_flux(client, classifier, flux):
    np.testing.assert_allclose(client.reconstruct(flux), classifier.reconstruct_images(flux), rtol=1e-5, atol=1e-5)


def test_galaxies_are_restored_in_messages_of_any_length(server, classifier, flux):
    expected = classifier.restore(flux, np.full(6, 3.6, "float32"), np.float32([2, 2.4, 2, 3, 2, 2]))
    with MorphClient(server.address, batch_size=4) as client:
        found = client.restore(flux, psf_fwhm=3.6, target_fwhm=[2, 2.4, 2, 3, 2, 2])
    assert list(found) == ["restored", "sigma", "prior_fraction", "shape_error", "chi_square"]
    for name, values in found.items():
        np.testing.assert_allclose(values, np.asarray(expected[name]), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(np.isnan(found["restored"]), np.isnan(flux))
    np.testing.assert_array_equal(np.isinf(found["sigma"]), np.isnan(flux))


def test_without_widths_the_noise_alone_is_taken_away(client, classifier, flux):
    nothing = np.full(6, np.nan, "float32")
    expected = np.asarray(classifier.restore(flux, nothing, nothing)["restored"])
    np.testing.assert_allclose(client.restore(flux)["restored"], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("psf", "target", "problem"),
    [
        (3.6, 1.2, "narrower than the pixels bear"),
        (3.6, 4.0, "at most psf_fwhm"),
        (None, 2.0, "at most psf_fwhm"),
        (0.0, None, "above 0"),
        ([3.6, 3.0], None, "2 values of psf_fwhm and more images"),
        ([3.6] * 6, [2.0] * 5, "one number for all images"),
    ],
)
def test_widths_that_pixels_do_not_bear_are_refused(client, flux, psf, target, problem):
    with pytest.raises(InputError, match=problem):
        client.restore(flux, psf, target)


def test_files_are_not_sharpened_by_widths_in_pixels(client, tmp_path):
    with pytest.raises(InputError, match="Files are cut"):
        client.restore(str(tmp_path / "a.fits"), psf_fwhm=3.6)


def test_probabilities_are_named_by_the_servers_own_tree(client, composites):
    probabilities = client.classify(composites)["probabilities"]
    named = client.named(probabilities)
    assert len(named) == len(composites)
    assert list(named[0]) == [question.name for question in TREE]
    np.testing.assert_allclose(named[2]["bar"]["weak"], probabilities[2, TREE.columns.index("bar_weak")])
    assert all(sum(answers.values()) == pytest.approx(1, abs=1e-5) for answers in named[0].values())


def test_the_versions_that_answer_are_reported(client):
    assert client.available_versions() == [3]


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (np.zeros((64, 64), "float32"), r"shape \(64, 64\) are not a batch"),
        ([np.zeros((64, 64, 3), "float32"), np.zeros((3, 64, 64), "float32")], r"shape \(3, 64, 64\) are not a batch"),
        (np.zeros((2, 64, 64, 1), "float32"), "are not a batch"),
        (np.zeros((2, 64, 64, 3), "int64"), "neither composites"),
    ],
)
def test_images_of_a_wrong_shape_are_refused_before_they_are_sent(images, problem):
    with pytest.raises(InputError, match=problem):
        MorphClient("127.0.0.1:1").classify(images)


def test_a_composite_cannot_be_reconstructed_or_restored(client, composites):
    for method in (client.reconstruct, client.restore):
        with pytest.raises(InputError, match="needs flux"):
            method(composites)


def test_the_servers_sentence_reaches_the_user(client, flux):
    with pytest.raises(ServerError, match=r"image has shape \(6, 32, 32, 3\) float32; signature") as caught:
        client.classify(flux[:, :32, :32])
    assert caught.value.status == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("options", "problem", "status"),
    [
        ({"model": "other"}, "has no model 'other'", "NOT_FOUND"),
        ({"version": 9}, "has no model 'morph' in version 9", "NOT_FOUND"),
        ({"timeout": 1e-4}, "did not answer within 0.0001 s", "DEADLINE_EXCEEDED"),
    ],
)
def test_what_the_server_cannot_do_is_one_sentence(server, flux, options, problem, status):
    with MorphClient(server.address, **options) as client, pytest.raises(ServerError, match=problem) as caught:
        client.classify(flux)
    assert caught.value.status == status


def test_a_server_that_is_not_there_is_one_sentence():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with MorphClient(address) as client, pytest.raises(ServerError) as caught:
            client.describe()
    assert str(caught.value) == f"No server answers at {address}; start one with `morph serve DIR`."


@pytest.mark.parametrize("address", ["8500", "localhost", "localhost:http", ""])
def test_what_is_not_a_address_is_one_sentence(address):
    with pytest.raises(InputError, match="not a server's address; write HOST:PORT"):
        MorphClient(address)
