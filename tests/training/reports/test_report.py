"""The page: whole, self-contained, and honest about what is simulated."""

import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from morph.decision_tree import ANSWER_COLUMNS
from morph.errors import InputError
from morph.tiles.tile import Tile
from training.experiments.comparison import compare, compare_all
from training.reports.report import write_report
from training.reports.sections import various
from training.reports.tile_section import MOST_ANOMALOUS, read_scores, shrink, tile_section, window


class Outside(HTMLParser):
    """Collects what a page loads, and whether its tags close."""

    def __init__(self):
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.loaded += [values[name] for name in ("src", "href", "xlink:href") if values.get(name)]
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def scores(random_probabilities) -> pa.Table:
    """Thirty scored objects, as the contract of the score files has them."""
    n, random = 30, np.random.default_rng(0)
    p = random_probabilities(n)
    columns = {
        "id": [f"obj-{i}" for i in range(n)],
        "ra": 30 + random.random(n) / 10,
        "dec": -40 + random.random(n) / 10,
    }
    columns |= {"tile": ["DES0200-4000"] * n, "x": random.random(n) * 100, "y": random.random(n) * 100}
    columns |= {name: p[:, i].astype("float32") for i, name in enumerate(ANSWER_COLUMNS)}
    columns |= {"reconstruction_error": np.ones(n, "float32"), "anomaly_score": random.random(n).astype("float32")}
    columns |= {
        "anomaly": np.arange(n) < 2,
        "flags": np.where(np.arange(n) == 5, 32, np.arange(n) % 2).astype("int32"),
    }
    return pa.table(columns | {"model": ["morph"] * n, "model_version": ["3"] * n})


@pytest.fixture(scope="module")
def written(tmp_path_factory, classifier, sample, scores, run_of):
    folder = tmp_path_factory.mktemp("report")
    pq.write_table(scores, folder / "tile.parquet")
    comparison = compare([run_of("poor", sample, 0.2), run_of("good", sample, 0.95)], resamples=100)
    return write_report(
        folder / "report.html",
        classifier=classifier,
        model="models:/morph@champion",
        galaxies=sample,
        comparisons=[comparison],
        scores=folder / "tile.parquet",
        tile_simulated=True,
    )


def test_the_page_loads_nothing_and_its_tags_close(written):
    page = Outside()
    page.feed(written.read_text())
    assert page.open == []
    assert page.loaded
    assert all(address.startswith(("data:", "#")) for address in page.loaded)
    assert "@import" not in written.read_text()
    assert written.stat().st_size < 3e6


def test_every_section_is_there(written):
    titles = re.findall(r"<h2>(.*?)</h2>", written.read_text())
    assert titles == [
        "Galaxies with their answers (simulated)",
        "The runs compared",
        "Reconstructions beside originals",
        "The most anomalous objects",
        "Calibration",
        "Tiles scored (simulated)",
        "Where this comes from",
        "What to try next",
    ]


def test_simulated_galaxies_are_called_simulated_in_every_section_that_shows_them(written):
    sections = re.split(r"<h2>", written.read_text())[1:]
    for section in sections[:6]:
        assert "simulated" in section, section[:80]


def test_the_conclusion_follows_from_the_numbers(written):
    assert "good is better than poor" in written.read_text()


def test_runs_on_several_sets_of_galaxies_are_compared_on_each(tmp_path, sample, run_of):
    parts = sample.select(np.arange(20)), sample.select(np.arange(20, 48))
    runs = [run_of(f"{name}-{n}", part, 0.8) for n, part in enumerate(parts) for name in "ab"]
    text = write_report(tmp_path / "report.html", comparisons=compare_all(runs, resamples=20)).read_text()
    assert text.count("<h2>The runs compared</h2>") == 2
    assert all(f"<b>{len(part)}</b>" in text for part in parts)
    assert "4 runs compared" in text


def test_provenance_names_model_data_and_runs(written, sample):
    text = written.read_text()
    for fact in ("models:/morph@champion", sample.digest, "id-good", "morph 3"):
        assert fact in text


def test_names_are_escaped(written):
    text = written.read_text()
    assert "&lt;&amp;&gt;" in text
    assert "<&>" not in text


def test_a_report_of_nothing_is_bad_input(tmp_path, sample):
    with pytest.raises(InputError, match="nothing to report"):
        write_report(tmp_path / "report.html")
    with pytest.raises(InputError, match="give a model too"):
        write_report(tmp_path / "report.html", galaxies=sample)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def tile_of(tmp_path):
    """A function that writes a small tile, made by some software, and opens it."""

    def make(name: str, software: str = "SWarp") -> Tile:
        header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 30.0, "CRVAL2": -40.0})
        header.update({"CRPIX1": 50.0, "CRPIX2": 50.0, "CDELT1": -7.3e-5, "CDELT2": 7.3e-5, "SOFTNAME": software})
        pixels = np.random.default_rng(0).normal(size=(100, 100)).astype("float32")
        fits.PrimaryHDU(pixels, header).writeto(tmp_path / f"{name}_r.fits")
        return Tile.open(tmp_path / f"{name}_r.fits")

    return make


@pytest.mark.parametrize(("software", "expected"), [("morph", True), ("SWarp", False)])
def test_a_tile_says_itself_whether_it_is_simulated(tile_of, software, expected):
    assert tile_of("DES0200-4000", software).simulated is expected


def test_a_tile_is_shown_with_its_most_anomalous_galaxies(tile_of, scores):
    section = tile_section(scores, tile_of("DES0200-4000"))
    order = np.argsort(scores["anomaly_score"].to_numpy())
    shown = [galaxy["id"] for galaxy in section["pictures"]["shown"]]
    assert len(shown) == MOST_ANOMALOUS
    usable = [f"obj-{i}" for i in order if i != 5]
    assert shown == usable[:MOST_ANOMALOUS], "the object without data has no anomaly score"


def test_a_tile_that_was_not_scored_is_bad_input(tile_of, scores):
    with pytest.raises(InputError, match="'DES9999-0000' was not scored"):
        tile_section(scores, tile_of("DES9999-0000"))


def test_scores_that_are_missing_damaged_or_something_else_are_bad_input(tmp_path, scores):
    with pytest.raises(InputError, match="no scores"):
        read_scores(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(tmp_path)
    pq.write_table(scores.drop_columns(["anomaly"]), tmp_path / "bad.parquet")
    with pytest.raises(InputError, match="no column 'anomaly'"):
        read_scores(tmp_path)


def test_a_choice_shows_every_kind_before_it_repeats_one(probabilities_of):
    rows = [{"smooth-or-featured_smooth": 1.0}] * 20 + [
        {"smooth-or-featured_featured-or-disk": 1.0, "disk-edge-on_yes": 1.0}
    ]
    assert 20 in various(probabilities_of(*rows), 2)


def test_a_picture_of_a_tile_keeps_its_mean_and_stands_north_up():
    planes = np.zeros((60, 40, 3), dtype="float32")
    planes[50:, :, 0] = 1
    small = shrink(planes, 30)
    assert small.shape == (30, 20, 3)
    assert small.mean() == pytest.approx(planes.mean())
    assert small[0, 0, 0] == 1, "the last row of a FITS image is the uppermost of a picture"


def test_a_window_over_the_edge_is_filled_with_sky():
    planes = np.ones((20, 20, 3), dtype="float32")
    stamp = window(planes, 0, 0, 4)
    assert stamp.shape == (8, 8, 3)
    assert stamp.sum() == 4 * 4 * 3
