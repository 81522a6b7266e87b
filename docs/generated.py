"""The pages that the code itself writes: the command line, the columns of every file, the folders."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow as pa

from morph.cli.main import cli
from morph.dataset_writer import _schema as galaxies_schema
from morph.model.store import load_model
from morph.sizes import STAMP_SIZE
from serving.scores.schema import schema as scores_schema
from serving.scores.value_added import value_added

#: Characters across which `--help` is wrapped.
WIDTH = 100
PACKAGES = ("morph", "training", "serving")


def write(docs: Path) -> None:
    """Write `reference/commands.md` and the tables `_*.md` below the folder `docs`."""
    reference = docs / "reference"
    _modules(docs.parent, reference / "api")
    commands = "\n".join(_command(cli, "morph", None, 1))
    _put(reference / "commands.md", commands.replace("# morph\n", "# Command line\n", 1))
    description = load_model("models:/morph@sdss").describe()
    scores = scores_schema(description, {"survey": description["survey"]})
    tables = {
        "dataset": galaxies_schema(STAMP_SIZE, "flux", {}),
        "scores": scores,
        "summary": value_added(scores.empty_table()).schema,
    }
    for name, columns in tables.items():
        _put(reference / f"_{name}.md", "\n".join(_table(columns)))
    _put(docs / "explanation" / "_packages.md", "\n".join(_packages(docs.parent)))


def _put(path: Path, text: str) -> None:
    """Write only what changed, so that Sphinx rebuilds no more than it must."""
    if not path.exists() or path.read_text() != text + "\n":
        path.write_text(text + "\n")


def _command(command: click.Command, name: str, parent: click.Context | None, level: int) -> Iterator[str]:
    """A heading and the `--help` of a command, and then those of its subcommands."""
    context = click.Context(command, info_name=name, parent=parent, max_content_width=WIDTH, terminal_width=WIDTH)
    path = context.command_path
    yield from ("#" * min(level, 3) + f" {path}", "", "```text", f"$ {path} --help")
    yield from (command.get_help(context), "```", "")
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            yield from _command(command.get_command(context, sub), sub, context, level + 1)


def _table(columns: pa.Schema) -> Iterator[str]:
    yield from ("| column | type | unit | contents |", "|---|---|---|---|")
    for field in columns:
        about = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        yield f"| `{field.name}` | {_kind(field.type)} | {about.get('unit', '')} | {about.get('description', '')} |"


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "struct, one float for each vote column"
    return f"tensor {kind.shape} of {kind.value_type}" if isinstance(kind, pa.FixedShapeTensorType) else str(kind)


def _modules(root: Path, folder: Path) -> None:
    """A page for each public module, below that of its package."""
    # The client's package is built from its own folder, which is not importable.
    files = [
        path.relative_to(root)
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        if (path.parent / "__init__.py").exists()
    ]
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}
    modules = {name for name in modules if not any(part.startswith("_") for part in name.split("."))}
    folder.mkdir(exist_ok=True)
    for page in folder.glob("*.rst"):
        if page.stem not in modules:
            page.unlink()
    for name in modules:
        below = sorted(other for other in modules if other.rpartition(".")[0] == name)
        options = ":members:", ":undoc-members:", ":show-inheritance:"
        lines = [name, "=" * len(name), "", f".. automodule:: {name}", *(f"   {option}" for option in options), ""]
        lines += [".. toctree::", "   :hidden:", "", *(f"   {other}" for other in below), ""] if below else []
        lines += [".. rubric:: Modules", "", *(f"- :doc:`{other}`" for other in below)] if below else []
        _put(folder / f"{name}.rst", "\n".join(lines))


def _packages(root: Path) -> Iterator[str]:
    """A row for each folder of the packages: what it is for, and which folders it imports."""
    yield from ("| folder | contents | imports |", "|---|---|---|")
    folders = sorted({path.parent for package in PACKAGES for path in (root / package).rglob("*.py")})
    names = {folder: ".".join(folder.relative_to(root).parts) for folder in folders}
    for folder, name in names.items():
        start = folder / "__init__.py"
        about = (ast.get_docstring(ast.parse(start.read_text())) or "") if start.exists() else ""
        text = "\n".join(path.read_text() for path in folder.glob("*.py"))
        imported = set(re.findall(rf"^\s*(?:from|import) ((?:{'|'.join(PACKAGES)})(?:\.\w+)*)", text, re.MULTILINE))
        parts = {module if module in names.values() else module.rpartition(".")[0] for module in imported} - {name, ""}
        summary = " ".join(about.partition("\n\n")[0].split())
        yield f"| `{name}` | {summary} | {', '.join(f'`{part}`' for part in sorted(parts))} |"
