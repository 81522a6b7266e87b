"""Labelled galaxies, scored by the shipped model: which count, and their degraded copies."""

import numpy as np
import pytest

from morph.analysis.census.classes import index_of
from morph.analysis.census.labelled import COPIES, open_labelled, save_labelled
from morph.analysis.census.rows import Scores
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.model.store import load_model
from morph.stamps.stretch import to_composite
from morph.votes import empty_votes, set_votes
from tests.serving.scores.invented import write_tiles

FEATURED = index_of("smooth-or-featured_featured-or-disk")


def write_disks(path, kind: str = "flux", count: int = 60, survey: str = "des") -> None:
    """Disks with and without arms, and one in ten without votes."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:96, :96] - 47.5
    away, angle = np.hypot(x, y), np.arctan2(y, x)
    with GalaxiesWriter(path, kind) as writer:
        for i in range(count):
            arms = 0.8 * (i % 2) * np.cos(2 * angle - away / 4)
            light = (np.exp(-away / 6.9) * (1 + arms))[..., None] * [0.7, 1, 1.3]
            image = 20 * light + random.normal(0, 0.05, (96, 96, 3))
            if kind == "composite":
                image = to_composite(image, 20.0, 10.0)
            featured = 30.0 if i % 2 else 5.0
            votes = {"smooth-or-featured_smooth": 40 - featured, "smooth-or-featured_featured-or-disk": featured}
            writer.add(
                Galaxy(
                    f"disk-{i}",
                    survey,
                    image.astype("float32" if kind == "flux" else "uint8"),
                    set_votes(empty_votes(), votes) if i % 10 else empty_votes(),
                    properties={"pixel_scale": 0.281} if kind == "flux" else {},
                    vote_kind="raw",
                )
            )


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> Scores:
    return Scores.open(write_tiles(tmp_path_factory.mktemp("scores") / "scores", tiles=1))


@pytest.fixture(scope="module")
def shipped():
    return load_model("models:/morph@sdss")


@pytest.fixture(autouse=True)
def loaded_once(shipped, monkeypatch):
    """The model takes longer to load than to answer."""
    monkeypatch.setattr("morph.model.store.load_model", lambda name: shipped)


def test_galaxies_with_votes_are_scored_and_so_are_copies_that_are_seen_worse(tmp_path, scores):
    write_disks(tmp_path / "disks")
    made, notes = open_labelled(tmp_path / "disks", "models:/morph@sdss", scores)
    assert made.galaxies == 54
    assert len(made.galaxy) == 54 * (COPIES + 1)
    own, copies = made.copy == 0, made.copy > 0
    assert made.size[copies].mean() < made.size[own].mean()
    assert np.median(made.snr[copies]) < np.median(made.snr[own])
    # The truth stays that of the galaxy as volunteers saw it.
    np.testing.assert_allclose(np.unique(made.truth[:, FEATURED].round(3)), [0.125, 0.75])
    assert ((made.answers[:, :3].sum(axis=1) - 1) ** 2).max() < 1e-6
    assert any("taken on trust" in note for note in notes)
    assert any("6 galaxies" in note and "have no votes" in note for note in notes)
    save_labelled(made, tmp_path / "labelled.parquet")
    again, _ = open_labelled(tmp_path / "labelled.parquet", "", scores)
    np.testing.assert_allclose(again.answers, made.answers, atol=1e-6)
    assert again.about == made.about


def test_what_cannot_be_corrected_with_is_refused(tmp_path, scores):
    write_disks(tmp_path / "few", count=20)
    with pytest.raises(InputError, match="needs --model, the model that made the scores"):
        open_labelled(tmp_path / "few", "", scores)
    with pytest.raises(InputError, match=r"has 18 labelled galaxies that .* a correction needs at least 50"):
        open_labelled(tmp_path / "few", "models:/morph@sdss", scores)
    write_disks(tmp_path / "sdss", survey="sdss")
    with pytest.raises(InputError, match="are of sdss and the scores of des"):
        open_labelled(tmp_path / "sdss", "models:/morph@sdss", scores)


def test_pictures_of_unknown_size_count_as_usual_and_not_all_of_many_are_used_which_is_said(
    tmp_path, scores, monkeypatch
):
    write_disks(tmp_path / "pictures", "composite")
    monkeypatch.setattr("morph.analysis.census.labelled.MOST", 52)
    monkeypatch.setattr("morph.analysis.census.labelled.COPIES", 1)
    made, notes = open_labelled(tmp_path / "pictures", "models:/morph@sdss", scores)
    assert made.galaxies == 52
    assert "52 of 54 labelled galaxies are used." in notes
    assert np.isfinite(made.size).all()
    assert any("does not say how large its galaxies are on the sky" in note for note in notes)
