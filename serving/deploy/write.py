"""The files of a deployment, written beside an exported model."""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from serving.savedmodel.configurations import write_configurations, write_templates

TEMPLATES = Path(__file__).parent


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
        written += write_templates(pairs.items(), {"{alerts}": _alerts(), "{name}": name})
    return written


def _alerts() -> str:
    """The groups of alerts, as they stand below the `spec` of a PrometheusRule."""
    text = (TEMPLATES / "monitoring" / "alerts.yaml").read_text(encoding="utf-8")
    return textwrap.indent(text[text.index("groups:") :].rstrip(), "  ")
