"""The census: corrected mixes, faded galaxies, types against votes, and ten million rows.

    python benchmarks/census.py label DATASET --to LABELLED      score labelled galaxies and degraded copies of them
    python benchmarks/census.py mixes LABELLED [--tries 20]      LABELLED may be the labelled.parquet of a census, too
    python benchmarks/census.py fading LABELLED [--tries 10]
    python benchmarks/census.py types DATASET [DATASET]          labelled galaxies; two: the same ones twice
    python benchmarks/census.py speed [--galaxies 10000000]

`mixes` corrects five resampled mixes of one half of the labelled galaxies by the other half; `fading` the same
galaxies as they fade and shrink. The truth is the mean of the volunteers' fractions of the galaxies drawn.
"""

import itertools
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from scipy.stats import spearmanr

from morph.analysis.census.classes import CLASSES, MAIN, index_of
from morph.analysis.census.correction import Correction, Labelled
from morph.analysis.census.labelled import read_labelled, save_labelled, score_labelled
from morph.analysis.census.rows import Scores
from morph.analysis.census.table import SEEN, UNCERTAIN
from morph.analysis.census.visibility import CELLS, cell_of
from morph.decision_tree import ANSWER_COLUMNS, TREE

FEATURED = index_of("smooth-or-featured_featured-or-disk")
#: The mixes: galaxies are drawn with a chance in proportion to exp(a times their featured fraction).
MIXES = (-3.0, -1.0, 0.0, 1.5, 3.0)
#: Signal to noise and size of the faded copies, from the best seen to the worst.
SNRS, SIZES = (480, 240, 120, 60, 30, 15), (4.0, 2.6, 1.8, 1.2, 0.8)
#: Memory and seconds for ten million rows.
MEMORY, SECONDS = 2e9, 120.0


@click.group()
def cli() -> None:
    """The figures of the census."""


@cli.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--model", default="models:/morph@sdss", show_default=True)
@click.option("--to", required=True, type=click.Path(path_type=Path))
def label(dataset: Path, model: str, to: Path) -> None:
    """Score the labelled galaxies of DATASET and degraded copies of them, as `morph census --correct` does."""
    # Any scores of any survey: what is scored here does not depend on them.
    scores = Scores(dataset, tables=[], where="", about={}, tiles=0, digest="")
    labelled, notes = score_labelled(dataset, model, scores)
    save_labelled(labelled, to)
    for note in [*notes, f"{labelled.galaxies:,} labelled galaxies in '{to}'"]:
        click.echo(note)


def part(labelled: Labelled, rows: np.ndarray) -> Labelled:
    """Some rows of the labelled galaxies."""
    names = ("galaxy", "copy", "answers", "truth", "size", "snr")
    return Labelled(about=labelled.about, **{name: getattr(labelled, name)[rows] for name in names})


