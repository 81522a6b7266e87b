"""A set of galaxies on disk: images, votes and measured properties, one row a galaxy.

A dataset is a folder of Parquet files. Its images are all of one kind:

- ``flux``: float32 [size, size, 3], nanomaggies per pixel in the channels g, r, i, NaN where there is no data;
- ``composite``: uint8 [size, size, 3], a colour picture, R, G, B.

Votes are raw or debiased (see `morph.votes`), which every row states.

Every stamp shows its galaxy as large as `morph.sizes` says, and is stored with a margin that training uses to turn
and zoom it. Any other square stamp is accepted too, and resized when it is used.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.checks import DATASET_FORMAT, FORMAT, check_format
from morph.dataset_writer import PROPERTIES, GalaxiesWriter, Galaxy, possible_votes
from morph.decision_tree import TREE, VOTE_COLUMNS, question_of, vote_column
from morph.errors import InputError
from morph.votes import vote_counts, was_asked

SPLITS = ("train", "validation", "test")

#: What pyarrow raises for a damaged file.
_UNREADABLE = (pa.ArrowInvalid, OSError)


def damaged(path: str | Path, error: Exception) -> InputError:
    """The error of a dataset that cannot be read."""
    return InputError(f"The dataset at '{path}' cannot be read ({error}); make it again.")


def is_dataset(path: str | Path) -> bool:
    return Path(path).is_dir() and any(Path(path).glob("part-*.parquet"))


def find_dataset(path: str | Path) -> Path:
    """The folder of a dataset, without reading it; InputError if there is none."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no dataset at '{path}'; make one with `morph import` or `morph simulate`.")
    if not is_dataset(path):
        raise InputError(f"'{path}' is not a galaxies dataset; make one with `morph import` or `morph simulate`.")
    return path


