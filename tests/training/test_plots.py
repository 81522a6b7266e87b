"""Every figure is drawn, in either format, without a display."""

import numpy as np
import pytest

from morph.reports.style import INK, svg
from morph.stamps.stretch import reconstruction_pictures, to_pictures
from training import plots
from training.evaluation import diagnostic_plots
from training.metrics.estimates import Estimate

RANDOM = np.random.default_rng(0)
STAMPS = RANDOM.integers(0, 255, (9, 32, 32, 3)).astype("uint8")
THREE = {"direct": (0.5, 0.4, 0.6), "scratch": (0.4, 0.3, 0.5), "fine-tuned": (0.7, 0.6, 0.8)}
CURVE = np.array([[0.2, 0.1, 0.05, 0.2, 5], [0.8, 0.9, 0.9, 0.9, 1]])
MEASURED = {
    f"{q}/{what}": Estimate(0.5, 0.4, 0.6, 9)
    for q in ("q0", "all")
    for what in ("calibration-error", "calibration-noise", "coverage-50", "coverage-90")
}
FIGURES = {
    "reconstructions": lambda: plots.reconstructions(STAMPS[:4], STAMPS[4:8], ["a", "b"]),
    "confusion": lambda: plots.confusion(np.array([[5, 1], [0, 0]]), ["yes", "no"], "bar"),
    "reliability": lambda: diagnostic_plots.reliability({f"q{i}": CURVE for i in range(5)}, MEASURED, "votes"),
    "coverage": lambda: diagnostic_plots.coverage(MEASURED),
    "training_curves": lambda: plots.training_curves({"loss": [3, 2], "val_loss": [3, 2.5], "votes": [1, 0.5]}),
    "comparison": lambda: plots.comparison({"smooth": THREE, "bar": {"direct": (0.5, 0.5, 0.5)}}),
    "contact_sheet": lambda: plots.contact_sheet(STAMPS, ["one"], columns=4, title="anomalous"),
    "embedding_map": lambda: plots.embedding_map(RANDOM.normal(size=(9, 5)), STAMPS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_on_a_page_and_in_a_file(name, tmp_path):
    figure = FIGURES[name]()
    text = svg(figure)
    assert text.startswith("<svg")
    assert "http://localhost" not in text
    assert INK not in text, "ink takes the colour of the page's text"
    figure.savefig(tmp_path / "figure.png")
    from PIL import Image

    assert len(np.unique(np.asarray(Image.open(tmp_path / "figure.png").convert("L")))) > 10


def lines(figure) -> list[np.ndarray]:
    """The points of every line of a figure: [points, 2] each."""
    return [line.get_xydata() for axis in figure.axes for line in axis.lines]


def drawn(figure) -> list[np.ndarray]:
    """The pixels of every image of a figure."""
    return [image.get_array() for axis in figure.axes for image in axis.images]


def texts(figure) -> set[str]:
    return {text.get_text() for axis in figure.axes for text in axis.texts}


def test_a_confusion_matrix_shows_its_shares_and_numbers():
    figure = FIGURES["confusion"]()
    np.testing.assert_allclose(drawn(figure)[0], [[5 / 6, 1 / 6], [0, 0]])
    assert texts(figure) == {"5", "1", "0"}


def test_reliability_shows_the_curve_and_its_errors():
    figure = FIGURES["reliability"]()
    diagonal, points = lines(figure)[:2]
    np.testing.assert_array_equal(diagonal, [[0, 0], [1, 1]])
    np.testing.assert_allclose(points, [[0.2, 0.1], [0.8, 0.9]])
    assert "n = 9\nerror 50.0 %\nnoise 50.0 %" in texts(figure)


def test_coverage_shows_percentages_with_their_intervals():
    shown = [sorted(line[:, 0].tolist()) for line in lines(FIGURES["coverage"]())]
    # Two levels, each with two questions at 50 %, and the ends of their intervals.
    assert [shown.count([value] * 2) for value in (40, 50, 60)] == [2, 3, 2], "the level of 50 % is a line too"


def test_training_curves_show_every_epoch():
    shown = lines(FIGURES["training_curves"]())
    for expected in ([[1, 3], [2, 2]], [[1, 3], [2, 2.5]], [[1, 1], [2, 0.5]]):
        assert any(np.array_equal(line, expected) for line in shown)


def test_a_comparison_shows_every_value():
    figure = FIGURES["comparison"]()
    widths = sorted(round(bar.get_width()) for axis in figure.axes for bar in axis.patches)
    assert widths == [40, 50, 50, 70]
    assert texts(figure) == {"40", "50", "70"}


def test_sheets_show_the_pictures_themselves():
    np.testing.assert_array_equal(drawn(FIGURES["contact_sheet"]()), STAMPS)
    np.testing.assert_array_equal(drawn(FIGURES["reconstructions"]()), np.stack([*STAMPS[:4], *STAMPS[4:8]]))


def test_an_embedding_map_shows_galaxies_where_they_lie():
    embedding = RANDOM.normal(size=(9, 5))
    figure = plots.embedding_map(embedding, STAMPS)
    places = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(places, plots.principal_components(embedding))
    assert 1 <= len(figure.axes[0].artists) <= 9


def test_principal_components_keep_the_distances_that_matter():
    plane = RANDOM.normal(size=(50, 2)) @ np.array([[3.0, 0, 4, 0], [0, 2, 0, 0]])
    place = plots.principal_components(plane)
    assert np.allclose(np.linalg.norm(place[0] - place[1]), np.linalg.norm(plane[0] - plane[1]))


def test_a_perfect_reconstruction_of_a_composite_looks_the_same():
    from morph.stamps.stretch import relative_flux

    image = STAMPS[:2] // 3 + 20
    assert np.abs(reconstruction_pictures(image, relative_flux(image)).astype(int) - image).max() <= 1


def test_flux_and_its_reconstruction_share_a_white_level():
    flux = RANDOM.random((2, 32, 32, 3)).astype("float32")
    assert (reconstruction_pictures(flux, flux) == to_pictures(flux)).all()
    assert reconstruction_pictures(flux, 0.2 * flux).mean() < to_pictures(flux).mean()
