"""The files of a deployment, written beside an exported model."""

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from morph.atomic import atomic
from morph.errors import InputError

TEMPLATES = Path(__file__).parent

#: What every server reads, TensorFlow Serving's or morph's own.
CONFIGURATIONS = ("models.config", "batching_parameters.txt", "monitoring.config")

#: Kind of deployment -> template -> where it goes. Docker Compose and kustomize both want their main file at the top,
#: from where they reach the three configurations: those are there once.
KINDS: dict[str, dict[str, str]] = {
    "compose": {
        "compose": ".",
        "envoy.yaml": "envoy.yaml",
        "monitoring": "monitoring",
        "pin-images.sh": "pin-images.sh",
    },
    "kubernetes": {
        "kubernetes/kustomization.yaml": "kustomization.yaml",
        "kubernetes": "kubernetes",
        "envoy.yaml": "envoy.yaml",
        "monitoring/dashboard.json": "monitoring/dashboard.json",
        "monitoring/alerts.yaml": "monitoring/alerts.yaml",
        "pin-images.sh": "pin-images.sh",
    },
}


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
    return _write(((TEMPLATES / file, to / file) for file in CONFIGURATIONS), name)


def write_deployment(to: Path, name: str, kinds: Iterable[str]) -> list[Path]:
    """Write the files for each of `kinds` ("compose", "kubernetes"), and the configurations, into the folder `to`.

    A file that exists is left alone: it may hold what the user changed. Returns the files written.
    """
    written = write_configurations(to, name)
    for kind in kinds:
        pairs: dict[Path, Path] = {}
        for template, place in KINDS[kind].items():
            source = TEMPLATES / template
            files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
            for file in files:
                # A file that has a place of its own does not go with its folder.
                if file not in pairs:
                    pairs[file] = to / place / (file.relative_to(source) if source.is_dir() else "")
        written += _write(pairs.items(), name)
    return written


def _write(pairs: Iterable[tuple[Path, Path]], name: str) -> list[Path]:
    written: list[Path] = []
    for source, target in pairs:
        if not target.exists():
            with atomic(target) as building:
                text = source.read_text(encoding="utf-8").replace("{alerts}", _alerts()).replace("{name}", name)
                building.write_text(text, encoding="utf-8")
                building.chmod(building.stat().st_mode | (source.stat().st_mode & 0o111))
            written.append(target)
    return written


def _alerts() -> str:
    """The groups of alerts, as they stand below the `spec` of a PrometheusRule."""
    text = (TEMPLATES / "monitoring" / "alerts.yaml").read_text(encoding="utf-8")
    return textwrap.indent(text[text.index("groups:") :].rstrip(), "  ")
