"""The configuration files that every server reads, TensorFlow Serving's or morph's own."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from morph.errors import InputError

TEMPLATES = Path(__file__).parent / "templates"

#: What every server reads, TensorFlow Serving's or morph's own.
CONFIGURATIONS = ("models.config", "batching_parameters.txt", "monitoring.config")


def must_be_name(name: str) -> None:
    """Raise InputError unless a model's name can stand in models.config and name a Service of Kubernetes (RFC 1123),
    with the ten characters of `-dashboard` behind it."""
    if not re.fullmatch("[a-z]([-a-z0-9]{0,51}[a-z0-9])?", name):
        raise InputError(
            f"The name '{name}' does not do; use up to 53 of a-z, 0-9 and '-', beginning with a letter, such as morph."
        )


def write_configurations(to: Path, name: str) -> list[Path]:
    """Write the three configurations for the model `name` into the folder `to`; a file that exists is left alone.

    Returns the files written. Raises InputError where the name does not do.
    """
    must_be_name(name)
    return write_templates(((TEMPLATES / file, to / file) for file in CONFIGURATIONS), {"{name}": name})


def write_templates(pairs: Iterable[tuple[Path, Path]], fields: Mapping[str, str]) -> list[Path]:
    """Write files from templates, each of them a pair of a template and a target, with `fields` filled in.

    A target that exists is left alone: it may hold what the user changed. Returns the files written.
    """
    written = []
    for source, target in pairs:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text()
            for field, value in fields.items():
                text = text.replace(field, value)
            target.write_text(text)
            target.chmod(target.stat().st_mode | (source.stat().st_mode & 0o111))
            written.append(target)
    return written
