"""The host of a transient among galaxies."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from morph.analysis.hosts import Places, rank_hosts, read_places
from morph.errors import InputError

ARCSEC = 1 / 3600


def places(ra, dec, radius=None, axis_ratio=1.0, angle=0.0, mag=np.nan) -> Places:
    count = len(ra)
    fill = lambda value: np.broadcast_to(np.asarray(value, dtype=float), count).copy()  # noqa: E731
    ids = np.array([f"{'g' if radius is not None else 'e'}{n}" for n in range(count)], dtype=object)
    return Places(
        ids,
        np.asarray(ra, dtype=float),
        np.asarray(dec, dtype=float),
        fill(np.nan if radius is None else radius),
        fill(axis_ratio),
        fill(angle),
        fill(mag),
    )


def test_a_galaxy_is_near_along_its_major_axis():
    # Five arcsec north of one galaxy and five south of another, which are as long towards north, and towards east.
    events = places([10.0], [0.0])
    galaxies = places([10.0, 10.0], [-5 * ARCSEC, 5 * ARCSEC], radius=2.0, axis_ratio=0.25, angle=[0.0, 90.0])
    found = rank_hosts(events, galaxies, farthest=10).to_pylist()
    assert [(row["galaxy"], row["rank"]) for row in found] == [("g0", 1), ("g1", 2)]
    assert [row["d_dlr"] for row in found] == pytest.approx([1.25, 5.0], rel=1e-6)
    assert [row["separation"] for row in found] == pytest.approx([5.0, 5.0], rel=1e-6)
    assert found[0]["p_host"] > 0.8 > 0.1 > found[1]["p_host"]


@pytest.mark.parametrize("farthest", [6.0, 1e3])
def test_probabilities_add_up_and_far_events_have_no_host(farthest):
    rng = np.random.default_rng(0)
    galaxies = places(10 + rng.uniform(-0.05, 0.05, 500), rng.uniform(-0.05, 0.05, 500), radius=1.0)
    events = places([*galaxies.ra[:20], 20.0], [*galaxies.dec[:20], 0.0])
    found = rank_hosts(events, galaxies, farthest=farthest)
    frame = found.to_pandas()
    sums = frame.groupby("event").p_host.sum() + frame.groupby("event").p_hostless.first()
    assert sums.drop("e20").to_numpy() == pytest.approx(1, abs=1e-6)
    lonely = frame[frame.event == "e20"]
    assert (lonely["rank"].item(), lonely.p_hostless.item()) == (0, 1)
    assert lonely.galaxy.isna().all()
    assert (frame[frame["rank"] == 1].event.str[1:] == frame[frame["rank"] == 1].galaxy.str[1:]).mean() > 0.9


def test_an_event_near_no_galaxy_has_no_host():
    """Thirty light radii from the one galaxy, which is not a candidate and takes no share."""
    found = rank_hosts(places([10.0], [0.0]), places([10.0], [30 * ARCSEC], radius=1.0)).to_pylist()
    assert [(row["rank"], row["p_hostless"]) for row in found] == [(0, 1.0)]


def test_events_that_trace_the_light_are_matched_and_probabilities_are_right():
    """Exponential galaxies among others, and one event in ten without a host."""
    rng = np.random.default_rng(1)
    count, side = 4000, 0.25
    galaxies = places(
        10 + rng.uniform(0, side, count), rng.uniform(0, side, count), radius=rng.lognormal(0, 0.4, count), mag=21.0
    )
    galaxies.axis_ratio[:], galaxies.angle[:] = rng.uniform(0.3, 1, count), rng.uniform(0, 180, count)
    radius = rng.gamma(2, 1 / 1.678, count)
    turn, angle = rng.uniform(0, 2 * np.pi, count), np.radians(galaxies.angle)
    major, minor = radius * np.cos(turn), radius * np.sin(turn)
    major, minor = (
        major * galaxies.radius / np.sqrt(galaxies.axis_ratio),
        minor * galaxies.radius * np.sqrt(galaxies.axis_ratio),
    )
    north, east = major * np.cos(angle) - minor * np.sin(angle), major * np.sin(angle) + minor * np.cos(angle)
    ra, dec = galaxies.ra + east * ARCSEC, galaxies.dec + north * ARCSEC
    lost = rng.random(count) < 0.1
    ra[lost], dec[lost] = 10 + rng.uniform(0, side, lost.sum()), rng.uniform(0, side, lost.sum())
    found = rank_hosts(places(ra, dec), galaxies, hostless=0.1).to_pandas()
    first = found[found["rank"] == 1]
    right = (first.galaxy.str[1:] == first.event.str[1:]).to_numpy() & ~lost[first.event.str[1:].astype(int)]
    taken = (first.p_host > 0.5).to_numpy()
    assert right[taken].mean() > 0.93
    assert right.sum() / (~lost).sum() > 0.94
    # Among candidates with a probability near p, a share of p are hosts.
    assert first.p_host.to_numpy().mean() == pytest.approx(right.mean(), abs=0.04)


def test_tables_are_read_with_their_shapes_or_without(tmp_path):
    columns = {"id": ["a", "b"], "ra": [1.0, 2.0], "dec": [0.0, 0.0], "radius": [2.0, np.nan]}
    pq.write_table(
        pa.table(columns | {"ellipticity": [0.4, 0.2], "position_angle": [30.0, 10.0]}), tmp_path / "s.parquet"
    )
    scores = read_places(tmp_path / "s.parquet", sizes=True)
    assert (scores.ids.tolist(), scores.axis_ratio.tolist(), scores.angle.tolist()) == (["a"], [0.6], [30.0])
    assert any("1 rows" in note for note in scores.notes)
    assert any("equally bright" in note for note in scores.notes)
    Table(columns).write(tmp_path / "t.fits")
    plain = read_places(tmp_path / "t.fits", sizes=True)
    assert plain.axis_ratio.tolist() == [1.0]
    assert any("count as round" in note for note in plain.notes)
    with pytest.raises(InputError, match="No row of"):
        read_places(_one(tmp_path, radius=-1.0), sizes=True)


def _one(folder, **columns):
    Table({"ra": [1.0], "dec": [0.0], **{name: [value] for name, value in columns.items()}}).write(
        folder / "one.csv", overwrite=True
    )
    return folder / "one.csv"


def test_sizes_in_pixels_need_a_survey(tmp_path):
    rows = Table({"RA": [10.0], "DEC": [0.0], "FLUX_RADIUS_R": [10.0], "MAG_AUTO_R": [18.0]})
    rows.write(tmp_path / "des.fits")
    with pytest.raises(InputError, match=r"sizes in pixels \(FLUX_RADIUS_R\); name its survey by --survey"):
        read_places(tmp_path / "des.fits", sizes=True)
    assert read_places(tmp_path / "des.fits", sizes=True, survey="des").radius == pytest.approx([2.63])


def test_the_command_ranks_hosts_and_refuses_what_it_cannot_use(morph, tmp_path):
    events = _one(tmp_path).rename(tmp_path / "events.csv")
    galaxies = _one(tmp_path, radius=2.0).rename(tmp_path / "galaxies.csv")
    for suffix in (".parquet", ".fits", ".csv"):
        status, printed, _ = morph("host", events, galaxies, "--to", tmp_path / f"hosts{suffix}")
        assert status == 0
        assert "1 event, 1 of them has a host" in printed
    table = Table.read(tmp_path / "hosts.fits")
    assert table["rank"].tolist() == [1]
    for words, said in (
        ((events, events, "--to", tmp_path / "h.csv"), "has no half-light radius"),
        ((events, galaxies, "--to", tmp_path / "h.txt"), "cannot be a catalogue"),
        ((events, galaxies, "--to", tmp_path / "h.csv", "--hostless", "1"), "above 0 and below 1"),
        ((tmp_path / "none.csv", galaxies, "--to", tmp_path / "h.csv"), "There is no catalogue"),
    ):
        status, _, error = morph("host", *words)
        assert status == 2
        assert said in error
