"""What an index is made from: score files, the partitions of a HATS catalogue of scores, datasets of galaxies.

Each source is read at once, and becomes one shard: its rows, with a HEALPix number each, and its similarity vectors.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.catalogs.parquet import HATS, HATS_COLLECTION
from morph.checks import FORMAT, SCORES_FORMAT, check_format
from morph.dataset import is_dataset
from morph.errors import InputError
from serving.scores.hats import healpix_29
from serving.scores.schema import KEY
from serving.scores.score_files import read_about, readable
from serving.similarity.header import ModelIdentity
from serving.similarity.shard import PLACE

if TYPE_CHECKING:
    from morph.dataset import Galaxies
    from morph.model.classifier import Classifier

#: Parts of a dataset, of 512 galaxies each, that become one shard.
PARTS = 64
#: Pixels on a side of a dataset's pictures in an index: 3 kB each.
PICTURE = 96

#: Columns of score files that an index leaves out: other vectors, and what follows from the answers.
_LEFT_OUT = ("model", "model_version", "embedding", "similarity", "image_statistics")
_SUFFIXES = ("_tree", "_concentration")

_PLACE = pa.field(
    PLACE,
    pa.int64(),
    metadata={"description": "HEALPix number at order 29, nested; -1: no position", "ucd": "pos.healpix"},
)
_SURVEY = pa.field("survey", pa.string(), metadata={"description": "the survey", "ucd": "meta.id;instr.obsty"})


@dataclass(frozen=True)
class Source:
    """One source.

    Attributes
    ----------
    name : of its shard.
    path : for messages.
    fingerprint : changes when the content does.
    model : that made its vectors.
    read : its rows, and their vectors, float32 [n, d]; NaN where a galaxy has none.
    """

    name: str
    path: Path
    fingerprint: str
    model: ModelIdentity
    read: Callable[[], tuple[pa.Table, np.ndarray]]


def find_sources(names: Sequence[str | Path], model: str | None = None) -> list[Source]:
    """The sources in files and folders.

    Parameters
    ----------
    names : folders of score files, single ones, HATS catalogues that `morph score --hats` wrote, or datasets.
    model : whose vectors the galaxies of datasets get.

    Raises
    ------
    InputError : nothing is there, two sources have one name, a file is damaged or not of morph, or a dataset comes
        without a model.
    """
    found: list[Source] = []
    models: list[Classifier] = []
    for name in names:
        path = Path(name)
        if not path.exists():
            raise InputError(f"There is nothing at '{path}'; name a folder of scores, a HATS catalogue or a dataset.")
        if is_dataset(path):
            if model is None:
                raise InputError(f"'{path}' is a dataset, without vectors; name the model that makes them by --model.")
            if not models:
                from morph.model.store import load_model

                models.append(load_model(model))
            found += _of_dataset(path, models[0])
        else:
            found += _of_scores(path)
    by_name: dict[str, Source] = {}
    for source in found:
        if (other := by_name.setdefault(source.name, source).path) != source.path:
            raise InputError(
                f"Two sources are called '{source.name}': '{other}' and '{source.path}'; rename one, or make an index "
                "of each."
            )
    return list(by_name.values())


# --- Score files and HATS -----------------------------------------------------------------------------------


def _of_scores(path: Path) -> Iterator[Source]:
    if path.is_file():
        files = [(path.stem, path)]
    elif (path / HATS_COLLECTION).is_file() or (path / HATS).is_file():
        files = list(_partitions(path))
    else:
        files = sorted((file.stem, file) for file in path.glob("*.parquet") if file.name[0] not in "._")
    if not files:
        raise InputError(
            f"There are no scores in '{path}'; name a folder that `morph score` wrote, its HATS catalogue, or a "
            "dataset with --model."
        )
    for name, file in files:
        yield _score_file(name, file)


def _partitions(path: Path) -> Iterator[tuple[str, Path]]:
    """The files of a HATS catalogue, or of the first one of a collection, named by catalogue and pixel."""
    if (path / HATS_COLLECTION).is_file():
        lines = (path / HATS_COLLECTION).read_text().splitlines()
        names = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        path = path / names.get("hats_primary_table_url", "")
    for file in sorted((path / "dataset").glob("Norder=*/Dir=*/Npix=*.parquet")):
        order, pixel = file.parts[-3].partition("=")[2], file.stem.partition("=")[2]
        yield f"{path.name}-order{order}-pixel{pixel}", file


def _score_file(name: str, path: Path) -> Source:
    about = _provenance(path)
    runs = about.get("runs") or [about]
    models = [ModelIdentity.of(run) for run in runs]
    if other := next((model for model in models if not model.is_same(models[0])), None):
        raise InputError(f"The scores in '{path}' are by two models, {models[0]} and {other}; index those of one.")
    surveys = tuple(dict.fromkeys(str(run["survey"]) for run in runs if run.get("survey")))
    state = path.stat()
    print_ = _hash(path.name, state.st_size, state.st_mtime_ns)
    return Source(name, path, print_, models[0], partial(_read_scores, path, surveys))


def _provenance(path: Path) -> dict[str, Any]:
    """That of a score file, or of a HATS catalogue, which states it by run."""
    with readable(path):
        metadata = pq.read_schema(path).metadata or {}
    about = json.loads(metadata[KEY]) if KEY in metadata else {}
    if not about.get("runs"):
        return read_about(path)
    check_format(about.get(FORMAT), SCORES_FORMAT, "catalogue", path)
    return about


def _read_scores(path: Path, surveys: Sequence[str]) -> tuple[pa.Table, np.ndarray]:
    with readable(path), pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if "similarity" not in names:
            raise InputError(f"'{path}' has no similarity vectors; score its tile again with this morph.")
        kept = [
            name for name in names if name not in _LEFT_OUT and not name.endswith(_SUFFIXES) and name not in (PLACE,)
        ]
        table = file.read(columns=[*kept, "similarity"])
    vectors = table["similarity"].combine_chunks()
    found = vectors.flatten().to_numpy(zero_copy_only=False).astype("float32").reshape(len(table), -1)
    survey = surveys[0] if len(surveys) == 1 else None
    return with_place(table.select(kept), survey), found


def with_place(rows: pa.Table, survey: str | None) -> pa.Table:
    """Rows with the columns `PLACE` and ``survey`` added, where they have none."""
    if "survey" not in rows.column_names:
        rows = rows.append_column(_SURVEY, pa.array([survey] * len(rows), pa.string()))
    places = healpix_29(*(rows[name].to_numpy().astype("float64") for name in ("ra", "dec")))
    return rows.append_column(_PLACE, pa.array(places)).replace_schema_metadata(None)


# --- Datasets -----------------------------------------------------------------------------------------------


def _of_dataset(path: Path, classifier: "Classifier") -> Iterator[Source]:
    parts = sorted(path.glob("part-*.parquet"))
    identity = ModelIdentity.described(classifier.describe())
    for number, start in enumerate(range(0, len(parts), PARTS)):
        own = parts[start : start + PARTS]
        states = [(part.name, part.stat().st_size, part.stat().st_mtime_ns) for part in own]
        name = path.resolve().name + (f"-{number:04d}" if len(parts) > PARTS else "")
        print_ = _hash(states, identity.digest)
        yield Source(name, path, print_, identity, partial(_read_parts, path, own, classifier))


def _read_parts(path: Path, parts: Sequence[Path], classifier: "Classifier") -> tuple[pa.Table, np.ndarray]:
    from morph.dataset import Galaxies

    tables, vectors = [], []
    for part in parts:
        table, found = _answered(Galaxies.open(path, parts=[part]), classifier)
        tables.append(table)
        vectors.append(found)
    return pa.concat_tables(tables), np.concatenate(vectors)


def _answered(galaxies: "Galaxies", classifier: "Classifier") -> tuple[pa.Table, np.ndarray]:
    """Rows and vectors of a dataset's galaxies, with the model's answers."""
    from morph.dataset_writer import PROPERTIES
    from morph.decision_tree import ANSWER_COLUMNS
    from serving.similarity.pictures import thumbnails

    answers = classifier.answer(galaxies.images)
    columns: dict[str, pa.Array] = {
        "id": pa.array(galaxies.ids.tolist(), pa.string()),
        "ra": pa.array(galaxies.ra, pa.float64(), from_pandas=True),
        "dec": pa.array(galaxies.dec, pa.float64(), from_pandas=True),
        "tile": pa.nulls(len(galaxies), pa.string()),
        "survey": pa.array(galaxies.surveys.tolist(), pa.string()),
    }
    for name in PROPERTIES:
        columns[name] = pa.array(galaxies.properties[name], pa.float32(), from_pandas=True)
    for name, values in zip(ANSWER_COLUMNS, answers["probabilities"].T, strict=True):
        columns[name] = pa.array(values, pa.float32())
    for name in ("reconstruction_error", "anomaly_score"):
        columns[name] = pa.array(answers[name], pa.float32())
    columns["anomaly"] = pa.array(answers["anomaly"] == 1, pa.bool_())
    columns["picture"] = pa.array(thumbnails(galaxies.images, PICTURE), pa.binary())
    return with_place(pa.table(columns), None), answers["similarity"]


def _hash(*of: Any) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()[:16]
