"""TensorFlow Serving's configuration files, in protobuf's text format, and its batching parameters.

`BatchingParameters` says how requests that arrive together become one pass through the network. Its parameters mean
what they mean in TensorFlow Serving and come from the same file (`batching_parameters.txt`).
"""

import bisect
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import Message

from morph.errors import InputError
from serving.protocol.messages import message_class

#: The fixed cost of a pass, in galaxies.
WORTH_A_PASS = 5

#: The parameters that are one number, and the least that each may be.
_LEAST = {"max_batch_size": 1, "batch_timeout_micros": 0, "max_enqueued_batches": 1, "num_batch_threads": 1}


def new_configuration(name: str) -> Message:
    """An empty configuration message: MonitoringConfig, SSLConfig or BatchingParameters."""
    return message_class(f"tensorflow.serving.{name}")()


def parse_configuration(text: str, into: Message, file: str) -> Message:
    """Parse a configuration.

    Parameters
    ----------
    text : in protobuf's text format.
    into : the message to fill, this package's or TensorFlow Serving's.
    file : the file's name, for the error.

    Returns
    -------
    The message `into`.

    Raises
    ------
    InputError : the text is not such a message; the error names file, line and column.

    Examples
    --------
    >>> text = "prometheus_config { enable: true }"
    >>> parse_configuration(text, new_configuration("MonitoringConfig"), "monitoring.config").prometheus_config.enable
    True
    """
    try:
        return text_format.Parse(text, into)
    except text_format.ParseError as error:
        raise InputError(f"'{file}' is not a {into.DESCRIPTOR.name}: {str(error).rstrip('.')}.") from None


def read_configuration(path: str | Path, name: str) -> Message:
    """Read a configuration from a file; InputError where there is no such file, or `parse_configuration` raises it."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"'{path}' cannot be read ({reason}); give a {name} in protobuf's text format.") from None
    return parse_configuration(text, new_configuration(name), str(path))


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are merged.

    Attributes
    ----------
    max_batch_size : the most galaxies in one request and in one pass.
    batch_timeout_micros : how long a request waits for company where a thread is free and another is at work on more.
        The embedded server lets none wait while nothing runs: its company would only be found in the queue later.
    max_enqueued_batches : how many full batches may wait before requests are refused.
    num_batch_threads : how many passes run at once; the embedded server divides the cores among them.
    allowed_batch_sizes : a pass is padded to the next of these; rising, the last is `max_batch_size`.
    """

    max_batch_size: int = 128
    batch_timeout_micros: int = 2000
    max_enqueued_batches: int = 64
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[int, ...] = ()

    def __post_init__(self):
        sizes = self.allowed_batch_sizes
        if sizes and (sizes[-1] != self.max_batch_size or list(sizes) != sorted(set(sizes))):
            raise InputError(
                f"allowed_batch_sizes must rise to max_batch_size ({self.max_batch_size}); they are {list(sizes)}."
            )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}; it is {getattr(self, name)}.")

    @classmethod
    def read(cls, path: str | Path) -> "BatchingParameters":
        """The parameters in a file in TensorFlow Serving's format; those that it leaves out take the values
        above, and those without an effect here (the name of the threads) are passed over. InputError when the file is
        missing or says something else, or asks that large requests be split."""
        given = read_configuration(path, "BatchingParameters")
        if given.enable_large_batch_splitting.value:
            raise InputError(
                f"'{path}' asks for enable_large_batch_splitting; only TensorFlow Serving's program has it."
            )
        values = {name: getattr(given, name).value for name in _LEAST if given.HasField(name)}
        return cls(**values, allowed_batch_sizes=tuple(given.allowed_batch_sizes))

    def padded(self, rows: int) -> int:
        """The size of the pass for so many galaxies."""
        sizes = self.allowed_batch_sizes
        return sizes[bisect.bisect_left(sizes, rows)] if sizes else rows

    def unpadded(self, rows: int) -> int:
        """The largest pass of at most so many galaxies that needs no padding; so many where every one is larger."""
        return max((size for size in self.allowed_batch_sizes if size <= rows), default=rows)

    def without_much_padding(self, rows: int) -> int:
        """The size of the pass for so many galaxies that wait, where the rest of them may wait for the next one.

        A few rows of padding cost less than another pass does; from `WORTH_A_PASS` on they cost more.
        """
        return rows if self.padded(rows) - rows < WORTH_A_PASS else self.unpadded(rows)
