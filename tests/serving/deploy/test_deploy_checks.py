"""Every check passes on what `morph deploy write` writes, and finds the mistake that it is there for."""

import copy
import json
import shutil
from pathlib import Path

import pytest
from certificates import Authority

from morph.errors import BadInput
from serving.deploy import stock
from serving.deploy.checks import MODULES, checks
from serving.deploy.deployment import Deployment
from serving.deploy.write import write_deployment


@pytest.fixture
def folder(model_dir, tmp_path) -> Path:
    """A deployment whose files a test may change; the model in it is the tests' own."""
    (tmp_path / "morph").symlink_to(model_dir / "morph")
    write_deployment(tmp_path, "morph", ["compose", "kubernetes"])
    return tmp_path


@pytest.fixture(scope="module")
def whole(model_dir) -> Deployment:
    """The model of the tests, loaded once."""
    deployment = Deployment(model_dir)
    assert deployment.loaded.tensorflow
    return deployment


def make(about: str, deployment: Deployment) -> str:
    """Make the check of that name."""
    found = {name: function for module in MODULES for name, function in checks(module)}
    return found[about](deployment)


#: The check; the file, what stands there and what is put in its place; what the check says then.
MISTAKES = [
    ("models.config", "models.config", 'name: "morph"', 'name: "other"', "has no model 'morph' (it has other)"),
    ("models.config", "models.config", "base_path:", "base_pth:", "'models.config' is no ModelServerConfig"),
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
        "'batching_parameters.txt' is no BatchingParameters",
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
    ("Compose files", "compose.yaml", "interval: 10s", "interval: often", "interval 'often' is no duration"),
    ("Compose files", "compose.yaml", "name: morph", "name: [", "'compose.yaml' is no YAML"),
    (
        "Compose references",
        "compose.yaml",
        "./models.config",
        "./model.config",
        "'./model.config', which is not there",
    ),
    (
        "Compose references",
        "compose.yaml",
        "  grafana: {}",
        "  graphana: {}",
        "volume 'grafana', which is not declared",
    ),
    ("Compose references", "compose.yaml", "[prometheus]", "[promotheus]", "'promotheus', which is no service"),
    ("Compose references", "compose.yaml", "3000:3000", "8501:3000", "both want port 8501"),
    ("Compose server", "compose.yaml", "serving:2.19.1-gpu", "serving:latest-gpu", "is no pinned image"),
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
    ("Compose server", "compose.yaml", "--port=8500", "--port=8600", "the server listens on 8600"),
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
    ("kustomization", "kustomization.yaml", "kubernetes/service.yaml", "kubernetes/servce.yaml", "which is not there"),
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
    ("Kubernetes server", "kubernetes/deployment.yaml", '"30"', '"300"', "does not listen to SIGTERM"),
    ("ports and probes", "kubernetes/deployment.yaml", "containerPort: 8500", "containerPort: 85", "listens on 8500"),
    (
        "ports and probes",
        "kubernetes/service.yaml",
        "targetPort: rest",
        "targetPort: http",
        "targetPort 'http' is none",
    ),
    ("ports and probes", "kubernetes/deployment.yaml", "/v1/models/morph", "/healthz", "startupProbe must get"),
    ("ports and probes", "kubernetes/deployment.yaml", "port: grpc\n", "port: live\n", "livenessProbe must open"),
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
        "from 2 to 1 servers is no range",
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
        "has no autoscaler and does not say how many",
    ),
    ("Prometheus", "monitoring/prometheus.yml", "serving:8501", "server:8501", "'server:8501', which is no service"),
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
    ("alerts", "monitoring/alerts.yaml", "request_count{", "requests{", "which TensorFlow Serving does not count"),
    ("alerts", "monitoring/alerts.yaml", "> 2e6", ") > 2e6", "() do not match"),
    (
        "autoscaler's query",
        "kubernetes/autoscaling/scaled-object.yaml",
        "queuing_latency",
        "queueing_latency",
        "queueing_latency_bucket, which TensorFlow Serving does not count",
    ),
    (
        "dashboard",
        "monitoring/dashboard.json",
        "input_batch_size",
        "batch_size",
        "asks for :tensorflow:serving:batching",
    ),
    ("dashboard", "monitoring/dashboard.json", '"panels"', '"pannels"', "is no dashboard of Grafana"),
]


