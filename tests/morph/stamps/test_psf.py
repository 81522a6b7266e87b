"""Point sources are told from galaxies, saturated stars from bright ones, and pieces from what they are pieces of."""

import numpy as np
import pytest

from morph.catalogs.detection import find_pieces as pieces_of
from morph.stamps.measurements import measure
from morph.stamps.psf import PointSources, point_like, unresolved
from morph.stamps.signal_to_noise import signal_to_noise
from morph.stamps.stamp_stream import stream_stamps
from morph.tiles.saturation import plateaus
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import SIZE, counts_of, write_tile

PSF = 1.6
STARS = [(30.0 + 40 * i + 0.3 * j, 30.0 + 60 * j + 0.2 * i, PSF, 40.0 * 1.5**i) for i in range(5) for j in range(2)]
LARGE = [(40.0, 200.0, 3.0, 60.0), (120.0, 205.0, 5.0, 90.0), (200.0, 200.0, 2.2, 60.0)]
FAINT = [(150.0, 150.0, 3.0, 0.5)]


def judged(folder, sources, **options):
    write_tile(folder, galaxies=sources, **options)
    points = PointSources()
    x, y, sigma, _ = np.array(sources).T
    with Tile.open(folder, "des") as tile:
        find_pieces = list(stream_stamps(tile, x, y, 1.1774 * sigma, look=points.look))
    order = np.argsort(np.concatenate([piece.rows for piece in find_pieces]))
    cut, radius, flags = (
        np.concatenate([getattr(piece, name) for piece in find_pieces])[order]
        for name in ("stamps", "radius", "flags")
    )
    found, signal = measure(cut, radius), signal_to_noise(cut, radius)
    probability = point_like(found, signal, points.typical)
    return points.typical, probability, unresolved(found, signal, probability, points.typical), flags


def test_point_sources_are_like_each_other_and_galaxies_are_not(tmp_path):
    typical, probability, lacking, _ = judged(tmp_path, STARS + LARGE + FAINT)
    assert typical.fwhm == pytest.approx(2.3548 * PSF, rel=0.03)
    assert (probability[:10] > 0.9).all()
    assert (probability[10:13] < 0.1).all()
    assert lacking.tolist() == [True] * 10 + [False] * 3 + [True]


def test_galaxies_alone_do_not_pass_for_point_sources(tmp_path):
    sources = [(x, y, s, 60.0) for (x, y, _, _), s in zip(STARS[:8], (2, 2.6, 3.3, 4, 4.4, 5, 5.7, 6.3), strict=True)]
    typical, probability, lacking, _ = judged(tmp_path, sources)
    assert typical is None
    assert np.isnan(probability).all()
    assert not lacking.any()


def test_a_saturated_star_is_flagged_where_no_file_says_so(tmp_path, monkeypatch):
    """Its core is cut off at a level, and its charge runs along the columns."""

    def clipped(band, *arguments):
        image = counts_of(band, *arguments)
        image[60:180, 119:122] = np.maximum(image[60:180, 119:122], 20000)
        return np.minimum(image, 30000)

    monkeypatch.setattr("tests.morph.drawn_tiles.counts_of", clipped)
    star = (120.0, 120.0, 2.0, 3000.0)
    _, _, _, flags = judged(tmp_path, [star, *LARGE], SATURATE=None)
    assert flags[0] & 8
    assert not (flags[1:] & 8).any()


def test_only_cut_off_peaks_are_plateaus():
    smooth = counts_of("r", [(60.0, 60.0, 2.0, 500.0), (150.0, 150.0, 8.0, 9000.0), (60.2, 150.5, 1.2, 100.0)])
    assert not plateaus(smooth).any()
    level = 0.5 * smooth[55:66, 55:66].max()
    found = plateaus(np.where(np.hypot(*(np.mgrid[:SIZE, :SIZE] - 60)) < 20, np.minimum(smooth, level), smooth))
    rows, columns = np.nonzero(found)
    assert 9 < len(rows) < 60
    assert np.hypot(rows - 60, columns - 60).max() < 5


def test_knots_and_trails_are_pieces_and_companions_are_not():
    #  a galaxy, its knot, its companion, a star, what stands beside it, its trail, and a galaxy in line with it
    x = np.array([100.0, 105.0, 95.0, 400.0, 404.0, 401.0, 402.0])
    y = np.array([100.0, 103.0, 100.0, 400.0, 400.0, 440.0, 360.0])
    radius = np.array([10.0, 2.0, 6.0, 10.0, 3.0, 6.0, 5.0])
    flux = np.array([1000.0, 5.0, 300.0, 9000.0, 10.0, 200.0, 200.0])
    ellipticity = np.array([0.2, 0.1, 0.1, 0.0, 0.1, 0.9, 0.1])
    angle = np.array([0.3, 0.0, 0.0, 0.0, 0.0, np.pi / 2, 0.0])
    other, of_star = pieces_of(x, y, radius, flux, ellipticity, angle, np.arange(7) == 3)
    assert np.flatnonzero(other).tolist() == [1, 5]
    assert np.flatnonzero(of_star).tolist() == [4]
