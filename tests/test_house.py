"""The rules of the house that no linter checks: short functions, documented arguments, an example for every verb."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The most lines of a function.
LONGEST = 60
#: From so many arguments on, a public function says what each is.
MANY = 3
#: Methods whose arguments Keras defines.
OF_KERAS = {"call", "compute_loss", "update_step"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    return sorted(path for package in ("morph", "training", "serving") for path in ROOT.glob(f"{package}/**/*.py"))


def functions(path: Path) -> Iterator[Function]:
    """The functions and methods of a module, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def public(path: Path) -> Iterator[tuple[str, Function]]:
    """The public functions of a module and methods of its public classes, except commands, whose options say it."""
    tree = ast.parse(path.read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for prefix, body in (("", tree.body), *((f"{each.name}.", each.body) for each in classes)):
        for node in body:
            if not isinstance(node, Function) or node.name.startswith("_") or node.name in OF_KERAS:
                continue
            if not any("command" in ast.unparse(decorator) for decorator in node.decorator_list):
                yield prefix + node.name, node


def arguments(function: Function) -> int:
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short(path):
    long = [node.name for node in functions(path) if (node.end_lineno or 0) - node.lineno >= LONGEST]
    assert long == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_of_many_arguments_say_what_each_is(path):
    missing = [
        name
        for name, node in public(path)
        if arguments(node) >= MANY and "\nParameters\n----------\n" not in (ast.get_docstring(node) or "")
    ]
    assert missing == []
