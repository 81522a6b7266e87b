"""A SavedModel through TensorFlow's C library: the loader that TensorFlow Serving uses, no Python in the graph.

Nothing but NumPy and the shared library inside the TensorFlow wheel is needed; the Python package `tensorflow`
is never imported. What runs here runs in `tensorflow_model_server`, which calls the same C++ loader and session.
Source of the declarations: `tensorflow/c/{c_api,tf_tensor,tf_tstring}.h`.
"""

import ctypes
import importlib.util
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from morph.errors import BadInput

#: Number of a tensorflow.DataType -> NumPy's dtype; text is an object array of bytes.
_DTYPES = {1: np.dtype("float32"), 4: np.dtype("uint8"), 7: np.dtype("object"), 9: np.dtype("int64"), 10: np.dtype("bool")}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}
_TEXT = np.dtype("object")

#: Bytes of a TF_TString, whatever the length of its text.
_TSTRING = 24

_pointer, _text, _int, _size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_long = ctypes.POINTER(ctypes.c_int64)

#: Function -> what it returns, and what it takes.
_FUNCTIONS: dict[str, tuple] = {
    "TF_Version": (_text,),
    "TF_NewStatus": (_pointer,),
    "TF_DeleteStatus": (None, _pointer),
    "TF_GetCode": (_int, _pointer),
    "TF_Message": (_text, _pointer),
    "TF_NewGraph": (_pointer,),
    "TF_DeleteGraph": (None, _pointer),
    "TF_NewSessionOptions": (_pointer,),
    "TF_DeleteSessionOptions": (None, _pointer),
    "TF_LoadSessionFromSavedModel": (
        _pointer,
        *(_pointer, _pointer, _text, ctypes.POINTER(_text), _int, _pointer, _pointer, _pointer),
    ),
    "TF_CloseSession": (None, _pointer, _pointer),
    "TF_DeleteSession": (None, _pointer, _pointer),
    "TF_GraphOperationByName": (_pointer, _pointer, _text),
    "TF_SessionRun": (
        None,
        *(_pointer, _pointer),
        *(_pointer, ctypes.POINTER(_pointer), _int),
        *(_pointer, ctypes.POINTER(_pointer), _int),
        *(_pointer, _int, _pointer, _pointer),
    ),
    "TF_AllocateTensor": (_pointer, _int, _long, _int, _size),
    "TF_DeleteTensor": (None, _pointer),
    "TF_TensorData": (_pointer, _pointer),
    "TF_TensorByteSize": (_size, _pointer),
    "TF_TensorType": (_int, _pointer),
    "TF_NumDims": (_int, _pointer),
    "TF_Dim": (ctypes.c_int64, _pointer, _int),
    "TF_StringInit": (None, _pointer),
    "TF_StringCopy": (None, _pointer, _text, _size),
    "TF_StringDealloc": (None, _pointer),
    "TF_StringGetDataPointer": (_pointer, _pointer),
    "TF_StringGetSize": (_size, _pointer),
}


class _Output(ctypes.Structure):
    """TF_Output: one output of one operation of a graph."""

    _fields_ = (("operation", _pointer), ("index", _int))


@cache
def library(folder: str | None = None) -> ctypes.CDLL:
    """TensorFlow's C library: of the wheel installed here, or the one in `folder`.

    Raises BadInput where there is none.
    """
    if folder is None:
        spec = importlib.util.find_spec("tensorflow")
        folder = str(Path(spec.origin).parent) if spec and spec.origin else "."
    found = sorted(path for pattern in ("*.so.2", "*.2.dylib") for path in Path(folder).glob(f"libtensorflow_cc{pattern}"))
    if not found:
        raise BadInput(f"There is no libtensorflow_cc in '{folder}'; install TensorFlow with `pip install tensorflow`.")
    loaded = ctypes.CDLL(str(found[0]))
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