class Galaxies:
    """A set of galaxies, read from disk or selected from another set.

    Attributes are NumPy arrays, one entry a galaxy: `ids`, `surveys` (str), `ra`, `dec` (deg), `images`,
    `votes` float32 [n, vote columns] (NaN where not asked), `vote_kind` (str, empty where there are no votes or their
    kind is not known), `zero_points` (str, see `Galaxy`), `properties` {name: float32 [n]}.

    Examples
    --------
    >>> galaxies = Galaxies.open("sample")
    >>> len(galaxies), galaxies.survey, galaxies.images.shape[1:]
    (12, 'des', (96, 96, 3))
    >>> len(galaxies.select(galaxies.properties["redshift"] > 0))
    12
    """

    def __init__(self, about: dict, columns: dict[str, np.ndarray]):
        self.about = about
        count = len(columns["id"])
        absent = {"vote_kind": np.full(count, "", dtype="<U8"), "zero_points": np.full(count, "", dtype=object)}
        self._columns = {**absent, **columns}

    @classmethod
    def open(cls, path: str | Path, images: bool = True, parts: Sequence[Path] = ()) -> "Galaxies":
        """Read a dataset.

        Parameters
        ----------
        path : of the dataset.
        images : whether its images are read.
        parts : those of its files that are read; all when not given.

        Raises
        ------
        InputError : there is none, or it is damaged.
        """
        path = find_dataset(path)
        parts = parts or sorted(path.glob("part-*.parquet"))
        try:
            wanted = None if images else [name for name in pq.read_schema(parts[0]).names if name != "image"]
            table = pa.concat_tables([pq.read_table(part, columns=wanted) for part in parts])
        except _UNREADABLE as error:
            raise damaged(path, error) from None
        return cls.from_table(table, path)

    @classmethod
    def from_table(cls, table: pa.Table, path: str | Path) -> "Galaxies":
        """The galaxies of a table that was read from `path` (see `tables_of`). InputError where it is not ours."""
        try:
            about = json.loads(table.schema.metadata[b"morph"])
        except (KeyError, TypeError) as error:
            raise damaged(path, error) from None
        check_format(about.pop(FORMAT, None), DATASET_FORMAT, "dataset", path)
        about["path"] = str(path)
        columns = _columns_of(table)
        if not possible_votes(columns["votes"]):
            raise InputError(f"The dataset at '{path}' has votes below 0 or without limit; import it again.")
        return cls(about, columns)

    @classmethod
    def concatenate(cls, sets: Iterable["Galaxies"]) -> "Galaxies":
        """Several datasets as one. InputError unless all hold images of one kind and size."""
        sets = list(sets)
        if len({(s.kind, s.size) for s in sets}) != 1:
            kinds = ", ".join(f"{s.about.get('path', '?')}: {s.kind}, {s.size} px" for s in sets)
            raise InputError(f"These datasets hold images of different kinds or sizes ({kinds}); use one kind.")
        columns = {name: np.concatenate([s._columns[name] for s in sets]) for name in sets[0]._columns}
        about = {**sets[0].about, "path": " + ".join(str(s.about.get("path")) for s in sets)}
        about["simulated"] = any(s.simulated for s in sets)
        if len({s.about.get("votes") for s in sets}) > 1:
            about.pop("votes", None)
        return cls(about, columns)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Galaxies {self.about.get('path', '')}: {len(self)} {self.kind} stamps of {self.size} px>"

    def __iter__(self) -> Iterator[Galaxy]:
        for i in range(len(self)):
            yield Galaxy(
                str(self.ids[i]),
                str(self.surveys[i]),
                self.images[i],
                self.votes[i],
                float(self.ra[i]),
                float(self.dec[i]),
                {name: float(self._columns[name][i]) for name in PROPERTIES},
                str(self.vote_kind[i]),
                str(self.zero_points[i]),
            )

    @property
    def kind(self) -> str:
        return self.about["kind"]

    @property
    def size(self) -> int:
        return self.about["size"]

    @property
    def simulated(self) -> bool:
        return bool(self.about.get("simulated"))

    @property
    def ids(self) -> np.ndarray:
        return self._columns["id"]

    @property
    def surveys(self) -> np.ndarray:
        return self._columns["survey"]

    @property
    def ra(self) -> np.ndarray:
        return self._columns["ra"]

    @property
    def dec(self) -> np.ndarray:
        return self._columns["dec"]

    @property
    def images(self) -> np.ndarray:
        return self._columns["image"]

    @property
    def votes(self) -> np.ndarray:
        return self._columns["votes"]

    @property
    def vote_kind(self) -> np.ndarray:
        return self._columns["vote_kind"]

    @property
    def zero_points(self) -> np.ndarray:
        return self._columns["zero_points"]

    @property
    def properties(self) -> dict[str, np.ndarray]:
        return {name: self._columns[name] for name in PROPERTIES}

    @property
    def survey(self) -> str:
        """The survey of most of the galaxies."""
        names, counts = np.unique(self.surveys, return_counts=True)
        return str(names[counts.argmax()]) if len(names) else "unknown"

    @cached_property
    def digest(self) -> str:
        """What identifies this content: a hash of ids, votes and images."""
        sha = hashlib.sha256()
        for array in ("\n".join(map(str, self.ids)).encode(), self.votes.tobytes(), self.images.tobytes()):
            sha.update(array)
        return sha.hexdigest()[:16]

    def select(self, which: np.ndarray) -> "Galaxies":
        """The galaxies at the given indices, or where a mask is true."""
        return Galaxies(self.about, {name: column[which] for name, column in self._columns.items()})

    def with_columns(self, **columns: np.ndarray) -> "Galaxies":
        """The same galaxies with other columns of the dataset's, such as ``image`` or ``id``, of as many rows."""
        return Galaxies(self.about, {**self._columns, **columns})

    def with_votes(self, votes: np.ndarray, kind: str = "") -> "Galaxies":
        """The same galaxies with other votes, float32 [n, vote columns], of the given kind."""
        kinds = np.where(was_asked(votes), kind, "").astype("<U8")
        return Galaxies({**self.about, "votes": kind}, {**self._columns, "votes": votes, "vote_kind": kinds})

    def split(self, test: float = 0.2, validation: float = 0.1, seed: int = 0) -> dict[str, "Galaxies"]:
        """Divide into training, validation and test sets, by galaxy: the same id always falls on the same side,
        whatever dataset it stands in and however its rows are ordered.

        Parameters
        ----------
        test, validation : share of each set; the rest is for training.
        seed : another one divides otherwise.

        Returns
        -------
        "train", "validation" and "test", each with its galaxies.
        """
        place = split_position(self.ids, seed)
        masks = {
            "test": place < test,
            "validation": (place >= test) & (place < test + validation),
            "train": place >= test + validation,
        }
        return {name: self.select(masks[name]) for name in SPLITS}

    def zero_point_lines(self, most: int = 5) -> list[str]:
        """Where the zero points of the images come from, the most frequent sources first, one sentence each."""
        sources = Counter(filter(None, self.zero_points.tolist())).most_common()
        lines = [f"Zero points of {count:,} of them: {words}." for words, count in sources[:most]]
        return lines + ([f"{len(sources) - most:,} more sets of zero points."] if len(sources) > most else [])

    def answered(self) -> dict[str, int]:
        """How many galaxies have at least one vote on each question."""
        votes = vote_counts(self.votes)
        of = [question_of(column) for column in VOTE_COLUMNS]
        return {
            question.name: int((votes[:, [o == question.name for o in of]].sum(axis=1) > 0).sum()) for question in TREE
        }

    def write(self, path: str | Path) -> None:
        """Write this set as a dataset of its own."""
        about = {k: v for k, v in self.about.items() if k not in ("kind", "size", "path")}
        with GalaxiesWriter(path, self.kind, self.size, about) as writer:
            for galaxy in self:
                writer.add(galaxy)


