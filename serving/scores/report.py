"""What people read of a scoring run: the page ``report.html``, and ``README.md`` with every column."""

import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from morph import __version__
from morph.atomic import atomic
from morph.decision_tree import TREE, phrase
from morph.domain_shift.report import section_of_scores
from morph.reports.html import jpeg, render
from morph.reports.style import svg
from morph.stamps.flags import Flag
from serving.scores import report_figures
from serving.scores.aggregate import Aggregate
from serving.scores.schema import words_of
from serving.scores.score_files import ScoreFiles, chosen_from, when
from serving.scores.summary import Failed
from serving.scores.value_added import value_added

#: Tiles that could not be scored are listed up to this number.
FAILURES = 40

_FLAGS = {
    Flag.EDGE: "the stamp reaches over the tile's edge",
    Flag.MASKED: "many of the stamp's pixels are bad in some band",
    Flag.MISSING_BAND: "a band is missing (answered from the others)",
    Flag.SATURATED: "pixels of the galaxy itself are saturated",
    Flag.TOO_SMALL: "too small to show any structure",
    Flag.NO_DATA: "no data; it has no answers",
    Flag.UNRESOLVED: "too faint, or too small for the seeing, to be classified",
    Flag.PIECE: "within the light of a much brighter source",
}


def write_report(path: Path, scores: ScoreFiles, found: Aggregate, folder: Path, failed: Sequence[Failed]) -> None:
    """Write the page, atomically.

    Parameters
    ----------
    path : the page's file.
    found : the aggregate of all the scores' rows.
    folder : of the score files, with the domain shift that `morph score` left there.
    failed : tiles that could not be scored.

    Raises
    ------
    InputError : the page cannot be written.
    """
    footprint, morphology = report_figures.footprint(found), report_figures.morphology(found)
    surveys = sorted({str(run.get("survey", "")).upper() for run in scores.runs})
    anomalous = {"shown": _most_anomalous(found)} if found.most_anomalous else None
    text = render(
        "scores.html",
        title=f"Galaxies of {' and '.join(surveys)}, scored",
        models=", ".join(sorted({f"{run['model']} {run['model_version']}" for run in scores.runs})),
        simulated=scores.simulated,
        facts=list(_facts(scores, found, failed)),
        footprint=footprint and svg(footprint),
        few=bool(found.dots),
        clean=f"{found.clean:,}",
        answers=svg(report_figures.answers(found)),
        shares=list(_shares(found)),
        morphology=morphology and svg(morphology),
        enough=report_figures.ENOUGH,
        anomalous=anomalous,
        p_values=svg(report_figures.p_values(found)) if anomalous else None,
        shift=section_of_scores(folder),
        flags=list(_flags(found)),
        failed=[(tile.tile, tile.reason) for tile in failed[:FAILURES]],
        more_failed=f"{len(failed) - FAILURES:,}" if len(failed) > FAILURES else "",
        provenance=list(_provenance(scores)),
    )
    with atomic(path) as building:
        building.write_text(text, encoding="utf-8")


def _facts(scores: ScoreFiles, found: Aggregate, failed: Sequence[Failed]) -> Iterator[tuple[str, str]]:
    yield f"{found.galaxies:,}", "galaxies"
    yield f"{len(scores):,}", "tile" if len(scores) == 1 else "tiles"
    if np.isfinite(scores.area):
        yield f"{scores.area:,.3g}", "square degrees"
    yield f"{100 * found.clean / max(found.galaxies, 1):.1f} %", "with nothing wrong"
    yield f"{found.anomalies:,}", "of these anomalous"
    if failed:
        yield f"{len(failed):,}", "tiles not scored" if len(failed) > 1 else "tile not scored"


def _shares(found: Aggregate) -> Iterator[list[str]]:
    for question, asked in zip(TREE, found.asked, strict=True):
        chosen = found.chosen[TREE.slices[question.name]]
        for answer, count in zip(question.answers, chosen, strict=True) if asked > 0 else ():
            yield [question.name, phrase(question.name, answer), f"{100 * count / asked:.1f}", f"{count:,.0f}"]


def _most_anomalous(found: Aggregate) -> list[dict[str, object]]:
    return [
        {
            "id": galaxy.id,
            "picture": jpeg(np.asarray(Image.open(io.BytesIO(galaxy.picture))), 112),
            "caption": f"p = {galaxy.score:.3g}, {galaxy.tile}",
        }
        for galaxy in found.most_anomalous
        if galaxy.picture
    ]


def _flags(found: Aggregate) -> Iterator[list[str]]:
    rows = {"nothing, or a missing band at most": found.clean, **{_FLAGS[flag]: found.flags[flag] for flag in _FLAGS}}
    for text, count in rows.items():
        yield [text, f"{count:,}", f"{100 * count / max(found.galaxies, 1):.2f}"]


