"""Sampled galaxies over the wire."""

import asyncio

import numpy as np
import pytest

from morph.errors import InputError
from morph.model.conditions import CONDITIONS, encode_conditions
from morph.model.sampling import sample
from serving.client import AsyncMorphClient
from serving.client.samples import sample_inputs


def test_a_seed_gives_the_same_galaxies_from_both_clients(client, server, classifier):
    found = client.sample(5, "mag_r=18, redshift=0.1..0.2", survey="sdss", seed=4)
    assert found["image"].shape == (5, 64, 64, 3)
    inputs = sample_inputs(client.describe(), 5, "mag_r=18, redshift=0.1..0.2", "sdss", 4)
    expected = sample(classifier, inputs["noise"], inputs["conditions"])["image"]
    np.testing.assert_allclose(found["image"], expected, rtol=1e-4, atol=1e-6)
    assert np.isnan(found["radius"]).all()
    assert ((found["redshift"] >= 0.1) & (found["redshift"] <= 0.2)).all()

    async def ask():
        async with AsyncMorphClient(server.address) as other:
            return await other.sample(5, {"mag_r": 18, "redshift": (0.1, 0.2)}, survey="SDSS", seed=4)

    again = asyncio.run(ask())
    np.testing.assert_allclose(again["image"], found["image"], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(again["redshift"], found["redshift"])
    assert not np.allclose(client.sample(5, seed=5)["image"], client.sample(5, seed=6)["image"])


def test_a_galaxy_is_drawn_with_detail_and_without(client, classifier):
    plain, detail, usual = (client.sample(2, seed=4, decoder=each)["image"] for each in ("plain", "detail", None))
    np.testing.assert_array_equal(detail, usual)
    inputs = sample_inputs(client.describe(), 2, None, None, 4)
    expected = sample(classifier, inputs["noise"][:, :64], inputs["conditions"])["image"]
    np.testing.assert_allclose(plain, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(detail - plain).max() > 1e-3 * plain.max()


def test_more_galaxies_than_a_message_holds_come_in_several(client, monkeypatch):
    whole = client.sample(7, seed=1)["image"]
    monkeypatch.setattr(client._protocol, "batch_size", 3)
    np.testing.assert_allclose(client.sample(7, seed=1)["image"], whole, rtol=1e-4, atol=1e-6)


def test_where_the_server_takes_fewer_the_messages_are_smaller(client, monkeypatch):
    monkeypatch.setattr(client._protocol, "batch_size", 500)
    assert len(client.sample(300, seed=1)["image"]) == 300
    assert client._protocol.batch_size == 128


def test_the_conditions_are_those_of_the_model(client):
    inputs = sample_inputs(client.describe(), 3, "mag_r=18", "des", 0)
    measured = np.array([[np.nan, 18.0, np.nan, np.nan, np.nan]] * 3)
    expected = encode_conditions(3, measurements=measured, surveys=["des"] * 3, kind="flux")
    np.testing.assert_array_equal(inputs["conditions"], expected)
    assert inputs["conditions"].shape == (3, len(CONDITIONS))


def test_what_cannot_be_sampled_is_one_sentence(client):
    for arguments, said in (
        ((0,), "at least 1"),
        ((1, "size=3"), "is not a condition"),
        ((1, None, "lsst"), "no samples of 'lsst'; use sdss or des"),
    ):
        n, given, survey = (*arguments, None, None)[:3]
        with pytest.raises(InputError, match=said):
            client.sample(n, given, survey=survey)
    with pytest.raises(InputError, match="no decoder 'sharp'; use plain or detail"):
        client.sample(1, decoder="sharp")
    without = {**client.describe()["sampling"], "detail_noise": 0}
    with pytest.raises(InputError, match=r"no decoder 'detail'; use plain\."):
        sample_inputs({**client.describe(), "sampling": without}, 1, None, None, 0, "detail")
    description = {**client.describe(), "sampling": None}
    with pytest.raises(InputError, match="cannot sample"):
        sample_inputs(description, 1, None, None, 0)
