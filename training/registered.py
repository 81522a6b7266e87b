"""The loader's name in versions that were registered before they carried a copy of the code."""

from morph.registered import RegisteredClassifier, _load_pyfunc

__all__ = ["RegisteredClassifier", "_load_pyfunc"]
