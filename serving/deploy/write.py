"""Writes the files of a deployment beside an exported model, and ssl.config for TLS."""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import text_format

from morph.atomic import atomic
from morph.errors import InputError
from serving.protocol.configuration import new_configuration
from serving.savedmodel.export import write_configurations, write_templates
from serving.server.configuration import Tls

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
    """Write the files of a deployment and the configurations; a file that exists is left as the user has it.

    Parameters
    ----------
    to : the folder of the exported model.
    name : the model's name.
    kinds : "compose", "kubernetes" or both.

    Returns
    -------
    The files written.

    Examples
    --------
    >>> written = write_deployment(Path("served"), "morph", ["compose"])
    >>> Path("served/compose.yaml").is_file()
    True
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


def write_ssl_config(to: Path, certificate: Path, key: Path, clients: Path | None = None) -> None:
    """Write the file `to` from PEM files; only its owner may read it.

    Parameters
    ----------
    certificate, key : the server's, which must belong together.
    clients : the certificate that signs those of the clients; every client must then have one.

    Raises InputError where a file is missing or is not PEM, or key and certificate do not belong together.
    """
    tls = Tls(_read(key), _read(certificate), _read(clients) if clients else b"", bool(clients))
    tls.check(to)
    config = new_configuration("SSLConfig")
    config.server_key, config.server_cert, config.custom_ca = tls.key, tls.certificate, tls.authority
    config.client_verify = tls.client_verify
    with atomic(to) as building:
        # Made unreadable for others before it holds anything.
        building.touch(0o600, exist_ok=False)
        building.write_text(text_format.MessageToString(config))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise InputError(f"'{path}' cannot be read as a PEM file.") from None
