"""Files of codes: datasets to codes of a few dozen bytes a galaxy, and codes back to datasets."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from keras import ops

from morph.atomic import atomic
from morph.checks import CODES_FORMAT, FORMAT, check_file, check_format
from morph.console import track
from morph.dataset import Galaxies, find_dataset, is_dataset, tables_of
from morph.dataset_writer import KINDS, GalaxiesWriter, check_target
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.codes import MOST_NUMBERS
from morph.model.side_numbers import SIDE_BYTES, SideNumbers
from morph.model.store import load_model
from morph.stamps.stretch import from_relative_flux

#: What a code has room for if the caller does not say: two hundred numbers of two bits on average, 64 bytes in all.
NUMBERS, BITS = 200, 2
#: Galaxies that are held in memory at a time.
ROWS = 512
#: The column of the codes.
COLUMN = "code"


@dataclass(frozen=True)
class CodesHeader:
    """What a file says of its codes.

    Attributes
    ----------
    model, weights : the model's name as it was given, and its digest.
    components : the digest of its components, which a model that reads the codes must have (`Codes.digest`).
    numbers, bits : of each code: how many, and how many bits each has on average.
    kind : of the images, flux or composite.
    about : of the dataset that they were made from.
    """

    model: str
    weights: str
    components: str
    numbers: int
    bits: int
    kind: str
    about: dict

    @property
    def bytes(self) -> int:
        """Of a code, side numbers included."""
        return code_bytes(self.numbers, self.bits)


def code_bytes(numbers: int, bits: int) -> int:
    """Bytes of a code, side numbers included.

    >>> code_bytes(50, 8)
    64
    """
    return SIDE_BYTES + -(-numbers * bits // 8)


def encode(classifier: Classifier, galaxies: Galaxies, numbers: int = NUMBERS, bits: int = BITS) -> list[bytes]:
    """The codes of galaxies.

    Parameters
    ----------
    classifier : whose components are used; InputError where it has none.
    galaxies : of either kind of image.
    numbers, bits : of each code: how many, and how many bits each has on average.

    Returns
    -------
    `code_bytes(numbers, bits)` bytes a galaxy.
    """
    check_fitted(classifier)
    found = classifier.code_numbers(galaxies.images)
    length = code_bytes(numbers, bits) - SIDE_BYTES
    steps, codes = classifier.codes.coder.encode(found["numbers"][:, :numbers], length)
    side = SideNumbers(found["sky"], found["scale"][:, 0], galaxies.properties["pixel_scale"], steps).to_bytes()
    return [first + rest for first, rest in zip(side, codes, strict=True)]


def decode(classifier: Classifier, codes: list[bytes], numbers: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The images of codes.

    Parameters
    ----------
    classifier : with the components that the codes were made with.
    codes : as `encode` gives them.
    numbers : of each code.
    kind : of the images.

    Returns
    -------
    images : stamps of the model's size: flux in the units of the input, NaN in a band that has no data, or uint8
        composites, [n, size, size, 3].
    pixel_scale : arcsec, NaN where it is not known, [n].
    """
    side = SideNumbers.from_bytes(codes)
    coded = classifier.codes.coder.decode(side.step, [code[SIDE_BYTES:] for code in codes], numbers)
    sky, scale = side.sky[:, None, None, :], side.scale[:, None, None, None]
    stretched = classifier.codes.reconstruct(ops.convert_to_tensor(coded))
    flux = ops.convert_to_numpy(classifier.preprocessing.restore(stretched, sky, scale))
    return (from_relative_flux(flux) if kind == "composite" else flux), side.pixel_scale


def check_fitted(classifier: Classifier) -> None:
    """InputError where a model has no components."""
    if not classifier.codes.fitted:
        raise InputError(
            "The model has no components for codes, which `morph pretrain` fits since this version of morph; use "
            "models:/morph@sdss, or train it anew."
        )


