"""Tables on disk, whatever their format, as a stream of Arrow tables: only the columns asked for, some rows at a time.

FITS (SExtractor's FITS_LDAC too), Parquet (a file, a folder, a HATS catalogue), CSV, ECSV, VizieR's text and text with
blanks between its columns are read in bounded memory; VOTable, SExtractor's ASCII_HEAD, IPAC's and CDS's text are read
whole. The content of a file decides, and not its name.
"""

import glob
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from morph.catalogs.base import InMemoryTable, TableFile
from morph.catalogs.fits_table import open_fits
from morph.catalogs.parquet import HATS, HATS_COLLECTION, open_hats, open_parquet
from morph.catalogs.row_filter import Where
from morph.catalogs.text import open_text, stream
from morph.errors import InputError, first_line
from morph.fits.planes import is_fits, split_name

#: Endings of a table's name, and the format that they stand for.
ENDINGS = {
    ending: kind
    for kind, endings in {
        "parquet": (".parquet", ".parq", ".pq"),
        "fits": (".fits", ".fit", ".ldac"),
        "votable": (".vot", ".votable", ".xml"),
        "ecsv": (".ecsv",),
        "text": (".csv", ".tsv", ".txt", ".cat"),
    }.items()
    for ending in endings
}


def open_tables(path: str | Path) -> list[TableFile]:
    """The table that a file or a HATS catalogue is, or the tables in a folder or of a glob, sorted by name.

    Raises InputError when there is none, when a folder holds tables of several formats, or when one cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return [_open(path)]
    if path.is_dir():
        if (path / HATS).is_file() or (path / HATS_COLLECTION).is_file():
            with _explained(path):
                return [_Explained(open_hats(path))]
        files = [file for file in sorted(path.rglob("*")) if is_table(file) and not _hidden(file, path)]
        formats = sorted({_ending(file) for file in files})
        if len(formats) > 1:
            raise InputError(
                f"'{path}' holds tables in {' and '.join(formats)}; name those you mean by a glob in quotes."
            )
        if formats == ["parquet"]:
            with _explained(path):
                return [_Explained(open_parquet(path, files))]
        if not files:
            raise InputError(f"The folder '{path}' holds no catalogue; give FITS, Parquet, CSV, VOTable or ECSV.")
    else:
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        files = [file for file in files if file.is_file()]
        if not files:
            raise InputError(f"There is no catalogue at '{path}'.")
    return [_open(file) for file in files]


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name; a band's image is not."""
    return path.is_file() and _ending(path) != "" and not (is_fits(path) and split_name(path)[1])


def _ending(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz").removesuffix(".fz").removesuffix(".bz2")
    return ENDINGS.get(Path(name).suffix, "")


def _format(path: Path) -> str:
    """The format of a file, by its first bytes; text under a name that promises bytes is a damaged file."""
    with stream(path) as file:
        head = file.read(1 << 12)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"SIMPLE"):
        return "fits"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "votable"
    return _ending(path) if _ending(path) in ("parquet", "fits", "votable") and head else "text"


def _open(path: Path) -> TableFile:
    with _explained(path):
        table: TableFile
        match _format(path):
            case "parquet":
                table = open_parquet(path, [path])
            case "fits":
                table = open_fits(path)
            case "votable":
                table = InMemoryTable.read(path, "votable")
            case _:
                table = open_text(path)
        twice = [name for name, count in Counter(table.schema.names).items() if count > 1]
        if twice:
            raise InputError(f"The table '{path}' has two columns called '{min(twice)}'; rename one of them.")
        return _Explained(table)


@dataclass(frozen=True)
class _Explained:
    """A table whose reader's own errors are InputError."""

    table: TableFile

    @property
    def path(self) -> Path:
        return self.table.path

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def units(self) -> dict[str, str]:
        return self.table.units

    @property
    def mapping(self) -> dict[str, str]:
        return self.table.mapping

    @property
    def vectors(self) -> tuple[str, ...]:
        """Columns of lists of a fixed length, which the schema leaves out and `batches` reads."""
        return getattr(self.table, "vectors", ())

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        with _explained(self.path):
            yield from self.table.batches(columns, where)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever a format's own reader raises about a file, as InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # units and headers that the readers repair
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        first = first_line(error)
        raise InputError(
            f"'{path}' cannot be read as a table ({first[:160]}); use FITS, Parquet, CSV, VOTable or ECSV."
        ) from None
