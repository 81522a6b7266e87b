"""morph deploy."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

import click

from morph.errors import InputError

FILE = click.Path(path_type=Path)
ABOVE_ZERO = click.FloatRange(0, min_open=True)


@click.group("deploy", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Put an exported model on stock TensorFlow Serving: write the files, check them, size the cluster."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command.command("write", short_help="Write the files for Docker Compose and Kubernetes.")
@click.argument("place", metavar="DIR")
@click.option("--compose", is_flag=True, help="Only the files of Docker Compose.")
@click.option("--kubernetes", is_flag=True, help="Only the files of Kubernetes.")
@click.option("--name", default="morph", show_default=True, help="Name of the model.")
def write(place: str, compose: bool, kubernetes: bool, name: str) -> None:
    """Write the deployment's files into DIR, the folder given to `morph export`.

    A file that exists is left alone, so that your changes stay.

    \b
        morph deploy write models
        morph deploy check models
        cd models; docker compose up --detach      # or
        kubectl apply -k models
    """
    from serving.deploy.write import KINDS, write_deployment

    folder = _local(place)
    wanted = [kind for kind, chosen in (("compose", compose), ("kubernetes", kubernetes)) if chosen]
    written = write_deployment(folder, name, wanted or list(KINDS))
    for path in written:
        click.echo(path)
    if not written:
        click.echo("Every file exists already.")


@command.command("check", short_help="Find what is wrong, without a cluster.")
@click.argument("place", metavar="DIR|URL")
@click.option("--name", default="morph", show_default=True, help="Name of the model.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a check, instead of a table.")
def check(place: str, name: str, as_json: bool) -> None:
    """Find what is wrong with the exported model and the deployment in DIR, without a cluster.

    The newest version is loaded and its warm-up replayed, as TensorFlow Serving does it. Every file is checked against
    its schema or message, and against the others. The exit status is 1 if a check fails.

    \b
        morph deploy check models
        morph deploy check gs://bucket/models --json
    """
    from morph.console import counted, import_quietly
    from serving.deploy.checks import examine
    from serving.deploy.deployment import Deployment

    failed = 0
    with _folder(place) as folder, _Report(as_json) as report:
        import_quietly("tensorflow")
        for finding in examine(Deployment(folder, name)):
            report.add(finding)
            failed += finding.state == "failed"
    if failed:
        click.echo(f"morph: {counted(failed, 'check fails', 'checks fail')}.", err=True)
        sys.exit(1)


@contextmanager
def _folder(place: str):
    """The deployment on this machine: where it is, or a copy of what is at a URL."""
    from serving.savedmodel.remote import Remote, is_url

    if is_url(place):
        with Remote(place).downloaded() as folder:
            yield folder
    else:
        yield _local(place)


def _local(place: str) -> Path:
    from serving.savedmodel.remote import local

    folder = local(place)
    if not folder.is_dir():
        raise InputError(f"'{place}' is not a folder; make it with `morph export MODEL --to {place}`.")
    return folder


class _Report:
    """Findings as they come: lines of JSON, or a table at the end."""

    def __init__(self, as_json: bool):
        self._as_json = as_json
        self._findings: list = []

    def __enter__(self) -> "_Report":
        return self

    def add(self, finding) -> None:
        if self._as_json:
            click.echo(json.dumps({"check": finding.about, "state": finding.state, "sentence": finding.sentence}))
        self._findings.append(finding)

    def __exit__(self, *_) -> None:
        if self._as_json or not self._findings:
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        marks = {"ok": "[green]ok[/]", "failed": "[bold red]failed[/]", "skipped": "[dim]skipped[/]"}
        for finding in self._findings:
            # A path in brackets is not markup.
            table.add_row(marks[finding.state], finding.about, finding.sentence.replace("[", r"\["))
        Console().print(table)


@command.command("tls", short_help="Write ssl.config from a key and a certificate.")
@click.option("--certificate", required=True, type=FILE, help="PEM: the server's, with those that sign it.")
@click.option("--key", required=True, type=FILE, help="PEM: the server's private key, without a password.")
@click.option("--clients", type=FILE, help="PEM: only clients with a certificate signed by this one are served.")
@click.option("--to", default="ssl.config", show_default=True, type=FILE, help="File to write.")
def tls(certificate: Path, key: Path, clients: Path | None, to: Path) -> None:
    """Write ssl.config, from which TensorFlow Serving (and `morph serve`) take their key and certificate.

    It holds the private key: only you may read it, and it belongs into a Secret, not into a repository.

    \b
        morph deploy tls --certificate server.crt --key server.key --to models/ssl.config
    """
    from serving.deploy.write import write_ssl_config

    write_ssl_config(to, certificate, key, clients)
    click.echo(f"Wrote {to}" + (", which lets in only clients with a certificate." if clients else "."))


@command.command("size", short_help="Work out time and cost from a measured rate.")
@click.option("--rate", required=True, type=ABOVE_ZERO, help="Galaxies/s of one server, measured.")
@click.option("--galaxies", multiple=True, type=click.FloatRange(1), help="How many, such as 300e6; may be repeated.")
@click.option("--servers", default=1, show_default=True, type=click.IntRange(1), help="How many run at once.")
@click.option("--price", default=0.0, type=click.FloatRange(0), help="Of one server, per hour.")
@click.option("--busy", default=1.0, type=click.FloatRange(0.01, 1), help="Share of the time it computes [1].")
def size(rate: float, galaxies: tuple[float, ...], servers: int, price: float, busy: float) -> None:
    """Work out how long a survey takes, and what it costs, from a measured RATE.

    Without --galaxies: DES (300 million) and LSST (10 billion). `python benchmarks/forward.py MODEL` measures a rate
    on a machine of yours.

    \b
        morph deploy size --rate 10000 --servers 4 --price 2.50
    """
    from serving.scoring.costs import SURVEYS, CostEstimate

    for name, number in [("", number) for number in galaxies] or SURVEYS.items():
        estimate = CostEstimate(number, rate, servers, price, busy)
        click.echo(f"{name + ': ' if name else ''}{estimate}")
