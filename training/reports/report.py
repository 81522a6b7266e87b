"""`report.html`: one page of pictures that shows what a model does, and on what.

Sections appear when their input is given.

>>> write_report("report.html", scores="scores").name
'report.html'
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from morph import __version__
from morph.atomic import atomic
from morph.dataset import Galaxies, dataset_name
from morph.domain_shift.report import section_of_scores, shift_section
from morph.errors import InputError
from morph.reports.html import render
from morph.tiles.tile import Tile
from training.evaluation.evaluate import ask
from training.experiments.comparison import Comparison
from training.fitting.reference_sample import shift_of
from training.reports.sections import (
    Answers,
    calibration_section,
    comparison_section,
    embedding_map,
    galaxies_section,
    most_anomalous_section,
    reconstruction_section,
)
from training.reports.tile_section import models_of, read_scores, tile_section

#: Fewer galaxies than this make no map.
SMALLEST_MAP = 60


def write_report(
    to: str | Path,
    *,
    classifier=None,
    model: str = "",
    galaxies: Galaxies | None = None,
    comparisons: Sequence[Comparison] = (),
    scores: str | Path | None = None,
    tile: Tile | None = None,
    tile_simulated: bool | None = None,
    next_steps: Sequence[str] = (),
    title: str = "What the model sees",
) -> Path:
    """Write the page, atomically.

    Parameters
    ----------
    to : the file, by custom ``report.html``.
    classifier, model : the model and its name; needed with `galaxies`.
    galaxies : galaxies that the model was not trained on, to show with their answers.
    comparisons : runs to show side by side, one section for each set of galaxies.
    scores : a score file or a folder of them.
    tile : the images of one of the scored tiles; tile_simulated : whether tiles are simulated; read
        from the tile's own headers when not given.
    next_steps : commands to suggest instead of the usual ones.

    Returns
    -------
    The file's path.

    Raises
    ------
    InputError : there is nothing to show, or galaxies come without a model.
    """
    _check(classifier, galaxies, comparisons, scores)
    # The page may be published; the model's folder on this machine does not belong in it.
    model = model if ":/" in model else Path(model).name
    asked = ask(classifier, galaxies.images) if galaxies is not None else {}
    table = None if scores is None else read_scores(scores)
    if tile_simulated is None:
        tile_simulated = tile is not None and tile.simulated
    text = render(
        "model.html",
        title=title,
        subjects=_subjects(classifier, model, galaxies, comparisons),
        simulated=any(each.simulated for each in (*comparisons, galaxies) if each is not None) or tile_simulated,
        comparisons=[comparison_section(comparison) for comparison in comparisons],
        **_on_galaxies(galaxies, asked, classifier),
        tiles=None if table is None else tile_section(table, tile, tile_simulated),
        scores_shift=None if scores is None else section_of_scores(scores),
        provenance=list(_provenance(classifier, model, galaxies, comparisons, table)),
        next_steps=next_steps or _next_steps(galaxies),
    )
    to = Path(to)
    with atomic(to) as building:
        building.write_text(text, encoding="utf-8")
    return to


def _check(
    classifier, galaxies: Galaxies | None, comparisons: Sequence[Comparison], scores: str | Path | None
) -> None:
    if galaxies is not None and classifier is None:
        raise InputError(
            "Galaxies are shown with a model's answers; give a model too, for instance models:/morph@sdss."
        )
    if galaxies is None and not comparisons and scores is None:
        raise InputError("There is nothing to report on; give galaxies with a model, runs, or scores.")


def _on_galaxies(galaxies: Galaxies | None, answers: Answers, classifier) -> dict[str, Any]:
    """The sections on galaxies, by their names in the template; None where there is nothing to show."""
    if galaxies is None:
        return dict.fromkeys(("galaxies", "reconstructions", "anomalous", "calibration", "map", "shift"))
    shift = shift_of(classifier, galaxies)
    return {
        "galaxies": galaxies_section(galaxies, answers),
        "reconstructions": reconstruction_section(galaxies, answers, classifier),
        "anomalous": most_anomalous_section(galaxies, answers, classifier.anomaly_threshold),
        "calibration": calibration_section(galaxies, answers),
        "map": embedding_map(galaxies, answers) if len(galaxies) >= SMALLEST_MAP else None,
        "shift": None if isinstance(shift, str) else shift_section(shift, dataset_name(galaxies)),
    }


def _subjects(
    classifier, model: str, galaxies: Galaxies | None, comparisons: Sequence[Comparison]
) -> Iterator[Markup | str]:
    """What the page is about."""
    if classifier is not None:
        name, survey = model or classifier.name, classifier.survey.upper()
        yield Markup("Model <b>{}</b>, last trained on {}").format(name, survey)
    if galaxies is not None:
        yield Markup("{:,} galaxies of <b>{}</b>").format(len(galaxies), dataset_name(galaxies))
    runs = {run.id for comparison in comparisons for run in comparison.runs}
    if len(runs) > 1:
        yield f"{len(runs)} runs compared"


def _provenance(classifier, model: str, galaxies: Galaxies | None, comparisons: Sequence[Comparison], scores):
    """Names and digests of everything on the page."""
    if classifier is not None:
        yield "model", f"{model or classifier.name} (survey {classifier.survey}, {classifier.size} px)"
        for name, value in classifier.about.items():
            if value:
                yield f"model: {name.replace('_', ' ')}", ", ".join(value) if isinstance(value, list) else str(value)
    if galaxies is not None:
        kind = "simulated galaxies" if galaxies.simulated else "galaxies"
        yield "galaxies", f"{dataset_name(galaxies)}: {len(galaxies):,} {kind}, digest {galaxies.digest}"
        for line in galaxies.zero_point_lines():
            yield "galaxies", line
    for comparison in comparisons:
        for run in comparison.runs:
            about = run.evaluation.about
            kind = "simulated galaxies" if about["simulated"] else "galaxies"
            yield (
                f"run {run.name}",
                f"{run.id}; evaluated on {about['dataset']} ({about['split']}, {about['galaxies']:,} {kind}, "
                f"digest {about['digest']})",
            )
    if scores is not None:
        yield "scores", f"{len(scores):,} objects, scored by {', '.join(models_of(scores))}"
    yield "morph", __version__
    yield "written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield (
        "credit",
        "Images: Sloan Digital Sky Survey, Dark Energy Survey, DESI Legacy Surveys. Labels: Galaxy Zoo volunteers "
        "(Lintott et al. 2008, Willett et al. 2013, Hart et al. 2016, Walmsley et al. 2022).",
    )


def _next_steps(galaxies: Galaxies | None) -> list[str]:
    """Commands to go on with."""
    own = galaxies is not None and not galaxies.simulated
    return [
        "morph import IMAGES --labels LABELS.csv --survey des --to mine" if not own else "# more labels help most:",
        "morph finetune models:/morph@sdss mine --to mine.keras --alias champion",
        "morph evaluate models:/morph@champion mine",
        "morph compare",
        "morph score 'TILES/*.fits.fz' --model models:/morph@champion --out scores",
    ]
