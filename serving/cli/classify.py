"""morph classify."""

import json
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any

import click

from morph.errors import InputError

FILE = click.Path(exists=True, dir_okay=False)


@click.command("classify")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--server", required=True, metavar="HOST:PORT", help="Where a server of the model listens.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
@click.option("--model", default="morph", show_default=True, help="The model's name on the server.")
@click.option("--version", type=int, help="The version that answers [the server's highest].")
@click.option("--label", help="The version that answers, by its label on the server, such as stable.")
@click.option("--survey", help="FITS: the survey, whose bands fill the channels [as the files say].")
@click.option("--bands", help="FITS: the bands of a cube's planes, in order, such as grz.")
@click.option("--zero-point", metavar="MAG|none", help="FITS: AB magnitude of one count, instead of the header's.")
@click.option("--unit", help="FITS: the unit of the pixels, such as nJy, instead of the header's.")
@click.option("--embedding/--no-embedding", default=None, help="Print the embedding [in JSON, and not in the table].")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds that the server may take for one message.")
@click.option("--tls", is_flag=True, help="Speak TLS, and trust the certificates that gRPC knows.")
@click.option("--ca", type=FILE, help="Speak TLS, and trust the root certificates of this PEM file.")
@click.option("--certificate", type=FILE, help="This client's certificate (PEM), where the server asks for one.")
@click.option("--key", type=FILE, help="The certificate's private key (PEM).")
@click.option("--token", envvar="MORPH_TOKEN", metavar="TOKEN", help="Sent along over TLS [from MORPH_TOKEN].")
@click.option("--token-in-clear", is_flag=True, help="Send the token without TLS, for all on the way to read.")
def command(
    images: tuple[str, ...],
    server: str,
    as_json: bool,
    model: str,
    version: int | None,
    label: str | None,
    survey: str | None,
    bands: str | None,
    zero_point: str | None,
    unit: str | None,
    embedding: bool | None,
    timeout: float,
    tls: bool,
    ca: str | None,
    certificate: str | None,
    key: str | None,
    token: str | None,
    token_in_clear: bool,
) -> None:
    """Classify each IMAGE through a server: JPEG, PNG or FITS files, folders of them, or globs.

    A JPEG or PNG is a colour picture of one galaxy, which is at its middle. FITS is one file a band (name any
    of them) or a cube. The picture is cut to the galaxy's own size first. A bad image gets one sentence on
    standard error and the others are classified; the exit status is then 1.

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
    if bool(certificate) != bool(key):
        raise InputError("A client's certificate and its key belong together; give --certificate and --key.")
    client = MorphClient(
        server,
        model,
        version,
        timeout,
        label=label,
        tls=ca or tls,
        certificate=(certificate, key) if certificate and key else None,
        token=token,
        token_in_clear=token_in_clear,
    )
    groups, complaints = find_pictures(images)
    good = 0
    # A server is not asked when there is nothing to send: a wrong file name is the first thing to say.
    if groups:
        with client:
            description = client.describe()
            layout = FitsLayout(survey, bands, zero_point, unit)
            told: deque[dict[str, Any]] = deque()
            pictures = _only_good(read_pictures(groups, description["size"], layout), complaints, told)
            answers = _answers(client, pictures, told, as_json if embedding is None else embedding)
            good = _print_lines(answers) if as_json else _print_table(answers, description)
    if complaints and not good and len(complaints) == 1:
        raise complaints[0]
    for complaint in complaints:
        click.echo(f"morph: {complaint}", err=True)
    if complaints:
        if not good:
            raise InputError(f"None of the {len(complaints)} images can be classified.")
        sys.exit(1)


def _only_good(pictures: Iterable, complaints: list[InputError], told: "deque[dict[str, Any]]") -> Iterator:
    """The pictures that could be read; kept are the complaints about the others, and what is known of their images."""
    for picture in pictures:
        if isinstance(picture, InputError):
            complaints.append(picture)
            continue
        points = {
            band: {"magnitude": _short(magnitude) if isfinite(magnitude) else None, "source": source}
            for band, (magnitude, source) in picture.zero_points.items()
        }
        told.append(
            {**({"zero_points": points} if points else {}), **({"notes": picture.notes} if picture.notes else {})}
        )
        yield picture


def _answers(client, pictures: Iterator, told: "deque[dict[str, Any]]", embedding: bool) -> Iterator[dict[str, Any]]:
    """What the server says about each picture, and what is `told` of it, in the form of `--json`."""
    outputs = ["probabilities", "tree_probabilities", "reconstruction_error", "anomaly_score", "anomaly"]
    outputs += ["embedding"] if embedding else []
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
            **({"embedding": [_short(v) for v in answers["embedding"][0]]} if embedding else {}),
            "reconstruction_error": _short(answers["reconstruction_error"][0]),
            "anomaly_score": _short(answers["anomaly_score"][0]),
            "anomaly": bool(answers["anomaly"][0]),
            "flags": list(answers.flags[0]),
            **told.popleft(),
            "model": answers.description["name"],
            "model_version": int(answers.versions[0]),
        }


def _short(value) -> float:
    """A float32 without the digits that it does not have."""
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
        caption=f"{description['name']} version {description['version']} ({description['survey']}). Of those who are "
        "asked the question, and (dim) of all who start at the top of the tree."
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
        if "embedding" in answer:
            lines.append("[dim]embedding[/dim]  " + " ".join(f"{value:.2f}" for value in answer["embedding"]))
        strange = "[bold red]strange[/bold red]" if answer["anomaly"] else ""
        notes = [f"p = {answer['anomaly_score']:.3g}", strange, ", ".join(answer["flags"])]
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
    """Where an image's zero points come from, and how it was read, one sentence each."""
    bands: dict[str, list[str]] = {}
    for band, point in answer.get("zero_points", {}).items():
        value = "not known" if point["magnitude"] is None else f"{point['magnitude']:.3f}"
        bands.setdefault(f"{value} by {point['source']}", []).append(band)
    said = "; ".join(f"{', '.join(names)}: {words}" for words, names in bands.items())
    return [*([f"Zero points {said}."] if said else []), *answer.get("notes", ())]
