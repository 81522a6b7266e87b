"""Heavy libraries without their start-up chatter."""

import importlib
import logging
import os
import sys
from types import ModuleType


def import_quietly(name: str) -> ModuleType:
    """Import a module with the process's error stream closed meanwhile.

    TensorFlow writes several lines about the processor and missing drivers, some of them before its own setting can
    silence it; none says anything that a user of morph can act on. Exceptions come through as usual.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Its Python side warns of every model that is compiled anew, as each fold of a cross-validation is.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if name in sys.modules:
        return sys.modules[name]
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        return importlib.import_module(name)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
