"""Sphinx: `make docs` builds the pages into docs/_build/html and fails on any warning."""

import inspect
import os
import re
import sys
from pathlib import Path
from typing import get_origin

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import generated  # noqa: E402

import morph  # noqa: E402

project = "morph"
author = "The morph developers"
copyright = "the morph developers"
release = version = morph.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**/_*.md"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
# Docstrings that come from Keras are not written for this site.
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False
# Names in single backticks are code, in docstrings as in these pages.
default_role = "literal"
nitpicky = False

html_theme = "pydata_sphinx_theme"
html_title = "morph"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    # The API has hundreds of pages; each would list all of them.
    "navigation_depth": 2,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": []}
html_show_sourcelink = False
html_copy_source = False
copybutton_prompt_text = "$ "
linkcheck_ignore = [r"http://localhost", r"http://127\.0\.0\.1"]


def plain_signs(app, what, name, obj, options, lines):
    """Let docstrings write |x| and `Name`s, which reStructuredText would read as markup."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(("| ", "+-")):
            line = re.sub(r"(`[^`]*`+)|\|", lambda found: found[1] or r"\|", line)
        lines[number] = re.sub(r"((?<!`)`[^`]+`)(?=\w)", r"\1\\ ", line)


def skip_aliases(app, what, name, obj, skip, options):
    """Leave out aliases (``Bounds = tuple[float, float]``) and built-in functions, whose signatures cannot be read."""
    return True if get_origin(obj) is not None or inspect.isbuiltin(obj) else None


def setup(app):
    """Write the pages that come from the code before Sphinx looks for pages."""
    generated.write(HERE)
    app.connect("autodoc-process-docstring", plain_signs)
    app.connect("autodoc-skip-member", skip_aliases)
