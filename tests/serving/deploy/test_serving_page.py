"""What the pages on serving say stays true."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from serving.deploy import stock
from serving.deploy.checks.monitoring import metrics, queries
from serving.deploy.write import TEMPLATES, write_deployment

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "how-to" / "deploy.md"


def test_the_arithmetic_on_the_page_is_what_the_verb_prints(morph):
    page = (DOCS / "explanation" / "performance.md").read_text()
    blocks = re.findall(r"```text\n\$ morph (deploy size .*)\n((?:.*\n)*?)```", page)
    assert blocks
    for command, printed in blocks:
        assert morph(*shlex.split(command)) == (0, printed, "")


def test_the_files_and_the_image_that_the_page_names_are_written(tmp_path):
    write_deployment(tmp_path, "morph", ["compose", "kubernetes"])
    page = PAGE.read_text()
    for name in (
        "compose.yaml",
        "compose.tls.yaml",
        "compose.cpu.yaml",
        "kustomization.yaml",
        "kubernetes",
        "monitoring",
    ):
        assert f"`{name}" in page
        assert (tmp_path / name).exists()
    image = f"tensorflow/serving:{stock.VERSION}-gpu"
    assert image in page
    for file in ("compose.yaml", "kubernetes/deployment.yaml"):
        assert image in (tmp_path / file).read_text()
    assert not [path for path in tmp_path.rglob("*.*") if path.is_file() and "{name}" in path.read_text()]


@pytest.mark.parametrize("kind", ["dashboard", "alerts", "autoscaler"])
def test_the_embedded_server_counts_what_is_watched(kind):
    """The same dashboard shows both servers."""
    from serving.server.metrics import METRICS

    if kind == "dashboard":
        panels = json.loads((TEMPLATES / "monitoring" / "dashboard.json").read_text())["panels"]
        asked = set().union(*(metrics(query) for _, query in queries(panels)))
    else:
        file = {"alerts": "monitoring/alerts.yaml", "autoscaler": "kubernetes/autoscaling/scaled-object.yaml"}[kind]
        asked = set(re.findall(r":tensorflow:[\w:]+", (TEMPLATES / file).read_text()))
    asked = {re.sub("_(bucket|sum|count)$", "", name) if name not in stock.METRICS else name for name in asked}
    assert asked - stock.OTHER_METRICS
    assert asked - stock.OTHER_METRICS <= set(METRICS)


def test_the_first_event_of_a_counter_that_was_not_there_before_is_an_alert():
    """Prometheus's increase() is 0 for a series that starts at 1."""
    rules = yaml.safe_load((TEMPLATES / "monitoring" / "alerts.yaml").read_text())["groups"][0]["rules"]
    asked = {rule["alert"]: re.findall(r"increase\((\S+)\[(\w+)\]\) > 0", rule["expr"]) for rule in rules}
    assert asked["MorphVersionNotLoaded"]
    for rule in rules:
        for series, time in asked[rule["alert"]]:
            assert f"or ({series} unless {series} offset {time})" in rule["expr"]
