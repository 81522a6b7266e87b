"""The outputs of a model for some galaxies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.client.errors import changed

#: Stands for the version in an answer that does not tell it.
NOT_TOLD = -1


@dataclass(frozen=True)
class Reply:
    """The outputs for some galaxies, one row each, and the version of the model that gave each row, or `NOT_TOLD`."""

    outputs: dict[str, np.ndarray]
    versions: np.ndarray

    def __len__(self) -> int:
        return len(self.versions)

    def rows(self, start: int, stop: int) -> "Reply":
        return Reply({name: array[start:stop] for name, array in self.outputs.items()}, self.versions[start:stop])

    @staticmethod
    def join(parts: Sequence["Reply"]) -> "Reply":
        """All rows in order. ServerError when the parts have different outputs."""
        if len(parts) == 1:
            return parts[0]
        kinds = [{name: (array.dtype, array.shape[1:]) for name, array in part.outputs.items()} for part in parts]
        if any(kind != kinds[0] for kind in kinds):
            raise changed()
        outputs = {name: np.concatenate([part.outputs[name] for part in parts]) for name in kinds[0]}
        return Reply(outputs, np.concatenate([part.versions for part in parts]))
