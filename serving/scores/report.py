"""`report.html`: one page of pictures that says what a scoring run found, and whether to believe it."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from morph import __version__
from morph.atomic import atomic
from morph.decision_tree import TREE, phrase
from morph.domain_shift.section import section_of_scores
from morph.reports.html import (
    Section,
    commands,
    escape,
    facts,
    page,
    pairs_table,
    picture,
    short,
    simulated_mark,
    table,
)
from morph.reports.style import svg
from morph.stamps.cutting import Flag
from serving.scores import report_figures
from serving.scores.aggregate import Aggregate, Strange
from serving.scores.score_files import ScoreFiles, chosen_from, when
from serving.scores.summary import Failed

#: Tiles that could not be scored are listed up to this number.
FAILURES = 40

_FLAGS = {
    Flag.EDGE: "the stamp reaches over the tile's edge",
    Flag.MASKED: "many of the stamp's pixels are bad in some band",
    Flag.MISSING_BAND: "a band is missing (answered from the others)",
    Flag.SATURATED: "pixels of the galaxy itself are saturated",
    Flag.TOO_SMALL: "too small to show any structure",
    Flag.NO_DATA: "nothing to look at; it has no answers",
    Flag.UNRESOLVED: "too faint, or too small for the seeing, to be classified",
    Flag.PIECE: "within the light of a much brighter source",
}


def write_report(path: Path, scores: ScoreFiles, tally: Aggregate, folder: Path, failed: Sequence[Failed]) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    tally : of all the scores' rows.
    folder : of the score files; what `morph score` left there of the distance to the training galaxies is shown.
    failed : tiles that could not be scored.
    """
    sections = [_sky(tally), _answers(tally, scores.simulated), _against(tally), _strangest(tally, scores)]
    distance = section_of_scores(folder)
    sections += [distance, _wrong(tally, failed), _reading(scores), _provenance(scores)]
    lead = _lead(scores, tally, failed)
    title = f"Galaxies of {_surveys(scores)}, scored"
    with atomic(path) as building:
        building.write_text(page(title, lead, [section for section in sections if section]), encoding="utf-8")


def _surveys(scores: ScoreFiles) -> str:
    return " and ".join(sorted({str(run.get("survey", "")).upper() for run in scores.runs}))


def _lead(scores: ScoreFiles, tally: Aggregate, failed: Sequence[Failed]) -> str:
    models = sorted({f"{run['model']} {run['model_version']}" for run in scores.runs})
    numbers = [
        (f"{tally.galaxies:,}", "galaxies"),
        (f"{len(scores):,}", "tile" if len(scores) == 1 else "tiles"),
        *([(f"{scores.area:,.3g}", "square degrees")] if np.isfinite(scores.area) else []),
        (f"{100 * tally.clean / max(tally.galaxies, 1):.1f} %", "with nothing wrong"),
        (f"{tally.anomalies:,}", "of these anomalous"),
    ]
    if failed:
        numbers.append((f"{len(failed):,}", "tiles not scored" if len(failed) > 1 else "tile not scored"))
    warning = f"<p>{simulated_mark(True)} Some of these tiles are simulated.</p>" if scores.simulated else ""
    return f'<p class="lead">By model <b>{escape(", ".join(models))}</b>.</p>{warning}{facts(numbers)}'


def _sky(tally: Aggregate) -> Section | None:
    return _figure_section("Where they lie", report_figures.footprint(tally), width="40rem" if tally.dots else "none")


def _answers(tally: Aggregate, simulated: bool) -> Section:
    rows = [
        [question.name, phrase(question.name, answer), f"{100 * chosen / asked:.1f}", f"{chosen:,.0f}"]
        for question, asked in zip(TREE, tally.asked, strict=True)
        for answer, chosen in zip(question.answers, tally.chosen[TREE.slices[question.name]], strict=True)
        if asked > 0
    ]
    text = (
        f"Expected shares of the {tally.clean:,} galaxies{simulated_mark(simulated)} with nothing wrong: their "
        "probabilities added up, each question weighted by the chance that a volunteer is asked it."
    )
    listed = table(["question", "answer", "share (%)", "galaxies"], rows)
    body = (
        f"<p>{text}</p>{_plot(report_figures.answers(tally))}<details><summary>As numbers</summary>{listed}</details>"
    )
    return Section("What they look like", body)


