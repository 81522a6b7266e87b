"""What a galaxy image is, and the model that reads it.

The names below are the public ones; ``__init__.pyi`` has their types. Each is imported when it is first used, so that
`import morph` is immediate and loads neither Keras nor the readers of a survey.

>>> import morph
>>> morph.get_survey("des").pixel_scale
0.263
"""

import importlib
from typing import Any

__version__ = "0.1.0"

#: Public name: the module that it is defined in.
_PUBLIC = {
    "Classifier": "morph.model.classifier",
    "Galaxies": "morph.dataset",
    "InputError": "morph.errors",
    "Survey": "morph.surveys",
    "TREE": "morph.decision_tree",
    "Tile": "morph.tiles.tile",
    "get_survey": "morph.surveys",
    "load_model": "morph.model.store",
    "open_scores": "serving.scores.score_files",
    "read_catalog": "morph.catalogs.catalog",
    "read_cutouts": "morph.stamps.cutout_files",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'morph' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
