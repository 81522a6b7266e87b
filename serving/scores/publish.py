"""What a run leaves for people: from the score files a friendly catalogue, a report, and on request FITS and HATS.

It lies in a folder beside that of the score files, `scores-catalogue` for `scores`: inside, Dask and Polars would take
its tables for more scores. Everything is made by reading one tile after the other, and only anew where a score file
has changed.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from morph import __version__
from morph.atomic import atomic
from morph.parallel import prefetch
from serving.scores import aggregate as tally
from serving.scores import value_added as friendly
from serving.scores.aggregate import Aggregate
from serving.scores.astropy_words import astropy_words
from serving.scores.domain_shift import NUMBERS
from serving.scores.fits_table import write_fits
from serving.scores.hats import write_hats
from serving.scores.readme import guide
from serving.scores.report import write_report
from serving.scores.score_files import ScoreFiles, with_about
from serving.scores.summary import Failed, Summary

ABOUT, GUIDE, FRIENDLY, REPORT, FITS, HATS = (
    "about.json",
    "README.md",
    "friendly.parquet",
    "report.html",
    "scores.fits",
    "hats",
)

#: Galaxies in a row group of the friendly file; one a tile would make its footer longer than its rows.
GROUP = 100_000

#: Tiles that are read in advance.
WAITING = 4


def publish(summary: Summary, out: Path, hats: bool = False, fits: bool = False) -> list[Path]:
    """Make what people read from all the score files in the folder `out`; returns what is there now.

    Parameters
    ----------
    summary : of the run; its failures are reported.
    hats, fits : also write a HATS collection, a FITS table. One that is there from before is kept up to date in any
        case.

    Raises InputError when a score file is damaged or the folder cannot be written to. Each file appears whole or not
    at all.
    """
    if not summary.galaxies:
        return []
    scores = ScoreFiles.open(out)
    folder = catalogue_folder(out)
    about = _about(scores, summary.failed)
    state = _state(out, scores, summary.failed)
    before = _made(folder)

    def wanted(name: str, asked: bool = True) -> bool:
        # What was killed while it changed places is not there, but was made once.
        return (asked or name in before) and not ((folder / name).exists() and before.get(name) == state)

    if wanted(FRIENDLY) or wanted(REPORT):
        with atomic(out / "_common_metadata") as building:
            pq.write_metadata(with_about(scores.schema, about), building)
        found = _write_friendly(scores, folder / FRIENDLY, about)
        write_report(folder / REPORT, scores, found, out, summary.failed)
    if wanted(FITS, fits):
        write_fits(scores, folder / FITS)
    if wanted(HATS, hats):
        write_hats(scores, folder / HATS, about)
    made = [name for name in (REPORT, FRIENDLY, FITS, HATS) if (folder / name).exists()]
    with atomic(folder / GUIDE) as building:
        building.write_text(guide(scores, out.resolve().name, made), encoding="utf-8")
    with atomic(folder / ABOUT) as building:
        building.write_text(json.dumps({**about, "made": dict.fromkeys(made, state)}, indent=1) + "\n")
    return [folder / name for name in (*made, GUIDE, ABOUT)]


def catalogue_folder(out: Path) -> Path:
    """Where the catalogue of the score files in `out` lies."""
    return out.resolve().with_name(f"{out.resolve().name}-catalogue")


def _write_friendly(scores: ScoreFiles, path: Path, about: dict[str, Any]) -> Aggregate:
    """The friendly file, and what the rows add up to: both from one reading."""
    found = Aggregate()
    needed = [*friendly.NEEDED, *friendly.magnitudes(scores.schema)]
    schema = with_about(friendly.friendly(scores.schema_of(needed).empty_table()).schema, about)
    words = astropy_words(schema, {**scores.widths(["id", "tile"]), **friendly.text_widths()}, about)
    schema = schema.with_metadata({**schema.metadata, **words})
    texts = [field.name for field in schema if pa.types.is_string(field.type) and field.name != "id"]
    columns = list(dict.fromkeys([*needed, *tally.NEEDED]))
    waiting: list[pa.Table] = []
    with (
        atomic(path) as building,
        pq.ParquetWriter(building, schema, compression="zstd", use_dictionary=texts) as file,
    ):
        for number, table in enumerate(prefetch(scores.tables(columns), WAITING)):
            found.add(table, number)
            waiting.append(friendly.friendly(table).replace_schema_metadata(schema.metadata))
            if sum(map(len, waiting)) >= GROUP:
                file.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting = []
        if waiting:
            file.write_table(pa.concat_tables(waiting).combine_chunks())
    return found


def _about(scores: ScoreFiles, failed: Sequence[Failed]) -> dict[str, Any]:
    """What was run on what, when, and with which outcome."""
    return {
        "software": f"morph {__version__}",
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "galaxies": scores.galaxies,
        "tiles": len(scores),
        "simulated": scores.simulated,
        "runs": list(scores.runs),
        "failed": {tile.tile: tile.reason for tile in failed},
    }


def _state(out: Path, scores: ScoreFiles, failed: Sequence[Failed]) -> str:
    """What changes when anything does that a catalogue is made from."""
    distance = out / NUMBERS
    told = distance.read_text() if distance.exists() else ""
    parts = [__version__, scores.digest, [(tile.tile, tile.reason) for tile in failed], told]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _made(folder: Path) -> dict[str, str]:
    """From which state each part of an earlier catalogue was made; empty where there is none that can be read."""
    try:
        return dict(json.loads((folder / ABOUT).read_text())["made"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
