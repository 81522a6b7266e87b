"""The rules of the house that no linter checks: short functions, documented arguments, an example for every verb."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import morph

ROOT = Path(__file__).parents[1]
#: The most lines of a function.
LONGEST = 60
#: From so many arguments on, a public function says what each is.
MANY = 3
#: Methods whose arguments Keras defines.
OF_KERAS = {"call", "compute_loss", "update_step"}

#: The functions that do the work of the verbs, with their modules. One example exports, serves and classifies.
CORES = {
    "simulate galaxies": "morph.simulation.sample.simulate_galaxies",
    "simulate tile": "morph.simulation.tile.simulate_tile",
    "import": "training.importers.importing.import_galaxies",
    "pretrain, finetune": "training.experiments.train.train",
    "transfer": "training.label_budget.run.transfer",
    "evaluate": "training.experiments.evaluation_run.evaluate_model",
    "predict": "training.prediction.output.predict_catalog",
    "compare": "training.experiments.comparison_report.compare_models",
    "sync": "training.experiments.outbox.send_all",
    "report": "training.reports.report.write_report",
    "export, serve, classify": "serving.savedmodel.export.export_model",
    "deploy": "serving.deploy.write.write_deployment",
    "score": "serving.scoring.run.score",
    "census": "morph.analysis.census.census.take_census",
    "sequence": "morph.analysis.census.sequence.make_sequence",
    "stack": "morph.analysis.stacking.run.stack",
    "restore": "morph.analysis.restoring.run.restore",
}
#: What `import morph` offers.
PUBLIC = [f"{module}.{name}" for name, module in morph._PUBLIC.items() if name != "TREE"]

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


def examples(name: str) -> list[str]:
    """The lines of examples that run, of a function, or of a class and its methods, or of their module."""
    module, _, name = name.rpartition(".")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    (found,) = (node for node in tree.body if isinstance(node, Function | ast.ClassDef) and node.name == name)
    parts = [tree, found, *(node for node in getattr(found, "body", ()) if isinstance(node, Function))]
    lines = [line for part in parts for line in (ast.get_docstring(part) or "").splitlines()]
    run = [line for line in lines if line.lstrip().startswith((">>>", "...")) and "+SKIP" not in line]
    return [line for line in run if name in line or isinstance(found, ast.ClassDef)]


@pytest.mark.parametrize("name", [*CORES.values(), *PUBLIC])
def test_the_core_of_every_verb_and_the_public_names_have_an_example(name):
    assert examples(name)
