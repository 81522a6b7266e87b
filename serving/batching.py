"""How requests that arrive together are put into one pass through the network.

The parameters mean what they mean in TensorFlow Serving and come from the same file
(`deploy/batching_parameters.txt`).
"""

import bisect
import re
from dataclasses import dataclass
from pathlib import Path

from morph.errors import BadInput

#: A pass has a cost of its own, whatever its size: about that of so many galaxies.
WORTH_A_PASS = 5

#: One parameter of the file: `name { value: 8 }` or `name: 8`.
_PARAMETER = re.compile(r"(\w+)\s*(?::\s*(\d+)|\{\s*value\s*:\s*(\d+)\s*\})\s*")


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are merged.

    Attributes
    ----------
    max_batch_size : the most galaxies in one request and in one pass.
    batch_timeout_micros : how long a request waits for company where a thread is free and another is at work. The
        embedded server lets none wait while nothing runs: its company would only be found in the queue later.
    max_enqueued_batches : how many full batches may wait before requests are refused.
    num_batch_threads : how many passes run at once.
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
            raise BadInput(
                f"allowed_batch_sizes must rise to max_batch_size ({self.max_batch_size}); they are {list(sizes)}."
            )
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} must be at least 1; it is {getattr(self, name)}.")

    @classmethod
    def read(cls, path: str | Path) -> "BatchingParameters":
        """The parameters in a file in TensorFlow Serving's format; those that it leaves out take the values
        above. BadInput when the file is missing or says something else."""
        path = Path(path)
        if not path.is_file():
            raise BadInput(f"There is no file of batching parameters at '{path}'.")
        text = re.sub(r"#.*", "", path.read_text()).strip()
        values: dict[str, int] = {}
        sizes: list[int] = []
        position = 0
        while position < len(text):
            found = _PARAMETER.match(text, position)
            name = found.group(1) if found else text[position:].split(maxsplit=1)[0]
            if not found or name not in cls.__dataclass_fields__:
                known = ", ".join(cls.__dataclass_fields__)
                raise BadInput(f"'{path}' has '{name}', which is no batching parameter; known are {known}.")
            number = int(found.group(2) or found.group(3))
            if name == "allowed_batch_sizes":
                sizes.append(number)
            else:
                values[name] = number
            position = found.end()
        return cls(**values, allowed_batch_sizes=tuple(sizes))

    def padded(self, rows: int) -> int:
        """The size of the pass for so many galaxies."""
        sizes = self.allowed_batch_sizes
        return sizes[bisect.bisect_left(sizes, rows)] if sizes else rows

    def without_much_padding(self, rows: int) -> int:
        """The size of the pass for so many galaxies that wait, where the rest of them may wait for the next one.

        A few rows of padding cost less than another pass does; from `WORTH_A_PASS` on they cost more.
        """
        if self.padded(rows) - rows < WORTH_A_PASS:
            return rows
        return self.allowed_batch_sizes[bisect.bisect_right(self.allowed_batch_sizes, rows) - 1]
