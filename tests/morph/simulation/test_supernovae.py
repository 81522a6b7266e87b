"""Supernovae on hosts: where they are, how bright, and what the difference shows."""

import json

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from scipy.stats import kstest

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter
from morph.errors import InputError
from morph.simulation.sample import simulate_galaxies
from morph.simulation.supernovae.host_light import draw_place, prepare, rank_of
from morph.simulation.supernovae.light_curves import SHAPES, draw_light_curve, relative_flux
from morph.simulation.supernovae.sample import SOURCE, simulate_supernovae
from morph.simulation.supernovae.scene import Plan, psf_transform
from morph.simulation.supernovae.subtraction import Subtraction, shifted
from morph.surveys import get_simulated

SHARES = {"hostless": 0.1, "variable": 0.1, "moving": 0.1, "none": 0.2}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    path = tmp_path_factory.mktemp("hosts") / "sim-des"
    simulate_galaxies(path, 40, "des", seed=3, processes=1, progress=False)
    return path


@pytest.fixture(scope="module")
def sample(hosts, tmp_path_factory):
    path = tmp_path_factory.mktemp("supernovae") / "set"
    made = simulate_supernovae(hosts, path, Plan(epochs=2, shares=SHARES), number=120, processes=1, progress=False)
    return made, ds.dataset(path, format="parquet").to_table()


def _of(table, *names):
    return [table[name].to_numpy(zero_copy_only=False) for name in names]


def test_every_epoch_has_a_row_and_what_it_is(sample):
    made, table = sample
    assert made.rows == len(table) == 240
    assert sum(made.kinds.values()) == made.scenes == 120
    kinds = set(table["kind"].to_pylist())
    assert {"ia", "variable", "moving", "none"} <= kinds
    about = json.loads(table.schema.metadata[b"morph"])
    assert about["simulated"]
    assert (about["source"], about["cosmology"]) == (SOURCE, "Planck18")
    (x,) = _of(table, "x")
    nothing = np.array(table["kind"].to_pylist()) == "none"
    assert np.isnan(x[nothing]).all()
    assert np.isfinite(x[~nothing]).all()
    hostless = np.char.startswith(np.array(table["kind"].to_pylist()), "hostless")
    assert hostless.any()
    assert not table.filter(hostless)["host"].drop_null().to_pylist()


def test_the_difference_has_unit_noise_and_its_fluxes_are_right(sample):
    _, table = sample
    kind = np.array(table["kind"].to_pylist())
    difference = table["difference"].combine_chunks().to_numpy_ndarray()
    assert (difference[kind == "none"] ** 2).mean() == pytest.approx(1, abs=0.02)
    pulls = []
    for band in "gri":
        true, measured, error = _of(table, f"flux_{band}", f"difference_flux_{band}", f"difference_flux_err_{band}")
        # A trail is no point source.
        pulls.append(((measured - true) / error)[np.isfinite(measured) & (kind != "moving")])
    pulls = np.concatenate(pulls)
    assert pulls.mean() == pytest.approx(0, abs=4 / np.sqrt(len(pulls)))
    assert pulls.std() == pytest.approx(1, abs=4 / np.sqrt(2 * len(pulls)))


def test_template_and_search_have_seeing_of_their_own(sample):
    _, table = sample
    widths, others = _of(table, "search_fwhm_r", "template_fwhm_r")
    assert len(np.unique(widths)) > 10
    assert (widths != others).mean() > 0.9
    least = 1.01 * get_simulated("des").seeing[1]
    assert min(widths.min(), others.min()) > least


def test_places_trace_the_light():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:41, :41]
    light = np.exp(-np.hypot(x - 20, (y - 20) / 0.5) / 4)
    found = np.array([draw_place(light, rng) for _ in range(3000)])
    assert kstest(found[:, 2], "uniform").pvalue > 0.05
    # Independently of the rank that was drawn: within the ellipse of half the light are half of the places.
    radius = np.hypot(found[:, 0] - 20, (found[:, 1] - 20) / 0.5)
    order = np.argsort(np.hypot(x - 20, (y - 20) / 0.5).ravel())
    growth = np.cumsum(light.ravel()[order]) / light.sum()
    half = np.hypot(x - 20, (y - 20) / 0.5).ravel()[order][np.searchsorted(growth, 0.5)]
    assert (radius < half).mean() == pytest.approx(0.5, abs=0.04)
    ranks = [rank_of(light, px, py) for px, py, _ in found[:500]]
    assert kstest(ranks, "uniform").pvalue > 0.01


