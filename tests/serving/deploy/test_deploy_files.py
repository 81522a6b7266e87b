"""The checks of files pass on what `morph deploy write` writes, and each finds the mistakes that it is there for."""

import pytest

from morph.errors import InputError
from serving.deploy.checks import MODULES, checks
from serving.deploy.deployment import Deployment
from tests.serving.deploy.making import make

#: The check; the file, what stands there and what is put in its place; what the check says then.
MISTAKES = [
    ("models.config", "models.config", 'name: "morph"', 'name: "other"', "has no model 'morph' (it has other)"),
    ("models.config", "models.config", "base_path:", "base_pth:", "'models.config' is not a ModelServerConfig"),
    ("models.config", "models.config", '"/models', '"s3://models', "reads no s3:// since 2.7"),
    ("models.config", "models.config", '"/models/morph"', '"models/morph"', "must be absolute"),
    ("models.config", "models.config", '"tensorflow"', '"torch"', "model_platform is 'torch'"),
    (
        "versions and labels",
        "models.config",
        "latest { num_versions: 2 }",
        "specific { versions: 7 }",
        "asks for version 7, which is not in 'morph/'",
    ),
    (
        "versions and labels",
        "models.config",
        'model_platform: "tensorflow"',
        'model_platform: "tensorflow" version_labels { key: "stable" value: 2 }',
        "label 'stable' is on version 2, which is not loaded",
    ),
    (
        "batching_parameters.txt",
        "batching_parameters.txt",
        "max_batch_size { value: 128 }",
        "max_batch_size { value: 256 }",
        "must end with max_batch_size (256); they end with 128",
    ),
    (
        "batching_parameters.txt",
        "batching_parameters.txt",
        "max_batch_size { value: 128 }",
        "max_batch_size: 128",
        "'batching_parameters.txt' is not a BatchingParameters",
    ),
    ("batching_parameters.txt", "batching_parameters.txt", "sizes: 4\n", "sizes: 2\n", "must rise"),
    ("monitoring.config", "monitoring.config", "enable: true", "enable: false", "needs `enable: true`"),
    (
        "warm-up",
        "batching_parameters.txt",
        "max_batch_size { value: 128 }",
        "max_batch_size { value: 96 }",
        "The warm-up has no batch of max_batch_size (96)",
    ),
    ("message size", "batching_parameters.txt", "128 }", "99999 }", "larger than 2 GiB; the most is 43690 galaxies"),
    (
        "memory of the queue",
        "batching_parameters.txt",
        "max_enqueued_batches { value: 64 }",
        "max_enqueued_batches { value: 6400 }",
        "more than half of the 8.0 GiB that kubernetes/deployment.yaml gives",
    ),
    ("memory of the queue", "compose.yaml", "memory: 8g", "memory: 2g", "2.0 GiB that compose.yaml gives"),
    ("Compose files", "compose.yaml", "healthcheck:", "healthchek:", "Compose knows no 'healthchek'"),
    ("Compose files", "compose.yaml", "interval: 10s", "interval: often", "interval 'often' is not a duration"),
    ("Compose files", "compose.yaml", "name: morph", "name: [", "'compose.yaml' is not YAML"),
    (
        "Compose references",
        "compose.yaml",
        "./models.config",
        "./model.config",
        "'./model.config', which does not exist",
    ),
    (
        "Compose references",
        "compose.yaml",
        "  grafana: {}",
        "  graphana: {}",
        "volume 'grafana', which is not declared",
    ),
    ("Compose references", "compose.yaml", "[prometheus]", "[promotheus]", "'promotheus', which is not a service"),
    ("Compose references", "compose.yaml", "3000:3000", "8501:3000", "both want port 8501"),
    ("Compose server", "compose.yaml", "serving:2.19.1-gpu", "serving:latest-gpu", "is not a pinned image"),
    ("Compose server", "compose.yaml", "serving:2.19.1-gpu", "serving:2.5.1-gpu", "checked for 2.19.1"),
    ("Compose server", "compose.yaml", "--enable_batching=true", "--batching", "has no option '--batching'"),
    ("Compose server", "compose.yaml", "enable_batching=true", "enable_batching=false", "passes the network alone"),
    (
        "Compose server",
        "compose.yaml",
        ":/config/models.config",
        ":/etc/models.config",
        "models.config is not mounted",
    ),
    (
        "Compose server",
        "compose.yaml",
        "./morph:/models/morph:ro",
        "./morph:/model:ro",
        "nothing is mounted at /models",
    ),
    ("Compose server", "compose.yaml", "--port=8510", "--port=8600", "the server listens on 8600"),
    ("Compose server", "compose.yaml", '"8500:8500"', '"8500:8510"', "which only the proxy may use"),
    ("Compose server", "envoy.yaml", "port_value: 8500", "port_value: 8400", "the server listens on 8400"),
    ("Compose server", "compose.yaml", "/v1/models/morph ", "/healthz ", "must ask /v1/models/morph"),
    (
        "Compose TLS",
        "compose.tls.yaml",
        "=/config/ssl.config",
        "=/ssl.config",
        "must name the ssl.config that is mounted",
    ),
    ("Compose TLS", "compose.yaml", "command: []", "command: [--port=1]", "replaces 'command'"),
    ("Kubernetes objects", "kubernetes/service.yaml", "kind: Service", "knid: Service", "needs apiVersion and kind"),
    (
        "Kubernetes objects",
        "kubernetes/service.yaml",
        "name: morph-servers",
        "name: morph",
        "two objects Service morph",
    ),
    (
        "Kubernetes objects",
        "kubernetes/autoscaling/scaled-object.yaml",
        "scaleTargetRef:",
        "scaleTarget:",
        "needs spec.scaleTargetRef.name",
    ),
    (
        "Kubernetes schemas",
        "kubernetes/deployment.yaml",
        "Seconds: 40",
        "Seconds: forty",
        "terminationGracePeriodSeconds'",
    ),
    ("Kubernetes schemas", "kubernetes/deployment.yaml", "readinessProbe:", "readyProbe:", "readyProbe"),
    ("Kubernetes schemas", "kubernetes/service.yaml", "apiVersion: v1", "apiVersion: v3", "has no Service in v3"),
    (
        "kustomization",
        "kustomization.yaml",
        "kubernetes/service.yaml",
        "kubernetes/servce.yaml",
        "which does not exist",
    ),
    (
        "kustomization",
        "kustomization.yaml",
        "kubernetes/autoscaling",
        "kubernetes/scaling",
        "has no kustomization.yaml",
    ),
    ("kustomization", "kubernetes/tls/deployment.yaml", "name: serving", "name: server", "container 'server'"),
    ("kustomization", "kubernetes/tls/deployment.yaml", "name: morph\n", "name: moprh\n", "Deployment 'moprh'"),
    ("selectors", "kubernetes/service.yaml", "name: morph\n  ports", "name: mrph\n  ports", "Service morph selects"),
    (
        "selectors",
        "kubernetes/disruption-budget.yaml",
        "/name: morph",
        "/name: m",
        "PodDisruptionBudget morph selects",
    ),
    ("selectors", "kubernetes/pod-monitor/pod-monitor.yaml", "/name: morph", "/name: m", "PodMonitor morph selects"),
    ("selectors", "kubernetes/network-policy.yaml", "/name: morph", "/name: m", "NetworkPolicy morph selects"),
    ("Kubernetes server", "kubernetes/deployment.yaml", "limits:\n", "limit:\n", "has no nvidia.com/gpu"),
    (
        "Kubernetes server",
        "kubernetes/deployment.yaml",
        "claimName: morph",
        "claimName: m",
        "PersistentVolumeClaim 'm-",
    ),
    ("Kubernetes server", "kustomization.yaml", "name: morph-config", "name: config", "ConfigMap 'morph-config'"),
    ("Kubernetes server", "kubernetes/deployment.yaml", '"30"', '"300"', "ignores SIGTERM"),
    ("ports and probes", "kubernetes/deployment.yaml", "containerPort: 8510", "containerPort: 85", "listens on 8510"),
    (
        "ports and probes",
        "kubernetes/service.yaml",
        "targetPort: rest",
        "targetPort: http",
        "targetPort 'http' is not among",
    ),
    ("ports and probes", "kubernetes/deployment.yaml", "/v1/models/morph", "/healthz", "startupProbe must get"),
    (
        "ports and probes",
        "kubernetes/deployment.yaml",
        """'"state": "AVAILABLE"'""",
        "model_version_status",
        "readinessProbe must look for",
    ),
    ("ports and probes", "kubernetes/deployment.yaml", "port: server\n", "port: live\n", "livenessProbe must open"),
    ("permitted clients", "kubernetes/network-policy.yaml", "- from:", "- of:", "lets every pod in"),
    ("permitted clients", "kubernetes/network-policy.yaml", "ports:\n", "port:\n", "opens every port"),
    (
        "permitted clients",
        "kubernetes/network-policy.yaml",
        "port: 8500",
        "port: 8510",
        "opens 8510, the server's own",
    ),
    ("permitted clients", "kubernetes/network-policy.yaml", "kind: Net", "kind: N", "There is no NetworkPolicy"),
    (
        "permitted clients",
        "envoy.yaml",
        "port_value: 8510",
        "port_value: 8511",
        "listens on 8510, and envoy.yaml asks 8511",
    ),
    (
        "permitted clients",
        "envoy.yaml",
        "port_value: 8500",
        "port_value: 8400",
        "which is not a port of the container 'proxy'",
    ),
    (
        "permitted clients",
        "envoy.yaml",
        "path: /tensorflow.serving.ModelService/GetModelStatus",
        "prefix: /tensorflow.serving.",
        "lets '/tensorflow.serving.' through, and with it Handle",
    ),
    ("permitted clients", "envoy.yaml", "listeners:", "listens:", "must hold a listener with routes"),
    (
        "autoscaler and disruption budget",
        "kubernetes/autoscaling/scaled-object.yaml",
        "kind: Deployment\n    name: morph",
        "kind: Deployment\n    name: other",
        "scales 'other'; the server is Deployment morph",
    ),
    (
        "autoscaler and disruption budget",
        "kubernetes/autoscaling/scaled-object.yaml",
        "maxReplicaCount: 8",
        "maxReplicaCount: 1",
        "from 2 to 1 servers is not a range",
    ),
    (
        "autoscaler and disruption budget",
        "kubernetes/disruption-budget.yaml",
        "kind: Pod",
        "kind: P",
        "no PodDisruption",
    ),
    (
        "autoscaler and disruption budget",
        "kubernetes/autoscaling/scaled-object.yaml",
        "kind: ScaledObject",
        "kind: ScaledThing",
        "has neither an autoscaler",
    ),
    (
        "Prometheus",
        "monitoring/prometheus.yml",
        "serving:8501",
        "server:8501",
        "'server:8501', which is not a service",
    ),
    (
        "Prometheus",
        "monitoring/prometheus.yml",
        "[alerts.yaml]",
        "[alarms.yaml]",
        "'alarms.yaml', which are not there",
    ),
    (
        "path of the metrics",
        "monitoring.config",
        "prometheus/metrics",
        "metrics",
        "looks for metrics at /monitoring/pro",
    ),
    (
        "Prometheus",
        "monitoring/prometheus.yml",
        "alertmanager:9093",
        "alerts:9093",
        "alerts 'alerts:9093', which is no",
    ),
    ("Prometheus", "monitoring/prometheus.yml", "alertmanagers:", "managers:", "so that no alert is sent"),
    (
        "receivers of alerts",
        "monitoring/alertmanager.yml",
        "receiver: operators\n      repeat",
        "receiver: me\n      repeat",
        "the receiver 'me' sends nothing",
    ),
    (
        "receivers of alerts",
        "monitoring/alertmanager.yml",
        "route:\n  receiver",
        "route:\n  r",
        "`route` needs a receiver",
    ),
    ("receivers of alerts", "monitoring/alerts.yaml", "for: 2m", "for: 3m", "are not those of monitoring/alerts.yaml"),
    ("Compose containers", "compose.yaml", "cap_drop: [ALL]", "cap_drop: []", "'serving': give it cap_drop: [ALL]"),
    ("Compose containers", "compose.yaml", "no-new-privileges:true", "seccomp:default", "give it no-new-privileges"),
    ("Compose containers", "compose.yaml", "read_only: true", "read_only: false", "give it read_only: true"),
    ("Compose containers", "compose.yaml", '"472:0"', '"0:0"', "'grafana': give it a user who is not root"),
    ("Compose containers", "compose.yaml", 'cpus: "0.5"', "pids: 9", "'alertmanager': give it limits"),
    ("alerts", "monitoring/alerts.yaml", "request_count{", "requests{", "which TensorFlow Serving does not have"),
    ("alerts", "monitoring/alerts.yaml", "> 2e6", ") > 2e6", "() do not match"),
    (
        "autoscaler's query",
        "kubernetes/autoscaling/scaled-object.yaml",
        "queuing_latency",
        "queueing_latency",
        "queueing_latency_bucket, which TensorFlow Serving does not have",
    ),
    (
        "dashboard",
        "monitoring/dashboard.json",
        "input_batch_size",
        "batch_size",
        "asks for :tensorflow:serving:batching",
    ),
    ("dashboard", "monitoring/dashboard.json", '"panels"', '"pannels"', "is not a dashboard of Grafana"),
]


