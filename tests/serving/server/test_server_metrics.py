"""The server's metrics for Prometheus, and its health probes."""

import asyncio
import http.client
import re
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from serving.server.metrics import METRICS, PATH, Metrics, page_path
from serving.server.models import Models, RequestRecord
from serving.server.running import GRACE
from serving.server.services import Health
from tests.serving.server.small_models import write_small_model


def get(port: int, path: str) -> tuple[int, str]:
    opened = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    opened.request("GET", path)
    response = opened.getresponse()
    text = response.read().decode()
    opened.close()
    return response.status, text


def test_the_page_declares_a_format_that_prometheus_reads(server):
    opened = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    opened.request("GET", PATH)
    assert opened.getresponse().headers.get_content_type() == "text/plain"
    opened.close()


def samples(text: str) -> dict[tuple[str, frozenset], float]:
    """Every sample on a page: (name, labels) -> value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(text: str, name: str, **labels: str) -> float:
    return sum(
        value for (found, given), value in samples(text).items() if found == name and labels.items() <= set(given)
    )


def test_requests_are_counted_by_version_entrypoint_and_status(server, client, flux):
    client.classify(flux)
    before = get(server.rest_port, PATH)[1]
    client.classify(flux)
    client.classify(flux[:1])
    assert get(server.rest_port, "/v1/models/morph:predict")[0] == 400
    opened = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    for body in (b'{"instances": ["?"], "signature_name": "describe"}', b"{"):
        opened.request("POST", "/v1/models/morph:predict", body)
        opened.getresponse().read()
    opened.close()
    after = get(server.rest_port, PATH)[1]

    def more(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    tf = ":tensorflow:serving:"
    assert more(f"{tf}request_count", model_name="morph", status="OK") == 3
    assert more(f"{tf}request_count", model_name="morph", status="INVALID_ARGUMENT") == 1
    assert more(f"{tf}request_latency_count", API="Predict", entrypoint="GRPC") == 2
    assert more(f"{tf}request_latency_count", API="predict", entrypoint="REST") == 1
    assert more(f"{tf}runtime_latency_count", model_name="morph") == 3
    assert more(f"{tf}batching_session:wrapped_run_count") == 3
    assert more(f"{tf}batching_session:input_batch_size_sum") == 8
    assert more("morph_requests", version="3", entrypoint="GRPC", status="OK") == 2
    assert more("morph_galaxies", version="3", signature="serving_default") == 7
    for part in ("queue", "compute"):
        assert more(f"morph_{part}_seconds_count", model="morph", version="3", signature="serving_default") == 2
    spent = more("morph_queue_seconds_sum") + more("morph_compute_seconds_sum")
    assert 0 < spent * 1e6 <= more(f"{tf}request_latency_sum")
    assert total(after, "morph_version_available", model="morph", version="3") == 1
    assert total(after, "morph_queue_galaxies") == 0
    assert total(after, ":tensorflow:cc:saved_model:load_attempt_count", status="success") == 1


def test_a_histogram_counts_every_value_up_to_its_bins_end():
    metrics = Metrics(Models())
    for rows in (1, 2, 3, 10**6):
        metrics.observe_batch(rows, 0)
    page = metrics.page().decode()
    name = ":tensorflow:serving:batching_session:input_batch_size"
    ends = dict(re.findall(name + r'_bucket{le="([^"]+)",thread_pool_name="[^"]+"} (\S+)', page))
    assert [float(ends[end]) for end in ("1.0", "2.0", "4.0", "8192.0", "+Inf")] == [1, 2, 3, 3, 4]
    assert total(page, f"{name}_sum") == 10**6 + 6


def test_a_model_without_versions_and_a_server_that_stops_have_a_page_too():
    models = Models()
    models.configure({"morph": {}})
    models.refused = 0
    assert Metrics(models).page()
    assert models.refused == 0


def test_every_metric_of_the_table_is_on_the_page_and_no_other():
    page = Metrics(Models()).page().decode()
    assert set(re.findall(r"# TYPE (\S+)", page)) == set(METRICS)


def test_invented_names_do_not_fill_the_memory():
    metrics = Metrics(Models())
    sizes = set()
    for i in range(100):
        metrics.observe(RequestRecord(f"m{i}", None, f"s{i}", "NOT_FOUND", 0, 0.0, 0.0, 0.0))
        metrics.observe(RequestRecord("morph", 3, f"s{i}", "FAILED_PRECONDITION", 0, 0.0, 0.0, 0.0))
        sizes.add(metrics.page().count(b"\n"))
    assert len(sizes) == 1


def test_counting_a_request_costs_microseconds():
    metrics = Metrics(Models())
    seen = RequestRecord("morph", 3, "serving_default", "OK", 1, 1e-3, 5e-3, 7e-3)
    best = float("inf")
    for _ in range(5):
        begun = time.thread_time()
        for _ in range(1000):
            metrics.observe(seen)
        best = min(best, time.thread_time() - begun)
    assert best / 1000 < 50e-6


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", PATH),
        ('prometheus_config { enable: true, path: "/metrics" }', "/metrics"),
        ('prometheus_config { path: "/metrics" }', None),
        ("", None),
    ],
)
def test_the_page_is_where_monitoring_config_says(tmp_path, text, path):
    (tmp_path / "monitoring.config").write_text(text)
    assert page_path(tmp_path / "monitoring.config") == path


def test_the_http_probes_say_alive_and_ready(server):
    assert get(server.rest_port, "/healthz/live")[0] == 200
    assert get(server.rest_port, "/healthz/ready")[0] == 200


def test_each_model_has_a_health_of_its_own(server):
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "morph", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_health_watch_gets_not_serving_when_the_server_stops_and_does_not_delay_it(tmp_path):
    from serving.server.embedded import Server

    write_small_model(tmp_path / "small" / "1")
    server = Server(tmp_path, "small")
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="small"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < GRACE / 2
        assert [told.status for told in watch] == [health_pb2.HealthCheckResponse.NOT_SERVING]


def test_alive_is_not_ready():
    async def told() -> dict[str, int]:
        models = Models()
        models.configure({"morph": {}})
        health = Health(models)
        await health.update()
        names = ("", "morph", "tensorflow.serving.PredictionService")
        return {n: (await health.servicer.Check(health_pb2.HealthCheckRequest(service=n), None)).status for n in names}

    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert list(asyncio.run(told()).values()) == [serving, not_serving, not_serving]