@pytest.mark.parametrize(
    ("about", "file", "right", "wrong", "sentence"), MISTAKES, ids=[f"{each[0]}-{each[3][:20]}" for each in MISTAKES]
)
def test_a_mistake_is_told_in_one_sentence(folder, whole, about, file, right, wrong, sentence):
    deployment = Deployment(folder)
    deployment.loaded = whole.loaded
    make(about, deployment)
    text = (folder / file).read_text()
    assert right in text
    (folder / file).write_text(text.replace(right, wrong))
    changed = Deployment(folder)
    changed.loaded = whole.loaded
    with pytest.raises(BadInput) as problem:
        make(about, changed)
    assert sentence in str(problem.value)
    assert "\n" not in str(problem.value)


def test_every_check_of_a_file_has_a_mistake_that_it_finds():
    tried = {about for about, *_ in MISTAKES} | {"ssl.config"}
    made = {name for module in MODULES for name, _ in checks(module)}
    assert made - tried == {
        *("loads without Python", "description", "signatures", "operations", "graph version", "any number of galaxies")
    }


def changed(whole: Deployment, change) -> Deployment:
    """The model with another graph: `change` is given the MetaGraphDef to alter."""
    graph = copy.deepcopy(whole.graph)
    change(graph)
    deployment = Deployment(whole.folder, whole.name)
    deployment.graph, deployment.loaded = graph, whole.loaded
    return deployment


def _another_op(name: str):
    def change(graph):
        graph.graph_def.node[0].op = name

    return change


def _another_attribute(graph):
    node = next(
        node for function in graph.graph_def.library.function for node in function.node_def if node.op == "Conv2D"
    )
    node.attr["tomorrow"].i = 1


def _new_runtime(graph):
    graph.graph_def.versions.min_consumer = stock.GRAPH_VERSION + 1


def _rename(graph):
    outputs = graph.signature_def["serving_default"].outputs
    outputs["probability"].CopyFrom(outputs["probabilities"])
    del outputs["probabilities"]


def _retype(graph):
    graph.signature_def["composite"].inputs["image"].dtype = 1


def _fix(graph):
    graph.signature_def["serving_default"].inputs["image"].tensor_shape.dim[0].size = 1


def _remove(graph):
    del graph.signature_def["reconstruct"]


def _undescribed(graph):
    del graph.signature_def["describe"]


@pytest.mark.parametrize(
    ("about", "change", "sentence"),
    [
        (
            "operations",
            _another_op("EagerPyFunc"),
            "calls Python (EagerPyFunc), which TensorFlow Serving does not have",
        ),
        ("operations", _another_op("MyOwnOp"), "does not know MyOwnOp; build these from other operations"),
        ("operations", _another_attribute, "knows Conv2D without tomorrow"),
        ("graph version", _new_runtime, "Export with an older TensorFlow or serve with a newer image"),
        ("signatures", _rename, "'serving_default' has no output 'probabilities'"),
        ("signatures", _retype, "input 'image' is float32 [n, 64, 64, 3]; it must be uint8 [n, 64, 64, 3]"),
        ("signatures", _remove, "has no signature 'reconstruct'; it has composite, describe"),
        ("description", _undescribed, "has no signature 'describe'"),
        ("any number of galaxies", _fix, "'image' has a fixed number of rows"),
    ],
)
def test_a_model_that_the_server_cannot_run_is_told(whole, about, change, sentence):
    make(about, whole)
    with pytest.raises(BadInput) as problem:
        make(about, changed(whole, change))
    assert sentence in str(problem.value)


def test_a_model_that_calls_itself_otherwise_is_told(whole, tmp_path):
    (tmp_path / "morph").mkdir()
    (tmp_path / "morph" / "9").symlink_to(whole.version)
    with pytest.raises(BadInput, match="calls itself version 3 and lies in '9/'"):
        make("description", Deployment(tmp_path))