def compress(
    dataset: str | Path, to: str | Path, model: str, numbers: int = NUMBERS, bits: int = BITS
) -> tuple[int, CodesHeader]:
    """Write the codes of a dataset as one Parquet file, which appears whole or not at all.

    Parameters
    ----------
    dataset : its folder; it is read some galaxies at a time.
    to : the file.
    model : the name of the model whose components are used.
    numbers, bits : of each code: how many, and how many bits each has on average.

    Returns
    -------
    How many galaxies there are, and the file's header.

    Raises
    ------
    InputError : there is no such dataset or model, the dataset is empty or holds scores, or the model has no
        components.
    """
    path = _find_images(Path(dataset))
    check_file(Path(to))
    total = sum(pq.read_metadata(part).num_rows for part in path.glob("part-*.parquet"))
    if not total:
        raise InputError(f"The dataset at '{path}' holds no galaxies.")
    classifier = load_model(model)
    check_fitted(classifier)
    header, writer = None, None
    with atomic(to) as building:
        try:
            for table in track(tables_of(path, ROWS), "Compressing", -(-total // ROWS)):
                galaxies = Galaxies.from_table(table, path)
                if writer is None or header is None:
                    header = _header(classifier, galaxies, model, numbers, bits)
                    writer = pq.ParquetWriter(building, _schema(table.schema, header), compression="zstd")
                codes = pa.array(encode(classifier, galaxies, numbers, bits), pa.binary(header.bytes))
                rest = table.drop_columns(_CODED).replace_schema_metadata()
                writer.write_table(rest.append_column(COLUMN, codes).cast(writer.schema))
        finally:
            if writer is not None:
                writer.close()
    assert header is not None
    return total, header


#: Columns of a dataset that are a part of the code.
_CODED = ["image", "pixel_scale"]


def _header(classifier: Classifier, galaxies: Galaxies, model: str, numbers: int, bits: int) -> CodesHeader:
    about = {name: value for name, value in galaxies.about.items() if name not in _OWN}
    digests = classifier.digest, classifier.codes.digest
    return CodesHeader(model, *digests, numbers, bits, galaxies.kind, about)


def _schema(dataset: pa.Schema, header: CodesHeader) -> pa.Schema:
    kept = [field for field in dataset if field.name not in _CODED]
    about = json.dumps({FORMAT: CODES_FORMAT, "codes": asdict(header)})
    return pa.schema([*kept, pa.field(COLUMN, pa.binary(header.bytes), nullable=False)], metadata={"morph": about})


#: What a dataset says of its own images.
_OWN = ("kind", "size", "path")


def _find_images(path: Path) -> Path:
    """The folder of a dataset; InputError where it is none, as one of scores, which hold no images."""
    if path.exists() and not is_dataset(path) and (path.suffix == ".parquet" or any(path.glob("*.parquet"))):
        raise InputError(
            f"'{path}' holds no images, and a code is made of pixels: scores and catalogues have neither them nor the "
            "sky and the brightness scale. Give the galaxies dataset, or make one by `morph import TILE --catalog`."
        )
    return find_dataset(path)


def read_header(path: str | Path) -> CodesHeader:
    """What a file says of its codes; InputError where it is none, or is damaged, empty, or of a newer morph."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file of codes at '{path}'; make one by `morph compress`.")
    try:
        with pq.ParquetFile(path) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
        document = json.loads((schema.metadata or {})[b"morph"])
        stated = {name: value for name, value in document["codes"].items() if name in _NAMES}
        header = CodesHeader(**stated)
        code = schema.field(COLUMN).type
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"'{path}' cannot be read as codes ({error}); make it again by `morph compress`.") from None
    except (KeyError, ValueError, TypeError):
        raise InputError(f"'{path}' does not hold codes; `morph compress` makes them.") from None
    check_format(document.get(FORMAT), CODES_FORMAT, "file of codes", path)
    whole = isinstance(header.numbers, int) and isinstance(header.bits, int) and header.kind in KINDS
    if not whole or not 1 <= header.numbers <= MOST_NUMBERS or code != pa.binary(header.bytes):
        raise InputError(
            f"The codes in '{path}' are damaged: they are not {header.numbers} numbers of {header.bits} bits with "
            f"{SIDE_BYTES} bytes of side numbers."
        )
    if not count:
        raise InputError(f"'{path}' holds no codes.")
    return header


_NAMES = [field.name for field in fields(CodesHeader)]


def decompress(path: str | Path, to: str | Path, model: str | None = None) -> tuple[int, CodesHeader]:
    """Write the galaxies of a file of codes as a dataset, which appears whole or not at all.

    It says that its images are decoded, and by what. They are as wide as the model's view, without the margin that
    stamps have for training.

    Parameters
    ----------
    path : the file.
    to : the dataset's folder.
    model : the name of a model with the components that the codes were made with; by default the one that made them.

    Returns
    -------
    How many galaxies there are, and the file's header.

    Raises
    ------
    InputError : the file is damaged or not one of codes, or the model has other components.
    """
    header = read_header(path)
    check_target(Path(to))
    classifier = load_model(model or header.model)
    check_fitted(classifier)
    if classifier.codes.digest != header.components:
        raise InputError(
            f"The codes in '{path}' were made by {header.model} ({header.weights}), and '{model or header.model}' has "
            "other components; give --model the one that made them, or one that was fine-tuned from it."
        )
    decoded: dict[str, str | int] = {"model": header.model, "weights": header.weights, "components": header.components}
    decoded |= {"numbers": header.numbers, "bits": header.bits, "bytes": header.bytes}
    about = {**header.about, "decoded": decoded}
    count = 0
    with GalaxiesWriter(to, header.kind, classifier.size, about) as writer:
        for galaxies in _decoded(Path(path), classifier, header):
            count += len(galaxies)
            for galaxy in galaxies:
                writer.add(galaxy)
    return count, header


def _decoded(path: Path, classifier: Classifier, header: CodesHeader) -> Iterator[Galaxies]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in track(file.iter_batches(ROWS), "Decompressing", -(-file.metadata.num_rows // ROWS)):
                codes = batch[COLUMN].to_pylist()
                images, pixel_scale = decode(classifier, codes, header.numbers, header.kind)
                table = pa.Table.from_batches([batch]).append_column("pixel_scale", pa.array(pixel_scale))
                about = json.dumps({**header.about, "kind": header.kind, "size": classifier.size})
                yield Galaxies.from_table(table.replace_schema_metadata({"morph": about}), path).with_columns(
                    image=images
                )
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"'{path}' cannot be read ({error}); make it again by `morph compress`.") from None
