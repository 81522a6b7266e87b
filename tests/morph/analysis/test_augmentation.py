"""A bright spectroscopic set is filled with samples where the photometric galaxies are, and nowhere else."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from morph.analysis.augmentation import cells, run
from morph.analysis.augmentation.cells import Cells
from morph.analysis.augmentation.run import augment
from morph.analysis.augmentation.sets import Sets
from morph.analysis.augmentation.support import Support
from morph.analysis.augmentation.trend import Trend
from morph.dataset import Galaxies, tables_of
from morph.errors import InputError
from morph.model.experts import MEASUREMENTS
from morph.registry import SHIPPED_NAME
from morph.simulation.sample import simulate_galaxies

#: Two cells of three and five photometric galaxies, of which the first has two spectroscopic ones.
PLACES = np.array([[0, 0, 0], [1, 0, 0]])
CELLS = Cells(np.repeat([0, 1], [3, 5]), np.array([0, 0, -1]), np.array([3, 5]), np.array([2, 0]), PLACES)


def test_a_cell_is_filled_to_its_share():
    assert CELLS.wanted().tolist() == [0, 3], "as dense as where spectra are common: 2 of 3"
    assert CELLS.wanted(8).tolist() == [2, 6]
    assert CELLS.wanted(1).tolist() == [0, 1]
    few = Cells(np.array([0, 1]), np.array([0]), np.array([3, 2]), np.array([1, 0]), PLACES)
    assert few.wanted(10).tolist() == [10, 0], "nothing where there are next to no photometric galaxies"
    none = Cells(np.array([0, 1]), np.array([0]), np.array([1, 1]), np.array([1, 0]), PLACES)
    assert none.wanted(10).tolist() == none.wanted().tolist() == [0, 0]


def test_weights_restore_the_photometric_distribution():
    weights = CELLS.weights(np.array([1, 1, 1, 0]))
    assert weights.mean() == pytest.approx(1)
    assert weights[2] == 0, "outside"
    of = np.array([0, 0, -1, 1, 1, 1, 0])
    assert weights[of == 0].sum() / weights.sum() == pytest.approx(3 / 8)


def test_redshifts_follow_the_trend_beyond_the_spectra():
    """Those of galaxies that are up to two magnitudes fainter than any with a spectrum, and scatter as those do."""
    random = np.random.default_rng(0)
    r = random.uniform(15, 19.5, 3000)
    late = random.uniform(0, 0.3, 3000)
    redshift = 0.085 * 10 ** (0.17 * (r - 17)) * np.exp(0.2 * random.standard_normal(3000))
    radius = np.where(random.random(3000) < 0.1, np.nan, 10 ** (0.46 - 0.13 * (r - 17)))
    empty = {"id": r.astype(str), "mag_g": r + 0.8 - late, "mag_r": r, "mag_i": r - 0.4, "radius": radius}
    galaxies = Galaxies({}, {**empty, "redshift": redshift, "pixel_scale": r})
    bright, faint = galaxies.select(r < 17.5), galaxies.select(r > 18.5)
    found = Trend(bright).draw(faint, random)
    excess = np.log(found / (0.085 * 10 ** (0.17 * (faint.properties["mag_r"] - 17))))
    assert excess.mean() == pytest.approx(0, abs=0.1)
    assert excess.std() == pytest.approx(0.2, abs=0.04)
    with pytest.raises(InputError, match="9 galaxies have a redshift above 0"):
        Trend(bright.select(np.arange(9)))


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Simulated DES galaxies, and the bright half of half of them with redshifts."""
    folder = tmp_path_factory.mktemp("photoz")
    simulate_galaxies(folder / "survey", 120, survey="des", seed=5, processes=1, size=96)
    survey = Galaxies.open(folder / "survey")
    bright = survey.properties["mag_r"] < np.median(survey.properties["mag_r"])
    bright[::2] = False
    bright[1] = True
    survey.select(np.flatnonzero(bright)).write(folder / "bright")
    return folder


@pytest.fixture
def small(monkeypatch):
    """Cells for few galaxies, batches of few, and a small population."""
    monkeypatch.setattr(cells, "CELL", (1.0, 0.3, 0.3))
    monkeypatch.setattr(run, "BATCH", 16)
    monkeypatch.setattr("morph.simulation.sampling.population.SIZE", 200)


@pytest.fixture
def drawn(monkeypatch):
    """The batches that are drawn; the machine stops once before the second."""
    batch, numbers = run.Sampler.batch, []

    def stops(sampler, seed, number, *rest):
        numbers.append(number)
        if numbers == [0, 1]:
            raise OSError("the machine stops")
        return batch(sampler, seed, number, *rest)

    monkeypatch.setattr(run.Sampler, "batch", stops)
    return numbers


