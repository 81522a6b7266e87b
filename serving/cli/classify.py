"""morph classify."""

import json
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from morph.errors import InputError
from serving.cli.connection import client_options, connection

if TYPE_CHECKING:
    pass

#: The outputs that are a vector; a model of an earlier morph has no similarity vector.
VECTORS = ("embedding", "similarity")


@click.command("classify")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--server", required=True, metavar="HOST:PORT", help="Address of the model server.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
@click.option("--version", type=int, help="The version that answers [the server's highest].")
@click.option("--label", help="The version that answers, by its label on the server, such as stable.")
@click.option("--survey", help="FITS: the survey, whose bands fill the channels [as the files say].")
@click.option("--bands", help="FITS: the bands of a cube's planes, in order, such as grz.")
@click.option("--zero-point", metavar="MAG|none", help="FITS: AB magnitude of one count, instead of the header's.")
@click.option("--unit", help="FITS: the unit of the pixels, such as nJy, instead of the header's.")
@click.option(
    "--embedding/--no-embedding",
    default=None,
    help="Print the embedding and the similarity vector [in JSON, and not in the table].",
)
@connection
def command(
    images: tuple[str, ...],
    server: str,
    as_json: bool,
    embedding: bool | None,
    survey: str | None,
    bands: str | None,
    zero_point: str | None,
    unit: str | None,
    **options: Any,
) -> None:
    """Classify each IMAGE through a server: JPEG, PNG or FITS files, folders of them, or globs.

    A JPEG or PNG is a colour picture with one galaxy at its centre. FITS is one file a band (name any of them) or a
    cube. The picture is cut to the galaxy's own size first. A bad image gets one sentence on standard error and the
    others are classified; the exit status is then 1.

    \b
        morph classify galaxies/ --server 127.0.0.1:8500
        morph classify *_r.fits --survey decals --server 127.0.0.1:8500 --json > answers.jsonl
    """
    from morph.fits.zero_points import Calibration
    from morph.surveys import get_survey
    from serving.client import MorphClient
    from serving.client.pictures import FitsLayout, find_pictures, read_pictures

    if survey:
        get_survey(survey)
    Calibration.parse(zero_point, unit)
    client = MorphClient(server, **client_options(**options))
    groups, errors = find_pictures(images)
    count = 0
    # Without an image the server is not asked: a wrong file name is the first thing to report.
    if groups:
        with client:
            description = client.describe()
            notes: deque[dict[str, Any]] = deque()
            read = read_pictures(groups, description["size"], FitsLayout(survey, bands, zero_point, unit))
            wanted = as_json if embedding is None else embedding
            vectors = [name for name in VECTORS if wanted and f"{name}_size" in description]
            answers = _answers(client, _readable(read, errors, notes), notes, vectors)
            count = _print_lines(answers) if as_json else _print_table(answers, description)
    _report(errors, count)


def _report(errors: list[InputError], count: int) -> None:
    """Print the errors of unreadable images and end with status 1, or 2 where no image could be read."""
    if len(errors) == 1 and not count:
        raise errors[0]
    for error in errors:
        click.echo(f"morph: {error}", err=True)
    if errors and not count:
        raise InputError(f"None of the {len(errors)} images can be classified.")
    if errors:
        sys.exit(1)


def _readable(pictures: Iterable, errors: list[InputError], notes: "deque[dict[str, Any]]") -> Iterator:
    """The pictures that could be read; the errors of the others go to `errors`, the calibration of each to `notes`."""
    for picture in pictures:
        if isinstance(picture, InputError):
            errors.append(picture)
            continue
        points = {
            band: {"magnitude": _short(magnitude) if isfinite(magnitude) else None, "source": source}
            for band, (magnitude, source) in picture.zero_points.items()
        }
        notes.append(
            {**({"zero_points": points} if points else {}), **({"notes": picture.notes} if picture.notes else {})}
        )
        yield picture


def _answers(
    client, pictures: Iterator, notes: "deque[dict[str, Any]]", vectors: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The answers for each picture with its `notes`, in the form of `--json`, with these of `VECTORS`."""
    outputs = ["probabilities", "tree_probabilities", "reconstruction_error", "anomaly_score", "anomaly", *vectors]
    for answers in client.stream(pictures, outputs):
        yield {
            "id": answers.ids[0],
            **{
                name: {
                    question: {answer: _short(p) for answer, p in each.items()}
                    for question, each in answers.named(name)[0].items()
                }
                for name in ("probabilities", "tree_probabilities")
            },
            **{name: [_short(v) for v in answers[name][0]] for name in vectors},
            "reconstruction_error": _short(answers["reconstruction_error"][0]),
            "anomaly_score": _short(answers["anomaly_score"][0]),
            "anomaly": bool(answers["anomaly"][0]),
            "flags": list(answers.flags[0]),
            **notes.popleft(),
            "model": answers.description["name"],
            "model_version": int(answers.versions[0]),
        }


def _short(value) -> float:
    """A float32 without digits beyond its precision."""
    return float(f"{value:.6g}")


def _print_lines(answers: Iterable[dict[str, Any]]) -> int:
    """Print each answer as a line of JSON on standard output, as it comes; returns how many there were."""
    count = 0
    for answer in answers:
        click.echo(json.dumps(answer))
        count += 1
    return count


def _print_table(answers: Iterable[dict[str, Any]], description: dict[str, Any]) -> int:
    """Print the answers as a table on standard output; returns how many there were."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from morph.decision_tree import most_likely_path

    console = Console()
    if not console.is_terminal:
        console.width = 120
    table = Table(
        caption=f"{description['name']} version {description['version']} ({description['survey']}). Of the volunteers "
        "who are asked the question, and (dim) of all who start at the top of the tree."
    )
    images: Counter[str] = Counter()
    for column in ("galaxy", "most likely answers", "anomaly"):
        table.add_column(column, overflow="fold")
    for answer in answers:
        path = most_likely_path(answer["probabilities"])
        width = max(len(question) for question, _, _ in path)
        tree = answer["tree_probabilities"]
        lines = [
            f"[dim]{question:<{width}}[/dim]  {p:4.2f} [dim]{tree[question][text]:4.2f}[/dim]  [bold]{text}[/bold]"
            for question, text, p in path
        ]
        for vector in VECTORS:
            if vector in answer:
                lines.append(f"[dim]{vector}[/dim]  " + " ".join(f"{value:.2f}" for value in answer[vector]))
        anomalous = "[bold red]anomalous[/bold red]" if answer["anomaly"] else ""
        notes = [f"p = {answer['anomaly_score']:.3g}", anomalous, ", ".join(answer["flags"])]
        images.update(_of_images(answer))
        table.add_row(
            escape(answer["id"]), "\n".join(lines), "\n".join(note for note in notes if note), end_section=True
        )
    if table.row_count:
        console.print(table)
    for line, count in images.most_common():
        click.echo(f"{line} ({count:,} of {table.row_count:,} galaxies)")
    return table.row_count


def _of_images(answer: dict[str, Any]) -> list[str]:
    """The sources of an image's zero points, and how it was read, one sentence each."""
    bands: dict[str, list[str]] = {}
    for band, point in answer.get("zero_points", {}).items():
        value = "unknown" if point["magnitude"] is None else f"{point['magnitude']:.3f}"
        bands.setdefault(f"{value} by {point['source']}", []).append(band)
    sources = "; ".join(f"{', '.join(names)}: {source}" for source, names in bands.items())
    return [*([f"Zero points {sources}."] if sources else []), *answer.get("notes", ())]
