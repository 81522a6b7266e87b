import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.votes import empty_votes
from training.fitting.injected import KINDS, RADIUS, inject

SIZE = 96
OFFSET = np.arange(SIZE) - (SIZE - 1) / 2
DISTANCE = np.hypot(OFFSET[:, None], OFFSET[None, :]) / RADIUS


@pytest.fixture(scope="module", params=["flux", "composite"])
def disks(request, tmp_path_factory) -> Galaxies:
    """Round disks on a noisy sky."""
    random = np.random.default_rng(0)
    with GalaxiesWriter(tmp_path_factory.mktemp("data") / "disks", request.param) as writer:
        for i in range(12):
            light = np.exp(-1.68 * DISTANCE)[..., None] * np.array([0.8, 1.0, 1.2])
            image = light + random.normal(0, 0.01, (SIZE, SIZE, 3))
            if request.param == "composite":
                image = np.clip(200 * image + 10, 0, 255)
            writer.add(Galaxy(f"disk-{i}", "sdss", image, empty_votes(), properties={"pixel_scale": 0.4}))
    return Galaxies.open(writer.path)


def changed(disks: Galaxies, kind: str) -> np.ndarray:
    """Which pixels the anomaly changed: bool [n, s, s, 3]."""
    images = inject(disks, kind, seed=3)
    assert images.dtype == disks.images.dtype
    assert images.shape == disks.images.shape
    return ~((images == disks.images) | (np.isnan(images) & np.isnan(disks.images)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_injects_the_same_and_every_galaxy_is_changed(disks, kind):
    assert changed(disks, kind).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(inject(disks, kind, seed=3), inject(disks, kind, seed=3))
    assert not np.array_equal(inject(disks, kind, seed=3), inject(disks, kind, seed=4), equal_nan=True)


@pytest.mark.parametrize("kind", ["merger", "ring", "arc", "satellite trail", "blend"])
def test_light_is_added_where_the_anomaly_is_and_nowhere_else(disks, kind):
    touched = changed(disks, kind)
    assert touched.any(axis=3).mean(axis=(1, 2)).max() < 0.75
    before, after = disks.images.astype(float), inject(disks, kind, seed=3).astype(float)
    gained = (after - before)[touched]
    assert np.mean(gained > 0) > 0.9, "nothing here hides light but the noise that another galaxy brings"


@pytest.mark.parametrize("kind", ["ring", "arc"])
def test_a_ring_and_an_arc_leave_the_nucleus_alone(disks, kind):
    assert not changed(disks, kind)[:, DISTANCE < 0.15].any()


# A shift of one band of a composite is none of one channel: its stretch mixes the bands.
@pytest.mark.parametrize(
    ("disks", "kind"),
    [("flux", "missing band"), ("composite", "missing band"), ("flux", "shifted band")],
    indirect=["disks"],
)
def test_one_band_is_lost_or_moved_and_the_others_are_left(disks, kind):
    bands = changed(disks, kind).any(axis=(1, 2))
    np.testing.assert_array_equal(bands.sum(axis=1), 1)
    if kind == "missing band":
        lost = inject(disks, kind, seed=3)[np.arange(len(disks)), :, :, bands.argmax(axis=1)]
        assert (lost == 0).all() if disks.kind == "composite" else np.isnan(lost).all()


def test_an_off_centre_galaxy_is_the_same_galaxy_elsewhere(disks):
    images = inject(disks, "off-centre", seed=3).astype(float).sum(axis=3)
    for image in images:
        y, x = np.unravel_index(image.argmax(), image.shape)
        assert 0.6 < DISTANCE[y, x] < 1.9
    assert images.max() == pytest.approx(disks.images.astype(float).sum(axis=3).max(), rel=0.05)


@pytest.mark.parametrize("disks", ["flux"], indirect=True)
def test_missing_pixels_stay_missing(disks):
    holed = disks.select(np.arange(4))
    holed.images[:, 40:44, 40:44] = np.nan
    for kind in ("ring", "satellite trail", "diffraction spikes"):
        assert np.isnan(inject(holed, kind)[:, 40:44, 40:44]).all()


@pytest.mark.parametrize("disks", ["flux"], indirect=True)
def test_strengths_are_seen_and_not_blinding(disks):
    centre = disks.images[:, DISTANCE < 2 / 3].mean()
    for kind in ("merger", "ring", "arc", "satellite trail"):
        brightest = np.nanmax(inject(disks, kind, seed=3) - disks.images, axis=(1, 2, 3)) / centre
        assert brightest.min() > 0.1, kind
        assert brightest.max() < 6, kind