def split_position(ids: Iterable[str], seed: int = 0) -> np.ndarray:
    """Where each galaxy stands in [0, 1): a hash of its id, so that a split follows the galaxy."""
    hashes = [hashlib.blake2b(f"{seed}:{i}".encode(), digest_size=8).digest() for i in ids]
    return np.frombuffer(b"".join(hashes), dtype=">u8").astype(float) / 2.0**64


def _columns_of(table: pa.Table) -> dict[str, np.ndarray]:
    """Arrow columns as NumPy arrays, null as NaN."""
    columns = {
        "id": table["id"].to_numpy(zero_copy_only=False).astype(str),
        "survey": table["survey"].to_numpy(zero_copy_only=False).astype(str),
        "image": np.empty((len(table), 0, 0, 3), "uint8"),
    }
    if "image" in table.column_names:
        columns["image"] = table["image"].combine_chunks().to_numpy_ndarray()
    for name in ("ra", "dec", *PROPERTIES):
        columns[name] = table[name].to_numpy(zero_copy_only=False).astype("float64" if name in ("ra", "dec") else "f4")
    votes = table["votes"].combine_chunks()
    rows = np.full((len(table), len(VOTE_COLUMNS)), np.nan, dtype="float32")
    present = {vote_column(field.name): field.name for field in votes.type}
    for j, name in enumerate(VOTE_COLUMNS):
        if name in present:
            rows[:, j] = votes.field(present[name]).to_numpy(zero_copy_only=False)
    columns["votes"] = rows
    if "zero_points" in table.column_names:
        columns["zero_points"] = table["zero_points"].fill_null("").to_numpy(zero_copy_only=False).astype(object)
    if "vote_kind" in table.column_names:
        columns["vote_kind"] = table["vote_kind"].fill_null("").to_numpy(zero_copy_only=False).astype("<U8")
    return columns


def tables_of(path: str | Path, rows: int) -> Iterator[pa.Table]:
    """The dataset at `path` as tables of at most so many rows, so that memory does not grow with it. InputError where
    it cannot be read."""
    path = find_dataset(path)
    try:
        for part in sorted(path.glob("part-*.parquet")):
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(rows):
                    yield pa.Table.from_batches([batch], file.schema_arrow)
    except _UNREADABLE as error:
        raise damaged(path, error) from None


def dataset_name(galaxies: Galaxies) -> str:
    """The names of the folders that a set was read from, without where on this machine they are."""
    paths = str(galaxies.about.get("path") or "unnamed").split(" + ")
    return " + ".join(Path(path).name for path in paths)
