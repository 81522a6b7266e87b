"""Similarity search beside LanceDB, usearch and Qdrant's local client: the same vectors, the same recall, one run.

    python -m venv --system-site-packages peers && peers/bin/pip install lancedb usearch qdrant-client
    peers/bin/python benchmarks/similarity_peers.py DATASET... --work FOLDER [--galaxies 100000]

The vectors are those of `benchmarks/similarity_search.py`. Each engine runs in a process of its own, which builds its
index of vectors in memory, stores it, and answers one query after the other, with the ids of the ten nearest. An
engine that can be tuned is asked with one setting after the other, the quickest first, until it reaches the recall
that is wanted. Qdrant's local client warns above 20,000 galaxies and has no more here. Times are of the wall and of
the processor; memory is the most that the process took beyond what it had before building, without mapped files.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from similarity_search import HITS, MODEL, Memory, augmented, embed, recall

#: Galaxies that Qdrant's local client takes without a warning.
QDRANT = 20_000
#: Rows that are handed over at once, where an engine wants parts.
BATCH = 1000

#: The ids of the nearest galaxies of a query.
Ask = Callable[[np.ndarray], list[int]]
#: What an engine is asked with, in words, and how.
Settings = Iterator[tuple[str, Ask]]


def morph(vectors: np.ndarray, to: Path) -> Callable[[], Settings]:
    import pyarrow as pa

    from serving.similarity import Index
    from serving.similarity.build import build
    from serving.similarity.sources import Source, with_place

    def read() -> tuple[pa.Table, np.ndarray]:
        random = np.random.default_rng(0)
        ids = pa.array(np.arange(len(vectors))).cast(pa.string())
        place = {"ra": random.uniform(0, 1, len(vectors)), "dec": random.uniform(0, 1, len(vectors))}
        return with_place(pa.table({"id": ids, **place, "tile": pa.repeat("T", len(vectors))}), "des"), vectors

    build([Source("T", to, "0" * 8, MODEL, read)], to)

    def settings() -> Settings:
        index = Index.open(to)
        how = "lists, then whole vectors" if index.header.lists else "all compared"
        yield how, lambda query: [int(name) for name in index.search(query, n=HITS)["id"].to_pylist()]

    return settings


def lancedb(vectors: np.ndarray, to: Path) -> Callable[[], Settings]:
    import lancedb
    import pyarrow as pa

    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = lancedb.connect(to).create_table("galaxies", pa.table({"id": np.arange(len(vectors)), "vector": flat}))
    parts = 2 ** round(np.log2(len(vectors)) / 2)
    table.create_index(
        metric="cosine", index_type="IVF_PQ", num_partitions=parts, num_sub_vectors=vectors.shape[1] // 2
    )

    def settings() -> Settings:
        opened = lancedb.connect(to).open_table("galaxies")
        for probes, refined in ((4, 2), (8, 4), (16, 5), (32, 10), (64, 20), (parts, 100)):

            def ask(query: np.ndarray, probes: int = probes, refined: int = refined) -> list[int]:
                search = opened.search(query).distance_type("cosine").nprobes(probes).refine_factor(refined)
                return search.select(["id"]).limit(HITS).to_arrow()["id"].to_pylist()

            yield f"IVF_PQ, {probes} of {parts} lists, {refined * HITS} compared again", ask

    return settings


def usearch(vectors: np.ndarray, to: Path) -> Callable[[], Settings]:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="cos", dtype="f16")
    index.add(np.arange(len(vectors)), vectors, threads=1)
    to.mkdir()
    index.save(to / "galaxies.usearch")

    def settings() -> Settings:
        opened = Index.restore(to / "galaxies.usearch", view=True)
        for expansion in (16, 32, 64, 128, 256, 512):
            opened.expansion_search = expansion
            yield f"HNSW of halves, expansion {expansion}", lambda query: opened.search(query, HITS).keys.tolist()

    return settings


def qdrant(vectors: np.ndarray, to: Path) -> Callable[[], Settings]:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(to))
    size = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection("galaxies", vectors_config=size)
    for start in range(0, len(vectors), BATCH):
        ids = list(range(start, min(start + BATCH, len(vectors))))
        client.upsert("galaxies", models.Batch(ids=ids, vectors=vectors[ids].tolist()))

    def settings() -> Settings:
        yield (
            "all compared",
            lambda query: [hit.id for hit in client.query_points("galaxies", query.tolist(), limit=HITS).points],
        )

    return settings


ENGINES = {"morph": morph, "lancedb": lancedb, "usearch": usearch, "qdrant": qdrant}
PACKAGES = {"lancedb": "lancedb", "usearch": "usearch", "qdrant": "qdrant_client"}


def measure(name: str, work: Path, target: float) -> dict:
    """Build an engine's index and ask it, in this process."""
    queries, truth = np.load(work / "queries.npy"), np.load(work / "truth.npz")
    vectors = np.load(work / "vectors.npy")[: int(truth[f"{name}_count"])]
    wanted = [set(row) for row in truth[name].tolist()]
    to = work / f"peer-{name}"
    shutil.rmtree(to, ignore_errors=True)
    memory = Memory()
    memory.start()
    time.sleep(0.2)
    before, wall, cpu = memory.peak, time.perf_counter(), time.process_time()
    settings = ENGINES[name](vectors, to)
    found = {
        "galaxies": len(vectors),
        "build_s": time.perf_counter() - wall,
        "build_cpu_s": time.process_time() - cpu,
    }
    memory.ended.set()
    memory.join()
    found["memory_mb"] = (memory.peak - before) / 1e6
    found["bytes"] = sum(path.stat().st_size for path in to.rglob("*") if path.is_file()) / len(vectors)
    for how, ask in settings():
        for query in queries[:20]:
            ask(query)
        hits, walls, cpus = [], [], []
        for query in queries:
            start = time.perf_counter(), time.process_time()
            hits.append(set(ask(query)))
            walls.append(1000 * (time.perf_counter() - start[0]))
            cpus.append(1000 * (time.process_time() - start[1]))
        found |= {"how": how, "recall": recall(hits, wanted), "cpu_ms": float(np.mean(cpus))}
        found |= {f"p{part}_ms": float(np.percentile(walls, part)) for part in (50, 95)}
        if found["recall"] >= target:
            break
    return found


