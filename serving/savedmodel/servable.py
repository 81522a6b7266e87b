"""An exported model on disk and in memory: its location, its signatures, and how it runs."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from morph.errors import InputError, first_line
from serving.protocol.messages import from_tensor
from serving.savedmodel.export import TEMPLATES, WARMUP, version_folders, version_number, versions
from serving.savedmodel.remote import local

NO_MODEL = "export one with `morph export MODEL --to DIR`."

#: Number of a tensorflow.DataType -> NumPy's dtype; text is an object array of bytes.
_DTYPES = {
    number: np.dtype(name) for number, name in {1: "f4", 2: "f8", 3: "i4", 4: "u1", 7: "O", 9: "i8", 10: "?"}.items()
}

#: A signature of a SavedModel: named tensors to named tensors.
Function = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Location:
    """One version of a model on disk; `pinned` if the user chose it."""

    base_path: Path
    version: int
    pinned: bool = False

    @property
    def folder(self) -> Path:
        """`base_path/version`, whose name may have zeros in front."""
        return version_folders(self.base_path).get(self.version, self.base_path / str(self.version))


def locate(folder: str | Path, name: str = "morph") -> Location:
    """The model in `folder` (a path or a file:// URL), which holds the model's folder, or is it, or is one version.

    The highest version is taken unless one is named. InputError when there is no model.
    """
    path = local(folder).resolve()
    if not path.is_dir():
        raise InputError(f"There is no folder '{folder}'; {NO_MODEL}")
    if (number := version_number(path.name)) is not None and (path / "saved_model.pb").is_file():
        return Location(path.parent, number, pinned=True)
    for base in (path, path / name):
        if found := versions(base):
            return Location(base, found[-1])
    others = sorted(child.name for child in path.iterdir() if child.is_dir() and versions(child))
    if others:
        raise InputError(f"'{folder}' holds no model '{name}' but {', '.join(others)}; choose it with --name.")
    raise InputError(f"'{folder}' holds no exported model; {NO_MODEL}")


def configuration_file(folder: Path, name: str) -> Path:
    """A server's configuration, such as `batching_parameters.txt`, in the folder that holds the models' folders;
    morph's own where there is none."""
    own = folder / name
    return own if own.is_file() else TEMPLATES / name


def load_saved_model(folder: Path, threads: int | None = None) -> Any:
    """Load a version of a model, with its functions in `signatures`. InputError where TensorFlow cannot.

    `threads` compute within one operation; every core if not given. TensorFlow keeps one pool of them in a process, so
    the first operation there decides.
    """
    import tensorflow as tf

    if threads:
        with suppress(RuntimeError):  # the pool is there already
            tf.config.threading.set_intra_op_parallelism_threads(threads)
    try:
        return tf.saved_model.load(str(folder))
    except Exception as error:  # of many types, none of them documented
        raise InputError(f"TensorFlow cannot load the model at '{folder}': {first_line(error)}.") from None


def call(function: Function, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a signature on named arrays. Raises ValueError with TensorFlow's message where it cannot."""
    import tensorflow as tf

    try:
        outputs = function(**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}
    except (tf.errors.OpError, TypeError) as error:
        raise ValueError(str(error)) from None


class StatusError(Exception):
    """A request that cannot be answered: gRPC's status code, and one sentence."""

    def __init__(self, status: str, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class TensorSpec:
    """The type and shape of one input of a signature; `shape` has None where any length is accepted."""

    dtype: np.dtype
    shape: tuple[int | None, ...]

    def accepts(self, dtype: np.dtype, shape: tuple[int, ...]) -> bool:
        return (
            dtype == self.dtype
            and len(shape) == len(self.shape)
            and all(wanted in (None, given) for wanted, given in zip(self.shape, shape, strict=True))
        )

    def __str__(self) -> str:
        return _written(self.dtype, self.shape)


def _written(dtype: np.dtype, shape: tuple[int | None, ...]) -> str:
    lengths = ", ".join("n" if length is None else str(length) for length in shape)
    return f"({lengths}{',' if len(shape) == 1 else ''}) {dtype if dtype.kind != 'O' else 'string'}"


class Signature:
    """One way of calling the model.

    Attributes
    ----------
    name : as requests ask for it.
    definition : TensorFlow's SignatureDef.
    inputs : name -> `TensorSpec`.
    outputs : names.
    max_rows : the most galaxies in one request.
    """

    def __init__(self, name: str, definition, function: Function, max_rows: int):
        self.name, self.definition, self.max_rows = name, definition, max_rows
        self._function: Function | None = function
        self.inputs = {
            key: TensorSpec(
                _DTYPES[info.dtype], tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
            )
            for key, info in definition.inputs.items()
        }
        self.outputs = tuple(sorted(definition.outputs))

    def read(self, tensors) -> dict[str, np.ndarray]:
        """Read the arrays of a request's inputs, TensorProtos by name; StatusError unless this signature takes them.

        Shapes are checked before anything is unpacked: a few bytes may claim to be a terabyte.
        """
        self._check_names(tensors)
        self._check({key: _kind(tensors[key]) for key in self.inputs})
        arrays = {}
        for key in self.inputs:
            try:
                arrays[key] = from_tensor(tensors[key])
            except ValueError as error:
                raise StatusError("INVALID_ARGUMENT", f"tensor parsing error: {key} ({error})") from None
        return arrays

    def check(self, inputs: Mapping[str, np.ndarray]) -> int:
        """Return the number of rows of a request's arrays; StatusError unless this signature takes them."""
        self._check_names(inputs)
        return self._check({key: (array.dtype, array.shape) for key, array in inputs.items()})

    def _check_names(self, given) -> None:
        if given.keys() != self.inputs.keys():
            extra, missing = set(given) - set(self.inputs), set(self.inputs) - set(given)
            raise StatusError(
                "INVALID_ARGUMENT",
                f"input size does not match signature: {len(given)}!={len(self.inputs)} len({{{_listed(given)}}}) != "
                f"len({{{_listed(self.inputs)}}}). Sent extra: {{{_listed(extra)}}}. "
                f"Missing but required: {{{_listed(missing)}}}.",
            )

    def _check(self, kinds: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> int:
        for key, spec in self.inputs.items():
            dtype, shape = kinds[key]
            if not spec.accepts(dtype, shape):
                raise StatusError(
                    "INVALID_ARGUMENT",
                    f"{key} has shape {_written(dtype, shape)}; signature '{self.name}' takes {spec}.",
                )
            if shape[0] < 1:
                raise StatusError("INVALID_ARGUMENT", f"{key} holds no rows; a request holds at least 1.")
            if shape[0] > self.max_rows:
                raise StatusError(
                    "INVALID_ARGUMENT", f"Task size {shape[0]} is larger than maximum input batch size {self.max_rows}"
                )
        if len({shape[0] for _, shape in kinds.values()}) != 1:
            raise StatusError("INVALID_ARGUMENT", "Batching Run() input tensors must have equal 0th-dimension size")
        return shape[0]

    def wanted(self, output_filter: Sequence[str]) -> tuple[str, ...]:
        """The outputs that a request asks for, all if it names none; StatusError where there is no such output."""
        for name in output_filter:
            if name not in self.outputs:
                raise StatusError(
                    "INVALID_ARGUMENT",
                    f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                    f"{{{_listed(self.outputs)}}}.",
                )
        if len(set(output_filter)) != len(output_filter):
            twice = next(name for name in output_filter if list(output_filter).count(name) > 1)
            raise StatusError("INVALID_ARGUMENT", f"duplicate output tensor alias: {twice}")
        return tuple(output_filter) or self.outputs

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model on arrays of n rows each."""
        return self.run_together([inputs])

    def run_together(self, parts: Sequence[Mapping[str, np.ndarray]], padding: int = 0) -> dict[str, np.ndarray]:
        """Run the model on the rows of several requests, one after the other, and some rows of padding."""
        if self._function is None:
            raise ValueError("the model is closed")
        inputs = {}
        for key in self.inputs:
            arrays = [part[key] for part in parts]
            # A copy of a galaxy is a valid input.
            arrays += [np.repeat(arrays[-1][-1:], padding, axis=0)] if padding else []
            inputs[key] = np.concatenate(arrays)
        return call(self._function, inputs)

    def close(self) -> None:
        """Let go of the model. It must not be run any more."""
        self._function = None

    def covers(self, other: "Signature") -> bool:
        """Whether a request for `other` can be sent to this one instead."""
        mine, theirs = self.definition.outputs, other.definition.outputs
        return self.inputs == other.inputs and all(
            name in mine and mine[name].dtype == theirs[name].dtype for name in other.outputs
        )


class Initialization(Signature):
    """A signature that initialises a model: it has no input and no output. A request gets TensorFlow's error."""

    def __init__(self, name: str, definition):
        self.name, self.definition, self.max_rows = name, definition, 0
        self.inputs = {}
        self.outputs = tuple(sorted(definition.outputs))

    def read(self, tensors) -> dict[str, np.ndarray]:
        self._check_names(tensors)
        return {}

    def check(self, inputs: Mapping[str, np.ndarray]) -> int:
        self._check_names(inputs)
        node = self.definition.outputs[self.outputs[0]].name
        raise StatusError(
            "INVALID_ARGUMENT",
            f"Tried to fetch data for '{node}', which produces no output.  To run to a node but not fetch any data, "
            f"pass '{node}' as an argument to the 'target_node_names' argument of the Session::Run API.",
        )


def _listed(names) -> str:
    return ",".join(sorted(names))


def _kind(proto) -> tuple[np.dtype, tuple[int, ...]]:
    """The dtype and shape that a tensor message declares."""
    try:
        dtype = _DTYPES[proto.dtype]
    except KeyError:
        raise StatusError("INVALID_ARGUMENT", f"A tensor is of the unknown type {proto.dtype}.") from None
    return dtype, tuple([dim.size for dim in proto.tensor_shape.dim])


def _must_be_whole(path: Path) -> None:
    """Raise EOFError where a file of TFRecords ends within one, which tf.data reads as if it had ended before."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        place = 0
        while place < end:
            file.seek(place)
            # Length and its checksum; the record and its checksum.
            header = file.read(12)
            place += 12 + int.from_bytes(header[:8], "little") + 4
            if len(header) < 12 or place > end:
                raise EOFError("truncated record")


class Servable:
    """An exported model, loaded.

    Attributes
    ----------
    version : its number.
    signatures : name -> `Signature`.
    initializations : name -> `Initialization`.

    `threads` compute within one operation, as in `load_saved_model`. Raises InputError when the folder's model is
    damaged.
    """

    def __init__(self, location: Location, max_rows: int, threads: int | None = None):
        from google.protobuf.message import DecodeError
        from tensorflow.core.protobuf import saved_model_pb2

        self.version = location.version
        self._folder = location.folder
        try:
            saved = saved_model_pb2.SavedModel.FromString((location.folder / "saved_model.pb").read_bytes())
            self._model = load_saved_model(location.folder, threads)
            #: The SignatureDefs of all signatures, initialization included.
            self.definitions = dict(saved.meta_graphs[0].signature_def)
            self.signatures = {
                name: Signature(name, definition, self._model.signatures[name], max_rows)
                for name, definition in self.definitions.items()
                if not name.startswith("__")
            }
            self.initializations = {
                name: Initialization(name, definition)
                for name, definition in self.definitions.items()
                if name not in self.signatures
            }
        except (OSError, DecodeError, IndexError, KeyError, ValueError, InputError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise InputError(
                f"The model at '{location.folder}' cannot be loaded ({first}); export it again."
            ) from None

    def close(self) -> None:
        """Free its memory. It must not be run any more."""
        self._model = None
        for signature in self.signatures.values():
            signature.close()
        # TensorFlow's functions refer to themselves.
        gc.collect()

    def warm_up(self) -> None:
        """Answer the requests that were exported with the model, so that no user waits for the first, slow pass."""
        for request in self._warmup_requests():
            signature = self.signatures[request.model_spec.signature_name]
            # The server accepts no batch larger than that.
            if all(tensor.tensor_shape.dim[0].size <= signature.max_rows for tensor in request.inputs.values()):
                signature.run(signature.read(request.inputs))

    def _warmup_requests(self) -> Iterator:
        import tensorflow as tf
        from google.protobuf.message import DecodeError
        from tensorflow_serving.apis import prediction_log_pb2

        if not (path := self._folder / WARMUP).is_file():
            return
        try:
            _must_be_whole(path)
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                log = prediction_log_pb2.PredictionLog.FromString(record)
                if log.HasField("predict_log"):
                    yield log.predict_log.request
        except (tf.errors.OpError, DecodeError, EOFError) as error:
            raise InputError(f"The warm-up '{path}' is damaged ({first_line(error)}); export it again.") from None
