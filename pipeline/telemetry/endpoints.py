"""Where metrics go: a Prometheus endpoint and an OpenTelemetry collector, each by setting.

Must never stop the process that it reports on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from wsgiref.simple_server import WSGIServer

import prometheus_client
import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics

EXPORT_INTERVAL_MS = 15_000
_log = structlog.get_logger(__name__)


@contextmanager
def exposed(settings: Settings, process: str) -> Iterator[Metrics]:
    """Metrics of this process, on the endpoints that the settings ask for.

    A taken Prometheus port is replaced by a free one, which the log names: several processes of
    one machine share the setting.

    Args:
        settings: `metrics_port`, `host`, `otlp_endpoint`.
        process: which of Milepost's processes this is: governor, portal, ….

    """
    readers: list[MetricReader] = []
    with ExitStack() as open_until_the_end:
        if settings.metrics_port is not None:
            registry = prometheus_client.CollectorRegistry()
            readers.append(PrometheusMetricReader(scope_info_enabled=False, registry=registry))
            server = _serve(settings.host, settings.metrics_port, registry)
            open_until_the_end.callback(server.server_close)
            open_until_the_end.callback(server.shutdown)
            _log.info("metrics_served", host=settings.host, port=server.server_port)
        if settings.otlp_endpoint is not None:
            exporter = OTLPMetricExporter(endpoint=_metrics_url(settings.otlp_endpoint), timeout=5)
            readers.append(PeriodicExportingMetricReader(exporter, EXPORT_INTERVAL_MS, 5_000))
        metrics = Metrics(readers, process)
        open_until_the_end.callback(metrics.close)
        yield metrics


def _serve(host: str, port: int, registry: prometheus_client.CollectorRegistry) -> WSGIServer:
    try:
        return prometheus_client.start_http_server(port, host, registry)[0]
    except OSError as error:
        _log.warning("metrics_port_taken", port=port, detail=str(error))
        return prometheus_client.start_http_server(0, host, registry)[0]


def _metrics_url(endpoint: str) -> str:
    path = "/v1/metrics"
    return endpoint if endpoint.endswith(path) else endpoint.rstrip("/") + path
