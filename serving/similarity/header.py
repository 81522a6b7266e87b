"""``index.json``: what an index holds, by which model, and in which files."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from morph import __version__
from morph.atomic import atomic
from morph.checks import FORMAT, check_format
from morph.errors import InputError
from morph.output_lock import LOCK_FILE

#: The version of the format; it rises when an earlier morph can no longer read what is written.
INDEX_FORMAT = 1

FILE, SHARDS = "index.json", "shards"

#: The version that `morph score` gives to a local model is the beginning of its weights' digest.
_DIGEST = re.compile(r"[0-9a-f]{12,}")


@dataclass(frozen=True)
class ModelIdentity:
    """The model that made similarity vectors. `weights` is the digest of its file, or the beginning of it; empty where
    that is unknown, and the name, version and run on a server identify it."""

    name: str
    version: str
    weights: str = ""
    run: str = ""
    survey: str = ""

    @classmethod
    def of(cls, about: dict[str, Any]) -> "ModelIdentity":
        """From the provenance of score files, or of one of their runs."""
        version = str(about["model_version"])
        weights = about.get("weights") or (version if _DIGEST.fullmatch(version) else "")
        return cls(about["model"], version, weights, about.get("run") or "", about.get("model_survey") or "")

    @classmethod
    def described(cls, description: dict[str, Any]) -> "ModelIdentity":
        """From what a model says of itself (`Classifier.describe`, `MorphClient.describe`)."""
        version = str(description.get("version", ""))
        weights = description.get("weights") or (version if _DIGEST.fullmatch(version) else "")
        version = version or weights[:12]
        name, run, survey = (description.get(key) or "" for key in ("name", "run", "survey"))
        return cls(str(name), version, weights, str(run), str(survey))

    @property
    def digest(self) -> str:
        """What identifies the model: the digest of its weights, else its version and run."""
        return self.weights or " ".join(filter(None, (self.version, self.run)))

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()

    @property
    def full(self) -> str:
        """Its name with its digest, for messages about two models that may have one name."""
        return f"{self} (digest {self.digest[:12]})"

    def is_same(self, other: "ModelIdentity") -> bool:
        """Whether two are one model, so that their vectors can be compared."""
        if self.weights and other.weights:
            length = min(len(self.weights), len(other.weights))
            return self.weights[:length] == other.weights[:length]
        return (self.name, self.version, self.run) == (other.name, other.version, other.run)


@dataclass(frozen=True)
class ShardEntry:
    """A shard: its folder, its galaxies, the size of each of its files, and the sources that its galaxies are from."""

    folder: str
    galaxies: int
    sizes: dict[str, int]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class SourceEntry:
    """A file or dataset that was read: what identifies its content, its galaxies, and how many had no vector."""

    fingerprint: str
    galaxies: int
    left_out: int


@dataclass(frozen=True)
class Header:
    """The content of ``index.json``.

    Attributes
    ----------
    columns : of the rows: {name: {type, unit, description}}; those that are not binary can be chosen by.
    lists : the name of the file with the trained lists, without its ending; empty where all galaxies are compared.
    trained_on : galaxies of the index when its lists were trained.
    codes : how the lists hold vectors (`serving.similarity.lists.CODES`).
    """

    model: ModelIdentity
    dimension: int
    codes: str
    surveys: tuple[str, ...] = ()
    lists: str = ""
    trained_on: int = 0
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    shards: tuple[ShardEntry, ...] = ()
    sources: dict[str, SourceEntry] = field(default_factory=dict)

    @property
    def galaxies(self) -> int:
        return sum(shard.galaxies for shard in self.shards)

    @property
    def schema(self) -> pa.Schema:
        """The rows' columns."""
        return pa.schema(
            pa.field(
                name,
                pa.type_for_alias(words["type"]),
                metadata={key: text for key, text in words.items() if key != "type"},
            )
            for name, words in self.columns.items()
        )

    def write(self, folder: Path) -> None:
        """Write it into the index's folder, atomically."""
        document = {FORMAT: INDEX_FORMAT, "software": f"morph {__version__}", **asdict(self)}
        with atomic(folder / FILE, f"The index '{folder}'") as building:
            building.write_text(json.dumps(document, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Header":
        """InputError where the folder is not an index, its first building has not ended, it is damaged, or its format
        is another."""
        if not folder.exists():
            raise InputError(f"There is no index at '{folder}'; make one with `morph index SCORES --to {folder}`.")
        path = folder / FILE
        if not path.is_file():
            if (folder / LOCK_FILE).exists() or (folder / SHARDS).is_dir():
                raise InputError(
                    f"The index '{folder}' is not finished; wait for `morph index`, or run it again: it goes on where "
                    "it was stopped."
                )
            raise InputError(f"'{folder}' is not an index; make one with `morph index SCORES --to INDEX`.")
        try:
            document = json.loads(path.read_text())
            document.pop("software", None)
            check_format(document.pop(FORMAT, None), INDEX_FORMAT, "index", folder)
            document["model"] = ModelIdentity(**document["model"])
            document["surveys"] = tuple(document["surveys"])
            document["shards"] = tuple(
                ShardEntry(**{**shard, "sources": tuple(shard["sources"])}) for shard in document["shards"]
            )
            document["sources"] = {name: SourceEntry(**entry) for name, entry in document["sources"].items()}
            return cls(**document)
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"The index '{folder}' is damaged ({error}); make it again with `morph index`.") from None


def columns_of(schema: pa.Schema) -> dict[str, dict[str, str]]:
    """A schema of rows as `Header.columns` holds it."""
    found = {}
    for column in schema:
        words = {key.decode(): text.decode() for key, text in (column.metadata or {}).items()}
        kept = {key: words[key] for key in ("unit", "description", "ucd") if key in words}
        found[column.name] = {"type": str(column.type), **kept}
    return found
