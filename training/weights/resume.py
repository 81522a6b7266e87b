"""Verbs one after the other, of which none is done twice."""

import json
import shlex
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import click

from morph.atomic import atomic

#: Characters of a verb that are shown.
SHOWN = 300


def carry_out(verbs: Sequence[list[str]], work: Path, call: Callable[[list[str]], object] | None = None) -> None:
    """Call the verbs that are not done yet.

    Those that are done stand in ``done.json`` in the folder `work`, in their order. A verb that differs from what
    stands there, or whose file or folder is gone, is called again, and so is all that comes after it.

    Parameters
    ----------
    verbs : the words of each; the last word names what it makes.
    call : what to do with the words; by default the verb is called in this process.
    """
    call = call or _morph
    record = work / "done.json"
    left = json.loads(record.read_text()) if record.exists() else []
    done: list[list[str]] = []
    for words, before in zip(verbs, left, strict=False):
        if words != before or not Path(words[-1]).exists():
            break
        done.append(words)
    began = time.monotonic()
    for number, words in enumerate(verbs, 1):
        if number <= len(done):
            click.echo(f"{number} of {len(verbs)}: {words[-1]} is there already.", err=True)
            continue
        # What comes later was made from what is made anew now, and must not be taken for done.
        _write(record, done)
        line = shlex.join(["morph", *words])
        click.echo(f"{number} of {len(verbs)}: {line if len(line) < SHOWN else line[:SHOWN] + ' ...'}", err=True)
        call(words)
        done.append(words)
        _write(record, done)
        click.echo(f"{timedelta(seconds=round(time.monotonic() - began))} so far.", err=True)


def _morph(words: list[str]) -> None:
    from morph.__main__ import cli

    cli.main(words, prog_name="morph", standalone_mode=False)


def _write(record: Path, done: list[list[str]]) -> None:
    with atomic(record) as building:
        building.write_text(json.dumps(done, indent=1))
