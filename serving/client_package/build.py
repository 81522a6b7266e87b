"""Build hook of hatchling: the client's modules, and those of morph that they import, as the package `morph_client`.

The sources are those of `serving.client`. In the wheel each module has its own place below `morph_client`, and the
imports are rewritten to match, so that this package and morph-galaxies can be installed beside each other.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parents[2]

#: Package in the sources -> package in the wheel; the first that fits counts.
PLACES = {
    "serving.client": "morph_client",
    "serving.protocol": "morph_client.tensorflow_serving",
    "morph": "morph_client.morph",
}

#: The modules that a user imports; whatever they import is added.
PUBLIC = ("serving.client", "serving.client.pictures")

#: Imported from morph-galaxies, where it is installed.
OPTIONAL = "morph.domain_shift"


class ClientBuildHook(BuildHookInterface):
    """Writes the modules into a temporary folder, from which hatchling takes them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = Path(self.directory) / "client"
        for module in modules():
            source = path(module)
            target = folder / (
                place(module).replace(".", "/") + ("/__init__.py" if source.stem == "__init__" else ".py")
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            # The package morph offers all of its modules by name; here it is the few that follow.
            text = '"""The modules of morph that read images."""\n' if module == "morph" else source.read_text()
            target.write_text(rewritten(text))
            build_data["force_include"][str(target)] = str(target.relative_to(folder))
        descriptors = str(ROOT / "serving" / "protocol" / "serving.binpb")
        build_data["force_include"][descriptors] = "morph_client/tensorflow_serving/serving.binpb"
        marker = folder / "morph_client" / "py.typed"
        marker.touch()
        build_data["force_include"][str(marker)] = "morph_client/py.typed"
        build_data["force_include"][str(ROOT / "LICENSE")] = "morph_client/LICENSE"


def modules() -> list[str]:
    """The modules of `PUBLIC` and everything of morph and serving that they import, directly or not."""
    found: set[str] = set()
    todo = list(PUBLIC)
    while todo:
        module = todo.pop()
        if module not in found and not module.startswith(OPTIONAL):
            found.add(module)
            todo += [parent for parent in [module.rpartition(".")[0]] if parent not in ("", "serving")]
            todo += imported(module) if module != "morph" else []
    return sorted(found)


def imported(module: str) -> Iterator[str]:
    """The modules of this repository that a module imports, at its top or within functions."""
    for node in ast.walk(ast.parse(path(module).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("morph", "serving"):
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if path(whole).exists() else str(node.module)


def path(module: str) -> Path:
    """The file of a module."""
    folder = ROOT.joinpath(*module.split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def place(module: str) -> str:
    """The name of a module in the wheel."""
    for package, other in PLACES.items():
        if module == package or module.startswith(f"{package}."):
            return other + module.removeprefix(package)
    raise ValueError(f"{module} has no place in the client's package")


def rewritten(text: str) -> str:
    """The source of a module with the imports of the wheel."""
    pattern = re.compile(r"^(\s*from )((?:morph|serving)(?:\.\w+)*)(?= import )", re.MULTILINE)
    return pattern.sub(lambda found: found[1] + renamed(found[2]), text)


def renamed(module: str) -> str:
    return module if module.startswith(OPTIONAL) else place(module)
