"""The parts of a stack, each against what is known exactly."""

import numpy as np
import pytest
from scipy.stats import kstest

from morph.analysis.stacking.combine import Cells, at_certainty, chi_square, combine, draw
from morph.analysis.stacking.cutouts import IMAGE, SECTORS, Window, ring_edges
from morph.analysis.stacking.injection import eaten
from morph.analysis.stacking.profile import _flattening
from morph.analysis.stacking.psf import StarStack, carried, in_units, ring_means
from morph.analysis.stacking.sky import Sky, box_levels
from morph.analysis.stacking.sources import GROWTHS, USED, Sources, find_stars, mask_levels
from morph.simulation.haloes import sersic

EDGES = ring_edges(15.0)
RADIUS = np.sqrt((EDGES[1:] ** 2 + EDGES[:-1] ** 2) / 2)


def window(brightness, half=100, x=0.3, y=-0.2, levels=None) -> Window:
    """A window of one band, with the brightness at offsets from its centre."""
    offset = np.arange(2 * half + 1, dtype=float)
    dx, dy = (offset - half - x)[None, :], (offset - half - y)[:, None]
    flux = np.broadcast_to(brightness(dx, dy), (len(offset), len(offset))).astype("float32")
    levels = np.zeros(flux.shape, "uint8") if levels is None else levels
    return Window(flux[None], levels, half + x, half + y)


def cells_of(values: np.ndarray) -> Cells:
    """Galaxies with one band and one ring, the same in all sectors."""
    mean = np.repeat(values.astype("float32")[:, None, None, None], SECTORS, axis=3)
    return Cells(mean, np.ones_like(mean))


def test_rings_hold_the_mean_brightness_whatever_the_scale():
    mean, cover = window(lambda x, y: 1 / (1 + x**2 + y**2)).cells(EDGES, 6.0)
    assert mean.shape == (len(GROWTHS), 1, len(EDGES) - 1, SECTORS)
    inner, outer = EDGES[:-1] * 6, EDGES[1:] * 6
    exact = np.log((1 + outer**2) / (1 + inner**2)) / (outer**2 - inner**2)
    assert mean[USED, 0].mean(axis=-1)[6:] == pytest.approx(exact[6:], rel=0.05)
    assert cover[0] == pytest.approx(1)


def test_sectors_start_at_the_major_axis():
    turn = np.radians(30)

    def ellipse(x, y):
        major, minor = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        return np.exp(-np.hypot(major / 20, minor / 10))

    mean, _ = window(ellipse).cells(EDGES, 6.0, turn)
    ring = mean[USED, 0, -4]
    near, far = ring[[0, 3, 4, 7]], ring[[1, 2, 5, 6]]
    assert near.min() > 2 * far.max()
    assert np.ptp(near) < 0.05 * near.mean()
    turned = window(ellipse).image(90.0, turn)[0]
    middle = IMAGE // 2
    assert turned[middle, middle + 40] > 2 * turned[middle + 40, middle]


def test_an_image_keeps_the_brightness_and_leaves_out_what_is_masked():
    levels = np.zeros((201, 201), "uint8")
    levels[:60] = GROWTHS[-1]
    levels[:, :60] = GROWTHS[USED]
    image = window(lambda x, y: 2.0 + 0 * x, levels=levels).image(90.0)[0]
    assert np.nanmax(abs(image - 2)) < 1e-4
    # Pixels that only a wider mask covers are there.
    assert np.isnan(image[:, :40]).all()
    assert np.isfinite(image[:, 80:]).all()


def test_masks_grow_and_leave_the_galaxy_itself():
    sources = Sources(
        *(np.array(v, dtype=float) for v in ([50, 70], [50, 50], [4, 3], [4, 3], [0, 0], [9, 9], [3, 3]))
    )
    levels = mask_levels(sources.without(50.4, 49.8, 4.0), 0, 0, (100, 100))
    areas = [int(((levels > 0) & (levels <= growth)).sum()) for growth in GROWTHS]
    assert levels[50, 50] == 0
    assert levels[50, 70] == 1
    assert np.array(areas) / areas[0] == pytest.approx([1, 4, 9], rel=0.1)