def halves(labelled: Labelled, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rows of one half of the galaxies, and of the other."""
    known = np.unique(labelled.galaxy[np.isfinite(labelled.truth[:, FEATURED])])
    chosen = random.permutation(known)
    return np.isin(labelled.galaxy, chosen[: len(chosen) // 2]), np.isin(labelled.galaxy, chosen[len(chosen) // 2 :])


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--tries", default=20, show_default=True)
def mixes(path: Path, tries: int) -> None:
    """Five resampled mixes of held-out galaxies."""
    labelled, random, found = read_labelled(path), np.random.default_rng(0), []
    shown = [index_of(name) for name in MAIN]
    for seed in range(tries):
        one, other = halves(labelled, random)
        correction = Correction(part(labelled, one))
        pool = np.flatnonzero(other & (labelled.copy == 0))
        for tilt in MIXES:
            chance = np.exp(tilt * labelled.truth[pool, FEATURED])
            drawn = random.choice(pool, len(pool) // 2, replace=False, p=chance / chance.sum())
            cells = np.bincount(cell_of(labelled.size[drawn], labelled.snr[drawn]), minlength=CELLS + 1).astype(float)
            mean = labelled.answers[drawn].mean(axis=0).astype(float)
            made = correction.correct(mean, len(drawn), cells, seed)
            low, high = np.quantile(made.resampled, (0.16, 0.84), axis=0)
            for i in shown:
                truth = labelled.truth[drawn, i]
                # A class that the labels have no galaxy of is not a test.
                if np.isfinite(truth).all() and np.isfinite(made.mean[i]) and truth.mean() > 0.005:
                    t = truth.mean()
                    found.append((i, tilt, t, mean[i] - t, made.mean[i] - t, low[i] <= t <= high[i]))
    rows = np.array(found)
    console = Console(width=100)
    half = len(np.unique(labelled.galaxy[one]))
    console.print(f"{half:,} labelled galaxies, {len(pool) // 2:,} in a mix, {tries} tries; percent of all galaxies")
    console.print("class                                 mix   truth  naive |off|  corrected |off|  68 % hold")
    for i in shown:
        for tilt in MIXES:
            some = rows[(rows[:, 0] == i) & (rows[:, 1] == tilt)]
            if len(some):
                _line(console, f"{CLASSES[i].name:36s} {tilt:+5.1f}", some)
    _line(console, f"{'all':36s}      ", rows)


def _line(console: Console, name: str, rows: np.ndarray) -> None:
    truth, naive, corrected = (100 * np.abs(rows[:, k]).mean() for k in (2, 3, 4))
    console.print(
        f"{name}  {truth:5.1f}  {naive:11.2f}  {corrected:15.2f}  {100 * rows[:, 5].mean():9.0f}", highlight=False
    )


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--tries", default=10, show_default=True)
def fading(path: Path, tries: int) -> None:
    """The same galaxies as they fade and shrink: the featured fraction."""
    labelled, random, found = read_labelled(path), np.random.default_rng(0), []
    for seed in range(tries):
        one, other = halves(labelled, random)
        correction = Correction(part(labelled, one))
        for name, values, edges in (("snr", labelled.snr, SNRS), ("size", labelled.size, SIZES)):
            for high, low in itertools.pairwise(edges):
                rows = np.flatnonzero(other & (labelled.copy > 0) & (values >= low) & (values < high))
                if len(rows) < 50:
                    continue
                cells = np.bincount(cell_of(labelled.size[rows], labelled.snr[rows]), minlength=CELLS + 1).astype(
                    float
                )
                mean = labelled.answers[rows].mean(axis=0).astype(float)
                made = correction.correct(mean, len(np.unique(labelled.galaxy[rows])), cells, seed)
                bounds = np.quantile(made.resampled[:, FEATURED], (0.16, 0.84))
                seen = correction.completeness(cells)[FEATURED]
                truth = labelled.truth[rows, FEATURED].mean()
                flagged = seen < SEEN or (bounds[1] - bounds[0]) / 2 > UNCERTAIN
                found.append((name, high, low, truth, mean[FEATURED], made.mean[FEATURED], seen, flagged))
    console = Console()
    console.print("                    truth   naive  corrected  rms off  still seen  flagged (%)")
    for name, edges in (("snr", SNRS), ("size", SIZES)):
        for high, low in itertools.pairwise(edges):
            some = np.array([row[3:] for row in found if row[0] == name and row[1] == high], dtype=float)
            if len(some):
                truth, naive, corrected, seen, flagged = some.mean(axis=0)
                rms = np.sqrt(np.mean((some[:, 2] - some[:, 0]) ** 2))
                text = f"{name:5s} {low:5g} to {high:4g}   {100 * truth:5.1f}   {100 * naive:5.1f}"
                text += f"      {100 * corrected:5.1f}"
                console.print(
                    f"{text}    {100 * rms:5.1f}        {seen:4.2f}       {100 * flagged:5.0f}", highlight=False
                )
    within = np.array([abs(row[5] - row[3]) < 0.03 for row in found if not row[7]])
    if len(within):
        console.print(f"not flagged: {len(within)}, of which {100 * within.mean():.0f} % lie within 3 points")


@cli.command()
@click.argument("datasets", nargs=-1, required=True)
@click.option("--model", default="models:/morph@sdss", show_default=True)
@click.option("--split", default="test", show_default=True)
@click.option("--most", default=1000, show_default=True, help="Galaxies of each dataset.")
def types(datasets: tuple[str, ...], model: str, split: str, most: int) -> None:
    """Types against those of the votes, and of two surveys against each other."""
    from morph.analysis.census.types import types_of, types_of_votes
    from morph.dataset import Galaxies
    from morph.model.store import load_model
    from morph.stamps.stretch import centre_crop

    console, classifier, found = Console(), load_model(model), []
    for name in datasets:
        parts = sorted(Path(name).glob("part-*.parquet"))
        ids, seen, said, sigma = [], [], [], []
        for each in parts:
            galaxies = Galaxies.open(name, parts=[each])
            galaxies = galaxies if split == "all" else galaxies.split()[split]
            if not len(galaxies) or sum(map(len, ids)) >= most:
                continue
            answers = classifier.answer(centre_crop(galaxies.images, classifier.size))
            worth = np.stack([answers["concentration"][:, part].sum(axis=1) for part in TREE.slices.values()], axis=1)
            made = types_of(answers["probabilities"], worth)
            ids.append(galaxies.ids)
            seen.append(made.type)
            sigma.append(made.sigma)
            of_votes = types_of_votes(galaxies.votes)
            said.append(of_votes.type)
            sigma[-1] = np.hypot(sigma[-1], of_votes.sigma)
        names, type_, error, votes = (np.concatenate(each) for each in (ids, seen, sigma, said))
        known = np.isfinite(votes) & np.isfinite(type_)
        pull = ((votes - type_) / error)[known].std()
        rho = spearmanr(type_[known], votes[known])[0]
        console.print(
            f"{name}: {known.sum():,} galaxies, Spearman {rho:.3f} with the votes, pull {pull:.2f} with both errors"
        )
        found.append(dict(zip(names.tolist(), zip(type_, votes, strict=True), strict=True)))
    if len(found) == 2:
        both = [(*found[0][name], *found[1][name]) for name in found[0] if name in found[1]]
        first, votes_first, second, votes_second = np.array(both).T
        off, by_votes = first - second, votes_first - votes_second
        console.print(
            f"the same {len(off):,} galaxies: absolute difference {np.nanmedian(np.abs(off)):.2f} in the median, mean "
            f"{off.mean():+.2f}; of the votes {np.nanmean(by_votes):+.2f}"
        )


@cli.command()
@click.option("--galaxies", default=10_000_000, show_default=True)
@click.option("--rows", default=500_000, show_default=True, help="Rows of a file; every file is the same one.")
def speed(galaxies: int, rows: int) -> None:
    """How fast scores are summed, and in how much memory."""
    from morph.analysis.census.census import Request, take_census

    random = np.random.default_rng(0)
    columns = {"id": [f"g{i}" for i in range(rows)], "mag_r": random.uniform(14, 20, rows)}
    columns |= {"redshift": random.uniform(0, 0.3, rows), "radius": random.uniform(1, 6, rows)}
    columns |= {"snr": random.uniform(20, 300, rows), "psf_fwhm": np.ones(rows), "flags": np.zeros(rows, "int32")}
    columns |= {f"{name}_tree": random.random(rows, dtype="float32") for name in ANSWER_COLUMNS}
    table = pa.table({k: np.asarray(v, "float32") if k not in ("id", "flags") else v for k, v in columns.items()})
    with tempfile.TemporaryDirectory() as folder:
        scores = Path(folder) / "scores"
        scores.mkdir()
        about = {b"morph": json.dumps({"survey": "sdss"}).encode()}
        pq.write_table(table.replace_schema_metadata(about), scores / "tile0000.parquet", compression="zstd")
        for k in range(1, galaxies // rows):
            os.link(scores / "tile0000.parquet", scores / f"tile{k:04d}.parquet")
        del table, columns
        start, used = time.time(), time.process_time()
        request = Request(by="magnitude,redshift", bins=["redshift=0:0.3:0.1"], weights="vmax", limit=20.0)
        made = take_census(scores, Path(folder) / "census", request)
        wall, cpu = time.time() - start, time.process_time() - used
    count = int(made.sums.seen.sum())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    Console().print(
        f"{count:,} rows in {wall:.0f} s ({cpu:.0f} s of one core): {count / cpu / 1e3:.0f} thousand a second and "
        f"core, {memory / 1e9:.2f} GB"
    )
    raise SystemExit(int(memory > MEMORY or cpu * 1e7 / count > SECONDS))


if __name__ == "__main__":
    cli()