class SavedModel:
    """A SavedModel in a session of the C library.

    Parameters
    ----------
    folder : the version's folder, with `saved_model.pb`.
    wheel : the folder of another TensorFlow wheel whose library is to be used.

    A context manager: the session is closed at the end. Raises BadInput when TensorFlow cannot load the folder.
    """

    def __init__(self, folder: str | Path, wheel: str | None = None):
        self._library = library(wheel)
        self.tensorflow = self._library.TF_Version().decode()
        self._graph = self._library.TF_NewGraph()
        options = self._library.TF_NewSessionOptions()
        try:
            tags = (_text * 1)(b"serve")
            with _Status(self._library) as status:
                self._session = self._library.TF_LoadSessionFromSavedModel(
                    options, None, str(folder).encode(), tags, 1, self._graph, None, status.pointer
                )
                if status.message:
                    self._library.TF_DeleteGraph(self._graph)
                    raise BadInput(f"TensorFlow cannot load the model at '{folder}': {status.message}.")
        finally:
            self._library.TF_DeleteSessionOptions(options)

    def __enter__(self) -> "SavedModel":
        return self

    def __exit__(self, *_) -> None:
        with _Status(self._library) as status:
            self._library.TF_CloseSession(self._session, status.pointer)
            self._library.TF_DeleteSession(self._session, status.pointer)
        self._library.TF_DeleteGraph(self._graph)

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """One pass through the graph.

        Parameters
        ----------
        feeds : tensor (``operation:index``, as a SignatureDef writes it) -> float32, uint8, int64, bool or object
            (bytes) array.
        fetches : the tensors wanted.

        Returns the arrays of `fetches`, in their order. Raises ValueError with TensorFlow's own words when the
        graph has no such tensor or cannot run on these arrays.
        """
        inputs = [self._to_tensor(array) for array in feeds.values()]
        outputs = (_pointer * len(fetches))()
        try:
            with _Status(self._library) as status:
                self._library.TF_SessionRun(
                    self._session,
                    None,
                    *(self._places(feeds), (_pointer * len(inputs))(*inputs), len(inputs)),
                    *(self._places(fetches), outputs, len(fetches)),
                    *(None, 0, None, status.pointer),
                )
                if status.message:
                    raise ValueError(status.message)
            return [self._to_array(tensor) for tensor in outputs]
        finally:
            for tensor in (*inputs, *(tensor for tensor in outputs if tensor)):
                self._library.TF_DeleteTensor(tensor)

    def _places(self, tensors) -> ctypes.Array:
        """Where each ``operation:index`` is in the graph."""
        places = (_Output * len(tensors))()
        for place, tensor in zip(places, tensors, strict=True):
            name, _, index = tensor.rpartition(":")
            place.operation = self._library.TF_GraphOperationByName(self._graph, name.encode())
            if not place.operation:
                raise ValueError(f"the graph has no tensor '{tensor}'")
            place.index = int(index)
        return places

    def _to_tensor(self, array: np.ndarray) -> int:
        """A new TF_Tensor with the array's values."""
        array = np.ascontiguousarray(array)
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        size = array.size * (_TSTRING if array.dtype == _TEXT else array.itemsize)
        tensor = self._library.TF_AllocateTensor(_NUMBERS[array.dtype], dims, array.ndim, size)
        start = self._library.TF_TensorData(tensor)
        if array.dtype != _TEXT:
            ctypes.memmove(start, array.ctypes.data, size)
            return tensor
        for place, value in enumerate(array.ravel().tolist()):
            self._library.TF_StringInit(start + place * _TSTRING)
            self._library.TF_StringCopy(start + place * _TSTRING, value, len(value))
        return tensor

    def _to_array(self, tensor: int) -> np.ndarray:
        """A copy of a TF_Tensor's values."""
        shape = tuple(self._library.TF_Dim(tensor, axis) for axis in range(self._library.TF_NumDims(tensor)))
        dtype = _DTYPES[self._library.TF_TensorType(tensor)]
        start = self._library.TF_TensorData(tensor)
        if dtype != _TEXT:
            content = ctypes.string_at(start, self._library.TF_TensorByteSize(tensor))
            return np.frombuffer(content, dtype).reshape(shape)
        texts = np.empty(int(np.prod(shape)), dtype)
        for place in range(len(texts)):
            text = start + place * _TSTRING
            texts[place] = ctypes.string_at(
                self._library.TF_StringGetDataPointer(text), self._library.TF_StringGetSize(text)
            )
        return texts.reshape(shape)


class _Status:
    """TF_Status: whether the last call went well; `message` is empty if it did."""

    def __init__(self, loaded: ctypes.CDLL):
        self._library = loaded

    def __enter__(self) -> "_Status":
        self.pointer = self._library.TF_NewStatus()
        return self

    def __exit__(self, *_) -> None:
        self._library.TF_DeleteStatus(self.pointer)

    @property
    def message(self) -> str:
        if self._library.TF_GetCode(self.pointer) == 0:
            return ""
        return self._library.TF_Message(self.pointer).decode(errors="replace").strip().rstrip(".") or "it gives no reason"