def test_cells_know_from_which_growth_on_a_pixel_is_masked():
    levels = np.zeros((201, 201), "uint8")
    levels[101:] = 2
    mean, cover = window(lambda x, y: np.where(y > 0, 5.0, 1.0), levels=levels, y=0.0).cells(EDGES, 6.0)
    above = slice(0, SECTORS // 2)
    assert cover[1, 0, 10:, above].max() < 0.1
    assert cover[0, 0, 10:, above] == pytest.approx(1)
    assert mean[0, 0, 10:, above] == pytest.approx(5, rel=0.1)


def test_errors_are_the_scatter_of_the_mean():
    rng = np.random.default_rng(1)
    deviations, errors = [], []
    for _ in range(300):
        profile = combine(cells_of(rng.normal(1.0, 2.0, 60)), "mean")
        deviations.append((profile.flux[0, 0] - 1) / profile.error[0, 0])
        errors.append(profile.error[0, 0])
    assert np.std(deviations) == pytest.approx(1, abs=0.12)
    assert np.mean(errors) == pytest.approx(2 / np.sqrt(60), rel=0.05)
    profile = combine(cells_of(rng.normal(1.0, 2.0, 400)), "median")
    assert profile.error[0, 0] == pytest.approx(1.2533 * 2 / 20, rel=0.3)
    assert draw(profile.influence).std() == pytest.approx(profile.error[0, 0], rel=0.1)


def test_outliers_are_clipped_and_members_alone_count():
    values = np.concatenate([np.random.default_rng(0).normal(0, 1, 99), [1e3]])
    cells = cells_of(values)
    assert combine(cells, "mean").flux[0, 0] > 5
    assert abs(combine(cells, "clipped").flux[0, 0]) < 0.4
    assert abs(combine(cells, "median").flux[0, 0]) < 0.4
    members = np.arange(100) < 50
    assert combine(cells, "mean", members).flux[0, 0] == pytest.approx(values[:50].mean(), abs=1e-6)
    assert combine(cells, "mean", members).error[0, 0] == pytest.approx(values[:50].std() / np.sqrt(50), rel=0.05)


def test_a_difference_of_two_estimates_has_no_common_noise():
    values = np.random.default_rng(0).normal(0, 1, 200)
    both = combine(cells_of(values), "mean") - combine(cells_of(values + 0.01), "mean")
    assert both.flux[0, 0] == pytest.approx(-0.01, abs=1e-6)
    assert both.error[0, 0] < 1e-7


def test_wrong_types_are_taken_out_by_calibrated_probabilities():
    rng = np.random.default_rng(0)
    pure, plain = [], []
    for _ in range(200):
        p = rng.beta(9, 0.6, 400)
        true = rng.random(400) < p
        cells = cells_of(np.where(true, 1.0, 0.0) + rng.normal(0, 0.5, 400))
        found = at_certainty(cells, p, "mean")
        pure.append((found.flux[0, 0] - 1) / found.error[0, 0])
        plain.append(combine(cells, "mean").flux[0, 0])
        assert found.error[0, 0] < 1.6 * combine(cells, "mean").error[0, 0]
    assert np.mean(plain) < 0.95
    assert abs(np.mean(pure)) < 0.2
    assert np.std(pure) == pytest.approx(1, abs=0.15)


def test_the_test_of_a_null_stack_is_uniform_and_sees_a_level():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        # Rings share a level, as those of one cutout do.
        mean = rng.normal(0, 1, (150, 1, 6, 1)) + rng.normal(0, 1, (150, 1, 1, 1)) + np.zeros((1, 1, 1, SECTORS))
        profile = combine(Cells(mean.astype("float32"), np.ones_like(mean, dtype="float32")), "mean")
        found.append(chi_square(profile, 0)[2])
    assert kstest(found, "uniform").pvalue > 0.01
    mean += 1
    assert chi_square(combine(Cells(mean.astype("float32"), np.ones_like(mean)), "mean"), 0)[2] < 1e-6
    assert np.isnan(chi_square(combine(Cells(mean[:8], np.ones_like(mean[:8])), "mean"), 0)[2])


def test_the_sky_is_a_surface_and_sources_do_not_lift_it():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 999, 300), rng.uniform(0, 999, 300)
    level = 3 + 0.002 * x - 0.001 * y + rng.normal(0, 0.1, 300)
    level[:10] += 50
    level[10:20] = np.nan
    sky = Sky.fit(x, y, level, (1000, 1000))
    assert sky.at(np.array([100.0, 900.0]), np.array([200.0, 500.0])) == pytest.approx([3.0, 4.3], abs=0.06)
    assert sky.points == 280
    assert sky.error == pytest.approx(0.1 / np.sqrt(280), rel=0.2)
    assert np.isnan(Sky.fit(x, y, np.full(300, np.nan), (1000, 1000)).error)