def test_a_round_and_a_flat_host_have_their_shape(hosts):
    galaxies = Galaxies.open(hosts)
    survey = get_simulated("des")
    measured = []
    for galaxy in galaxies:
        if (galaxy.properties or {})["pixel_scale"] > 1.2 * survey.pixel_scale:
            continue
        host = prepare(galaxy, survey, 64, np.random.default_rng(0))
        if host is not None:
            measured.append(host)
            assert np.hypot(host.x - 31.5, host.y - 31.5) < 6
            assert host.distance(host.x, host.y) == 0
    assert len(measured) > 15
    assert min(host.axis_ratio for host in measured) < 0.6 < max(host.axis_ratio for host in measured)


def test_a_point_source_in_the_difference_has_its_flux_without_noise():
    size, sigma = 48, np.array([0.1, 0.2, 0.3])
    wide, narrow = (np.stack([psf_transform(size, 0.263, fwhm)] * 3) for fwhm in (1.2, 0.95))
    subtraction = Subtraction(wide, narrow, sigma, sigma / 3)
    light = np.random.default_rng(0).random((3, size, size))
    spectrum = np.fft.rfft2(light)
    template = np.fft.irfft2(spectrum * narrow, s=(size, size))
    flux = np.array([5.0, 20.0, 1.0])
    search = np.fft.irfft2((spectrum + flux[:, None, None] * shifted(size, 20.3, 30.8)) * wide, s=(size, size))
    variance = np.broadcast_to((sigma**2)[:, None, None], light.shape)
    difference = subtraction.difference(search, template)
    value, error = subtraction.flux(difference, 20.3, 30.8, variance, variance / 9)
    np.testing.assert_allclose(value, flux, rtol=1e-6)
    # The matched filter of white noise through the wider point-spread function, and a little for the template's.
    area = 1 / (np.fft.irfft2(wide[0], s=(size, size)) ** 2).sum()
    assert np.all(error > sigma * np.sqrt(area))
    assert np.all(error < 1.3 * sigma * np.sqrt(area))
    np.testing.assert_allclose(subtraction.variance(variance, variance / 9), 1, rtol=1e-6)


