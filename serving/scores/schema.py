"""The score catalogue: one Parquet file a tile, one row a galaxy."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.atomic import atomic
from morph.checks import FORMAT, SCORES_FORMAT, check_format
from morph.decision_tree import column_name
from morph.errors import InputError, first_line
from morph.stamps.image_statistics import NAMES
from morph.stamps.measurements import COLUMNS
from morph.surveys import CHANNELS, NANOMAGGY_ZERO_POINT, get_survey
from serving.scores.astropy_words import astropy_words, widths

#: Under which key of the Parquet schema the provenance stands, as JSON.
KEY = b"morph"


#: Columns that say the same again and again, and those that people select by. A dictionary of numbers that are all
#: different makes a file larger and takes three times as long to write.
REPEATED = ["tile", "model", "model_version"]
SOUGHT = ["ra", "dec", "tile", "mag_g", "mag_r", "mag_i", "mag_z", "radius", "snr", "anomaly_score", "flags"]

#: Fluxes are written in nanojansky: FITS and the VO have no nanomaggy, and a table in it is read without its units.
NANOMAGGY, NANOJANSKY = "nanomaggy", "nJy"
NANOJANSKY_PER_NANOMAGGY = 10 ** ((31.4 - NANOMAGGY_ZERO_POINT) / 2.5)

#: What was measured of a galaxy, or of its stamp, rather than answered: unit, description and UCD. A channel's
#: column is named after the survey's band in it (`property_columns`).
PROPERTIES = {
    "mag_g": ("mag", "magnitude in g (AB), from the catalogue or measured on the tile", "phot.mag;em.opt.B"),
    "mag_r": ("mag", "magnitude in r (AB), from the catalogue or measured on the tile", "phot.mag;em.opt.R"),
    "mag_i": ("mag", "magnitude in i (AB), from the catalogue or measured on the tile", "phot.mag;em.opt.I"),
    "radius": ("arcsec", "half-light radius that the stamp was cut for", "phys.angSize"),
    "snr": (
        "",
        "flux within the half-light radius over its noise, in r or else the better other band; the sky's noise alone, "
        "from the stamp's border, as if the image's pixels were independent",
        "stat.snr;phot.flux",
    ),
    **{name: (NANOJANSKY if unit == NANOMAGGY else unit, *words) for name, (unit, *words) in COLUMNS.items()},
    "masked": ("", "share of the stamp's pixels without data, in the worst of its bands", "stat.value;instr.det"),
}


@dataclass(frozen=True)
class Scores:
    """The rows of one tile.

    Attributes
    ----------
    ids : [n] text.
    ra, dec : [n], degrees.
    x, y : [n], pixels of the tile, 0-based.
    flags : int [n], `morph.stamps.cutting.Flag` bits.
    outputs : what the model said: ``probabilities``, ``tree_probabilities``, ``concentration`` [n, answers],
        ``embedding`` [n, d], ``reconstruction_error``, ``anomaly_score``, ``anomaly`` [n].
    appearance : [n, statistics], see `morph.stamps.image_statistics`; NaN where not measured.
    answered : bool [n]; where it is false nothing was asked, and the answers are written as null.
    properties : {name: [n]} of `PROPERTIES`, in their units, but fluxes in nanomaggies; NaN where unknown; what is
        left out is null.
    pictures : [n] JPEG files of the few strangest galaxies, None for the others; see `serving.scores.thumbnails`.
        Empty where there are none.
    bands : [n], the bands that each galaxy has data in; empty where that is not known.
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
    properties: dict[str, np.ndarray] = field(default_factory=dict)
    pictures: Sequence[bytes | None] = ()
    bands: Sequence[str] = ()


def property_columns(survey: str) -> dict[str, str]:
    """The column of each of `PROPERTIES`: what is measured in a channel is named after the survey's band there.

    >>> property_columns("decals")["mag_i"]
    'mag_z'
    """
    bands = {f"_{channel}": f"_{band}" for channel, band in zip(CHANNELS, get_survey(survey).bands, strict=True)}
    return {name: name[:-2] + bands.get(name[-2:], name[-2:]) for name in PROPERTIES}


def _property_fields(survey: str) -> Iterator[pa.Field]:
    for name, column in property_columns(survey).items():
        unit, what, ucd = PROPERTIES[name]
        yield _field(column, pa.float32(), what.replace(f" in {name[-1]} ", f" in {column[-1]} "), unit, ucd)


