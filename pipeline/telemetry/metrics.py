"""Every metric of the product in one table, and the instruments behind it.

Recorded per batch, never per event in the hot path; attributes are bounded sets, never ids. Must
import nothing of Kafka, and a missing endpoint must never be noticed by whoever records.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, get_args

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

MetricName = Literal[
    "milepost_input_records_total",
    "milepost_approval_latency_seconds",
    "milepost_input_lag_records",
    "milepost_input_gap_records_total",
    "milepost_input_refusals_total",
    "milepost_transaction_records",
    "milepost_transaction_bytes",
    "milepost_transaction_seconds",
    "milepost_transaction_aborts_total",
    "milepost_transaction_undecided_seconds",
    "milepost_deferrals_total",
    "milepost_policy_mismatches_total",
    "milepost_state_entities",
    "milepost_state_bytes",
    "milepost_restore_records",
    "milepost_restore_seconds",
    "milepost_owned_partitions",
    "milepost_source_documents_total",
    "milepost_source_records_total",
    "milepost_sink_records_total",
    "milepost_outbox_entries",
    "milepost_posting_seconds",
    "milepost_http_request_seconds",
]
"""The closed list of names: `milepost_<noun>_<unit>`, counters with `_total`."""


class Kind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One row of the table."""

    kind: Kind
    unit: str
    meaning: str
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""


_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_LONG_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_RECORDS = (1.0, 10.0, 100.0, 1_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0, 100_000.0)
_MANY_RECORDS = (100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0)
_BYTES = (1_024.0, 16_384.0, 131_072.0, 1_048_576.0, 8_388_608.0, 33_554_432.0)

METRICS: Final[dict[MetricName, Metric]] = {
    "milepost_input_records_total": Metric(
        _C, "records", "Input records by what became of them", ("disposition", "reason")
    ),
    "milepost_approval_latency_seconds": Metric(
        _H, "seconds", "From append to the raw topic until the approved record", (), _SECONDS
    ),
    "milepost_input_lag_records": Metric(
        _G, "records", "Offsets between position and end of an input", ("topic", "partition")
    ),
    "milepost_input_gap_records_total": Metric(
        _C, "records", "Offsets that were gone before they were read", ("topic",)
    ),
    "milepost_input_refusals_total": Metric(
        _C, "refusals", "Times an input could not be read", ("topic",)
    ),
    "milepost_transaction_records": Metric(
        _H, "records", "Input records in one committed transaction", (), _RECORDS
    ),
    "milepost_transaction_bytes": Metric(
        _H, "bytes", "Bytes written by one committed transaction", (), _BYTES
    ),
    "milepost_transaction_seconds": Metric(
        _H,
        "seconds",
        "Time of one transaction's steps: decide, produce, commit",
        ("step",),
        _SECONDS,
    ),
    "milepost_transaction_aborts_total": Metric(_C, "aborts", "Transactions that were aborted"),
    "milepost_transaction_undecided_seconds": Metric(
        _G, "seconds", "How long a predecessor's transaction has stayed undecided"
    ),
    "milepost_deferrals_total": Metric(
        _C, "deferrals", "Batches put off because something they need is away"
    ),
    "milepost_policy_mismatches_total": Metric(
        _C, "mismatches", "Batches put off because the published bundle is not the activated one"
    ),
    "milepost_state_entities": Metric(
        _G, "entities", "Entities in the state of a partition", ("partition",)
    ),
    "milepost_state_bytes": Metric(
        _G, "bytes", "Size of a partition's state, encoded", ("partition",)
    ),
    "milepost_restore_records": Metric(
        _H, "records", "Changelog records read to restore an assignment", (), _MANY_RECORDS
    ),
    "milepost_restore_seconds": Metric(
        _H, "seconds", "Time to restore an assignment", (), _LONG_SECONDS
    ),
    "milepost_owned_partitions": Metric(_G, "partitions", "Partitions that this worker governs"),
    "milepost_source_documents_total": Metric(
        _C, "documents", "Documents that a source took in", ("source", "outcome")
    ),
    "milepost_source_records_total": Metric(
        _C, "records", "Raw records that a source delivered to Kafka", ("source",)
    ),
    "milepost_sink_records_total": Metric(
        _C, "records", "Approved records by what a sink did with them", ("sink", "outcome")
    ),
    "milepost_outbox_entries": Metric(
        _G, "entries", "Postings in a sink's outbox", ("sink", "state")
    ),
    "milepost_posting_seconds": Metric(
        _H, "seconds", "Time of one call to a business system", ("sink", "outcome"), _SECONDS
    ),
    "milepost_http_request_seconds": Metric(
        _H, "seconds", "Time to answer an HTTP request", ("app", "method", "status"), _SECONDS
    ),
}