def write_cubes(folder, count: int = 12, size: int = 91) -> None:
    """Cubes of coadded galaxies with noise of their own, one file a band, without a zero point, position or scale."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:size, :size] - (size - 1) / 2
    radius, ratio = rng.uniform(2, 4, (count, 1, 1)), rng.uniform(0.4, 1, (count, 1, 1))
    light = np.exp(-np.hypot(x, y / ratio) / radius)
    # Counts of a zero point of 30: a nanomaggy is a thousand.
    for band, sigma, level in zip("gri", 1000 * get_simulated("des").noise(), (300, 600, 900), strict=True):
        noise = rng.normal(0, sigma, light.shape)
        fits.PrimaryHDU((level * light + noise).astype("float32")).writeto(folder / f"{band}.fits")


def test_coadds_without_position_or_redshift_are_hosts_and_their_own_noise_cancels(morph, tmp_path):
    (tmp_path / "cubes").mkdir()
    write_cubes(tmp_path / "cubes")
    options = ("--survey", "des", "--zero-point", "30", "--pixel-scale", "0.263", "--to", tmp_path / "hosts")
    status, _, error = morph("import", tmp_path / "cubes", *options)
    assert status == 0, error
    simulate = ("simulate", "supernovae", tmp_path / "hosts", "--processes", "1", "--to", tmp_path / "set")
    _, _, error = morph(*simulate)
    assert "its redshift is not known, and --magnitudes is not given" in error
    status, _, error = morph(*simulate, "--magnitudes", "19,24", "--number", "100", "--hostless", "0")
    assert status == 0, error
    table = ds.dataset(tmp_path / "set", format="parquet").to_table()
    about = json.loads(table.schema.metadata[b"morph"])
    assert (about["simulated"], about["hosts_simulated"]) == (True, False)
    ranks = table["fractional_light_rank"].drop_null().to_numpy()
    assert kstest(ranks, "uniform").pvalue > 0.01
    true, measured, error = _of(table, "flux_r", "difference_flux_r", "difference_flux_err_r")
    pulls = ((measured - true) / error)[np.isfinite(measured)]
    assert len(pulls) >= 60
    assert pulls.mean() == pytest.approx(0, abs=4 / np.sqrt(len(pulls)))
    assert pulls.std() == pytest.approx(1, abs=4 / np.sqrt(2 * len(pulls)))
    # Away from the transient only the two images' noise is left.
    corners = table["difference"].combine_chunks().to_numpy_ndarray()[:, :12, :12]
    assert (corners**2).mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", SHAPES)
def test_light_curves_peak_at_day_zero_and_fade(kind):
    days = np.arange(-15, 150)
    flux = np.stack([relative_flux(kind, float(day)) for day in days])
    if SHAPES[kind].plateau:
        assert np.all(flux[(days > 20) & (days < 80)] > 0.9)
        assert flux.max() <= 1
    else:
        assert np.all(np.abs(days[flux.argmax(axis=0)]) <= 1)
    assert flux[-1].max() < 0.2
    assert flux[0].max() < 0.5
    rng = np.random.default_rng(1)
    near, far = (np.mean([draw_light_curve(kind, z, rng).magnitudes[1] for _ in range(200)]) for z in (0.05, 0.1))
    # Twice as far, and a little more: 5 log10(2) and the expansion.
    assert far - near == pytest.approx(1.58, abs=0.4)


def test_the_same_seed_gives_the_same_sample_by_any_number_of_processes(hosts, tmp_path):
    for name, processes in (("one", 1), ("two", 2)):
        simulate_supernovae(hosts, tmp_path / name, Plan(), number=40, processes=processes, progress=False)
    one, two = (ds.dataset(tmp_path / name, format="parquet").to_table() for name in ("one", "two"))
    assert one.equals(two)


def test_an_old_sample_is_replaced_and_another_folder_is_not(hosts, tmp_path):
    simulate_supernovae(hosts, tmp_path / "set", Plan(), number=2, processes=1, progress=False)
    simulate_supernovae(hosts, tmp_path / "set", Plan(), number=3, processes=1, progress=False)
    assert sum(pq.read_metadata(file).num_rows for file in (tmp_path / "set").iterdir()) == 3
    with pytest.raises(InputError, match="not a sample of supernovae"):
        simulate_supernovae(hosts, hosts, Plan(), number=3, processes=1, progress=False)


def test_what_cannot_be_a_host_is_counted_or_refused(hosts, tmp_path):
    galaxies = list(Galaxies.open(hosts))[:6]
    with GalaxiesWriter(tmp_path / "some", "flux") as writer:
        for number, galaxy in enumerate(galaxies):
            properties = dict(galaxy.properties or {}, pixel_scale=0.2)
            properties.update({0: {"redshift": np.nan}, 1: {"pixel_scale": 5.0}}.get(number, {}))
            writer.add(type(galaxy)(galaxy.id, "des", galaxy.image, galaxy.votes, properties=properties))
    made = simulate_supernovae(tmp_path / "some", tmp_path / "set", Plan(), processes=1, progress=False)
    assert made.left_out["its redshift is not known, and --magnitudes is not given"] == 1
    assert made.left_out["its stamp is coarser than des's pixels"] == 1
    plan = Plan(magnitudes=(20.0, 21.0), shares={})
    made = simulate_supernovae(tmp_path / "some", tmp_path / "set", plan, processes=1, progress=False)
    assert "redshift" not in " ".join(made.left_out)
    peaks = ds.dataset(tmp_path / "set", format="parquet").to_table()["peak_mag_r"].to_numpy()
    assert np.all((peaks >= 20) & (peaks <= 21))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--type", "iax"], "Unknown type of supernova 'iax'"),
        (["--hostless", "0.8", "--variables", "0.5"], "add up to 1 at most"),
        (["--size", "63"], "even number"),
        (["--magnitudes", "24"], "takes two numbers"),
        (["--magnitudes", "24,18"], "bright to faint"),
        (["--epochs", "0"], "number of epochs is 0"),
        (["--number", "0"], "number of scenes is 0"),
        (["--trace", "red"], "Unknown light 'red'"),
        (["--survey", "euclid"], "euclid"),
    ],
)
def test_bad_input_is_one_sentence(morph, hosts, tmp_path, options, said):
    status, _, error = morph("simulate", "supernovae", hosts, "--to", tmp_path / "set", *options)
    assert status == 2
    assert said in error
    assert not (tmp_path / "set").exists()


def test_pictures_have_no_fluxes(morph, tmp_path):
    with GalaxiesWriter(tmp_path / "pictures", "composite"):
        pass
    status, _, error = morph("simulate", "supernovae", tmp_path / "pictures", "--to", tmp_path / "set")
    assert status == 2
    assert "which have no fluxes" in error


def test_the_command_writes_a_sample_and_a_picture(morph, hosts, tmp_path):
    sheet = tmp_path / "sheet.png"
    status, printed, _ = morph(
        "simulate",
        "supernovae",
        hosts,
        "--number",
        "13",
        "--to",
        tmp_path / "set",
        "--sheet",
        sheet,
        "--processes",
        "1",
    )
    assert status == 0
    assert "13 simulated epochs of 13 scenes" in printed
    assert sheet.stat().st_size > 10_000
