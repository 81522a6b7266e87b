"""Prometheus's own program tries the alerts on series that it is given."""

import shutil
import subprocess

import pytest

PROMTOOL = shutil.which("promtool")

SERVER = 'up{job="tensorflow-serving", instance="%s"}'
WAITS = ':tensorflow:serving:batching_session:queuing_latency_bucket{le="%s"}'
LOADS = ':tensorflow:cc:saved_model:load_attempt_count{model_path="/models/morph/2", status="fail"}'

#: The case; its series, a value a minute; the alert, the minute at which it is asked for, and whether it fires.
CASES = [
    ("all well", {SERVER % "a": "1x30"}, "MorphIsDown", 20, False),
    ("one pod down", {SERVER % "a": "1x30", SERVER % "b": "1x5 0x25"}, "MorphIsDown", 20, True),
    ("one pod down for a moment", {SERVER % "a": "1x5 0 1x25"}, "MorphIsDown", 7, False),
    ("all pods gone", {SERVER % "a": "1x5 _x25"}, "MorphIsDown", 20, True),
    (
        "queue growing",
        {WAITS % "1e5": "0x30", WAITS % "1e6": "0+60x30", WAITS % "+Inf": "0+60x30"},
        "MorphWaits",
        25,
        True,
    ),
    ("queue short", {WAITS % "1e5": "0+60x30", WAITS % "+Inf": "0+60x30"}, "MorphWaits", 25, False),
    ("version failed", {LOADS: "_x5 1x25"}, "MorphVersionNotLoaded", 8, True),
    ("version failed once more", {LOADS: "1x20 2x10"}, "MorphVersionNotLoaded", 24, True),
    ("version failed long ago", {LOADS: "1x40"}, "MorphVersionNotLoaded", 38, False),
]


needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")


@needs_promtool
def test_prometheus_takes_the_configuration(folder):
    """Of any release: an option that is new in one would be an error in those before."""
    checked = subprocess.run(
        [PROMTOOL, "check", "config", folder / "monitoring" / "prometheus.yml"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "5 rules found" in checked.stdout


@needs_promtool
def test_the_alerts_fire_when_they_should(folder):
    import yaml

    rules = folder / "monitoring" / "alerts.yaml"
    alerts = {rule["alert"]: rule for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]}
    subprocess.run([PROMTOOL, "check", "rules", str(rules)], check=True, capture_output=True)
    tests = []
    for name, series, alert, minute, fires in CASES:
        labels = dict(alerts[alert]["labels"])
        # Whatever labels the series adds, `count` says how many alerts fire.
        asked = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
        expected = [{"labels": "{}", "value": 1}] if fires else []
        assert labels["severity"] in ("page", "warn")
        tests.append(
            {
                "name": name,
                "interval": "1m",
                "input_series": [{"series": key, "values": values} for key, values in series.items()],
                "promql_expr_test": [{"expr": asked, "eval_time": f"{minute}m", "exp_samples": expected}],
            }
        )
    (rules.parent / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["alerts.yaml"], "tests": tests}))
    tried = subprocess.run([PROMTOOL, "test", "rules", "tests.yaml"], cwd=rules.parent, capture_output=True, text=True)
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_kubernetes_gets_the_same_alerts(folder):
    """What kustomize puts together holds the rules of alerts.yaml, for the operator's Prometheus."""
    import yaml

    rule = yaml.safe_load((folder / "kubernetes" / "pod-monitor" / "prometheus-rule.yaml").read_text())
    alone = yaml.safe_load((folder / "monitoring" / "alerts.yaml").read_text())
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["spec"] == alone
    assert len(rule["spec"]["groups"][0]["rules"]) == 5
    named = yaml.safe_load((folder / "kubernetes" / "pod-monitor" / "kustomization.yaml").read_text())
    assert "prometheus-rule.yaml" in named["resources"]