def answer_columns(description: dict[str, Any]) -> list[str]:
    """The columns of a model's answers, `<question>_<answer>`, in the order of its probabilities."""
    questions = description["questions"]
    return [column_name(f"{question['name']}_{answer}") for question in questions for answer in question["answers"]]


def concentration_columns(description: dict[str, Any]) -> list[str]:
    """The columns of what a model's answers are worth, `<question>_concentration`, in the order of its questions."""
    return [column_name(f"{question['name']}_concentration") for question in description["questions"]]


def schema(description: dict[str, Any], embedding_size: int, about: dict[str, Any]) -> pa.Schema:
    """The columns of a score file, with units, descriptions and UCDs, and `about` as its provenance."""
    p = "probability of this answer, given that the question is asked"
    tree = "the same multiplied down the decision tree: a volunteer who starts at the top gives this answer"
    worth = "votes that the probabilities are worth; with n of them p is uncertain by sqrt(p (1 - p) / (1 + n))"
    chance, size = "stat.probability;src.morph", embedding_size
    fields = [
        _field("id", pa.string(), "the galaxy's name in the catalogue, or its tile's name and a number", ucd=_MAIN_ID),
        _field("ra", pa.float64(), "right ascension", "deg", "pos.eq.ra;meta.main"),
        _field("dec", pa.float64(), "declination", "deg", "pos.eq.dec;meta.main"),
        _field("tile", pa.string(), "the tile it was cut from", ucd="meta.id;obs.field"),
        _field("x", pa.float64(), "column in the tile, 0-based", "pixel", "pos.cartesian.x"),
        _field("y", pa.float64(), "row in the tile, 0-based", "pixel", "pos.cartesian.y"),
        *_property_fields(about["survey"]),
        *(_field(name, pa.float32(), p, ucd=chance) for name in answer_columns(description)),
        *(_field(f"{name}_tree", pa.float32(), tree, ucd=chance) for name in answer_columns(description)),
        *(_field(name, pa.float32(), worth, ucd="stat.param") for name in concentration_columns(description)),
        _field("embedding", pa.list_(pa.float32(), size), "mean of the posterior over the latent space"),
        _field(
            "reconstruction_error",
            pa.float32(),
            "noise-weighted mean square of what the decoder missed",
            ucd="stat.fit.residual",
        ),
        _field("anomaly_score", pa.float32(), "p-value among normal galaxies; small: strange", ucd="stat.probability"),
        _field("anomaly", pa.bool_(), f"anomaly_score below {description['anomaly_threshold']:g}", ucd="meta.code"),
        _field("appearance", pa.list_(pa.float32(), len(NAMES)), f"of some galaxies' pixels: {', '.join(NAMES)}"),
        _field("picture", pa.binary(), "a JPEG picture of the tile's few strangest galaxies"),
        _field("bands", pa.string(), "bands with data on the stamp", ucd="instr.bandpass"),
        _field("flags", pa.int32(), _flags_in_words(), ucd="meta.code.qual"),
        _field("model", pa.string(), "name of the model", ucd="meta.software"),
        _field("model_version", pa.string(), "version on a server, or digest of the weights", ucd="meta.version"),
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

    Raises InputError when the folder cannot be written to.
    """
    size, count = int(description["embedding_size"]), len(scores.ids)
    missing = ~scores.answered
    worth = _per_question(scores.outputs["concentration"], description)
    answers = np.concatenate([scores.outputs["probabilities"], scores.outputs["tree_probabilities"], worth], axis=1)
    unknown = np.full(count, np.nan)
    columns = [
        pa.array(scores.ids, pa.string()),
        _array(scores.ra, pa.float64()),
        _array(scores.dec, pa.float64()),
        pa.array([tile] * count, pa.string()),
        _array(scores.x, pa.float64()),
        _array(scores.y, pa.float64()),
        *(_array(_in_its_unit(name, scores.properties.get(name, unknown)), pa.float32()) for name in PROPERTIES),
        *(pa.array(answers[:, j], pa.float32(), mask=missing) for j in range(answers.shape[1])),
        # Parquet's readers fail on a fixed-size list that is null itself; its elements are null instead.
        pa.FixedSizeListArray.from_arrays(
            pa.array(scores.outputs["embedding"].ravel(), pa.float32(), mask=np.repeat(missing, size)), size
        ),
        pa.array(scores.outputs["reconstruction_error"], pa.float32(), mask=missing),
        pa.array(scores.outputs["anomaly_score"], pa.float32(), mask=missing),
        pa.array(scores.outputs["anomaly"] == 1, pa.bool_(), mask=missing),
        pa.FixedSizeListArray.from_arrays(_array(scores.appearance.ravel(), pa.float32()), len(NAMES)),
        pa.array(scores.pictures or [None] * count, pa.binary()),
        pa.array(scores.bands or [""] * count, pa.string()),
        pa.array(scores.flags, pa.int32()),
        pa.array([description["name"]] * count, pa.string()),
        pa.array([str(description["version"])] * count, pa.string()),
    ]
    table = pa.Table.from_arrays(columns, schema=schema(description, size, about))
    words = astropy_words(table.schema, widths(table), about)
    table = table.replace_schema_metadata({**table.schema.metadata, **words})
    with atomic(path, f"The scores of '{tile}'") as building:
        pq.write_table(table, building, compression="zstd", use_dictionary=REPEATED, write_statistics=SOUGHT)
    return table


def _in_its_unit(name: str, values: np.ndarray) -> np.ndarray:
    """What was measured, in the unit in which it is written."""
    measured_in_nanomaggies = name in COLUMNS and COLUMNS[name][0] == NANOMAGGY
    return np.asarray(values) * NANOJANSKY_PER_NANOMAGGY if measured_in_nanomaggies else values


def masked_part(stamps: np.ndarray) -> np.ndarray:
    """The share of pixels without data in each stamp's worst band, bands that are missing altogether left out.

    Parameters
    ----------
    stamps : float32 [n, size, size, 3], NaN where there is no data.

    Returns
    -------
    float32 [n]; 1 where no band has data.
    """
    found = np.zeros(len(stamps), dtype="float32")
    # Most stamps are whole, and a sum says so in a tenth of the time that counting takes.
    for i in np.flatnonzero(np.isnan(stamps.reshape(len(stamps), -1).sum(axis=1))):
        empty = np.isnan(stamps[i]).mean(axis=(0, 1))
        found[i] = max(empty[empty < 1], default=1)
    return found


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """InputError where a score file that is read in this context turns out to be damaged."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        reason = first_line(error)
        raise InputError(f"The scores in '{path}' cannot be read ({reason}); make them again.") from None


def read_about(path: str | Path) -> dict[str, Any]:
    """The provenance of a score file. InputError when the file is damaged, no score file, or of an earlier version
    whose answers have columns of other names: read together with today's, they would be null."""
    with readable(path):
        schema = pq.read_schema(path)
    metadata = schema.metadata or {}
    about = json.loads(metadata[KEY]) if KEY in metadata else {}
    if "model_version" not in about:
        raise InputError(f"'{path}' is not a score file of `morph score`.")
    check_format(about.get(FORMAT), SCORES_FORMAT, "score file", path)
    old = [name for name in schema.names if name != column_name(name)]
    if old:
        raise InputError(
            f"'{path}' is of an earlier version of morph, with columns like '{old[0]}' (now '{column_name(old[0])}'); "
            "choose another --out, or score its tile again with --overwrite."
        )
    return about


_MAIN_ID = "meta.id;meta.main"


def _field(name: str, kind: pa.DataType, description: str, unit: str = "", ucd: str = "") -> pa.Field:
    words = {"description": description, "unit": unit, "ucd": ucd}
    return pa.field(name, kind, metadata={key: text for key, text in words.items() if text})


def _per_question(values: np.ndarray, description: dict[str, Any]) -> np.ndarray:
    """[n, answers] added up to [n, questions]."""
    starts = np.cumsum([0, *(len(question["answers"]) for question in description["questions"])])[:-1]
    return np.add.reduceat(values, starts, axis=1)


def _array(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Numbers as Arrow, NaN as null."""
    values = np.asarray(values, dtype=float)
    return pa.array(values, kind, mask=np.isnan(values))


def _flags_in_words() -> str:
    from morph.stamps.cutting import Flag

    return "bits: " + ", ".join(f"{flag.value} {str(flag.name).lower().replace('_', ' ')}" for flag in Flag)