def _provenance(scores: ScoreFiles) -> Iterator[tuple[str, str]]:
    for run in scores.runs:
        yield "model", f"{run['model']} {run['model_version']}, trained on {run.get('model_survey')}"
        if run.get("engine"):
            yield "run by", str(run["engine"])
        if run.get("run"):
            yield "its MLflow run", str(run["run"])
        yield "galaxies", chosen_from(run)
        yield "scored", f"{run['galaxies']:,} galaxies of {run['tiles']:,} tiles, {when(run)}"
        yield "software", str(run.get("software"))
    yield "report", f"morph {__version__}, {datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC')}"


# --- README.md -------------------------------------------------------------------------------------------

_FILES = {
    "report.html": "the results as one page of pictures",
    "value_added.parquet": "one row a galaxy: its most likely answers, their probabilities and errors",
    "scores.fits": "all columns as one FITS binary table, for TOPCAT",
    "hats": "all columns as a HATS collection, for LSDB",
    "about.json": "models, catalogues and software, for programs",
}

_READING = {
    "value_added.parquet": 'pandas.read_parquet("value_added.parquet")',
    "scores.fits": 'astropy.table.Table.read("scores.fits")',
    "hats": 'lsdb.open_catalog("hats").cone_search(ra=53.1, dec=-27.8, radius_arcsec=60).compute()',
}

_README = """\
# {galaxies:,} galaxies, tile by tile

{runs}

The scores themselves are in `../{folder}`, one Parquet file a tile, with units, descriptions and UCDs in their schema.
These files were made from them:

{files}

```python
{reading}
```

## What to keep in mind

- `flags` is 0 where nothing is wrong with a galaxy's stamp; `clean` is true there, and also where a band is missing
  (flag 4): one band is enough to answer. The p-value's reference has all three bands, so a galaxy that lacks one has a
  small p-value for that alone.
- A probability is the share of volunteers expected to give that answer, given that they are asked the question. In the
  value-added catalogue a question has an answer where at least half of them would be asked it.
- A concentration n is the number of votes that a question's probabilities are worth: p is uncertain by
  sqrt(p (1 - p) / (1 + n)), which are the value-added catalogue's errors.
- A source with flag 64 (unresolved) is too faint or too small to classify: its answers describe noise and seeing, and
  `anomaly` may only mean that it is faint. The report counts anomalies among clean galaxies.
- `anomaly_score` is a p-value among galaxies like those of the training set. The report compares these with them.

## Columns of the value-added catalogue

{plain}

## Columns of the scores

{full}
"""


def readme(scores: ScoreFiles, folder: str, made: Sequence[str]) -> str:
    """The text of ``README.md`` beside a catalogue: each file, how to read it, and every column.

    Parameters
    ----------
    folder : the name of the score files' folder, which lies beside.
    made : the names of the catalogue's files.

    Returns
    -------
    Markdown.
    """
    there = [*made, "about.json"]
    reading = [
        f'morph.open_scores("../{folder}").where("flags == 0").to_table()',
        f'pandas.read_parquet("../{folder}")  # or pyarrow.dataset.dataset',
        f'polars.scan_parquet("../{folder}/*.parquet")',
        f'dask.dataframe.read_parquet("../{folder}/*.parquet")',
        *(line for name, line in _READING.items() if name in there),
    ]
    simulated = ["- Some of the tiles are simulated."] if scores.simulated else []
    return _README.format(
        galaxies=scores.galaxies,
        runs="\n".join([*simulated, *(f"- {line}" for line in _runs(scores))]),
        folder=folder,
        files="\n".join(f"- `{name}`: {text}" for name, text in _FILES.items() if name in there),
        reading="\n".join(reading),
        plain="\n".join(_columns(value_added(scores.schema.empty_table()).schema)),
        full="\n".join(_columns(scores.schema)),
    )


def _runs(scores: ScoreFiles) -> Iterable[str]:
    for run in scores.runs:
        yield (
            f"{run['galaxies']:,} galaxies {chosen_from(run)}; survey {run.get('survey')}, tiles: {run['tiles']:,}; "
            f"scored by {run['model']} {run['model_version']} with {run.get('software')}, {when(run)}"
        )


def _columns(schema: pa.Schema) -> Iterable[str]:
    yield "| column | type | unit | contents |"
    yield "|---|---|---|---|"
    for field in schema:
        words = words_of(field)
        yield f"| `{field.name}` | {field.type} | {words.get('unit', '')} | {words.get('description', '')} |"
