"""Metrics are a closed list, cheap, bounded, and found under the names the table gives them."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import get_args

import httpx
import pytest
import structlog
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from pipeline.settings import Settings
from pipeline.telemetry.endpoints import exposed
from pipeline.telemetry.metrics import METRICS, SPREAD_MAX, Kind, MetricName, Metrics


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def metrics(reader):
    made = Metrics([reader])
    yield made
    made.close()


def points(reader, name: str) -> list:
    data = reader.get_metrics_data()
    return [
        point
        for resource in (data.resource_metrics if data else [])
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


def test_the_table_has_every_name_and_no_other():
    assert set(METRICS) == set(get_args(MetricName))


@pytest.mark.parametrize("name", get_args(MetricName))
def test_a_name_says_unit_and_kind(name):
    metric = METRICS[name]
    total = "_total" if metric.kind is Kind.COUNTER else ""
    unit = "" if name.endswith(f"latency_{metric.unit}{total}") else f"_{metric.unit}"
    assert name.startswith("milepost_")
    assert name.endswith(f"{unit}{total}")
    assert metric.meaning
    assert bool(metric.bounds) == (metric.kind is Kind.HISTOGRAM)


@pytest.mark.parametrize("name", get_args(MetricName))
def test_no_attribute_is_an_id(name):
    assert not {"entity", "event", "id", "key", "tenant"} & set(METRICS[name].attributes)


def test_counters_grow_by_series(metrics, reader):
    for amount in (2, 3):
        metrics.add(
            "milepost_input_records_total", amount, disposition="approved", reason="owner_spoke"
        )
    metrics.add("milepost_input_records_total", 1, disposition="held", reason="awaiting_owner")
    found = {
        point.attributes["disposition"]: point.value
        for point in points(reader, "milepost_input_records_total")
    }
    assert found == {"approved": 5, "held": 1}


def test_a_gauge_stands_where_it_was_set_until_it_is_forgotten(metrics, reader):
    for partition in (0, 1):
        for topic in ("a", "b"):
            metrics.set("milepost_input_lag_records", 7, topic=topic, partition=partition)
    metrics.set("milepost_input_lag_records", 9, topic="a", partition=1)
    metrics.forget("milepost_input_lag_records", partition=0)
    found = {
        point.attributes["topic"]: (point.attributes["partition"], point.value)
        for point in points(reader, "milepost_input_lag_records")
    }
    assert found == {"a": (1, 9), "b": (1, 7)}
    metrics.forget("milepost_input_lag_records")
    assert points(reader, "milepost_input_lag_records") == []


@pytest.mark.parametrize(
    ("given", "recorded"), [(0, 0), (1, 1), (100, 100), (101, 51), (9_999, 100)]
)
def test_a_batch_is_spread_over_a_bounded_number_of_values(metrics, reader, given, recorded):
    metrics.spread("milepost_approval_latency_seconds", [0.1] * given)
    found = sum(point.count for point in points(reader, "milepost_approval_latency_seconds"))
    assert found == recorded <= SPREAD_MAX


@pytest.mark.parametrize(
    "misuse",
    [
        lambda metrics: metrics.add("milepost_input_records_total", 1),
        lambda metrics: metrics.add("milepost_transaction_aborts_total", 1, why="x"),
        lambda metrics: metrics.set("milepost_transaction_aborts_total", 1),
        lambda metrics: metrics.record("milepost_owned_partitions", 1),
        lambda metrics: metrics.spread("milepost_owned_partitions", [1]),
    ],
)
def test_a_metric_used_otherwise_than_declared_is_our_mistake(metrics, misuse):
    with pytest.raises(TypeError, match="milepost_"):
        misuse(metrics)


def test_nobody_has_to_listen():
    metrics = Metrics()
    metrics.add("milepost_transaction_aborts_total", 1)
    with pytest.raises(TypeError, match="milepost_"):  # a mistake is one unheard, too
        metrics.set("milepost_transaction_aborts_total", 1)
    metrics.close()


def test_telemetry_imports_nothing_of_kafka():
    program = (
        "import sys, pipeline.telemetry.endpoints, pipeline.telemetry.logs;"
        "print([name for name in sys.modules if 'kafka' in name or name.startswith('faust')])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.strip() == "[]"


# Endpoints


def served(settings: Settings):
    """Open the endpoints; gives the context, the metrics and what was logged."""
    with structlog.testing.capture_logs() as logs:
        context = exposed(settings, "governor")
        metrics = context.__enter__()
    return context, metrics, logs


def test_prometheus_finds_the_names_of_the_table():
    context, metrics, logs = served(Settings(metrics_port=0))
    try:
        for name, metric in METRICS.items():
            attributes = dict.fromkeys(metric.attributes, "x")
            call = {Kind.COUNTER: metrics.add, Kind.GAUGE: metrics.set}.get(
                metric.kind, metrics.record
            )
            call(name, 1, **attributes)
        text = httpx.get(f"http://127.0.0.1:{logs[0]['port']}/metrics").text
    finally:
        context.__exit__(None, None, None)
    for name, metric in METRICS.items():
        assert f"# TYPE {name} {metric.kind}" in text
    assert 'service_name="milepost-governor"' in text
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{logs[0]['port']}/metrics")


def test_a_taken_port_is_replaced_and_named():
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as taken:
        context, _, logs = served(Settings(metrics_port=taken.server_port))
        context.__exit__(None, None, None)
    assert [entry["event"] for entry in logs] == ["metrics_port_taken", "metrics_served"]
    assert logs[1]["port"] != taken.server_port


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_collector_gets_the_figures_when_the_process_ends():
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        with exposed(Settings(otlp_endpoint=endpoint), "governor") as metrics:
            metrics.add("milepost_transaction_aborts_total", 1)
        server.shutdown()
        thread.join()
    assert server.seen[0][0] == "/v1/metrics"
    assert b"milepost_transaction_aborts_total" in server.seen[0][1]


def test_a_collector_that_is_away_stops_nobody():
    settings = Settings(otlp_endpoint="http://127.0.0.1:1", metrics_port=0)
    context, metrics, logs = served(settings)
    metrics.add("milepost_transaction_aborts_total", 1)
    address = f"http://127.0.0.1:{logs[0]['port']}/metrics"
    assert "milepost_transaction_aborts_total" in httpx.get(address).text
    context.__exit__(None, None, None)
    with pytest.raises(httpx.ConnectError):  # it has ended, and waits for no collector
        httpx.get(address)
