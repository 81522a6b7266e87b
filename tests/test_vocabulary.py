"""The field's words in whatever a user reads: README, documentation, help and messages."""

import ast
import re
from pathlib import Path

import click
import pytest

from morph.cli.main import VERBS, cli

ROOT = Path(__file__).parents[1]

#: Words that are not used, and what is used instead.
INSTEAD = {
    # "cant-tell" is an answer of Galaxy Zoo.
    r"(?<!cant-)\b(told|tells?)\b": "report, print, contain",
    r"\b(taught|teach(es|ing)?)\b": "trained (on)",
    r"\b(strange(r|st|ly)?|unlike anything)\b": "anomalous, out of distribution",
    r"\bplant(s|ed|ing)?\b": "inject",
    r"\b(the way in|one door|the door)\b": "preprocessing, the input layer",
    r"\bredraw(n|s)?\b": "reconstructed",
    r"% right\b": "accuracy",
    r"\b(more than|beyond) (the |its )?noise\b": "statistically significant, outside the uncertainty",
    r"\bwhat is (not )?known of\b": "known / missing properties",
    r"\btwins?\b": "embedded server; asyncio client",
    r"\b(is gone|goes away|went away)\b": "disconnected",
    r"(?<!there )\b(is|are) no (table|galaxy|number|angle|list|model|dataset|picture|image|file|folder)s?\b": "not a",
    r"\b(nobody|somebody|whoever)\b": "not asked; a person's role",
    r"\bin sight\b": "informed by test-set results",
    r"\btoo (shy|sure)\b": "under-confident, over-confident",
    r"\bcamera looks\b": "survey to simulate",
    r"\bfriendl(y|iest)\b": "value-added",
    r"\b(answerers?|keepers?|contestants?|tally|tallies)\b": "backend, version manager, run selection, aggregate",
    r"\b(remembers?|remembered|appearance)\b": "reference sample; image statistics",
    r"\bby want of\b": "without",
}
FORBIDDEN = {re.compile(pattern, re.IGNORECASE): instead for pattern, instead in INSTEAD.items()}


def found(text: str) -> list[str]:
    """What of a text stands in the table, each with what to write instead."""
    return [f"'{match[0]}' -> {instead}" for word, instead in FORBIDDEN.items() for match in word.finditer(text)]


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("morph/weights/*.md")])


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_the_fields_words(path):
    assert found(path.read_text()) == []


def commands(command: click.Command, name: str) -> dict[str, click.Command]:
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return {name: command, **{k: v for key, each in inner for k, v in commands(each, f"{name} {key}").items()}}


@pytest.mark.parametrize("verb", VERBS)
def test_help_uses_the_fields_words(verb):
    command = cli.get_command(click.Context(cli), verb)
    for name, each in commands(command, verb).items():
        assert found(each.get_help(click.Context(each, info_name=name))) == [], name
    assert found(VERBS[verb][1]) == []


def messages(tree: ast.AST) -> list[tuple[int, str]]:
    """The texts of a module that reach a person: what is raised, printed and logged."""
    says = {"InputError", "StatusError", "ServerError", "echo", "secho", "warn", "warning", "info", "error", "_say"}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in says:
                texts += [
                    (part.lineno, part.value)
                    for part in ast.walk(node)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
    return texts


@pytest.mark.parametrize("package", ["morph", "training", "serving"])
def test_messages_use_the_fields_words(package):
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {each}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in messages(ast.parse(path.read_text()))
        for each in found(text)
    ]
    assert wrong == []


def test_names_of_tests_use_the_fields_words():
    names = [
        (path.name, node.name)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert [(*each, found(each[1].replace("_", " "))) for each in names if found(each[1].replace("_", " "))] == []
