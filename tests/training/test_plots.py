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
    "contact_sheet": lambda: plots.contact_sheet(STAMPS, ["one"], columns=4, title="strange"),
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


def test_principal_components_keep_the_distances_that_matter():
    plane = RANDOM.normal(size=(50, 2)) @ np.array([[3.0, 0, 4, 0], [0, 2, 0, 0]])
    place = plots.principal_components(plane)
    assert np.allclose(np.linalg.norm(place[0] - place[1]), np.linalg.norm(plane[0] - plane[1]))


def test_a_composite_that_is_redrawn_perfectly_looks_the_same():
    from morph.stamps.stretch import relative_flux

    image = STAMPS[:2] // 3 + 20
    assert np.abs(reconstruction_pictures(image, relative_flux(image)).astype(int) - image).max() <= 1


def test_flux_and_its_reconstruction_share_a_white_level():
    flux = RANDOM.random((2, 32, 32, 3)).astype("float32")
    assert (reconstruction_pictures(flux, flux) == to_pictures(flux)).all()
    assert reconstruction_pictures(flux, 0.2 * flux).mean() < to_pictures(flux).mean()
