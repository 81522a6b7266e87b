"""Similarity search: recall against a comparison of all galaxies, seconds, memory, bytes.

The vectors are those of real images, as many times as needed: each galaxy lies between a real one and one of its eight
nearest, and is moved by as much as a turned and re-noised copy of some image is from the original. They are no
simulation of the sky, but dense and uneven as real vectors are, which random ones are not. Queries are such galaxies,
too, that the index does not hold.

    python benchmarks/similarity_search.py DATASET... --galaxies 10000000 --work FOLDER

Prints recall@10 by the codes alone and after the comparison of whole vectors, with a filter that one galaxy in a
hundred passes, the time of a query when its files are in memory (wall, which includes waiting for a processor, and of
the processor), and what building takes. A galaxy has few columns here; those of `morph score` take 350 bytes more.
"""

import argparse
import json
import multiprocessing
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from morph.dataset import Galaxies
from serving.similarity import Index
from serving.similarity.build import build, stored
from serving.similarity.header import ModelIdentity
from serving.similarity.lists import PROBED_PART
from serving.similarity.nearest import CANDIDATES
from serving.similarity.sources import Source, with_place

#: Galaxies of a tile, each of which becomes a shard.
TILE = 100_000
#: Hits that count.
HITS = 10
#: Galaxies by which one is interpolated.
NEIGHBOURS = 8
MODEL = ModelIdentity("morph", "benchmark", "0" * 32)


def embed(datasets: list[Path], model: str, cache: Path) -> dict[str, np.ndarray]:
    """Real vectors, their nearest, and the differences of copies: computed once."""
    if cache.is_file():
        return dict(np.load(cache))
    from morph.model.store import load_model
    from training.evaluation.retrieval import nearest, renoised

    classifier, random = load_model(model), np.random.default_rng(0)
    vectors, moved = [], []
    for path in datasets:
        for part in sorted(path.glob("part-*.parquet")):
            images = classifier.central(Galaxies.open(path, parts=[part]).images)
            vectors.append(classifier.answer(images)["similarity"])
            turned = np.rot90(images, int(random.integers(1, 4)), axes=(1, 2))
            moved.append(classifier.answer(renoised(turned, random))["similarity"] - vectors[-1])
    found = {"vectors": np.concatenate(vectors), "moved": np.concatenate(moved)}
    found["nearest"] = nearest(found["vectors"], hits=NEIGHBOURS)
    np.savez(cache, **found)
    return found


def augmented(real: dict[str, np.ndarray], count: int, seed: int) -> np.ndarray:
    """Vectors like the real ones, float32 [n, d], of unit length."""
    random = np.random.default_rng(seed)
    first = random.integers(len(real["vectors"]), size=count)
    second = real["nearest"][first, random.integers(NEIGHBOURS, size=count)]
    part = random.random((count, 1), "float32")
    vectors = real["vectors"][first] * (1 - part) + real["vectors"][second] * part
    vectors += real["moved"][random.integers(len(real["moved"]), size=count)]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def magnitudes(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, 1)).uniform(15, 25, count).astype("float32")