def test_levels_at_random_points_leave_masked_boxes_out():
    planes = np.ones((2, 200, 200))
    planes[0, :, :100] = np.nan
    levels = box_levels(planes, np.array([50.0, 150.0]), np.array([100.0, 100.0]))
    assert np.isnan(levels[0, 0])
    assert levels[1].tolist() == [1, 1]


@pytest.mark.parametrize("unit", [2.0, 5.0])
def test_what_the_psf_carries_is_found(unit):
    """Stars with wings, and a galaxy that is a sum of Gaussians, so that all is known."""
    edges = ring_edges(45.0, 18, 120.0)
    psf = ring_means(edges, np.array([0.5, 8.0])) @ np.array([0.95, 0.05])
    rng = np.random.default_rng(0)
    flux = rng.uniform(50, 500, 60)[:, None]
    stars = flux * psf + rng.normal(0, 1e-4, (60, 18))
    stack = StarStack.of(stars, np.ones_like(stars), edges)
    widths, shares = in_units(stack, np.full(10, unit), np.ones(10))
    sharp, amplitude = np.array([0.6, 2.0]), np.array([1.0, 0.3])
    true = ring_means(EDGES, sharp) @ amplitude
    seen = sum(
        share * ring_means(EDGES, np.hypot(sharp, width / unit)) @ amplitude
        for width, share in ((0.5, 0.95), (8.0, 0.05))
    )
    found = carried(seen, 1e-6 + 0.01 * seen, EDGES, widths, shares)
    outer = slice(6, None)
    assert (seen - true)[outer] == pytest.approx(found[outer], abs=0.03 * true[outer].max(), rel=0.1)
    assert stack.beyond(10.0) == pytest.approx(0.05 * np.exp(-0.5 * (10 / 8) ** 2), rel=0.15)
    assert StarStack.of(stars[:3], np.ones((3, 18)), edges) is None


def test_stars_are_the_smallest_size_that_many_share():
    rng = np.random.default_rng(0)
    count = 40
    size = np.concatenate([rng.normal(2.0, 0.02, 12), rng.uniform(2.4, 9, count - 12)])
    sources = Sources(
        rng.uniform(0, 9e3, count), rng.uniform(0, 9e3, count), *np.ones((3, count)), np.ones(count), size
    )
    assert sorted(find_stars(sources, 20).tolist()) == list(range(12))
    assert len(find_stars(sources, 5)) == 5
    assert len(find_stars(sources.select(np.arange(2)), 5)) == 0


def test_a_mesh_of_the_sky_eats_a_halo_and_not_a_compact_galaxy():
    rng = np.random.default_rng(0)
    plane = rng.normal(0, 0.05, (512, 512)).astype("float32")
    y, x = np.mgrid[:512, :512] - 256.0
    halo = (100 * sersic(x, y, 60.0, 1.0, 1.0)).astype("float32")
    compact = (100 * sersic(x, y, 3.0, 1.0, 1.0)).astype("float32")
    near = np.hypot(x, y) < 100
    assert eaten(plane, halo, 128)[near].sum() > 0.25 * halo[near].sum()
    assert abs(eaten(plane, compact, 128)[near].sum()) < 0.05 * compact[near].sum()
    plane[:100] = np.nan
    assert np.isfinite(eaten(plane, halo, 128)).all()


@pytest.mark.parametrize("flat", [0.0, 0.3, 0.6])
def test_the_ellipticity_of_aligned_galaxies_is_found(flat):
    q, slope = 1 - flat, 2.5
    turn = np.pi / 4 * (np.arange(400) + 0.5) / 400

    def light(t):
        return ((q * np.cos(t) ** 2 + np.sin(t) ** 2 / q) ** (-slope / 2)).mean()

    major, minor = (np.array([[light(t)]]) for t in (turn, turn + np.pi / 4))
    assert _flattening(major, minor, np.array([[slope]]))[0, 0] == pytest.approx(flat, abs=0.02)
    assert _flattening(minor, major, np.array([[slope]]))[0, 0] == pytest.approx(-flat, abs=0.02)
    assert np.isnan(_flattening(major, -minor, np.array([[slope]])))