Value = str | int
_UCUM = {"seconds": "s", "bytes": "By"}
_Series = tuple[Value, ...]

SPREAD_MAX: Final = 100
"""Values of one batch that `Metrics.spread` records at most."""


class Metrics:
    """Records by name. Thread-safe. Without a reader it costs next to nothing and tells nobody."""

    def __init__(self, readers: Sequence[MetricReader] = (), process: str = "milepost") -> None:
        """Create every instrument.

        Args:
            readers: from the OpenTelemetry SDK; where the figures go.
            process: which of Milepost's processes this is.

        """
        name = process if process == "milepost" else f"milepost-{process}"
        self._provider = MeterProvider(
            metric_readers=readers,
            resource=Resource.create({"service.name": name}),
            shutdown_on_exit=False,
        )
        self._lock = threading.Lock()
        self._gauges: dict[MetricName, dict[_Series, float]] = {}
        self._instruments: dict[MetricName, Any] = {
            name: self._instrument(name, METRICS[name]) for name in get_args(MetricName)
        }

    def add(self, name: MetricName, amount: float, **attributes: Value) -> None:
        """Let a counter grow."""
        self._checked(name, Kind.COUNTER, attributes)
        self._instruments[name].add(amount, attributes)

    def set(self, name: MetricName, value: float, **attributes: Value) -> None:
        """Say what a gauge stands at."""
        series = self._checked(name, Kind.GAUGE, attributes)
        with self._lock:
            self._gauges[name][series] = value

    def forget(self, name: MetricName, **attributes: Value) -> None:
        """Drop a gauge's series that have these attributes: another process has them now."""
        metric = METRICS[name]
        wanted = [(metric.attributes.index(key), value) for key, value in attributes.items()]
        with self._lock:
            kept = {
                series: value
                for series, value in self._gauges[name].items()
                if any(series[position] != value_wanted for position, value_wanted in wanted)
            }
            self._gauges[name] = kept

    def record(self, name: MetricName, value: float, **attributes: Value) -> None:
        """Add one value to a histogram."""
        self._checked(name, Kind.HISTOGRAM, attributes)
        self._instruments[name].record(value, attributes)

    def spread(self, name: MetricName, values: Sequence[float], **attributes: Value) -> None:
        """Add a batch's values to a histogram: all of a small one, an even choice of a big one."""
        self._checked(name, Kind.HISTOGRAM, attributes)
        step = max(1, -(-len(values) // SPREAD_MAX))
        instrument = self._instruments[name]
        for value in values[::step]:
            instrument.record(value, attributes)

    def close(self, timeout_ms: int = 2_000) -> None:
        """Send what has not been sent yet and stop."""
        self._provider.shutdown(timeout_millis=timeout_ms)

    def _instrument(self, name: MetricName, metric: Metric) -> Any:
        meter = self._provider.get_meter("milepost")
        unit = _UCUM.get(metric.unit, f"{{{metric.unit}}}")
        if metric.kind is Kind.COUNTER:
            return meter.create_counter(name, unit, metric.meaning)
        if metric.kind is Kind.HISTOGRAM:
            return meter.create_histogram(
                name,
                unit,
                metric.meaning,
                explicit_bucket_boundaries_advisory=metric.bounds,
            )
        self._gauges[name] = {}

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                standing = dict(self._gauges[name])
            for series, value in standing.items():
                yield Observation(value, dict(zip(metric.attributes, series, strict=True)))

        return meter.create_observable_gauge(name, [observe], unit, metric.meaning)

    def _checked(self, name: MetricName, kind: Kind, attributes: dict[str, Value]) -> _Series:
        metric = METRICS[name]
        if metric.kind is not kind or attributes.keys() != set(metric.attributes):
            raise TypeError(
                f"{name} is a {metric.kind} with {metric.attributes},"
                f" used as a {kind} with {tuple(attributes)}"
            )
        return tuple(attributes[key] for key in metric.attributes)
