"""Score files with invented answers, for tests of what is made from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from morph.decision_tree import ANSWERS, TREE, tree_probabilities
from morph.stamps.image_statistics import NAMES
from serving.scores.hats import CatalogueWriter, Partitions, healpix_29, index_field, write_properties
from serving.scores.schema import TileScores, write_scores
from serving.scores.summary import Failed, Scored, ScoresSummary
from serving.scoring.measurements import Thumbnails

#: The order of the partitions of `write_survey`: few galaxies lie in several.
PARTITIONS = 7

DESCRIPTION = {
    "name": "morph",
    "version": 7,
    "embedding_size": 64,
    "similarity_size": 50,
    "anomaly_threshold": 0.01,
    "questions": [{"name": question.name, "answers": list(question.answers)} for question in TREE],
}
ABOUT = {
    "software": "morph 0.1",
    "created": "2026-11-20T01:02:03+00:00",
    "survey": "des",
    "model": "morph",
    "model_version": "7",
    "model_survey": "sdss",
    "catalogue": {"source": "gold.fits", "digest": "abcd"},
    "selection": "MAG_AUTO_R < 21.5",
    "simulated": True,
}


def invented_scores(name: str, ra: np.ndarray, dec: np.ndarray, stamps: np.ndarray) -> TileScores:
    """A tile's galaxies at these places (degrees); every tenth has no answers, the first is the most anomalous and
    has a picture, one of `stamps`."""
    count, random = len(ra), np.random.default_rng(len(ra))
    worth = random.uniform(0.2, 9, (count, len(ANSWERS))).astype("float32")
    p = worth.copy()
    for part in TREE.slices.values():
        p[:, part] /= p[:, part].sum(axis=1, keepdims=True)
    score = np.linspace(0.001, 1, count).astype("float32")
    outputs = {
        "probabilities": p,
        "tree_probabilities": tree_probabilities(p).astype("float32"),
        "concentration": worth,
        "embedding": random.normal(size=(count, 64)).astype("float32"),
        "similarity": random.normal(size=(count, 50)).astype("float32"),
        "reconstruction_error": np.ones(count, "float32"),
        "anomaly_score": score,
        "anomaly": (score < 0.01).astype("float32"),
    }
    answered = np.arange(count) % 10 != 9
    flags = np.where(answered, 0, 32).astype("int32")
    thumbnails = Thumbnails(most=1)
    thumbnails.add(np.arange(count), stamps[np.arange(count) % len(stamps)], flags, outputs)
    pictures = np.full(count, None, dtype=object)
    for row, picture in thumbnails.files().items():
        pictures[row] = picture
    return TileScores(
        ids=np.array([f"{name}-{i}" for i in range(count)], dtype=object),
        ra=ra,
        dec=dec,
        x=np.arange(count) + 0.5,
        y=np.arange(count) + 1.5,
        flags=flags,
        outputs=outputs,
        image_statistics=np.full((count, len(NAMES)), np.nan),
        properties={"mag_r": 22 - np.arange(count) / max(count, 1), "radius": np.full(count, 1.5)},
        pictures=pictures,
        bands=np.full(count, "gri", dtype=object),
    )


def write_tile(folder: Path, name: str, ra: np.ndarray, dec: np.ndarray, about: dict[str, Any] | None = None) -> None:
    """One score file with `invented_scores`; `about` adds to its provenance."""
    scores = invented_scores(name, ra, dec, np.random.default_rng(0).random((4, 16, 16, 3), "float32"))
    write_scores_of(folder, name, scores, about)


def write_scores_of(folder: Path, name: str, scores: TileScores, about: dict[str, Any] | None = None) -> None:
    """One score file; `about` adds to its provenance."""
    folder.mkdir(exist_ok=True)
    write_scores(folder / f"{name}.parquet", name, scores, DESCRIPTION, {**ABOUT, "tile": name, **(about or {})})


def write_tiles(folder: Path, tiles: int = 3, galaxies: int = 40, size: float = 0.05) -> Path:
    """A folder of score files: a row of tiles of `size` degrees on the celestial equator, across right ascension 0,
    each overlapping the next."""
    for k in range(tiles):
        random = np.random.default_rng(k)
        ra = (size * (k - tiles / 2) + random.uniform(0, 1.1 * size, galaxies)) % 360
        write_tile(folder, f"DES000{k}-0000", ra, random.uniform(-size / 2, size / 2, galaxies))
    return folder


def summary_of(folder: Path, *failed: Failed) -> ScoresSummary:
    """A run that found all of the folder's files there."""
    paths = sorted(folder.glob("*.parquet"))
    return ScoresSummary(scored=[Scored(path.stem, path, 1, 0, 1, 0, {}, []) for path in paths], failed=list(failed))


def write_survey(folder, ids: pa.Array, ra: np.ndarray, dec: np.ndarray, id_name: str = "objectId"):
    """A survey's collection: positions under its own names, and a column of its own."""
    place = healpix_29(ra, dec)
    order = np.argsort(place, kind="stable")
    columns = {id_name: ids, "coord_ra": pa.array(ra), "coord_dec": pa.array(dec), "g_psfFlux": pa.array(ra * 0 + 7)}
    rows = pa.table({"_healpix_29": pa.array(place), **columns}, pa.schema([index_field(), *pa.table(columns).schema]))
    rows = rows.take(pa.array(order))
    pixels = place[order] >> 2 * (29 - PARTITIONS)
    found = np.unique(pixels)
    partitions = Partitions(np.full(len(found), PARTITIONS), found)
    writer = CatalogueWriter(folder / "object", list(pa.table(columns).schema), {})
    for k, pixel in enumerate(found):
        writer.add(partitions, k, rows.filter(pa.array(pixels == pixel)))
    names = {"hats_col_ra": "coord_ra", "hats_col_dec": "coord_dec"}
    writer.close({"obs_collection": "object", "dataproduct_type": "object", **names})
    write_properties(
        folder / "collection.properties",
        "HATS Collection",
        {"obs_collection": "survey", "hats_primary_table_url": "object"},
    )
    return folder
