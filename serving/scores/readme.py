"""`README.md` beside a catalogue: what each file is, how to read it, and what every column means."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from serving.scores.score_files import ScoreFiles, chosen_from, when
from serving.scores.value_added import friendly

_FILES = {
    "report.html": "what was found, as one page of pictures",
    "friendly.parquet": "one row a galaxy: its most likely answers, their probabilities and errors",
    "scores.fits": "all columns as one FITS binary table, for TOPCAT",
    "hats": "all columns as a HATS collection, for LSDB",
    "about.json": "what was run on what, for programs",
}

_READING = {
    "friendly.parquet": 'pandas.read_parquet("friendly.parquet")',
    "scores.fits": 'astropy.table.Table.read("scores.fits")',
    "hats": 'lsdb.open_catalog("hats").cone_search(ra=53.1, dec=-27.8, radius_arcsec=60).compute()',
}


_TEXT = """\
# {galaxies:,} galaxies, tile by tile

{runs}

The scores themselves are in `../{folder}`, one Parquet file a tile, with units, descriptions and UCDs in their schema.
Here is what was made from them:

{files}

```python
{reading}
```

## What to keep in mind

- `flags` other than 0 say that something is wrong with a galaxy's stamp; `clean` is true where nothing is,
  though a band may be missing (flag 4): one band is enough to answer. The p-value's reference has all three bands, so
  a galaxy that lacks one has a small p-value for that alone.
- A probability is the share of volunteers expected to give that answer, given that they are asked the question. In the
  friendly file a question has an answer where at least half of them would be asked it.
- A concentration n says what a question's probabilities are worth: p is uncertain by sqrt(p (1 - p) / (1 + n)), which
  are the friendly file's errors.
- A source with flag 64 (unresolved) is too faint or too small to classify: it has answers, but they say more of the
  noise and the seeing, and `anomaly` may only say that it is faint. The report counts anomalies among clean galaxies.
- `anomaly_score` is a p-value among galaxies like those that taught the model. Whether these are like them, the report
  says.

## Columns of the friendly file

{plain}

## Columns of the scores

{full}
"""


def guide(scores: ScoreFiles, folder: str, made: Sequence[str]) -> str:
    """The text.

    Parameters
    ----------
    folder : the name of the score files' folder, which lies beside.
    made : the names of the catalogue's files.
    """
    there = [*made, "about.json"]
    reading = [
        f'pandas.read_parquet("../{folder}")  # or pyarrow.dataset.dataset',
        f'polars.scan_parquet("../{folder}/*.parquet")',
        f'dask.dataframe.read_parquet("../{folder}/*.parquet")',
        *(line for name, line in _READING.items() if name in there),
    ]
    simulated = ["- Some of the tiles are simulated."] if scores.simulated else []
    return _TEXT.format(
        galaxies=scores.galaxies,
        runs="\n".join([*simulated, *(f"- {line}" for line in _runs(scores))]),
        folder=folder,
        files="\n".join(f"- `{name}`: {text}" for name, text in _FILES.items() if name in there),
        reading="\n".join(reading),
        plain="\n".join(_columns(friendly(scores.schema.empty_table()).schema)),
        full="\n".join(_columns(scores.schema)),
    )


def _runs(scores: ScoreFiles) -> Iterable[str]:
    for run in scores.runs:
        yield (
            f"{run['galaxies']:,} galaxies {chosen_from(run)}; survey {run.get('survey')}, tiles: {run['tiles']:,}; "
            f"scored by {run['model']} {run['model_version']} with {run.get('software')}, {when(run)}"
        )


def _columns(schema: pa.Schema) -> Iterable[str]:
    yield "| column | type | unit | what it is |"
    yield "|---|---|---|---|"
    for field in schema:
        words = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        yield f"| `{field.name}` | {field.type} | {words.get('unit', '')} | {words.get('description', '')} |"