def read(real: dict[str, np.ndarray], tile: int, count: int) -> tuple[pa.Table, np.ndarray]:
    """The rows of a tile, one square degree, and their vectors."""
    random = np.random.default_rng((tile, 2))
    numbers, name = pa.array(np.arange(count)).cast(pa.string()), f"T{tile:05d}"
    columns = {
        "id": pc.binary_join_element_wise(pa.scalar(name), numbers, "-"),
        "ra": random.uniform(tile % 360, tile % 360 + 1, count),
        "dec": random.uniform(tile // 360, tile // 360 + 1, count),
        "tile": pa.array([name]).take(pa.array(np.zeros(count, int))),
        "mag_r": magnitudes(count, tile),
        "smooth_or_featured_smooth": random.random(count, "float32"),
    }
    return with_place(pa.table(columns), "des"), augmented(real, count, tile)


def tiles_of(galaxies: int) -> list[tuple[int, int]]:
    """Each tile's number and galaxies."""
    return [(k, min(TILE, galaxies - k * TILE)) for k in range(-(-galaxies // TILE))]


# --- Building -----------------------------------------------------------------------------------------------


class Memory(threading.Thread):
    """The most memory that this process has taken beside the files that it maps, sampled."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.ended = 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.05):
            lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.peak = max(self.peak, float(lines["RssAnon"].split()[0]) * 1024)


def build_it(cache: Path, to: Path, galaxies: int, codes: str, merge: bool, result) -> None:
    """Build in a process of its own."""
    real, memory = dict(np.load(cache)), Memory()
    sources = [
        Source(f"T{tile:05d}", Path(f"T{tile:05d}"), "0" * 8, MODEL, partial(read, real, tile, count))
        for tile, count in tiles_of(galaxies)
    ]
    memory.start()
    steps: dict[str, float] = {}
    running = ["Reading", time.process_time()]

    def advance(what: str, done: int, total: int) -> None:
        now = time.process_time()
        steps[running[0]] = steps.get(running[0], 0) + now - running[1]
        running[:] = what, now

    wall, cpu = time.perf_counter(), time.process_time()
    build(sources, to, codes, merge, advance)
    memory.ended.set()
    result.put({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak": memory.peak, **steps})


# --- Searching ----------------------------------------------------------------------------------------------


def exact(
    real: dict[str, np.ndarray], galaxies: int, queries: np.ndarray, brightest: float
) -> tuple[list[set[str]], list[set[str]]]:
    """The nearest galaxies of each query by comparing all, in single precision: of all, and of bright ones."""
    best = [np.full((len(queries), HITS), -2.0, "float32") for _ in range(2)]
    names = [np.full((len(queries), HITS), "", dtype=object) for _ in range(2)]
    for tile, count in tiles_of(galaxies):
        cosines = queries @ augmented(real, count, tile).T
        bright = np.flatnonzero(magnitudes(count, tile) < brightest)
        for which, rows in ((0, np.arange(count)), (1, bright)):
            own = cosines[:, rows] if which else cosines
            kept = np.argpartition(-own, min(HITS, own.shape[1] - 1), axis=1)[:, :HITS]
            found = np.vectorize(lambda row, tile=tile: f"T{tile:05d}-{row}", otypes=[object])(rows[kept])
            both = np.concatenate([best[which], np.take_along_axis(own, kept, axis=1)], axis=1)
            order = np.argsort(-both, axis=1)[:, :HITS]
            best[which] = np.take_along_axis(both, order, axis=1)
            names[which] = np.take_along_axis(np.concatenate([names[which], found], axis=1), order, axis=1)
    return [set(row) for row in names[0]], [set(row) for row in names[1]]


def recall(found: list[set[str]], wanted: list[set[str]]) -> float:
    return float(np.mean([len(a & b) / len(b) for a, b in zip(found, wanted, strict=True)]))


def searched(index: Index, queries: np.ndarray, **conditions) -> tuple[list[set[str]], str]:
    """The hits of each query, and percentiles of the times, in ms."""
    found, wall, cpu = [], [], []
    for query in queries:
        start = time.perf_counter(), time.thread_time()
        hits = index.search(query, n=HITS, **conditions)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.thread_time() - start[1])
        found.append(set(hits["id"].to_pylist()))
    named = {"wall": wall, "processor": cpu}
    text = "; ".join(
        f"{name} p50 {1000 * np.percentile(t, 50):.1f}, p95 {1000 * np.percentile(t, 95):.1f} ms"
        for name, t in named.items()
    )
    return found, text


def by_codes(index: Index, queries: np.ndarray) -> list[set[str]]:
    """The hits by the codes alone."""
    counts, chosen = [len(shard) for shard in index.shards], [None] * len(index.shards)
    found = []
    for query in queries:
        shards, rows = index._nearest.by_lists(query, HITS, chosen, counts, PROBED_PART)
        found.append({str(index.shards[s].rows["id"][int(r)]) for s, r in zip(shards, rows, strict=True)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--model", default="models:/morph@sdss")
    parser.add_argument("--galaxies", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--codes", default="sq8")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--work", type=Path, required=True, help="Folder for vectors and the index.")
    parser.add_argument("--keep", action="store_true", help="Search the index that is there, if one is.")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    cache, to = given.work / "vectors.npz", given.work / f"{given.galaxies}.index"
    real = embed(given.datasets, given.model, cache)
    print(
        f"{len(real['vectors']):,} real vectors of {real['vectors'].shape[1]} numbers, made into {given.galaxies:,}.",
        flush=True,
    )
    if not given.keep:
        shutil.rmtree(to, ignore_errors=True)
    queue: multiprocessing.Queue = multiprocessing.Queue()
    process = multiprocessing.Process(
        target=build_it, args=(cache, to, given.galaxies, given.codes, given.merge, queue)
    )
    process.start()
    took = queue.get()
    process.join()
    steps = ", ".join(
        f"{what.lower()} {took[what]:.0f}" for what in ("Reading", "Training", "Coding", "Merging") if what in took
    )
    print(
        f"built in {took['cpu']:.0f} s of a processor ({steps}), {took['wall']:.0f} s wall; peak memory "
        f"{took['peak'] / 1e9:.2f} GB",
        flush=True,
    )
    index = Index.open(to)
    sizes = stored(to, index.header.shards)
    per = {kind: size / len(index) for kind, size in sizes.items()}
    print("bytes a galaxy: " + ", ".join(f"{kind} {value:.1f}" for kind, value in per.items()))
    queries = augmented(real, given.queries, 10**6)
    brightest = 15.1
    wanted, wanted_bright = exact(real, given.galaxies, queries, brightest)
    print(f"recall@{HITS} of the codes alone: {recall(by_codes(index, queries), wanted):.4f}")
    searched(index, queries)
    found, times = searched(index, queries)
    print(f"recall@{HITS} with {CANDIDATES} compared by whole vectors: {recall(found, wanted):.4f}; {times}")
    condition = f"mag_r < {brightest}"
    searched(index, queries[:20], where=condition)
    found, times = searched(index, queries, where=condition)
    print(f"the same where {condition} (1 %): {recall(found, wanted_bright):.4f}; {times}")
    tile = given.galaxies // TILE // 2
    _, times = searched(index, queries, cone=(tile % 360 + 0.5, tile // 360 + 0.5, 0.3))
    print(f"in a cone of 0.3 degrees: {times}")
    lists, whole = per.get("lists", 0.0), sum(per.values())
    print(
        f"300 million, linearly: lists {0.3 * lists:.1f} GB, everything {0.3 * whole:.1f} GB; a query takes "
        f"{3e8 / given.galaxies:.0f} times as long."
    )
    (given.work / "result.json").write_text(json.dumps({**took, **per}) + "\n")


if __name__ == "__main__":
    main()