@pytest.mark.slow
def test_a_bright_set_is_filled_by_a_run_that_stopped(sets, small, drawn, morph):
    survey, bright = (Galaxies.open(sets / name) for name in ("survey", "bright"))
    with pytest.raises(OSError, match="machine"):
        augment(SHIPPED_NAME, sets / "bright", sets / "survey", sets / "train", seed=2)
    assert not (sets / "train").exists()
    (part,) = (sets / ".train.sampling").glob("part-*")
    before = pq.read_table(part)
    before = before.filter(before["alike"])["id"].to_pylist()
    command = ("photoz", "augment", sets / "bright", "--photometric", sets / "survey", "--seed", "2")
    status, output, errors = morph(*command, "--to", sets / "train", "--figure", sets / "nz.png")
    assert (status, errors) == (0, "")
    assert drawn[2] == 1, "not the first again"
    assert not list(sets.glob(".train*"))
    train = Galaxies.open(sets / "train")
    rows = list(tables_of(sets / "train", 1000))
    provenance = np.concatenate([table["provenance"].to_numpy(zero_copy_only=False) for table in rows])
    weight = np.concatenate([table["weight"].to_numpy() for table in rows])
    sampled = provenance == "sampled"
    said = f"{len(bright)} spectroscopic galaxies and {sampled.sum()} sampled ones, {len(before)} of them drawn before"
    assert said in output
    assert sampled.sum() > 20
    assert train.ids[sampled][: len(before)].tolist() == before
    assert train.ids[~sampled].tolist() == bright.ids.tolist()
    np.testing.assert_array_equal(train.images[~sampled], bright.images)
    np.testing.assert_array_equal(train.properties["redshift"][~sampled], bright.properties["redshift"])
    # Each has the magnitudes and the radius of a photometric galaxy, and a redshift that nobody gave.
    there = {tuple(row) for row in np.stack([survey.properties[name] for name in MEASUREMENTS[:4]], 1).tolist()}
    measured = np.stack([train.properties[name] for name in MEASUREMENTS[:4]], 1)[sampled]
    assert all(tuple(row) in there for row in measured.tolist())
    redshifts = train.properties["redshift"][sampled]
    assert ((redshifts > 0) & (redshifts < 1)).all()
    unread = np.setdiff1d(survey.properties["redshift"], bright.properties["redshift"])
    assert not np.isin(redshifts, unread).any()
    # With their weights, the faint count as they do among the photometric galaxies that cells can hold.
    faint = train.properties["mag_r"] > 18
    share = (survey.properties["mag_r"] > 18).mean()
    assert (weight * faint).sum() / weight.sum() == pytest.approx(share, abs=0.12)
    assert (~faint[~sampled]).mean() > 1 - share + 0.1
    (simulated,) = {table.schema.field("simulated").type for table in rows}
    assert simulated == "bool"
    assert train.about["photometric"] == "survey"
    assert Image.open(sets / "nz.png").width > 800


@pytest.mark.slow
def test_what_cannot_be_filled_is_refused(sets, tmp_path):
    given = {"model": SHIPPED_NAME, "path": tmp_path / "train"}
    with pytest.raises(InputError, match="at least 1"):
        augment(spectroscopic=sets / "bright", photometric=sets / "survey", number=0, **given)
    Galaxies.open(sets / "survey").select(np.arange(2)).write(tmp_path / "two")
    with pytest.raises(InputError, match="No cell of magnitude and colour has 3 galaxies"):
        augment(spectroscopic=sets / "bright", photometric=tmp_path / "two", **given)
    with pytest.raises(InputError, match=r"has its share of .* already; give --number"):
        augment(spectroscopic=sets / "survey", photometric=sets / "survey", **given)
    blind = Galaxies.open(sets / "bright")
    unknown = np.full(len(blind), np.nan, "float32")
    blind.with_columns(redshift=unknown).write(tmp_path / "blind")
    with pytest.raises(InputError, match="no galaxy with a redshift and magnitudes"):
        augment(spectroscopic=tmp_path / "blind", photometric=sets / "survey", **given)
    blind.with_columns(mag_g=unknown).write(tmp_path / "colourless")
    with pytest.raises(InputError, match=r"'.*colourless' has no galaxy with magnitudes"):
        augment(spectroscopic=sets / "bright", photometric=tmp_path / "colourless", **given)
    other = blind.with_columns(survey=np.full(len(blind), "sdss"))
    other.write(tmp_path / "sdss")
    with pytest.raises(InputError, match=r"is of sdss and .* of des"):
        augment(spectroscopic=tmp_path / "sdss", photometric=sets / "survey", **given)
    pictures = blind.with_columns(image=np.zeros((len(blind), 96, 96, 3), "uint8"))
    pictures.about["kind"] = "composite"
    pictures.write(tmp_path / "pictures")
    with pytest.raises(InputError, match="holds pictures"):
        augment(spectroscopic=tmp_path / "pictures", photometric=sets / "survey", **given)
    assert not (tmp_path / "train").exists()


@pytest.mark.slow
def test_an_image_like_no_photometric_galaxy_is_outside(sets):
    from morph.model.store import load_model

    survey = Galaxies.open(sets / "survey")
    some = list(Sets.open(sets / "bright", sets / "survey").images(60, np.random.default_rng(0)))
    assert sum(map(len, some)) == 60
    support = Support(load_model(SHIPPED_NAME), some)
    assert support.contains(np.concatenate(some)).mean() > 0.95
    blank = np.full_like(survey.images[:3], np.nan)
    assert not support.contains(blank).any()
    assert Support(support.classifier, [blank, some[0]]).reach == pytest.approx(support.reach, rel=0.3)
    streaks = np.zeros((4, 96, 96, 3), "float32") + np.random.default_rng(0).normal(size=(4, 96, 96, 3)) * 0.1
    streaks[:, 46:50] += 50
    streaks[:, :, 20:24] += 50
    assert not support.contains(streaks.astype("float32")).any()
