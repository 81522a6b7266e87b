"""The score catalogue: one Parquet file a tile, one row a galaxy."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.table import Table

from morph.atomic import atomic
from morph.checks import FORMAT, SCORES_FORMAT
from morph.decision_tree import column_name
from morph.errors import InputError
from morph.stamps.flags import Flag
from morph.stamps.image_statistics import NAMES
from morph.stamps.measurements import COLUMNS
from morph.surveys import CHANNELS, NANOMAGGY_ZERO_POINT, get_survey
from serving.protocol import OUTPUTS

#: The key of the Parquet schema's metadata under which the provenance stands, as JSON.
KEY = b"morph"

#: The keys that astropy uses: for its own header, in YAML, and for the width of a text column.
ASTROPY_HEADER, ASTROPY_WIDTH = "table_meta_yaml", "table::len::"

#: Columns of repeated values, which Parquet stores as a dictionary, and columns that people select by, for which it
#: keeps minima and maxima. A dictionary of distinct numbers makes a file larger and takes three times as long to
#: write.
REPEATED = ["tile", "model", "model_version"]
SOUGHT = ["ra", "dec", "tile", "mag_g", "mag_r", "mag_i", "mag_z", "radius", "snr", "anomaly_score", "flags"]

#: Fluxes are written in nanojansky: FITS and the VO have no nanomaggy, and a table in it is read without its units.
NANOMAGGY, NANOJANSKY = "nanomaggy", "nJy"
NANOJANSKY_PER_NANOMAGGY = 10 ** ((31.4 - NANOMAGGY_ZERO_POINT) / 2.5)

#: Measured properties of a galaxy or of its stamp: unit, description and UCD. A channel's column is named after the
#: survey's band in it (`property_columns`).
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


@dataclass
class TileScores:
    """The rows of one tile, filled in as its galaxies are cut and answered; NaN is unknown.

    Attributes
    ----------
    ids : object [n], text.
    ra, dec : [n], degrees.
    x, y : [n], pixels of the tile, 0-based.
    flags : int32 [n], `morph.stamps.flags.Flag` bits. Galaxies without data have no answers: they are null.
    outputs : of the model: ``probabilities``, ``tree_probabilities``, ``concentration`` [n, answers], ``embedding``
        [n, d], ``similarity`` [n, k], ``reconstruction_error``, ``anomaly_score``, ``anomaly`` [n].
    image_statistics : [n, statistics], see `morph.stamps.image_statistics`; of some galaxies.
    properties : {name: [n]} of `PROPERTIES`, in their units, but fluxes in nanomaggies; a missing name is null.
    pictures : object [n], JPEG files of the most anomalous galaxies, None for the others.
    bands : object [n], text: the bands that each galaxy has data in; empty where that is unknown.
    """

    ids: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flags: np.ndarray
    outputs: dict[str, np.ndarray]
    image_statistics: np.ndarray
    properties: dict[str, np.ndarray]
    pictures: np.ndarray
    bands: np.ndarray

    @classmethod
    def blank(cls, galaxies: Table, description: dict[str, Any]) -> "TileScores":
        """The rows of located galaxies (`morph.catalogs.catalog`), with nothing measured and nothing answered."""
        count = len(galaxies)
        answers = len(answer_columns(description))
        widths = dict.fromkeys(("probabilities", "tree_probabilities", "concentration"), (answers,))
        widths |= {name: (size,) for name, size in vector_sizes(description).items()}

        def unknown(*width: int) -> np.ndarray:
            return np.full((count, *width), np.nan, dtype="float32")

        columns = {name: np.array(galaxies[name], dtype=float) for name in ("ra", "dec", "x", "y")}
        known = {name: np.array(galaxies[name], dtype=float) for name in PROPERTIES if name in galaxies.colnames}
        return cls(
            ids=np.array([str(name) for name in galaxies["id"]], dtype=object),
            **columns,
            flags=np.zeros(count, dtype="int32"),
            outputs={name: unknown(*widths.get(name, ())) for name in OUTPUTS},
            image_statistics=unknown(len(NAMES)),
            properties={name: known.get(name, unknown()) for name in PROPERTIES},
            pictures=np.full(count, None, dtype=object),
            bands=np.full(count, "", dtype=object),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def answered(self) -> np.ndarray:
        """Galaxies that the model was asked about: bool [n]."""
        return (self.flags & Flag.NO_DATA) == 0

    def select(self, rows: np.ndarray) -> "TileScores":
        """Some of the rows, by their numbers."""

        def some(value):
            return {name: each[rows] for name, each in value.items()} if isinstance(value, dict) else value[rows]

        return TileScores(**{each.name: some(getattr(self, each.name)) for each in fields(self)})


def property_columns(survey: str) -> dict[str, str]:
    """The column of each of `PROPERTIES`: a channel's is named after the survey's band in it.

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
    """The columns of the Dirichlet concentrations, `<question>_concentration`, in the order of a model's questions."""
    return [column_name(f"{question['name']}_concentration") for question in description["questions"]]


