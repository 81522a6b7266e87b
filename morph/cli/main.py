"""The verbs, and what becomes of their errors.

The only module that knows all three packages. A verb is imported when it is called, so that
`morph --help` answers at once.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from morph import __version__
from morph.console import ignore_closed_pipes
from morph.errors import SAFE, InputError, causes, describe
from morph.signals import Terminated, stoppable

#: verb: (module that holds its command, one line for the help).
VERBS = {
    "quickstart": ("morph.cli.quickstart", "Run every step once: simulate, train, compare, serve, score, report."),
    "import": ("training.cli.import_", "Turn images and labels, or tiles and a catalogue, into a galaxies dataset."),
    "simulate": ("morph.cli.simulate", "Simulate labelled galaxies, a whole survey tile, or supernovae on hosts."),
    "pretrain": ("training.cli.pretrain", "Train a model from scratch on one or more datasets."),
    "finetune": ("training.cli.finetune", "Adapt a model to another survey with a few labels."),
    "transfer": ("training.cli.transfer", "Measure the gain from labels of a new survey, and how many more to get."),
    "evaluate": ("training.cli.evaluate", "Measure a model on galaxies that it has not seen."),
    "predict": ("training.cli.predict", "Predict missing properties of galaxies from known ones, with uncertainties."),
    "sample": ("morph.cli.sample", "Sample galaxies from a model, as a survey shows them."),
    "edit": ("morph.cli.edit", "Change one thing in a galaxy, and hold the rest."),
    "photoz": ("morph.cli.photoz", "Fill training sets for photometric redshifts where spectra are missing."),
    "compress": ("morph.cli.compress", "Compress galaxies to codes of at most 64 bytes each."),
    "decompress": ("morph.cli.decompress", "Make a dataset of codes again."),
    "compare": ("training.cli.compare", "Compare runs, and report which differences are statistically significant."),
    "sync": ("training.cli.sync", "Send to MLflow what could not be logged while its server did not answer."),
    "report": ("training.cli.report", "Make one page of pictures: galaxies, runs, the most anomalous objects."),
    "export": ("serving.cli.export", "Write a model as a SavedModel for TensorFlow Serving."),
    "deploy": ("serving.cli.deploy", "Put an exported model on stock TensorFlow Serving: write, check, size."),
    "serve": ("serving.cli.serve", "Serve an exported model over gRPC."),
    "classify": ("serving.cli.classify", "Classify images through a server."),
    "score": ("serving.cli.score", "Score survey tiles: images in, catalogue out."),
    "index": ("serving.cli.index", "Make an index of a survey's galaxies for similarity search."),
    "similar": ("serving.cli.similar", "Find the galaxies of an index that are most like some examples."),
    "explore": ("serving.cli.explore", "Search an index of galaxies on a page, and over gRPC and REST."),
    "census": ("morph.cli.census", "Take a census: the fraction of each morphology, corrected, and its limit."),
    "sequence": ("morph.cli.sequence", "Place galaxies on the Hubble sequence: a continuous type, and a map."),
    "restore": ("morph.cli.restore", "Take noise and blur out of images, tiles or a dataset."),
    "host": ("morph.cli.host", "Find the galaxies that transients belong to."),
    "stack": ("morph.cli.stack", "Stack galaxies to see their haloes, with checks of the result."),
}


#: The verbs as the help shows them, by what they are for; the others come last.
GROUPS = {
    "Begin": ("quickstart",),
    "Galaxies": ("import", "simulate", "sample", "edit", "photoz", "compress", "decompress"),
    "Models": ("pretrain", "finetune", "transfer", "evaluate", "predict", "compare", "sync", "report"),
    "Serving": ("export", "deploy", "serve", "classify"),
    "Surveys": ("score", "index", "similar", "explore", "restore", "census", "sequence", "host", "stack"),
}

#: Verbs whose only result is what they print, which stop when their output is closed.
STREAMING = {"classify"}


class VerbGroup(click.Group):
    """A group of commands whose modules are imported when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        return importlib.import_module(VERBS[name][0]).command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        known = [name for names in GROUPS.values() for name in names]
        groups = {**GROUPS, "More": tuple(name for name in VERBS if name not in known)}
        width = max(map(len, VERBS))
        for title, names in groups.items():
            rows = [(name.ljust(width), VERBS[name][1]) for name in names if name in VERBS]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.command(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="morph")
def cli() -> None:
    """Galaxy morphology as a service: from survey images to a served, tracked, catalogued classification.

    A dataset is a path; a model is a path, models:/morph@champion or any MLflow URI; a tile is a path or a
    glob. `morph VERB --help` says everything about a verb.
    """


def main(command: click.Command = cli, name: str | None = None) -> None:
    """Run one verb, or another command. A user's mistake, and an error of the operating system, a disk or a store of
    runs, is one sentence and exit status 2, never a traceback. Ctrl-C ends with 130 and SIGTERM with 143.

    Parameters
    ----------
    command, name : what is run, and how it is called.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if not STREAMING & {*sys.argv[1:2]}:
        ignore_closed_pipes()
    try:
        with stoppable():
            # Outside its standalone mode click returns the code of an early exit instead of raising it.
            code = command(prog_name=name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except InputError as error:
        sys.exit(_print_error(str(error)))
    except click.ClickException as error:
        sys.exit(_print_error(error.format_message(), help_of=getattr(error, "ctx", None)))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (KeyboardInterrupt, Exception) as error:
        if stops := [each for each in causes(error) if isinstance(each, (KeyboardInterrupt, click.exceptions.Abort))]:
            sys.exit(_stop(stops))
        said = describe(error)
        if said is None:
            raise
        sys.exit(_print_error(said))


def _stop(stops: Sequence[BaseException]) -> int:
    """Say that the command was stopped, by what was raised for that reason; Click, Python and libraries raise their
    own errors from a KeyboardInterrupt, which may say what is left of the work."""
    _end_workers()
    _print_error(next(filter(None, map(str, stops)), f"Stopped. {SAFE}"))
    return 143 if any(isinstance(each, Terminated) for each in stops) else 130


def _end_workers() -> None:
    """Kill processes that still share the work; Python would wait for them to finish."""
    if multiprocessing := sys.modules.get("multiprocessing"):
        for process in multiprocessing.active_children():
            process.kill()


def _print_error(sentence: str, help_of: click.Context | None = None) -> int:
    hint = f" See `{help_of.command_path} --help`." if help_of else ""
    click.echo(f"morph: {sentence}{hint}", err=True)
    return 2
