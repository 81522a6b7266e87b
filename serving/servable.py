"""An exported model on disk and in memory: where it lies, what it takes, and how it runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morph.errors import BadInput
from serving.export import DEPLOY, WARMUP, versions
from serving.messages import from_tensor

NO_MODEL = "export one with `morph export MODEL --to DIR`."


@dataclass(frozen=True)
class Location:
    """One version of a model on disk: its folder is `base_path/version`; `pinned` if the user chose it."""

    base_path: Path
    version: int
    pinned: bool = False

    @property
    def folder(self) -> Path:
        return self.base_path / str(self.version)


def locate(folder: str | Path, name: str = "morph") -> Location:
    """The model in `folder`, which holds the model's folder, or is it, or is one version of it.

    The highest version is taken unless one is named. BadInput when there is no model.
    """
    path = Path(folder).resolve()
    if not path.is_dir():
        raise BadInput(f"There is no folder '{folder}'; {NO_MODEL}")
    if path.name.isdigit() and (path / "saved_model.pb").is_file():
        return Location(path.parent, int(path.name), pinned=True)
    for base in (path, path / name):
        if found := versions(base):
            return Location(base, found[-1])
    others = sorted(child.name for child in path.iterdir() if child.is_dir() and versions(child))
    if others:
        raise BadInput(f"'{folder}' holds no model '{name}' but {', '.join(others)}; choose it with --name.")
    raise BadInput(f"'{folder}' holds no exported model; {NO_MODEL}")


def batching_file(location: Location) -> Path:
    """The batching parameters beside a model's folder; those that come with morph where there are none."""
    own = location.base_path.parent / "batching_parameters.txt"
    return own if own.is_file() else DEPLOY / "batching_parameters.txt"


class Refused(Exception):
    """A request that cannot be answered: gRPC's name for the reason, and one sentence."""

    def __init__(self, status: str, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class TensorSpec:
    """What one input of a signature must be. `shape` has None where any length will do."""

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
    inputs : name -> `TensorSpec`; outputs : names; max_rows : the most galaxies in one request.
    """

    def __init__(self, name: str, definition, function, max_rows: int):
        import tensorflow as tf

        self.name, self.max_rows, self._function = name, max_rows, function
        self.inputs = {
            key: TensorSpec(
                np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype),
                tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
            )
            for key, info in definition.inputs.items()
        }
        self.outputs = tuple(sorted(definition.outputs))

    def read(self, tensors) -> dict[str, np.ndarray]:
        """The arrays of a request's inputs. Refused unless they are what this signature takes.

        Shapes are judged before anything is unpacked: a few bytes may claim to be a terabyte.
        """
        if set(tensors) != set(self.inputs):
            raise Refused(
                "INVALID_ARGUMENT",
                f"Signature '{self.name}' takes {_listed(self.inputs)}; the request has {_listed(tensors)}.",
            )
        self._check({key: _kind(tensors[key]) for key in self.inputs})
        try:
            arrays = {key: from_tensor(tensors[key]) for key in self.inputs}
        except ValueError as error:
            raise Refused("INVALID_ARGUMENT", f"A tensor cannot be read: {error}.") from None
        return arrays

    def check(self, inputs: dict[str, np.ndarray]) -> int:
        """The number of rows of a request's arrays. Refused unless they are what this signature takes."""
        if set(inputs) != set(self.inputs):
            raise Refused(
                "INVALID_ARGUMENT",
                f"Signature '{self.name}' takes {_listed(self.inputs)}; the request has {_listed(inputs)}.",
            )
        return self._check({key: (array.dtype, array.shape) for key, array in inputs.items()})

    def _check(self, kinds: dict[str, tuple[np.dtype, tuple[int, ...]]]) -> int:
        for key, spec in self.inputs.items():
            dtype, shape = kinds[key]
            if not spec.accepts(dtype, shape):
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"{key} has shape {_written(dtype, shape)}; signature '{self.name}' takes {spec}.",
                )
            if not 1 <= shape[0] <= self.max_rows:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"{key} holds {shape[0]} rows; a request holds between 1 and {self.max_rows}.",
                )
        rows = {shape[0] for _, shape in kinds.values()}
        if len(rows) != 1:
            raise Refused("INVALID_ARGUMENT", f"The inputs of '{self.name}' have different numbers of rows.")
        return rows.pop()

    def wanted(self, output_filter) -> tuple[str, ...]:
        """The outputs that a request asks for: all if it names none. Refused where there is no such output."""
        for name in output_filter:
            if name not in self.outputs:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"Signature '{self.name}' has no output '{name}'; it has {_listed(self.outputs)}.",
                )
        return tuple(dict.fromkeys(output_filter)) or self.outputs

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The model's answer to arrays of n rows each."""
        import tensorflow as tf

        outputs = self._function(**{key: tf.constant(array) for key, array in inputs.items()})
        return {key: tensor.numpy() for key, tensor in outputs.items()}


def _listed(names) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _kind(proto) -> tuple[np.dtype, tuple[int, ...]]:
    """What a tensor message says that it is."""
    import tensorflow as tf

    try:
        dtype = np.dtype(tf.as_dtype(proto.dtype).as_numpy_dtype)
    except TypeError:
        raise Refused("INVALID_ARGUMENT", f"A tensor is of the unknown type {proto.dtype}.") from None
    return dtype, tuple(dim.size for dim in proto.tensor_shape.dim)


class Servable:
    """An exported model, loaded.

    Attributes
    ----------
    version : its number; signatures : name -> `Signature`; definitions : name -> TensorFlow's SignatureDef.

    Raises BadInput when the folder's model is damaged.
    """

    def __init__(self, location: Location, max_rows: int):
        import tensorflow as tf
        from google.protobuf.message import DecodeError
        from tensorflow.core.protobuf import saved_model_pb2

        self.version = location.version
        self._folder = location.folder
        try:
            content = (location.folder / "saved_model.pb").read_bytes()
            saved = saved_model_pb2.SavedModel.FromString(content)
            self.definitions = {
                name: definition
                for name, definition in saved.meta_graphs[0].signature_def.items()
                if not name.startswith("__")
            }
            # The signatures hold their model only weakly, so it is kept here.
            self._model = tf.saved_model.load(str(location.folder))
        except (OSError, DecodeError, IndexError, ValueError, tf.errors.OpError) as error:
            first = str(error).strip().splitlines()[0][:160]
            raise BadInput(f"The model at '{location.folder}' cannot be loaded ({first}); export it again.") from None
        self.signatures = {
            name: Signature(name, definition, self._model.signatures[name], max_rows)
            for name, definition in self.definitions.items()
        }

    def warm_up(self) -> None:
        """Answer the requests that were exported with the model, so that no user pays for the first pass."""
        for request in self._warmup_requests():
            signature = self.signatures[request.model_spec.signature_name]
            # A batch larger than the server allows will never come.
            if all(tensor.tensor_shape.dim[0].size <= signature.max_rows for tensor in request.inputs.values()):
                signature.run(signature.read(request.inputs))

    def _warmup_requests(self) -> Iterator:
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

        if (path := self._folder / WARMUP).is_file():
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