def vector_sizes(description: dict[str, Any]) -> dict[str, int]:
    """The outputs of a model that are one vector a galaxy, and how many numbers each has. InputError where the model
    is of an earlier morph, without similarity vectors."""
    if "similarity_size" not in description:
        raise InputError(
            f"The model {description['name']} {description['version']} was exported by an earlier morph, without "
            "similarity vectors; export it again with `morph export`."
        )
    return {name: int(description[f"{name}_size"]) for name in ("embedding", "similarity")}


def schema(description: dict[str, Any], about: dict[str, Any]) -> pa.Schema:
    """The columns of a score file, with units, descriptions and UCDs.

    Parameters
    ----------
    description : the model's.
    about : the file's provenance.
    """
    p = "probability of this answer, given that the question is asked"
    tree = "the same multiplied down the decision tree: a volunteer who starts at the top gives this answer"
    worth = "votes that the probabilities are worth; with n of them p is uncertain by sqrt(p (1 - p) / (1 + n))"
    chance, sizes = "stat.probability;src.morph", vector_sizes(description)
    columns = [
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
        _field("embedding", pa.list_(pa.float32(), sizes["embedding"]), "mean of the posterior over the latent space"),
        _field(
            "similarity",
            pa.list_(pa.float32(), sizes["similarity"]),
            "unit vector of the shape, however the galaxy is turned; compare by cosine",
        ),
        _field(
            "reconstruction_error", pa.float32(), "noise-weighted mean square of the residual", ucd="stat.fit.residual"
        ),
        _field(
            "anomaly_score", pa.float32(), "p-value among normal galaxies; small: anomalous", ucd="stat.probability"
        ),
        _field("anomaly", pa.bool_(), f"anomaly_score below {description['anomaly_threshold']:g}", ucd="meta.code"),
        _field("image_statistics", pa.list_(pa.float32(), len(NAMES)), f"of some galaxies: {', '.join(NAMES)}"),
        _field("picture", pa.binary(), "a JPEG picture, of the tile's most anomalous galaxies alone"),
        _field("bands", pa.string(), "bands with data on the stamp", ucd="instr.bandpass"),
        _field("flags", pa.int32(), _flags_in_words(), ucd="meta.code.qual"),
        _field("model", pa.string(), "name of the model", ucd="meta.software"),
        _field("model_version", pa.string(), "version on a server, or digest of the weights", ucd="meta.version"),
    ]
    return with_about(pa.schema(columns), about)


def write_scores(
    path: Path, tile: str, scores: TileScores, description: dict[str, Any], about: dict[str, Any]
) -> pa.Table:
    """Write one tile's scores, atomically.

    Parameters
    ----------
    tile : the name in the column of that name.
    description : the model's own (`describe`), with its ``name``, ``version``, ``questions``, ``embedding_size``,
        ``similarity_size`` and ``anomaly_threshold``.
    about : provenance kept in the file's schema; the format's number is added.

    Returns
    -------
    What was written.

    Raises
    ------
    InputError : the folder cannot be written to.
    """
    columns = _columns(scores, tile, description)
    about = {FORMAT: SCORES_FORMAT, **about}
    table = pa.Table.from_arrays(columns, schema=schema(description, about))
    metadata = astropy_metadata(table.schema, widths(table), about)
    table = table.replace_schema_metadata({**table.schema.metadata, **metadata})
    with atomic(path, f"The scores of '{tile}'") as building:
        pq.write_table(table, building, compression="zstd", use_dictionary=REPEATED, write_statistics=SOUGHT)
    return table


