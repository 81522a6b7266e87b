"""Which engine answers for a model in this process."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from morph.errors import InputError, first_line

if TYPE_CHECKING:
    from serving.openvino.model import FastModel

#: How an engine is asked for: by the option --engine, or for all of a process by MORPH_FAST=0.
ENGINES = ("auto", "keras", "openvino")


def choose(engine: str = "auto") -> str:
    """The engine to use: ``keras`` or ``openvino``.

    ``auto`` is OpenVINO where it is installed, unless MORPH_FAST is 0. InputError when it is asked for and not
    installed, and when there is no such engine.
    """
    if engine not in ENGINES:
        raise InputError(f"There is no engine '{engine}'; choose {', '.join(ENGINES[:-1])} or {ENGINES[-1]}.")
    installed = find_spec("openvino") is not None
    if engine == "openvino" and not installed:
        raise InputError("The engine openvino is not installed; get it with `pip install 'morph-galaxies[fast]'`.")
    if engine == "auto":
        return "openvino" if installed and os.environ.get("MORPH_FAST", "1") != "0" else "keras"
    return engine


@contextmanager
def opened(path: Path, engine: str = "auto") -> Iterator["FastModel | None"]:
    """The model file at `path` by OpenVINO as long as the context lasts, or None where Keras is to answer.

    A model that OpenVINO cannot convert, or whose conversion gives other answers, is Keras's too unless OpenVINO is
    asked for by name.
    """
    if choose(engine) == "keras":
        yield None
        return

    from serving.openvino.cache import converted
    from serving.openvino.model import FastModel

    try:
        model = FastModel(converted(path))
    except (RuntimeError, OSError) as error:
        reason = first_line(error)
        if engine == "openvino":
            raise InputError(f"OpenVINO cannot run '{path}' ({reason}); use the engine keras.") from None
        warnings.warn(f"OpenVINO cannot run '{path}' ({reason}); Keras answers, more slowly.", stacklevel=2)
        yield None
        return
    with model:
        yield model
