"""The score catalogue: one Parquet file a tile, one row a galaxy."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.errors import BadInput
from morph.images.appearance import NAMES

#: Under which key of the Parquet schema the provenance stands, as JSON.
KEY = b"morph"


@dataclass(frozen=True)
class Scores:
    """The rows of one tile.

    Attributes
    ----------
    ids : [n] text.
    ra, dec : [n], degrees.
    x, y : [n], pixels of the tile, 0-based.
    flags : int [n], `morph.images.cutouts.Flag` bits.
    outputs : what the model said: ``probabilities``, ``tree_probabilities`` [n, answers], ``embedding`` [n, d],
        ``reconstruction_error``, ``anomaly_score``, ``anomaly`` [n].
    appearance : [n, statistics], see `morph.images.appearance`; NaN where not measured.
    answered : bool [n]; where it is false nothing was asked, and the answers are written as null.
    """

    ids: Sequence[str]
    ra: np.ndarray
    dec: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flags: np.ndarray
    outputs: dict[str, np.ndarray]
    appearance: np.ndarray
    answered: np.ndarray


def answer_columns(description: dict[str, Any]) -> list[str]:
    """The columns of a model's answers, `<question>_<answer>`, in the order of its probabilities."""
    return [f"{question['name']}_{answer}" for question in description["questions"] for answer in question["answers"]]


def schema(description: dict[str, Any], embedding_size: int, about: dict[str, Any]) -> pa.Schema:
    """The columns of a score file, with units and descriptions, and `about` as its provenance."""
    p = "probability of this answer, given that the question is asked"
    tree = "the same multiplied down the decision tree: a volunteer who starts at the top gives this answer"
    fields = [
        _field("id", pa.string(), "the galaxy's name in the catalogue, or its tile's name and a number"),
        _field("ra", pa.float64(), "right ascension", "deg"),
        _field("dec", pa.float64(), "declination", "deg"),
        _field("tile", pa.string(), "the tile it was cut from"),
        _field("x", pa.float64(), "column in the tile, 0-based", "pixel"),
        _field("y", pa.float64(), "row in the tile, 0-based", "pixel"),
        *(_field(name, pa.float32(), p) for name in answer_columns(description)),
        *(_field(f"{name}_tree", pa.float32(), tree) for name in answer_columns(description)),
        _field("embedding", pa.list_(pa.float32(), embedding_size), "mean of the posterior over the latent space"),
        _field("reconstruction_error", pa.float32(), "noise-weighted mean square of what the decoder missed"),
        _field("anomaly_score", pa.float32(), "p-value among normal galaxies; small is strange"),
        _field("anomaly", pa.bool_(), f"anomaly_score below {description['anomaly_threshold']:g}"),
        _field("appearance", pa.list_(pa.float32(), len(NAMES)), f"of some galaxies' pixels: {', '.join(NAMES)}"),
        _field("flags", pa.int32(), _flags_in_words()),
        _field("model", pa.string(), "name of the model"),
        _field("model_version", pa.string(), "version on the server, or digest of the weights' file"),
    ]
    return pa.schema(fields, metadata={KEY: json.dumps(about).encode()})


def write_scores(
    path: Path, tile: str, scores: Scores, description: dict[str, Any], about: dict[str, Any]
) -> pa.Table:
    """Write one tile's scores, whole or not at all; returns what was written.

    Parameters
    ----------
    description : the model's own (`describe`), with its ``name``, ``version``, ``questions``, ``embedding_size``
        and ``anomaly_threshold``.
    about : provenance kept in the file's schema.

    Raises BadInput when the folder cannot be written to.
    """
    size, count = int(description["embedding_size"]), len(scores.ids)
    missing = ~scores.answered
    answers = np.concatenate([scores.outputs["probabilities"], scores.outputs["tree_probabilities"]], axis=1)
    columns = [
        pa.array(scores.ids, pa.string()),
        _array(scores.ra, pa.float64()),
        _array(scores.dec, pa.float64()),
        pa.array([tile] * count, pa.string()),
        _array(scores.x, pa.float64()),
        _array(scores.y, pa.float64()),
        *(pa.array(answers[:, j], pa.float32(), mask=missing) for j in range(answers.shape[1])),
        # Parquet's readers fail on a fixed-size list that is null itself; its elements are null instead.
        pa.FixedSizeListArray.from_arrays(
            pa.array(scores.outputs["embedding"].ravel(), pa.float32(), mask=np.repeat(missing, size)), size
        ),
        pa.array(scores.outputs["reconstruction_error"], pa.float32(), mask=missing),
        pa.array(scores.outputs["anomaly_score"], pa.float32(), mask=missing),
        pa.array(scores.outputs["anomaly"] == 1, pa.bool_(), mask=missing),
        pa.FixedSizeListArray.from_arrays(_array(scores.appearance.ravel(), pa.float32()), len(NAMES)),
        pa.array(scores.flags, pa.int32()),
        pa.array([description["name"]] * count, pa.string()),
        pa.array([str(description["version"])] * count, pa.string()),
    ]
    table = pa.Table.from_arrays(columns, schema=schema(description, size, about))
    building = path.with_name(f".{path.name}.building")
    try:
        pq.write_table(table, building, compression="zstd")
        building.rename(path)
    except OSError as error:
        raise BadInput(f"The scores of '{tile}' cannot be written to '{path.parent}' ({error}).") from None
    finally:
        building.unlink(missing_ok=True)
    return table


def read_about(path: str | Path) -> dict[str, Any]:
    """The provenance of a score file. BadInput when the file is damaged or no score file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BadInput(f"The scores in '{path}' cannot be read ({reason}); make them again.") from None
    about = json.loads(metadata[KEY]) if KEY in metadata else {}
    if "model_version" not in about:
        raise BadInput(f"'{path}' is not a score file of `morph score`.")
    return about


def _field(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    return pa.field(name, kind, metadata={"description": description, **({"unit": unit} if unit else {})})


def _array(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Numbers as Arrow, NaN as null."""
    values = np.asarray(values, dtype=float)
    return pa.array(values, kind, mask=np.isnan(values))


def _flags_in_words() -> str:
    from morph.images.cutouts import Flag

    return "bits: " + ", ".join(f"{flag.value} {str(flag.name).lower().replace('_', ' ')}" for flag in Flag)
