"""How far the scored galaxies are from those that taught the model: read from the score files, drawn beside them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from morph.atomic import atomic
from morph.decision_tree import ANSWER_COLUMNS
from morph.domain_shift.compare import ENOUGH, NO_REFERENCE_SAMPLE, Shift, compare
from morph.domain_shift.report import document, plot
from morph.domain_shift.sample import Sample
from morph.stamps.image_statistics import NAMES
from serving.scores.schema import read_about
from serving.scores.summary import Summary

#: What stands beside the score files.
PICTURE, NUMBERS = "_domain-shift.png", "_domain-shift.json"
#: A survey has more tiles than are needed to know it.
TILES = 50


def report_domain_shift(summary: Summary, out: Path, survey: str) -> Shift | str:
    """Compare what a run scored with what its model remembers, and keep numbers and picture in the folder `out`.

    Where nothing can be compared, the sentence that says why is all that is kept.
    """
    paths = [tile.path for tile in summary.scored if tile.galaxies]
    if summary.reference_sample is None:
        shift: Shift | str = NO_REFERENCE_SAMPLE
    else:
        shift = compare(summary.reference_sample, sample_of_scores(paths, survey))
    what = "How far the survey is away"
    if isinstance(shift, str):
        (out / PICTURE).unlink(missing_ok=True)
    else:
        name = f"{len(paths):,} tiles of {survey}" if len(paths) > 1 else paths[0].stem
        with atomic(out / PICTURE, what) as building:
            plot(shift, name).savefig(building, dpi=130)
    with atomic(out / NUMBERS, what) as building:
        building.write_text(json.dumps(document(shift), indent=1) + "\n")
    return shift


def sample_of_scores(paths: Sequence[Path], survey: str) -> Sample:
    """Galaxies with nothing wrong from score files, those whose pixels were measured first: about `ENOUGH`."""
    chosen = np.random.default_rng(0).permutation(len(paths))[:TILES]
    each = -(-ENOUGH // max(len(chosen), 1))
    return Sample.concatenate([_of_file(paths[i], each, survey) for i in sorted(chosen)])


def _of_file(path: Path, most: int, survey: str) -> Sample:
    # Files of before pixels were measured have no such column.
    appearance = "appearance" in pq.read_schema(path).names
    table = pq.read_table(
        path, columns=[*ANSWER_COLUMNS, "embedding", "flags", *(["appearance"] if appearance else [])]
    )
    embedding = _matrix(table["embedding"])
    pixels = _matrix(table["appearance"]) if appearance else np.full((len(table), len(NAMES)), np.nan)
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
