"""The catalogue beside the score files: value-added table, report, domain shift, and on request FITS and HATS.

It lies in a folder beside that of the score files, `scores-catalogue` for `scores`: inside, Dask and Polars would read
its tables as more scores. Each file is made by reading one tile after the other, and only anew where a score file has
changed.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph import __version__
from morph.atomic import atomic
from morph.decision_tree import ANSWER_COLUMNS
from morph.domain_shift.compare import ENOUGH, NO_REFERENCE_SAMPLE, Shift, compare
from morph.domain_shift.report import document, plot
from morph.domain_shift.sample import Sample
from morph.parallel import prefetch
from serving.scores import aggregate
from serving.scores import value_added as columns
from serving.scores.aggregate import Aggregate
from serving.scores.fits_table import write_fits
from serving.scores.hats import write_hats
from serving.scores.report import readme, write_report
from serving.scores.schema import astropy_metadata, with_about
from serving.scores.score_files import ScoreFiles, read_about, readable
from serving.scores.summary import Failed, ScoresSummary

ABOUT, README, VALUE_ADDED, REPORT, FITS, HATS = (
    "about.json",
    "README.md",
    "value_added.parquet",
    "report.html",
    "scores.fits",
    "hats",
)

#: Scores joined to a survey's own catalogue.
EXTENSION = "hats-extension"

#: Galaxies in a row group of the value-added catalogue; one a tile would make its footer longer than its rows.
GROUP = 100_000

#: Tiles that are read in advance.
IN_ADVANCE = 4

#: The domain shift, beside the score files.
SHIFT_PICTURE, SHIFT_NUMBERS = "_domain-shift.png", "_domain-shift.json"

#: Tiles that the domain shift is measured on; a survey has more than are needed.
SHIFT_TILES = 50


def publish(summary: ScoresSummary, out: Path, hats: bool = False, fits: bool = False) -> list[Path]:
    """Make the catalogue of all the score files in the folder `out`, each file atomically.

    Parameters
    ----------
    summary : of the run; its failures are reported.
    out : the score files' folder.
    hats, fits : also write a HATS collection, a FITS table. One of an earlier run is kept up to date in any case.

    Returns
    -------
    The files that are there now.

    Raises
    ------
    InputError : a score file is damaged, or the folder cannot be written to.
    """
    if not summary.galaxies:
        return []
    scores = ScoreFiles.open(out)
    folder = catalogue_folder(out)
    about = {
        **scores.about,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "failed": {tile.tile: tile.reason for tile in summary.failed},
    }
    state = _state(out, scores, summary.failed)
    before = _made(folder)

    def wanted(name: str, asked: bool = True) -> bool:
        # A file that was being replaced when its process was killed is not there, but was made once.
        return (asked or name in before) and not ((folder / name).exists() and before.get(name) == state)

    if wanted(VALUE_ADDED) or wanted(REPORT):
        with atomic(out / "_common_metadata") as building:
            pq.write_metadata(with_about(scores.schema, about), building)
        found = _write_value_added(scores, folder / VALUE_ADDED, about)
        write_report(folder / REPORT, scores, found, out, summary.failed)
    if wanted(FITS, fits):
        write_fits(scores, folder / FITS)
    if wanted(HATS, hats):
        write_hats(scores, folder / HATS, about)
    made = [name for name in (REPORT, VALUE_ADDED, FITS, HATS) if (folder / name).exists()]
    with atomic(folder / README) as building:
        building.write_text(readme(scores, out.resolve().name, made), encoding="utf-8")
    with atomic(folder / ABOUT) as building:
        building.write_text(json.dumps({**about, "made": dict.fromkeys(made, state)}, indent=1) + "\n")
    return [folder / name for name in (*made, README, ABOUT)]


def catalogue_folder(out: Path) -> Path:
    """Where the catalogue of the score files in `out` lies."""
    return out.resolve().with_name(f"{out.resolve().name}-catalogue")


def _write_value_added(scores: ScoreFiles, path: Path, about: dict[str, Any]) -> Aggregate:
    """The value-added catalogue, and the aggregate of all rows: both from one reading."""
    found = Aggregate()
    needed = [*columns.NEEDED, *columns.magnitudes(scores.schema)]
    schema = with_about(columns.value_added(scores.schema_of(needed).empty_table()).schema, about)
    longest = {name: width for name, width in scores.widths.items() if name in schema.names}
    metadata = astropy_metadata(schema, {**longest, **columns.text_widths()}, about)
    schema = schema.with_metadata({**schema.metadata, **metadata})
    texts = [field.name for field in schema if pa.types.is_string(field.type) and field.name != "id"]
    collected: list[pa.Table] = []
    with (
        atomic(path) as building,
        pq.ParquetWriter(building, schema, compression="zstd", use_dictionary=texts) as file,
    ):
        for table in prefetch(scores.tables(list(dict.fromkeys([*needed, *aggregate.NEEDED]))), IN_ADVANCE):
            found.add(table)
            collected.append(columns.value_added(table).replace_schema_metadata(schema.metadata))
            if sum(map(len, collected)) >= GROUP:
                file.write_table(pa.concat_tables(collected).combine_chunks())
                collected = []
        if collected:
            file.write_table(pa.concat_tables(collected).combine_chunks())
    return found


def _state(out: Path, scores: ScoreFiles, failed: Sequence[Failed]) -> str:
    """A hash that changes when anything does that a catalogue is made from."""
    shift = out / SHIFT_NUMBERS
    numbers = shift.read_text() if shift.exists() else ""
    parts = [__version__, scores.digest, [(tile.tile, tile.reason) for tile in failed], numbers]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _made(folder: Path) -> dict[str, str]:
    """From which state each part of an earlier catalogue was made; empty where there is none that can be read."""
    try:
        return dict(json.loads((folder / ABOUT).read_text())["made"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def report_domain_shift(summary: ScoresSummary, out: Path, survey: str) -> Shift | str:
    """Compare the galaxies of a run with the model's reference sample; numbers and a picture go to the folder `out`.

    Parameters
    ----------
    summary : of the run.
    out : the folder of the scores.
    survey : the tiles'.

    Returns
    -------
    The comparison or, where nothing can be compared, the reason.
    """
    paths = [tile.path for tile in summary.scored if tile.galaxies]
    if summary.reference_sample is None:
        shift: Shift | str = NO_REFERENCE_SAMPLE
    else:
        shift = compare(summary.reference_sample, sample_of_scores(paths, survey))
    what = "The domain shift"
    if isinstance(shift, str):
        (out / SHIFT_PICTURE).unlink(missing_ok=True)
    else:
        name = f"{len(paths):,} tiles of {survey}" if len(paths) > 1 else paths[0].stem
        with atomic(out / SHIFT_PICTURE, what) as building:
            plot(shift, name).savefig(building, dpi=130)
    with atomic(out / SHIFT_NUMBERS, what) as building:
        building.write_text(json.dumps(document(shift), indent=1) + "\n")
    return shift


def sample_of_scores(paths: Sequence[Path], survey: str) -> Sample:
    """Galaxies with nothing wrong from score files, those whose pixels were measured first: about `ENOUGH`."""
    chosen = np.random.default_rng(0).permutation(len(paths))[:SHIFT_TILES]
    each = -(-ENOUGH // max(len(chosen), 1))
    return Sample.concatenate([_of_file(paths[i], each, survey) for i in sorted(chosen)])


def _of_file(path: Path, most: int, survey: str) -> Sample:
    with readable(path):
        table = pq.read_table(path, columns=[*ANSWER_COLUMNS, "embedding", "flags", "image_statistics"])
    embedding, pixels = _matrix(table["embedding"]), _matrix(table["image_statistics"])
    usable = (table["flags"].to_numpy() == 0) & np.isfinite(embedding).all(axis=1)
    measured = np.isfinite(pixels).any(axis=1)
    order = np.random.default_rng(0).permutation(len(table))
    order = order[np.argsort(~measured[order], kind="stable")]
    rows = order[usable[order]][:most]
    probabilities = np.column_stack([table[name].to_numpy(zero_copy_only=False)[rows] for name in ANSWER_COLUMNS])
    simulated = bool(read_about(path).get("simulated"))
    return Sample.of(embedding[rows], probabilities, pixels[rows], survey, flux=True, simulated=simulated)


def _matrix(column) -> np.ndarray:
    """A column of fixed-size lists as an array, null as NaN."""
    array = column.combine_chunks()
    values = array.flatten().to_numpy(zero_copy_only=False)
    return values.astype("float32").reshape(len(array), -1)