def exact(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The nearest galaxies of each query, by comparing all: int [queries, HITS]."""
    return np.argpartition(-(queries @ vectors.T), HITS, axis=1)[:, :HITS]


def said(name: str, found: dict, target: float) -> str:
    below = "" if found["recall"] >= target else f" (below {target})"
    return (
        f"{name:8} {found['galaxies']:,} galaxies: built in {found['build_s']:.1f} s "
        f"({found['build_cpu_s']:.1f} s of the processor), {found['memory_mb']:,.0f} MB, {found['bytes']:.0f} bytes a "
        f"galaxy; query p50 {found['p50_ms']:.2f}, p95 {found['p95_ms']:.2f} ms ({found['cpu_ms']:.2f} ms of the "
        f"processor), recall@{HITS} {found['recall']:.3f}{below}; {found['how']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", type=Path)
    parser.add_argument("--model", default="models:/morph@sdss")
    parser.add_argument("--galaxies", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--work", type=Path, required=True, help="Folder for vectors and indexes.")
    parser.add_argument("--engine", choices=list(ENGINES), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        print(json.dumps(measure(given.engine, given.work, given.recall)))
        return
    given.work.mkdir(parents=True, exist_ok=True)
    real = embed(given.datasets, given.model, given.work / "vectors.npz")
    vectors, queries = augmented(real, given.galaxies, 0), augmented(real, given.queries, 10**6)
    there = [name for name in ENGINES if name not in PACKAGES or importlib.util.find_spec(PACKAGES[name])]
    if missing := [PACKAGES[name].replace("_", "-") for name in ENGINES if name not in there]:
        print(f"Not installed, and so not measured: {', '.join(missing)}.", flush=True)
    counts = {name: min(given.galaxies, QDRANT) if name == "qdrant" else given.galaxies for name in there}
    nearest = {count: exact(vectors[:count], queries) for count in set(counts.values())}
    np.save(given.work / "vectors.npy", vectors)
    np.save(given.work / "queries.npy", queries)
    truth = {name: nearest[count] for name, count in counts.items()}
    np.savez(given.work / "truth.npz", **truth, **{f"{name}_count": count for name, count in counts.items()})
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LANCE_CPU_THREADS", "RAYON_NUM_THREADS"), "1")
    for name in there:
        command = [sys.executable, __file__, "--engine", name, "--work", given.work, "--recall", str(given.recall)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **one})
        if done.returncode:
            print(f"{name:8} failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        print(said(name, json.loads(done.stdout.splitlines()[-1]), given.recall), flush=True)


if __name__ == "__main__":
    main()
