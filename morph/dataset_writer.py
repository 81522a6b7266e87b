"""What a row of a dataset holds, and the writer of datasets (`morph.dataset` says what a dataset is)."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.atomic import atomic
from morph.checks import DATASET_FORMAT, FORMAT, check_folder
from morph.decision_tree import VOTE_COLUMNS, column_name
from morph.errors import InputError
from morph.sizes import STAMP_SIZE
from morph.votes import was_asked

KINDS = {"flux": np.float32, "composite": np.uint8}

#: Measured properties and their units; null (NaN) where unknown.
PROPERTIES = {
    "mag_g": "mag",
    "mag_r": "mag",
    # The magnitude in the third channel: z where the survey has z there (Legacy Surveys), else i.
    "mag_i": "mag",
    "radius": "arcsec",
    "redshift": "",
    "pixel_scale": "arcsec",
}


@dataclass(frozen=True)
class Galaxy:
    """One row of a dataset, as an importer or a simulation hands it to a `GalaxiesWriter`.

    `votes` is float32 [vote columns] (see `morph.decision_tree`), NaN where a question was not asked. `properties` has
    any of `PROPERTIES`; `pixel_scale` is that of the stored stamp. `vote_kind` is one of `morph.votes.VOTE_KINDS`, or
    empty where it is unknown. `zero_points` is the source of the image's zero points, in words; empty for pictures.
    """

    id: str
    survey: str
    image: np.ndarray
    votes: np.ndarray
    ra: float = np.nan
    dec: float = np.nan
    properties: dict[str, float] | None = None
    vote_kind: str = ""
    zero_points: str = ""


def _schema(size: int, kind: str, about: dict) -> pa.Schema:
    value = pa.float32() if kind == "flux" else pa.uint8()
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("survey", pa.string(), nullable=False),
        pa.field("ra", pa.float64(), metadata={"unit": "deg"}),
        pa.field("dec", pa.float64(), metadata={"unit": "deg"}),
        pa.field("image", pa.fixed_shape_tensor(value, [size, size, 3])),
        pa.field("votes", pa.struct([pa.field(column_name(name), pa.float32()) for name in VOTE_COLUMNS])),
        pa.field("vote_kind", pa.string(), metadata={"description": "raw or debiased; null: no votes, or not known"}),
    ]
    what = "AB magnitude of one count of each band's image, and where it is known from; null: none, or not known"
    fields.append(pa.field("zero_points", pa.string(), metadata={"description": what}))
    fields += [pa.field(name, pa.float32(), metadata={"unit": unit}) for name, unit in PROPERTIES.items()]
    return pa.schema(
        fields, metadata={"morph": json.dumps({FORMAT: DATASET_FORMAT, "kind": kind, "size": size, **about})}
    )


class GalaxiesWriter:
    """Writes a dataset so that it appears whole or not at all.

    Parameters
    ----------
    path : the folder to make; InputError if it exists and is not a dataset of ours.
    kind : ``flux`` or ``composite``.
    size : pixels on a side of the stamps.
    about : anything worth keeping with the dataset (source, seed, "simulated").

    Examples
    --------
    >>> from morph.dataset import Galaxies
    >>> from morph.votes import empty_votes
    >>> with GalaxiesWriter("sample", kind="flux") as writer:
    ...     writer.add(Galaxy("a", "des", np.zeros((STAMP_SIZE, STAMP_SIZE, 3)), empty_votes()))
    >>> Galaxies.open("sample").ids.tolist()
    ['a']
    """

    ROWS = 512

    def __init__(self, path: str | Path, kind: str, size: int = STAMP_SIZE, about: dict | None = None):
        if kind not in KINDS:
            raise InputError(f"Unknown kind of image '{kind}'; use flux or composite.")
        self.path, self.kind, self.size = Path(path), kind, size
        check_target(self.path)
        self.schema = _schema(size, kind, about or {})
        self._rows: list[Galaxy] = []
        self._parts = 0
        self._ids: set[str] = set()

    def __enter__(self) -> "GalaxiesWriter":
        with ExitStack() as stack:
            self._building = stack.enter_context(atomic(self.path))
            # Where its own writing fails, nothing may be left either.
            stack.push(self._finish)
            self._building.mkdir()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self._stack.__exit__(*error)

    def _finish(self, error, *_) -> None:
        if error is None:
            self._flush()
            if not self._parts:
                pq.write_table(self.schema.empty_table(), self._building / "part-00000.parquet")

    def add(self, galaxy: Galaxy) -> None:
        """Append one galaxy. InputError on a duplicate id, an image of another shape or impossible votes."""
        if galaxy.id in self._ids:
            raise InputError(f"The id '{galaxy.id}' occurs twice; every galaxy needs its own.")
        if galaxy.image.shape != (self.size, self.size, 3):
            raise InputError(
                f"Galaxy '{galaxy.id}' has an image of shape {galaxy.image.shape}, not {(self.size, self.size, 3)}."
            )
        if not possible_votes(galaxy.votes):
            raise InputError(
                f"Galaxy '{galaxy.id}' has votes below 0 or without limit; give NaN where a question was not asked."
            )
        self._ids.add(galaxy.id)
        self._rows.append(galaxy)
        if len(self._rows) >= self.ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        table = _table(rows, self.schema, self.kind)
        pq.write_table(table, self._building / f"part-{self._parts:05d}.parquet", compression="zstd")
        self._parts += 1


def galaxies_table(rows: list[Galaxy], size: int, kind: str, about: dict | None = None) -> pa.Table:
    """Galaxies as the table of a dataset.

    Parameters
    ----------
    rows : the galaxies.
    size : pixels on a side of their stamps.
    kind : of their images, ``flux`` or ``composite``.
    about : anything worth keeping with the dataset.
    """
    return _table(rows, _schema(size, kind, about or {}), kind)


def _table(rows: list[Galaxy], schema: pa.Schema, kind: str) -> pa.Table:
    images = np.stack([row.image for row in rows]).astype(KINDS[kind])
    votes = np.stack([row.votes for row in rows]).astype("float32")
    columns = [
        pa.array([row.id for row in rows], pa.string()),
        pa.array([row.survey for row in rows], pa.string()),
        _nullable([row.ra for row in rows], pa.float64()),
        _nullable([row.dec for row in rows], pa.float64()),
        pa.FixedShapeTensorArray.from_numpy_ndarray(images),
        pa.StructArray.from_arrays(
            [_nullable(votes[:, j], pa.float32()) for j in range(len(VOTE_COLUMNS))],
            names=list(map(column_name, VOTE_COLUMNS)),
        ),
        pa.array([(row.vote_kind or None) if was_asked(row.votes).any() else None for row in rows], pa.string()),
        pa.array([row.zero_points or None for row in rows], pa.string()),
    ]
    for name in PROPERTIES:
        columns.append(_nullable([(row.properties or {}).get(name, np.nan) for row in rows], pa.float32()))
    return pa.Table.from_arrays(columns, schema=schema)


def possible_votes(votes: np.ndarray) -> bool:
    """Whether no vote is below 0 or infinite; NaN is not asked."""
    return not ((votes < 0) | np.isinf(votes)).any()


def _nullable(values, kind) -> pa.Array:
    """Values as Arrow, NaN as null."""
    return pa.array(np.asarray(values, dtype=float), kind, from_pandas=True)


def _is_ours(path: Path) -> bool:
    """Whether a folder holds a dataset of ours and nothing else, so that it may be replaced."""
    if not path.is_dir():
        return False
    files = list(path.iterdir())
    parts = [file for file in files if file.match("part-[0-9][0-9][0-9][0-9][0-9].parquet")]
    try:
        return bool(parts) and len(parts) == len(files) and b"morph" in (pq.read_schema(parts[0]).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False


def check_target(path: Path) -> None:
    """InputError unless a dataset can be written at `path`, in place of an older one or of nothing."""
    check_folder(path)
    if path.exists() and not _is_ours(path):
        raise InputError(f"'{path}' exists and is not a galaxies dataset; choose another name.")
