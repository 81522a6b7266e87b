"""The page on scoring: every command is one that `morph score` understands, and its selections are selections."""

import re
import shlex
from pathlib import Path

import click
import pyarrow as pa
import pytest

from morph.catalogs.row_filter import Selection
from serving.cli.score import command

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "score.md"
COMMANDS = [
    shlex.split(text.replace("\\\n", " "))[3:]
    for text in re.findall(r"```console\n(\$ morph score (?:.*\n)+?)```", PAGE.read_text())
]
COLUMNS = {
    "MAG_AUTO_R": pa.float32(),
    "EXTENDED_CLASS_COADD": pa.int16(),
    "IMAFLAGS_ISO_R": pa.int16(),
    "flux_r": pa.float32(),
    "type": pa.string(),
    "shape_r": pa.float32(),
    "mag_r": pa.float32(),
}


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_its_commands_are_understood(words):
    context = command.make_context("score", list(words))
    assert isinstance(context, click.Context)
    if context.params["where"]:
        Selection(context.params["where"]).of(pa.schema(COLUMNS.items()))


def test_it_has_the_examples():
    assert len(COMMANDS) == 5