def _columns(scores: TileScores, tile: str, description: dict[str, Any]) -> list[pa.Array]:
    """The columns of `schema`, in its order."""
    count, missing = len(scores), ~scores.answered
    outputs = scores.outputs
    worth = _per_question(outputs["concentration"], description)
    answers = np.concatenate([outputs["probabilities"], outputs["tree_probabilities"], worth], axis=1)
    unknown = np.full(count, np.nan)
    return [
        pa.array(scores.ids, pa.string()),
        _array(scores.ra, pa.float64()),
        _array(scores.dec, pa.float64()),
        pa.array([tile] * count, pa.string()),
        _array(scores.x, pa.float64()),
        _array(scores.y, pa.float64()),
        *(_array(_in_its_unit(name, scores.properties.get(name, unknown)), pa.float32()) for name in PROPERTIES),
        *(pa.array(answers[:, j], pa.float32(), mask=missing) for j in range(answers.shape[1])),
        # Parquet's readers fail on a fixed-size list that is null itself; its elements are null instead.
        *(
            pa.FixedSizeListArray.from_arrays(
                pa.array(outputs[name].ravel(), pa.float32(), mask=np.repeat(missing, size)), size
            )
            for name, size in vector_sizes(description).items()
        ),
        pa.array(outputs["reconstruction_error"], pa.float32(), mask=missing),
        pa.array(outputs["anomaly_score"], pa.float32(), mask=missing),
        pa.array(outputs["anomaly"] == 1, pa.bool_(), mask=missing),
        pa.FixedSizeListArray.from_arrays(_array(scores.image_statistics.ravel(), pa.float32()), len(NAMES)),
        pa.array(scores.pictures, pa.binary()),
        pa.array(scores.bands, pa.string()),
        pa.array(scores.flags, pa.int32()),
        pa.array([description["name"]] * count, pa.string()),
        pa.array([str(description["version"])] * count, pa.string()),
    ]


def _in_its_unit(name: str, values: np.ndarray) -> np.ndarray:
    """Measured values in the unit in which they are written."""
    measured_in_nanomaggies = name in COLUMNS and COLUMNS[name][0] == NANOMAGGY
    return np.asarray(values) * NANOJANSKY_PER_NANOMAGGY if measured_in_nanomaggies else values


def with_about(schema: pa.Schema, about: dict[str, Any]) -> pa.Schema:
    """The schema with a provenance, as score files have one."""
    return schema.with_metadata({KEY: json.dumps(about).encode()})


def widths(table: pa.Table) -> dict[str, int]:
    """The longest value of each column of text (characters) or bytes; at least 1."""
    kinds = {field.name: field.type for field in table.schema}
    texts = {name: pc.utf8_length(table[name]) for name, kind in kinds.items() if pa.types.is_string(kind)}
    files = {name: pc.binary_length(table[name]) for name, kind in kinds.items() if pa.types.is_binary(kind)}
    return {name: max(pc.max(lengths).as_py() or 0, 1) for name, lengths in {**texts, **files}.items()}


def astropy_metadata(schema: pa.Schema, widest: Mapping[str, int], about: Mapping[str, Any]) -> dict[str, str]:
    """A Parquet file's entries for astropy's `Table.read`: units, descriptions, and how wide text is.

    astropy does not read the columns' own metadata, and cannot find the width of a text column that has nulls. The
    keys are those of `astropy.io.misc.parquet`; other readers ignore them.

    Parameters
    ----------
    schema : columns with "unit" and "description" in their metadata, or without.
    widest : of all columns of text and bytes, as `widths` finds them.
    about : what becomes the table's `meta`.

    Returns
    -------
    The entries, by their keys.

    >>> astropy_metadata(pa.schema([pa.field("id", pa.string())]), {"id": 3}, {})
    {'table_meta_yaml': '{"datatype": [{"name": "id"}], "meta": {}}', 'table::len::id': '3'}
    """
    columns: list[dict[str, str]] = []
    for field in schema:
        words = words_of(field)
        columns.append({"name": field.name, **{key: words[key] for key in ("unit", "description") if key in words}})
    # JSON is YAML, too, and is written in a hundredth of the time.
    header = json.dumps({"datatype": columns, "meta": dict(about)})
    return {ASTROPY_HEADER: header, **{f"{ASTROPY_WIDTH}{name}": str(width) for name, width in widest.items()}}


def words_of(field: pa.Field) -> dict[str, str]:
    """The unit, description and UCD of a column, as far as it has them."""
    return {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}


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
    return "bits: " + ", ".join(f"{flag.value} {flag.words}" for flag in Flag)
