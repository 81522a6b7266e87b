"""The page of a sequence: how types are distributed, and the map of shapes with real galaxies on it."""

import io
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from morph.analysis.census.sequence import STEPS, Placement
from morph.atomic import atomic
from morph.reports.html import png, render
from morph.reports.style import COLOURS, FAINT, style, svg

#: Width of a picture on the map, pixels.
WIDTH = 44


def write_page(made: Placement, path: Path) -> None:
    """Write the page to a file."""
    about = made.about
    names = [about.get(name) for name in ("model", "model_version")]
    page = render(
        "sequence.html",
        title="The Hubble sequence, galaxy by galaxy",
        model=" ".join(str(name) for name in names if name) or "not recorded in the scores",
        simulated=bool(about["simulated"]),
        facts=[(f"{made.placed:,}", "galaxies with a type"), (f"{made.galaxies:,}", "rows")],
        types=svg(types_figure(made)),
        shapes=png(map_figure(made)) if made.shown.places and sum(map(len, made.shown.places)) else None,
        notes=made.notes,
        provenance=[
            (name.replace("_", " "), value if isinstance(value, str) else json.dumps(value))
            for name, value in about.items()
            if value
        ],
    )
    with atomic(path, "The page") as building:
        building.write_text(page)


def types_figure(made: Placement) -> Figure:
    """How many galaxies there are of each type."""
    with style():
        figure = Figure(figsize=(9, 3), layout="constrained")
        axes = figure.subplots()
        axes.stairs(made.types, STEPS, fill=True, color=COLOURS[0], alpha=0.8)
        axes.set_xticks([-5, -2, 1, 3, 5, 7], ["E", "S0", "Sa", "Sb", "Sc", "Sd"])
        axes.set_ylabel("galaxies")
    return figure


def map_figure(made: Placement) -> bytes:
    """The map of shapes, with pictures where the scores keep any: a PNG file."""
    places = np.concatenate(made.shown.places)
    with style():
        figure = Figure(figsize=(11, 7), layout="constrained")
        axes = figure.subplots()
        axes.plot(*places.T, ".", ms=2, color=FAINT, rasterized=True)
        for x, y, picture in made.shown.pictures.values():
            pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB").resize((WIDTH, WIDTH)))
            box = AnnotationBbox(OffsetImage(pixels, zoom=0.75), (x, y), frameon=False, pad=0)
            axes.add_artist(box)
        axes.set(xlabel="type that the shape gives", ylabel="first principal component of what is left")
        low, high = np.quantile(places, [0.001, 0.999], axis=0)
        margin = 0.06 * (high - low) + 1e-3
        axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
