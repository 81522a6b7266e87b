"""Prometheus and Grafana: the files parse, and the server has every metric that they query."""

import json
import re
from collections.abc import Iterator
from typing import Any

from morph.errors import InputError
from serving.deploy import stock
from serving.deploy.checks import Skipped, check
from serving.deploy.deployment import Deployment, pod

#: PromQL's keywords, which look like metrics.
_KEYWORDS = """
abs absent and avg bool bottomk by ceil clamp_max clamp_min count delta floor group_left group_right histogram_quantile
ignoring increase irate label_values max max_over_time min offset on or quantile rate scalar sum time topk unless
vector without le
"""
_WORDS = frozenset(_KEYWORDS.split())


def metrics(query: str) -> set[str]:
    """The metrics in a PromQL query."""
    query = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", query)
    query = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", query)
    words = re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*", query)
    return {word for word in words if word not in _WORDS}


def _check_query(query: str, where: str) -> set[str]:
    for opening, closing in ("()", "{}", "[]"):
        if query.count(opening) != query.count(closing):
            raise InputError(f"{where}: the query's {opening}{closing} do not match: {query}")
    if unknown := metrics(query) - stock.series():
        raise InputError(f"{where} asks for {sorted(unknown)[0]}, which TensorFlow Serving does not have.")
    return metrics(query)


@check("Prometheus")
def prometheus(deployment: Deployment) -> str:
    if not deployment.has("compose.yaml"):
        raise Skipped("In Kubernetes Prometheus is the cluster's.")
    config = deployment.mapping("monitoring/prometheus.yml")
    services = deployment.mapping("compose.yaml").get("services", {})
    alerted = config.get("alerting", {}).get("alertmanagers", [])
    for verb, places in (("watches", config.get("scrape_configs", [])), ("alerts", alerted)):
        for static in (static for place in places for static in place.get("static_configs", [])):
            for target in static.get("targets", []):
                if target.partition(":")[0] not in services:
                    raise InputError(
                        f"monitoring/prometheus.yml {verb} '{target}', which is not a service of compose.yaml."
                    )
    if not alerted:
        raise InputError("monitoring/prometheus.yml names no Alertmanager (`alerting`), so that no alert is sent.")
    for file in config.get("rule_files", []):
        if not deployment.has(f"monitoring/{file}"):
            raise InputError(f"monitoring/prometheus.yml names the rules '{file}', which are not there.")
    return f"{len(config.get('scrape_configs', []))} jobs"


@check("path of the metrics")
def path_of_the_metrics(deployment: Deployment) -> str:
    path = deployment.monitoring.prometheus_config.path
    found = {}
    if deployment.has("compose.yaml"):
        for job in deployment.mapping("monitoring/prometheus.yml").get("scrape_configs", []):
            if job.get("job_name") == "tensorflow-serving":
                found["monitoring/prometheus.yml"] = job.get("metrics_path")
    if deployment.has("kustomization.yaml"):
        server = deployment.server
        notes = server.content["spec"]["template"].get("metadata", {}).get("annotations", {})
        found[server.file] = notes.get("prometheus.io/path")
        ports = {str(port["containerPort"]) for each in pod(server)["containers"] for port in each.get("ports", [])}
        if notes.get("prometheus.io/port") not in ports:
            raise InputError(f"{server.file}: prometheus.io/port is none of the container's ports.")
        for monitor in deployment.objects("PodMonitor"):
            for endpoint in monitor.content["spec"]["podMetricsEndpoints"]:
                found[monitor.file] = endpoint.get("path")
    for file, asked in found.items():
        if asked != path:
            raise InputError(f"{file} looks for metrics at {asked}; monitoring.config puts them at {path}.")
    return path


@check("alerts")
def alerts(deployment: Deployment) -> str:
    groups = deployment.mapping("monitoring/alerts.yaml").get("groups", [])
    rules = [rule for group in groups for rule in group.get("rules", [])]
    for rule in rules:
        if not rule.get("expr") or not (rule.get("alert") or rule.get("record")):
            raise InputError("monitoring/alerts.yaml: every rule needs alert (or record) and expr.")
        _check_query(rule["expr"], f"monitoring/alerts.yaml, {rule.get('alert')},")
    return f"{len(rules)} rules"


@check("receivers of alerts")
def receivers_of_alerts(deployment: Deployment) -> str:
    found = []
    if deployment.has("compose.yaml"):
        config = deployment.mapping("monitoring/alertmanager.yml")
        receivers = {each.get("name"): [key for key in each if key != "name"] for each in config.get("receivers", [])}
        routes = [config.get("route", {})]
        for route in routes:
            routes += route.get("routes", [])
            if "receiver" in route and not receivers.get(route["receiver"]):
                raise InputError(f"monitoring/alertmanager.yml: the receiver '{route['receiver']}' sends nothing.")
        if "receiver" not in routes[0]:
            raise InputError("monitoring/alertmanager.yml: `route` needs a receiver.")
        found.append("Alertmanager's " + ", ".join(map(str, receivers)))
    if deployment.has("kustomization.yaml"):
        groups = deployment.mapping("monitoring/alerts.yaml").get("groups")
        for rule in deployment.objects("PrometheusRule"):
            if rule.content["spec"].get("groups") != groups:
                raise InputError(f"{rule.file}: its groups are not those of monitoring/alerts.yaml; copy them.")
            found.append(str(rule))
    return ", ".join(found) or "no receiver: alerts are shown by Prometheus only"


@check("autoscaler's query")
def autoscalers_query(deployment: Deployment) -> str:
    if not deployment.has("kustomization.yaml") or not (found := deployment.objects("ScaledObject")):
        raise Skipped("There is no ScaledObject.")
    for scaler in found:
        for trigger in scaler.content["spec"]["triggers"]:
            if query := trigger.get("metadata", {}).get("query"):
                _check_query(query, str(scaler))
    return "queries metrics of the server"


@check("dashboard")
def dashboard(deployment: Deployment) -> str:
    try:
        panels = json.loads(deployment.text("monitoring/dashboard.json"))["panels"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"'monitoring/dashboard.json' is not a dashboard of Grafana ({error}).") from None
    asked: set[str] = set()
    for title, query in queries(panels):
        asked |= _check_query(query, f"The dashboard's '{title}'")
    return f"{len(panels)} panels of {len(asked)} metrics"


def queries(panels: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Title and query of every panel of a dashboard."""
    for panel in panels:
        for target in panel.get("targets", []):
            yield panel.get("title", ""), target.get("expr", "")
        yield from queries(panel.get("panels", []))
