"""The builder of an index: each source becomes a shard, then lists are trained, and the shards' vectors coded.

Whatever is written appears whole, and under a name that its content decides: a builder that was killed finds what it
had finished, and readers see the index of before until the new ``index.json`` is in its place.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from morph import signals
from morph.errors import InputError
from morph.output_lock import output_lock
from serving.similarity import nearest
from serving.similarity.header import FILE, SHARDS, Header, ShardEntry, SourceEntry, columns_of
from serving.similarity.lists import TRAINED_BY, Lists, name_of, number_of_lists
from serving.similarity.shard import ABOUT, ROWS, VECTORS, Shard, read_shard_about, write_shard
from serving.similarity.sources import Source

#: Lists are trained anew when the index has become so many times larger.
GROWN = 4

Advance = Callable[[str, int, int], None]


@dataclass
class Built:
    """What a builder did.

    Attributes
    ----------
    galaxies, shards : of the index now.
    added, changed : sources that were read for the first time, and again.
    unchanged : sources that the index had already.
    left_out : galaxies of the sources that were read without a vector.
    size : bytes of the index on disk.
    """

    galaxies: int = 0
    shards: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    left_out: int = 0
    size: int = 0


def build(
    sources: Sequence[Source],
    to: str | Path,
    codes: str | None = None,
    merge: bool = False,
    advance: Advance = lambda what, done, total: None,
) -> Built:
    """Make an index, or add to one.

    Parameters
    ----------
    sources : what goes in (`serving.similarity.sources.find_sources`); those that the index has already, unchanged,
        are not read.
    to : the index's folder.
    codes : how lists hold vectors, one of `serving.similarity.lists.CODES`; the index's own, or ``sq8``.
    merge : whether all shards are joined into few, in the order of the sky.
    advance : called with what is being done, how much of it is done, and how much there is.

    Returns
    -------
    What was done.

    Raises
    ------
    InputError : another job writes there, it is something else than an index, a source is by another model than the
        index, or cannot be read, there is nothing to index, or a file cannot be written.
    """
    to = Path(to)
    _check_target(to)
    with output_lock(to, "job is writing the index", "--to"):
        builder = _Builder.open(to, sources, codes, advance)
        builder.read(sources)
        if merge:
            builder.merge()
        if not builder.entries:
            raise InputError(f"None of the galaxies given has a similarity vector; '{to}' would be empty.")
        builder.train()
        return builder.finish()


def _check_target(to: Path) -> None:
    """InputError where something else is at the place of the index."""
    if to.is_dir() and not (to / FILE).is_file() and not (to / SHARDS).is_dir():
        others = [path.name for path in to.iterdir() if path.name[0] != "."]
        if others:
            raise InputError(f"'{to}' is not an index, and is not empty (it has '{others[0]}'); choose another --to.")


@dataclass
class _Builder:
    """The next state of an index. `entries` are its shards, by the names of their folders."""

    to: Path
    header: Header
    advance: Advance
    entries: dict[str, ShardEntry] = field(default_factory=dict)
    sources: dict[str, SourceEntry] = field(default_factory=dict)
    done: Built = field(default_factory=Built)

    @classmethod
    def open(cls, to: Path, sources: Sequence[Source], codes: str | None, advance: Advance) -> "_Builder":
        if (to / FILE).is_file():
            header = Header.read(to)
        elif not sources:
            raise InputError(f"There is no index at '{to}' yet; name scores to make it from.")
        else:
            header = Header(sources[0].model, 0, codes or "sq8")
        if codes and codes != header.codes:
            header = replace(header, codes=codes, lists="", trained_on=0)
        for source in sources:
            if not source.model.is_same(header.model):
                raise InputError(
                    f"'{source.path}' is by the model {source.model.full}, and the index '{to}' by "
                    f"{header.model.full}; vectors of different models cannot be compared, so make another index."
                )
        entries = {entry.folder: entry for entry in header.shards}
        return cls(to, header, advance, entries, dict(header.sources))

    @property
    def shards(self) -> Path:
        return self.to / SHARDS

    # --- Sources to shards ----------------------------------------------------------------------------------

    def read(self, sources: Sequence[Source]) -> None:
        """Make a shard of every source that is new or has changed."""
        for number, source in enumerate(sources):
            self.advance("Reading", number, len(sources))
            signals.check()
            before = self.sources.get(source.name)
            if before is not None and before.fingerprint == source.fingerprint:
                self.done.unchanged += 1
                continue
            if before is not None:
                self._drop(source)
            self.done.changed += before is not None
            self.done.added += before is None
            self._add(source)
        self.advance("Reading", len(sources), len(sources))

    def _drop(self, source: Source) -> None:
        """Leave out the shard of an earlier state of a source. InputError where it was merged with others."""
        for folder, entry in list(self.entries.items()):
            if source.name not in entry.sources:
                continue
            if len(entry.sources) > 1:
                raise InputError(
                    f"'{source.path}' has changed since it was merged with others into the index '{self.to}'; make "
                    "the index anew, in another folder."
                )
            del self.entries[folder]

    def _add(self, source: Source) -> None:
        folder = f"{_plain(source.name)}.{source.fingerprint[:8]}"
        about = read_shard_about(self.shards / folder)
        if about is None:
            rows, vectors = source.read()
            lengths = np.linalg.norm(vectors, axis=1)
            there = np.isfinite(lengths) & (lengths > 0)
            rows, units = rows.filter(pa.array(there)), vectors[there] / lengths[there, None]
            left_out = int((~there).sum())
            write_shard(self.shards / folder, rows, units, [source.name], left_out)
            about = {"galaxies": len(rows), "dimension": vectors.shape[1], "left_out": left_out}
        self._check_dimension(about["dimension"], source)
        self.sources[source.name] = SourceEntry(source.fingerprint, about["galaxies"], about["left_out"])
        self.done.left_out += about["left_out"]
        if about["galaxies"]:
            self.enter(folder, about["galaxies"], (source.name,))

    def _check_dimension(self, dimension: int, source: Source) -> None:
        if self.header.dimension not in (0, dimension):
            raise InputError(
                f"'{source.path}' has vectors of {dimension} numbers, and the index '{self.to}' of "
                f"{self.header.dimension}; make another index."
            )
        self.header = replace(self.header, dimension=dimension)

    def enter(self, folder: str, galaxies: int, sources: tuple[str, ...]) -> None:
        """Count a finished shard as part of the index."""
        self.entries[folder] = ShardEntry(folder, galaxies, {}, sources)

    def opened(self) -> list[Shard]:
        """The shards, by the names of their folders."""
        return [Shard(self.shards / name, self.entries[name], "") for name in sorted(self.entries)]

    def merge(self) -> None:
        """Join all shards into few, of galaxies that are neighbours on the sky."""
        from serving.similarity.merge import merged

        if len(self.entries) < 2:
            return
        before = self.opened()
        self.entries = {}
        for folder, galaxies, sources in merged(before, self.shards, self.advance):
            self.enter(folder, galaxies, sources)

    # --- Lists ----------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Train lists where the index is large enough to need them and has none that fit, and code all vectors."""
        shards = self.opened()
        total = sum(map(len, shards))
        if total <= nearest.SMALL:
            self.header = replace(self.header, lists="", trained_on=0)
            return
        # After a merge all is coded anew, so that the lists may as well be trained on all.
        known = self.header.lists and total < GROWN * self.header.trained_on
        if known and not any(len(entry.sources) > 1 for entry in self.entries.values()):
            lists = Lists.read(self.to, self.header.lists)
        else:
            lists = self._trained(shards, total)
            self.header = replace(self.header, lists=lists.name, trained_on=total)
        for number, shard in enumerate(shards):
            self.advance("Coding", number, len(shards))
            signals.check()
            path = shard.folder / f"{lists.name}.faiss"
            if not path.is_file():
                lists.code(shard.vectors, path)
        self.advance("Coding", len(shards), len(shards))

    def _trained(self, shards: Sequence[Shard], total: int) -> Lists:
        name = name_of(self.header.codes, [shard.folder.name for shard in shards])
        if (self.to / f"{name}.faiss").is_file():
            return Lists.read(self.to, name)
        self.advance("Training", 0, 1)
        random = np.random.default_rng(0)
        part = min(1.0, TRAINED_BY * number_of_lists(total) / total)
        sample = []
        for shard in shards:
            count = min(len(shard), round(part * len(shard)) + 1)
            rows = np.sort(random.choice(len(shard), count, replace=False))
            sample.append(shard.unit_vectors(rows))
        lists = Lists.train(np.concatenate(sample), total, self.header.codes, name)
        lists.write(self.to)
        return lists

    # --- The header -----------------------------------------------------------------------------------------

    def finish(self) -> Built:
        """Put the new header into its place, and remove what no header names any more."""
        files = [ABOUT, ROWS, VECTORS, *([f"{self.header.lists}.faiss"] if self.header.lists else [])]
        shards, schemas, surveys = [], [], set()
        for shard in self.opened():
            sizes = {name: (shard.folder / name).stat().st_size for name in files}
            shards.append(replace(shard.entry, sizes=sizes))
            schemas.append(shard.rows.schema)
            surveys |= set(shard.rows["survey"].unique().to_pylist()) - {None}
        self.header = replace(
            self.header,
            shards=tuple(shards),
            sources=self.sources,
            columns=columns_of(_unified(schemas)),
            surveys=tuple(sorted(surveys)),
        )
        self.header.write(self.to)
        self._remove_old(files)
        self.done.galaxies, self.done.shards = self.header.galaxies, len(shards)
        self.done.size = sum(path.stat().st_size for path in self.to.rglob("*") if path.is_file())
        return self.done

    def _remove_old(self, files: Iterable[str]) -> None:
        """Remove shards and lists of earlier states; a reader that has opened them keeps what it has mapped."""
        kept = set(files)
        for folder in self.shards.iterdir():
            if folder.name not in self.entries:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for path in folder.iterdir():
                if path.name not in kept:
                    _remove(path)
        for path in self.to.glob("lists-*.faiss"):
            if path.stem != self.header.lists:
                _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all shards, with the words of the first that has each. InputError where they do not fit."""
    try:
        unified = pa.unify_schemas(list(dict.fromkeys(schema.remove_metadata() for schema in schemas)))
    except pa.ArrowInvalid as error:
        raise InputError(f"The sources have columns that do not fit together ({error}).") from None
    words: dict[str, pa.Field] = {}
    for schema in schemas:
        for column in schema:
            words.setdefault(column.name, column)
    return pa.schema([words[name] for name in unified.names])


def _plain(name: str) -> str:
    """A name as one of a folder."""
    plain = "".join(letter if letter.isalnum() or letter in "-_+" else "-" for letter in name)[:120]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def describe(built: Built, to: Path) -> list[str]:
    """What was done, a sentence each."""
    from morph.console import counted

    did = [f"{built.added:,} added", f"{built.changed:,} changed", f"{built.unchanged:,} unchanged"]
    per = built.size / max(built.galaxies, 1)
    lines = [
        f"{to}: {counted(built.galaxies, 'galaxy', 'galaxies')} in {counted(built.shards, 'shard')}; sources: "
        f"{', '.join(did)}; {built.size / 1e6:,.1f} MB, {per:,.0f} bytes a galaxy."
    ]
    if built.left_out:
        lines.append(f"Left out: {counted(built.left_out, 'galaxy', 'galaxies')} without data, so without a vector.")
    return lines


def stored(to: Path, entries: Iterable[ShardEntry]) -> dict[str, Any]:
    """Bytes of an index on disk by kind of file."""
    sizes: dict[str, int] = {}
    for entry in entries:
        for name, size in entry.sizes.items():
            kind = "lists" if name.endswith(".faiss") else name
            sizes[kind] = sizes.get(kind, 0) + size
    return sizes