def _against(tally: Aggregate) -> Section | None:
    text = (
        "Bands are standard errors of the mean. A survey's own limits show here too: towards faint and small galaxies "
        "features are lost in the noise and the seeing, and what is called smooth grows. "
        f"Points rest on {report_figures.ENOUGH} galaxies or more that are asked the question."
    )
    return _figure_section("Morphology against magnitude and size", report_figures.morphology(tally), text)


def _strangest(tally: Aggregate, scores: ScoreFiles) -> Section | None:
    if not tally.strangest:
        return None
    shown = _pictures(tally.strangest, scores)
    figures = "".join(
        f'<figure class="pixels">{image}<figcaption>{short(found.id)}p = {found.score:.3g}, {escape(found.tile)}'
        "</figcaption></figure>"
        for found, image in zip(tally.strangest, shown, strict=True)
        if image
    )
    text = (
        "A p-value says how many of the normal galaxies that the model knows look as strange. Where this survey's "
        "galaxies are like those, every step has as many; a pile at the left says that the survey as a whole differs, "
        "and then a small p-value is not rare."
    )
    sheet = (
        f"<p>The strangest{simulated_mark(scores.simulated)} whose stamps have all bands and no flag, each at its own "
        f'scale and brightness:</p><div class="sheet">{figures}</div>'
    )
    body = f"<p>{text}</p>{_plot(report_figures.p_values(tally), '30rem')}{sheet if figures else ''}"
    return Section("The strangest objects", body)


def _pictures(strangest: Sequence[Strange], scores: ScoreFiles) -> list[str]:
    """Their pictures as the score files keep them, empty where one does not."""
    columns = {}
    for number in {found.file for found in strangest}:
        columns[number] = scores.read(number, ["picture"])["picture"] if "picture" in scores.schema.names else None
    shown = []
    for found in strangest:
        column = columns[found.file]
        file = column[found.row].as_py() if column is not None else None
        shown.append(picture(np.asarray(Image.open(io.BytesIO(file))), f"galaxy {found.id}", 112) if file else "")
    return shown


def _wrong(tally: Aggregate, failed: Sequence[Failed]) -> Section:
    def row(what: str, count: int) -> list[str]:
        return [what, f"{count:,}", f"{100 * count / max(tally.galaxies, 1):.2f}"]

    rows = [
        row("nothing, or a missing band at most", tally.clean),
        *(row(text, tally.flags[flag]) for flag, text in _FLAGS.items()),
    ]
    body = table(["what is wrong with the stamp", "galaxies", "%"], rows)
    if failed:
        more = f"<p>And {len(failed) - FAILURES:,} more.</p>" if len(failed) > FAILURES else ""
        listed = pairs_table([(tile.tile, tile.reason) for tile in failed[:FAILURES]])
        body += f"<p>Tiles that could not be scored:</p>{listed}{more}"
    return Section("What went wrong", body)


def _reading(scores: ScoreFiles) -> Section:
    text = (
        "<code>friendly.parquet</code> has one row a galaxy with its most likely answers; the score files beside this "
        "folder have every probability, embeddings and more, one file a tile. <code>README.md</code> explains every "
        "column."
    )
    lines = [
        "import pandas",
        'galaxies = pandas.read_parquet("friendly.parquet")',
        "barred = galaxies.query(\"clean and bar == 'strong' and bar_probability > 0.7\")",
    ]
    return Section("How to use it", f"<p>{text}</p>{commands(lines)}")


def _provenance(scores: ScoreFiles) -> Section:
    rows: list[tuple[str, str]] = []
    for run in scores.runs:
        rows.append(("model", f"{run['model']} {run['model_version']}, taught on {run.get('model_survey')}"))
        if run.get("engine"):
            rows.append(("run by", str(run["engine"])))
        if run.get("run"):
            rows.append(("its MLflow run", str(run["run"])))
        rows.append(("galaxies", chosen_from(run)))
        rows.append(("scored", f"{run['galaxies']:,} galaxies of {run['tiles']:,} tiles, {when(run)}"))
        rows.append(("software", str(run.get("software"))))
    rows.append(("report", f"morph {__version__}, {datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC')}"))
    return Section("Where this comes from", pairs_table(rows))


def _plot(figure: Figure, width: str = "none") -> str:
    return f'<div class="plot" style="max-width:{width}">{svg(figure)}</div>'


def _figure_section(title: str, figure: Figure | None, text: str = "", width: str = "none") -> Section | None:
    if figure is None:
        return None
    return Section(title, _plot(figure, width) + (f'<p class="note">{text}</p>' if text else ""))
