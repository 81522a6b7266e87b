"""`morph stack` on simulated tiles whose galaxies have haloes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from morph.analysis.stacking import tiles as scheduling
from morph.analysis.stacking.checks import run_checks, survey_sky
from morph.analysis.stacking.combine import combine
from morph.analysis.stacking.profile import make_profile
from morph.analysis.stacking.run import FILES, PARTS, Summary, stack
from morph.analysis.stacking.sample import choose
from morph.errors import InputError
from morph.simulation.haloes import PROFILE, sersic

WHERE = "smooth > 0.8"
CHECKS = ["null", "injected", "stars", "noise", "masks", "kinds", "annuli", "halves", "types"]


@pytest.fixture(scope="session")
def made(halo_tiles, halo_table, tmp_path_factory) -> tuple[Summary, Path]:
    """A stack of aligned galaxies, and its folder."""
    folder = tmp_path_factory.mktemp("stack")
    pq.write_table(halo_table, folder / "scores.parquet")
    summary = stack(
        folder / "scores.parquet", halo_tiles, folder / "out", WHERE, align=True, processes=1, progress=False
    )
    return summary, folder / "out"


def true_brightness(table: pa.Table, edges: np.ndarray, band: str) -> np.ndarray:
    """The mean brightness of galaxies in rings: [rings]."""
    radius = np.sqrt((edges[:-1] ** 2 + edges[1:] ** 2) / 2)
    turn = 2 * np.pi * (np.arange(32) + 0.5) / 32
    found = []
    for row in table.to_pylist():
        major, minor = (radius[:, None] * row["radius"] * each(turn) for each in (np.cos, np.sin))
        found.append(
            sum(
                row[f"{part}_flux_{band}"] * sersic(major, minor, *(row[f"{part}_{name}"] for name in PROFILE[:3]))
                for part in ("body", "halo")
            ).mean(axis=1)
        )
    return np.mean(found, axis=0)


def test_the_profile_is_the_true_one_far_below_the_noise_of_one_image(made, halo_table):
    summary, _ = made
    result = summary.result
    stacked = pc.is_in(
        halo_table["id"], pa.array([str(i) for i in result.measured.sample.ids[result.measured.chosen]])
    )
    true = true_brightness(halo_table.filter(stacked), result.edges, "r")
    assert summary.galaxies == len(halo_table.filter(stacked)) > 20
    # From two half-light radii to where the truth is 28.5 mag per square arcsec, below the noise of any pixel.
    rings = (result.radius > 2) & (true > 10 ** (0.4 * (22.5 - 28.5)))
    assert rings.sum() >= 5
    assert (result.flux[1] / true)[rings].mean() == pytest.approx(1, abs=0.4)
    pulls = [
        (result.flux[k, 9:] - true_brightness(halo_table.filter(stacked), result.edges, band)[9:])
        / result.error[k, 9:]
        for k, band in enumerate("gri")
    ]
    assert abs(np.mean(pulls)) < 2
    assert np.max(np.abs(pulls)) < 4.5


def test_the_files_hold_images_profile_and_galaxies_with_their_provenance(made, halo_table):
    summary, out = made
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    with fits.open(out / "stack.fits", checksum=True) as units:
        names = [unit.name for unit in units[1:]]
        assert names == ["STACK", "SIGMA", "N", "NULL", "MEAN", "MEDIAN", "CLIPPED"]
        assert units[0].header["SIMULATE"]
        assert "smooth > 0.8" in str(units[0].header["HISTORY"])
        image, size = units["STACK"].data, units["STACK"].shape[-1]
        assert image.shape == (3, size, size)
        middle = size // 2
        assert np.nanargmax(image[1]) == middle * size + middle
        # Masks of near neighbours reach over some galaxies' centres.
        assert 0.2 * summary.galaxies < units["N"].data[:, middle, middle].min() <= summary.galaxies
        # The major axis is horizontal.
        near = 10
        assert np.nanmean(image[1, middle, [middle - near, middle + near]]) > np.nanmean(
            image[1, [middle - near, middle + near], middle]
        )
        assert abs(np.nanmean(units["NULL"].data[1])) < 1e-3
    table = pq.read_table(out / "profile.parquet")
    assert {"mu", "mu_16", "mu_84", "ellipticity", "colour", "flux_null", "galaxies", "few"} <= set(table.column_names)
    assert table.schema.field("mu").metadata[b"unit"] == b"mag arcsec-2"
    about = json.loads(table.schema.metadata[b"morph"])
    assert (about["survey"], about["selection"], about["simulated"]) == ("des", WHERE, True)
    assert sorted(about["checks"]) == sorted(CHECKS)
    rows = table.filter(table["band"].to_numpy(zero_copy_only=False) == "r").to_pandas()
    assert (rows.mu_16[:15] <= rows.mu[:15]).all()
    assert (rows.mu[:15] <= rows.mu_84[:15]).all()
    inner = rows[(rows.radius > 1.5) & (rows.radius < 4)]
    assert inner.ellipticity.mean() == pytest.approx(0.18, abs=0.12)
    assert inner.colour.mean() == pytest.approx(0.4, abs=0.2)
    galaxies = pq.read_table(out / "galaxies.parquet").to_pandas()
    assert galaxies.stacked.sum() == summary.galaxies
    assert len(galaxies) == (halo_table["smooth_or_featured_smooth"].to_numpy() > 0.8).sum()


def test_the_page_shows_nine_checks_and_says_what_is_simulated(made):
    summary, out = made
    assert [check.name for check in summary.checks] == CHECKS
    page = (out / "report.html").read_text()
    assert "simulated" in page
    for check in summary.checks:
        assert check.title in page
        assert check.text
    assert page.count("<svg") == 1 + sum(bool(check.curves) for check in summary.checks)
    by_name = {check.name: check for check in summary.checks}
    assert by_name["null"].passed is not None
    assert by_name["injected"].values["offset"]["29"] == pytest.approx(0, abs=0.2)
    assert by_name["noise"].values["beyond_one"] == pytest.approx(2.5 * np.log10(summary.galaxies**0.5), abs=0.5)
    assert any("mesh of 256 pixels" in note for note in summary.notes)


def test_a_level_that_is_not_the_sky_fails_the_null_check(made):
    result = make_profile(made[0].result.measured, "mean")
    measured = replace(result.measured, null_mean=result.measured.null_mean + np.float32(0.05))
    null = combine(measured.null_cells(), "clipped")
    checks = {check.name: check for check in run_checks(replace(result, measured=measured), null)}
    assert checks["null"].passed is False
    assert checks["injected"].passed is False


def test_it_says_when_the_sky_was_subtracted_with_the_halo(made):
    """A trough around the stack, as a subtraction of the sky leaves it."""
    result = made[0].result
    outer = result.edges[:-1] >= 0.6 * result.edges[-1]
    sunk = replace(result.stacked, flux=result.stacked.flux - 10 * result.stacked.error * outer)
    eaten, text = survey_sky(replace(result, stacked=sunk))
    assert eaten
    assert "below the sky" in text
    bounded = replace(result, lost=result.flux * 0.5)
    assert survey_sky(bounded)[0]
    assert "lower limit" in survey_sky(bounded)[1]
    safe = replace(result, lost=result.flux * 0.01)
    assert survey_sky(safe)[0] is False


def test_what_a_mesh_takes_of_injected_haloes_grows_as_the_mesh_shrinks(made, halo_tiles, halo_scores, tmp_path):
    small = stack(
        halo_scores(), halo_tiles, tmp_path / "64", WHERE, bands="r", mesh=64, processes=1, progress=False
    ).result
    assert small.bands == ("r",)
    # The other is of the usual mesh of 256 pixels.
    outer = (small.radius > 4) & (small.radius < 8)
    lost = [float(each[outer].mean()) for each in (small.lost[0], made[0].result.lost[1])]
    assert lost[0] > 2 * max(lost[1], 0)


def test_kpc_need_redshifts_which_another_table_may_have(halo_tiles, halo_scores, halo_table, tmp_path):
    without = halo_scores(lambda table: table.drop_columns("redshift"))
    with pytest.raises(InputError, match="has no column redshift"):
        choose(without, WHERE, "kpc")
    redshifts = tmp_path / "photoz.parquet"
    pq.write_table(halo_table.select(["id", "redshift"]).slice(0, 100), redshifts)
    found = choose(without, "smooth > 0.8 and redshift < 0.3", "kpc", redshifts=redshifts)
    known = halo_table.slice(0, 100)
    wanted = (known["redshift"].to_numpy() < 0.3) & (known["smooth_or_featured_smooth"].to_numpy() > 0.8)
    assert found.sample.chosen.sum() == wanted.sum()
    made = stack(
        without, halo_tiles / "DES0100*.fz", tmp_path / "out", WHERE, scale="kpc", reach=60, bands="r",
        redshifts=redshifts, processes=1, progress=False,
    )  # fmt: skip
    assert any("Planck18" in note for note in made.notes)
    assert any("with no redshift" in note for note in made.notes)
    assert made.result.edges[-1] == 60


def test_it_goes_on_where_it_was_stopped(halo_tiles, halo_scores, tmp_path, monkeypatch):
    scores, out = halo_scores(), tmp_path / "out"
    measured = []
    real = scheduling.measure_tile

    def stopping(group, *others):
        if len(measured) == 1:
            measured.append("stopped")
            raise KeyboardInterrupt
        measured.append(group[0].name)
        return real(group, *others)

    monkeypatch.setattr(scheduling, "measure_tile", stopping)
    with pytest.raises(KeyboardInterrupt):
        stack(scores, halo_tiles, out, WHERE, bands="r", processes=1, progress=False)
    assert not (out / "stack.fits").exists()
    assert len(list((out / PARTS).glob("*/DES*"))) == 1
    again = stack(scores, halo_tiles, out, WHERE, bands="r", processes=1, progress=False)
    assert len(measured) == 3
    assert measured[2] != measured[0]
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    whole = stack(scores, halo_tiles, tmp_path / "whole", WHERE, bands="r", processes=2, progress=False)
    np.testing.assert_array_equal(again.result.flux, whole.result.flux)


def test_the_command_prints_the_checks_and_which_tile_is_damaged(morph, halo_tiles, halo_scores, tmp_path):
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for path in halo_tiles.glob("*.fits.fz"):
        content = path.read_bytes()
        broken = path.name.startswith("DES0104") and "_r." in path.name
        (tiles / path.name).write_bytes(content[: len(content) // 3] if broken else content)
    status, printed, _ = morph(
        "stack", halo_scores(), "--tiles", tiles, "--where", WHERE, "--bands", "r", "--to", tmp_path / "out",
        "--processes", "1",
    )  # fmt: skip
    assert status == 0
    assert any("DES0104-3000" in line and "left out" in line for line in printed.splitlines())
    assert "1. Null stack at random points: " in printed
    assert "9. Probability of being smooth above 0.5, 0.8, 0.95: " in printed
    assert "(simulated)" in printed
    assert "no tile shows it" in printed
    galaxies = pq.read_table(tmp_path / "out" / "galaxies.parquet").to_pandas()
    assert galaxies[galaxies.stacked].id.str.startswith("DES0100-3000").all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--where", "smooth > 2"), "0 galaxies pass"),
        (("--where", "id == 'DES0100-3000-1'"), "1 galaxy passes"),
        (("--where", "smoothness > 2"), "no column 'smoothness'"),
        (("--scale", "arcsec"), "use radius or kpc"),
        (("--combine", "mode"), "use mean, median or clipped"),
        (("--bands", "gz"), "no band z"),
        (("--reach", "3"), "10 half-light radii or more"),
        (("--sky-mesh", "3"), "16 or more"),
    ],
)
def test_what_cannot_be_stacked_is_one_sentence(morph, halo_tiles, halo_scores, tmp_path, options, said):
    status, _, error = morph("stack", halo_scores(), "--tiles", halo_tiles, "--to", tmp_path / "out", *options)
    assert (status, error.count("\n")) == (2, 1)
    assert said in error
    assert not (tmp_path / "out").exists()


def test_tables_and_tiles_that_do_not_fit_are_refused(morph, halo_tiles, halo_scores, tmp_path):
    for change, options, said in (
        (lambda t: t.drop_columns("radius"), (), "no half-light radius"),
        (lambda t: t.drop_columns("position_angle"), ("--align",), "without --align"),
        (lambda t: t.replace_schema_metadata({"morph": '{"survey": "sdss"}'}), (), "of survey des"),
        (lambda t: t.set_column(1, "ra", pa.array(np.full(len(t), 300.0))).drop_columns("tile"), (), "no tile shows"),
    ):
        status, _, error = morph(
            "stack", halo_scores(change), "--tiles", halo_tiles, "--where", WHERE, "--to", tmp_path / "out", *options
        )
        assert status == 2
        assert said in error
        assert not (tmp_path / "out").exists()
    assert morph("stack", halo_scores(), "--tiles", tmp_path / "none", "--to", tmp_path / "out")[0] == 2


def test_a_model_of_another_survey_and_missing_probabilities_are_said(halo_scores):
    about = {"morph": '{"survey": "des", "model": "morph", "model_version": "3", "model_survey": "sdss"}'}
    found = choose(halo_scores(lambda table: table.replace_schema_metadata(about)), WHERE)
    assert found.models == ("morph 3",)
    assert any("calibrated on sdss and not on des" in note for note in found.notes)
    # The wider selection is for the check of the types alone.
    assert not found.sample.chosen.all()
    assert (found.sample.smooth > 0.5).all()
    disks = choose(halo_scores(), "smooth < 0.3").sample
    assert disks.chosen.all()
    assert not disks.of_smooth
    plain = choose(halo_scores(lambda table: table.drop_columns("smooth_or_featured_smooth")), "radius > 0.5")
    assert np.isnan(plain.sample.smooth).all()