def test_a_damaged_model_or_warm_up_is_told(model_dir, whole, tmp_path):
    shutil.copytree(model_dir / "morph", tmp_path / "morph")
    shutil.copy(model_dir / "batching_parameters.txt", tmp_path)
    (warmup,) = tmp_path.glob("morph/3/assets.extra/*")
    warmup.write_bytes(warmup.read_bytes()[:-5])
    with pytest.raises(BadInput, match="The warm-up cannot be read"):
        make("warm-up", Deployment(tmp_path))
    (tmp_path / "morph" / "3" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(BadInput, match="TensorFlow cannot load the model"):
        make("loads without Python", Deployment(tmp_path))
    with pytest.raises(BadInput, match="is no SavedModel; export it again"):
        make("operations", Deployment(tmp_path))


def test_ssl_config_is_written_for_its_owner_and_holds_a_pair(morph, folder, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys")
    authority = Authority(keys)
    server, other = authority.sign("server"), authority.sign("other")
    to = folder / "ssl.config"
    status, output, _ = morph(
        *("deploy", "tls", "--certificate", server.certificate, "--key", server.key),
        *("--clients", authority.root, "--to", to),
    )

    assert status == 0
    assert "lets in only clients with a certificate" in output
    assert to.stat().st_mode & 0o777 == 0o600
    assert make("ssl.config", Deployment(folder)) == "key and certificate belong together; clients need one too"
    to.write_text(to.read_text().replace("custom_ca", "# custom_ca"))
    with pytest.raises(BadInput, match="has client_verify but no custom_ca"):
        make("ssl.config", Deployment(folder))
    status, _, errors = morph(
        *("deploy", "tls", "--certificate", server.certificate, "--key", other.key, "--to", folder / "no.config")
    )
    assert status == 2
    assert "does not fit the server_cert" in errors
    assert not (folder / "no.config").exists()


def test_the_verb_writes_and_checks_a_deployment(morph, model_dir, tmp_path):
    (tmp_path / "morph").symlink_to(model_dir / "morph")
    status, output, _ = morph("deploy", "write", tmp_path)
    assert status == 0
    assert str(tmp_path / "compose.yaml") in output.splitlines()
    status, output, errors = morph("deploy", "check", tmp_path, "--json")
    findings = [json.loads(line) for line in output.splitlines()]
    assert status == 0, [each for each in findings if each["state"] == "failed"]
    assert {each["check"] for each in findings if each["state"] != "ok"} == {"ssl.config"}
    (tmp_path / "monitoring.config").write_text("prometheus_config { enable: maybe }")
    status, output, errors = morph("deploy", "check", tmp_path)
    assert status == 1
    assert "failed" in output
    # Two checks read that file, and it is one mistake.
    assert errors == "morph: 1 check fails.\n"


def test_what_the_user_changed_is_left_alone(morph, folder):
    (folder / "compose.yaml").write_text("mine")
    status, output, _ = morph("deploy", "write", folder, "--compose")
    assert (status, output) == (0, "Every file is there already.\n")
    assert (folder / "compose.yaml").read_text() == "mine"


def test_no_folder_is_one_sentence(morph, tmp_path):
    for verb in ("check", "write"):
        status, _, errors = morph("deploy", verb, tmp_path / "missing")
        assert status == 2
        assert "make it with `morph export MODEL --to" in errors


def test_the_arithmetic_of_a_survey_is_shown(morph):
    status, output, _ = morph(
        "deploy", "size", "--galaxies", "300e6", "--rate", "1000", "--price", "2", "--servers", "10"
    )
    assert status == 0
    assert output == (
        "300 million galaxies / 1,000 a second / 3600 = 83.3 server hours x 2 an hour = 166.67; "
        "10 servers take 8.3 hours\n"
    )
    assert len(morph("deploy", "size", "--rate", "1000")[1].splitlines()) == 2
