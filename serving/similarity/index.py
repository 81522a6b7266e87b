"""An index on disk: its galaxies, and the search for those most like some examples."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from morph.catalogs.row_filter import Selection
from morph.errors import InputError
from morph.examples import combine
from serving.similarity.cone import Cone, separation
from serving.similarity.header import SHARDS, Header, ModelIdentity
from serving.similarity.nearest import Chosen, Nearest, Place
from serving.similarity.shard import Shard, rows_where

#: Hits that can be asked for.
MOST = 100_000
#: A galaxy this close to an example, arcsec, or on the same tile within so many pixels, is the example itself.
SAME_PLACE, SAME_PIXEL = 1.0, 1.5
#: As is one with a larger cosine to it: a copy of its image. Two galaxies are never as near.
SAME_IMAGE = 1 - 2e-6
#: Within so many arcsec of a position, its galaxy is looked for; beyond, the nearest is named in a message.
NEAR = 5.0
#: What comes first in a table of hits, before the other columns of the rows.
FIRST = ("id", "ra", "dec", "tile", "similarity", "survey")


class Index:
    """An index that `morph index` wrote, opened for searches; several threads may search at once.

    Examples
    --------
    >>> index = Index.open("galaxies.index")  # doctest: +SKIP
    >>> index.search(index.vector_of("DES0356-5248-17"), n=10, where="mag_r < 20")  # doctest: +SKIP
    """

    def __init__(self, folder: Path, header: Header):
        self.folder, self.header = folder, header
        shards = folder / SHARDS
        self.shards = [Shard(shards / entry.folder, entry, header.lists) for entry in header.shards]
        #: Of the rows: those that a filter may name, and binary ones.
        self.schema = header.schema

    @classmethod
    def open(cls, folder: str | Path) -> "Index":
        """Open an index. InputError where there is none, it is empty, cut short, not finished or of another format."""
        folder = Path(folder)
        index = cls(folder, Header.read(folder))
        try:
            index._map()
        except InputError:
            # A builder may have put another state into its place meanwhile.
            if (header := Header.read(folder)) == index.header:
                raise
            index = cls(folder, header)
            index._map()
        if not len(index):
            raise InputError(f"The index '{folder}' is empty; add galaxies with `morph index SCORES --to {folder}`.")
        return index

    def _map(self) -> None:
        """Map all files, which a builder may remove when it has put others into their place."""
        for shard in self.shards:
            shard.map()
        self._nearest = Nearest.of(self.folder, self.shards, self.header.lists)

    def __len__(self) -> int:
        return self.header.galaxies

    def __repr__(self) -> str:
        return f"<Index {self.folder}: {len(self):,} galaxies by {self.header.model}>"

    # --- What it holds --------------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """The name of the model that made the vectors."""
        return self.header.model.name

    @property
    def model_version(self) -> str:
        return self.header.model.version

    @property
    def digest(self) -> str:
        """What identifies the model: the digest of its weights, else its version and run on a server."""
        return self.header.model.digest

    @property
    def dimension(self) -> int:
        return self.header.dimension

    @property
    def surveys(self) -> tuple[str, ...]:
        return self.header.surveys

    @property
    def columns(self) -> list[str]:
        """The columns that a filter may name."""
        return [column.name for column in self.schema if not pa.types.is_binary(column.type)]

    def compatible_with(self, description: dict[str, Any]) -> None:
        """InputError unless the model of this description (`Classifier.describe`, `MorphClient.describe`) made the
        vectors of the index, so that its own can be compared with them."""
        found = ModelIdentity.described(description)
        size = description.get("similarity_size")
        if size is None:
            raise InputError(f"The model {found} makes no similarity vectors; export it again with `morph export`.")
        if not self.header.model.is_same(found) or int(size) != self.dimension:
            raise InputError(
                f"The index '{self.folder}' was made by the model {self.header.model.full}, not by {found.full}, and "
                "vectors of different models cannot be compared; use that model, or make an index of scores by this."
            )

    # --- One galaxy -----------------------------------------------------------------------------------------

    def find(self, id_: str) -> Place:
        """Where the galaxy of this name is. InputError names the nearest names where there is none."""
        for number, shard in enumerate(self.shards):
            row = shard.find(id_)
            if row >= 0:
                return Place(number, row)
        near = self._near(id_)
        raise InputError(
            f"There is no galaxy '{id_}' in the index '{self.folder}'; the nearest ids are {', '.join(near)}."
        )

    def vector_of(self, id_: str) -> np.ndarray:
        """The similarity vector of a galaxy, by its name: float32 [d]. InputError as `find`."""
        return self.vector(self.find(id_))

    def vector(self, place: Place) -> np.ndarray:
        """The similarity vector of a galaxy, float32 [d]."""
        return self.shards[place.shard].unit_vectors(np.array([place.row]))[0]

    def row_of(self, id_: str) -> dict[str, Any]:
        """All that is known of a galaxy, by its name: {column: value}. InputError as `find`."""
        return self.row(self.find(id_))

    def row(self, place: Place) -> dict[str, Any]:
        """All that is known of a galaxy: {column: value}, None where a value is unknown."""
        (row,) = self.shards[place.shard].rows.slice(place.row, 1).to_pylist()
        return {name: row.get(name) for name in self.schema.names}

    def at(self, ra: float, dec: float, radius: float = NEAR) -> str:
        """The name of the galaxy nearest to a position.

        Parameters
        ----------
        ra, dec : degrees.
        radius : how far it may be, arcsec.

        Returns
        -------
        Its id.

        Raises
        ------
        InputError : there is none within the radius (the nearest is named), or no such position.
        """
        return str(self.shards[(found := self.place_at(ra, dec, radius)).shard].rows["id"][found.row])

    def place_at(self, ra: float, dec: float, radius: float = NEAR) -> Place:
        """As `at`, for where the galaxy is in the index.

        Parameters
        ----------
        ra, dec : degrees.
        radius : how far it may be, arcsec.
        """
        for within in (radius / 3600, 0.1, 1.0):
            found = min(self._around(ra, dec, within), default=None)
            if found is None:
                continue
            distance, place = found
            if distance * 3600 <= radius:
                return place
            name = self.shards[place.shard].rows["id"][place.row]
            raise InputError(
                f"No galaxy of the index '{self.folder}' lies within {radius:g} arcsec of {ra:g}, {dec:g}; the "
                f"nearest is {name}, {distance * 3600:,.0f} arcsec away."
            )
        raise InputError(f"No galaxy of the index '{self.folder}' lies within a degree of {ra:g}, {dec:g}.")

    def _around(self, ra: float, dec: float, radius: float) -> Iterator[tuple[float, Place]]:
        """The galaxies within `radius` degrees of a position, and how far each is."""
        cone = Cone(ra, dec, radius)
        for number, shard in enumerate(self.shards):
            rows = shard.within(cone)
            away = separation(ra, dec, shard.column("ra")[rows], shard.column("dec")[rows])
            yield from ((float(d), Place(number, int(row))) for d, row in zip(away, rows, strict=True))

    def _near(self, id_: str, most: int = 3) -> list[str]:
        """Names that are most like one: of those that begin as it does, as far as any do."""
        low, high, found = 0, len(id_), [str(name) for shard in self.shards[:1] for name in shard.rows["id"][:1000]]
        while low < high:
            length = (low + high + 1) // 2
            begins = self._beginning(id_[:length])
            low, high, found = (length, high, begins) if begins else (low, length - 1, found)
        return difflib.get_close_matches(id_, found, most, 0.0)

    def _beginning(self, start: str, most: int = 2000) -> list[str]:
        found: list[str] = []
        for shard in self.shards:
            names = shard.rows["id"]
            found += names.filter(pc.starts_with(names, start)).slice(0, most - len(found)).to_pylist()
            if len(found) >= most:
                break
        return found

    # --- The search -----------------------------------------------------------------------------------------

    def search(
        self,
        vectors: np.ndarray,
        n: int = 100,
        weights: Sequence[float] | np.ndarray | None = None,
        unlike: np.ndarray | None = None,
        where: str | None = None,
        cone: tuple[float, float, float] | None = None,
        exclude: Sequence[str | tuple[float, float]] | None = None,
        copies: bool = True,
    ) -> pa.Table:
        """The galaxies most like some examples; `n` of them wherever as many meet the conditions.

        Parameters
        ----------
        vectors : the examples' similarity vectors, [k, d] or [d]; they are combined (`morph.examples.combine`).
        n : hits wanted, up to `MOST`.
        weights : of the examples, [k].
        unlike : examples to stay away from, [m, d].
        where : a condition on `columns` (`morph.catalogs.row_filter.Selection`).
        cone : right ascension, declination and radius, degrees: hits lie in it.
        exclude : names of galaxies, or positions (ra, dec) in degrees, that are not hits, nor are their duplicates:
            galaxies within `SAME_PLACE` arcsec or, on the same tile, `SAME_PIXEL` pixels.
        copies : whether galaxies whose vector is that of an example, as a copy of its image has it, may be hits.

        Returns
        -------
        The hits, best first: ``id``, ``ra``, ``dec``, ``tile``, ``similarity`` (the cosine to the combined query),
        ``survey``, and the other columns.

        Raises
        ------
        InputError : a vector of another length or without direction, an impossible n, weight or cone, a condition
            that cannot be understood or that no galaxy meets, an excluded name that is not there.
        """
        like, far = self._examples(vectors, "vectors"), self._examples(unlike, "unlike")
        if not len(like):
            raise InputError("A search needs at least one example of what is sought.")
        _check(n, weights, len(like))
        query = combine(like, far, weights).astype("float32")
        chosen = self.chosen(where, cone)
        banned = self._banned(exclude or ())
        if not copies:
            for example in (*like, *far):
                banned |= self._copies(example, chosen)
        found = self._nearest.find(query, n + len(banned), chosen)
        found = [(place, cosine) for place, cosine in found if place not in banned][:n]
        return self.table([place for place, _ in found], np.array([cosine for _, cosine in found], "float32"))

    def table(self, places: Sequence[Place], similarity: np.ndarray | None = None) -> pa.Table:
        """The rows of some galaxies, in their order, with a column of their similarity where it is given."""
        numbers = np.array([place.shard for place in places], int)
        parts, order = [], np.empty(0, int)
        for number in np.unique(numbers):
            own = np.flatnonzero(numbers == number)
            rows = self.shards[int(number)].rows
            part = rows.take(pa.array([places[k].row for k in own.tolist()]))
            known = set(part.column_names)
            for column in self.schema:
                if column.name not in known:
                    part = part.append_column(column, pa.nulls(len(part), column.type))
            part = part.select(self.schema.names)
            # To cast dozens of columns takes longer than the search.
            same = part.schema.equals(self.schema)
            parts.append(pa.table(part.columns, self.schema) if same else part.cast(self.schema))
            order = np.concatenate([order, own])
        if parts:
            table = pa.concat_tables(parts).combine_chunks().take(pa.array(np.argsort(order)))
        else:
            table = self.schema.empty_table()
        if similarity is None:
            return table
        words = {"description": "cosine of the similarity vector and the query"}
        table = table.append_column(
            pa.field("similarity", pa.float32(), metadata=words), pa.array(similarity, pa.float32())
        )
        names = table.column_names
        first = [name for name in FIRST if name in names]
        return table.select([*first, *(name for name in names if name not in first)])

    def _examples(self, vectors: np.ndarray | None, what: str) -> np.ndarray:
        """Examples as unit vectors, [k, d]."""
        if vectors is None:
            return np.empty((0, self.dimension), "float32")
        found = np.atleast_2d(np.asarray(vectors, dtype="float32"))
        if found.ndim != 2 or found.shape[1] != self.dimension:
            raise InputError(
                f"{what} of shape {np.shape(vectors)}, where the vectors of the index '{self.folder}' have "
                f"{self.dimension} numbers."
            )
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        if not np.isfinite(found).all() or not (lengths > 0).all():
            raise InputError(f"{what} hold a vector of zeros, or numbers that are not finite; it has no direction.")
        return found / lengths

    def chosen(self, where: str | None, cone: tuple[float, float, float] | None) -> Chosen:
        """The galaxies that meet the conditions. InputError when none does."""
        if where is None and cone is None:
            return [None] * len(self.shards)
        condition = None if where is None else Selection(where).of(self.schema, "the index")
        chosen: Chosen = [None] * len(self.shards)
        if cone is not None:
            circle = Cone(*cone)
            chosen = [shard.within(circle) for shard in self.shards]
        if condition is not None:
            chosen = rows_where(self.shards, condition, chosen)
        if not any(len(rows) for rows in chosen if rows is not None):
            what = " and ".join([*([f"--where '{where}'"] if where else []), *(["the cone"] if cone else [])])
            raise InputError(f"None of the {len(self):,} galaxies of the index '{self.folder}' passes {what}.")
        return chosen

    def _banned(self, exclude: Sequence[str | tuple[float, float]]) -> set[Place]:
        """The galaxies of these names and at these positions, and their duplicates."""
        found: set[Place] = set()
        for each in exclude:
            if not isinstance(each, str):
                found |= {place for _, place in self._around(*each, SAME_PLACE / 3600)}
                continue
            place = self.find(each)
            found |= {place, *self._duplicates(place)}
        return found

    def _duplicates(self, place: Place) -> set[Place]:
        """The other rows of a galaxy: at its position on the sky, or on its tile."""
        row, shard = self.row(place), self.shards[place.shard]
        if row.get("ra") is not None and row.get("dec") is not None:
            return {other for _, other in self._around(row["ra"], row["dec"], SAME_PLACE / 3600)}
        if row.get("x") is None or row.get("tile") is None:
            return set()
        x, y = shard.column("x"), shard.column("y")
        near = (np.abs(x - row["x"]) <= SAME_PIXEL) & (np.abs(y - row["y"]) <= SAME_PIXEL)
        tiles = shard.rows["tile"]
        return {Place(place.shard, int(k)) for k in np.flatnonzero(near) if tiles[int(k)].as_py() == row["tile"]}

    def _copies(self, example: np.ndarray, chosen: Chosen) -> set[Place]:
        """Galaxies whose vector is an example's."""
        count = 64
        while True:
            found = self._nearest.find(example, count, chosen)
            same = {place for place, cosine in found if cosine >= SAME_IMAGE}
            if len(same) < len(found) or len(found) < count:
                return same
            count *= 4


def _check(n: int, weights: Sequence[float] | np.ndarray | None, examples: int) -> None:
    if not 1 <= n <= MOST:
        raise InputError(f"{n:,} hits; ask for 1 to {MOST:,}.")
    if weights is None:
        return
    given = np.asarray(weights, dtype=float)
    if given.shape != (examples,) or not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
        raise InputError(f"Give one weight for each of the {examples} examples, none below 0 and not all 0.")