@pytest.mark.parametrize(
    ("about", "file", "right", "wrong", "sentence"), MISTAKES, ids=[f"{each[0]}-{each[3][:20]}" for each in MISTAKES]
)
def test_a_mistake_is_reported_in_one_sentence(folder, whole, about, file, right, wrong, sentence):
    deployment = Deployment(folder)
    deployment.loaded = whole.loaded
    make(about, deployment)
    text = (folder / file).read_text()
    assert right in text
    (folder / file).write_text(text.replace(right, wrong))
    changed = Deployment(folder)
    changed.loaded = whole.loaded
    with pytest.raises(InputError) as problem:
        make(about, changed)
    assert sentence in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("about", "file"),
    [("Compose server", "compose.yaml"), ("Kubernetes server", "kubernetes/deployment.yaml")],
)
def test_a_server_with_labels_can_start(folder, whole, about, file):
    models = folder / "models.config"
    platform = 'model_platform: "tensorflow"'
    models.write_text(models.read_text().replace(platform, f'{platform} version_labels {{ key: "stable" value: 3 }}'))
    deployment = Deployment(folder)
    deployment.loaded = whole.loaded
    make("versions and labels", deployment)
    make(about, deployment)
    option = "--allow_version_labels_for_unavailable_models=true"
    (folder / file).write_text((folder / file).read_text().replace(option, option.replace("true", "false")))
    changed = Deployment(folder)
    with pytest.raises(InputError, match=f"without {option} the server does not start with labels"):
        make(about, changed)


def test_every_check_of_a_file_has_a_mistake_that_it_finds():
    tried = {about for about, *_ in MISTAKES} | {"ssl.config"}
    made = {name for module in MODULES for name, _ in checks(module)}
    assert made - tried == {
        *("loads", "description", "signatures", "operations", "graph version", "any number of galaxies")
    }
