"""What every page and API answers, whatever it shows."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import Query
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from pipeline.settings import load
from pipeline.telemetry.metrics import Metrics
from pipeline.web.app import Application, Health, build_app
from pipeline.web.headers import SECURITY_HEADERS, hosts_allowed
from pipeline.web.pages import Site
from pipeline.web.problems import bad_value

FINE = Health("ok", {"store": "reads"})


def application(health: Health = FINE, **options) -> Application:
    return build_app(title="T", description="t", health=lambda: health, **options)


def ask(app: Application, path: str, host: str = "portal.test") -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.get(path)

    return asyncio.run(get())


def test_every_answer_carries_the_security_headers_even_an_error():
    app = application()
    for path in ("/healthz", "/openapi.json", "/nowhere"):
        answer = ask(app, path)
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["cache-control"] == "no-store"


def test_the_policy_for_content_allows_own_files_only():
    policy = SECURITY_HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(("status", "code"), [("ok", 200), ("degraded", 200), ("failing", 503)])
def test_health_fails_only_when_nothing_can_be_served(status, code):
    answer = ask(application(Health(status, {"why": "because"})), "/healthz")
    assert (answer.status_code, answer.json()) == (code, {"status": status, "why": "because"})


def test_errors_are_problem_documents_that_name_field_and_remedy():
    app = application()

    @app.get("/when")
    def when(limit: int = Query(le=5), at: str = "") -> None:
        raise bad_value("at", f"{at!r} has no zone", "add Z or an offset such as %2B01:00")

    named = ask(app, "/when?limit=1&at=noon")
    assert named.headers["content-type"] == "application/problem+json"
    assert named.status_code == named.json()["status"] == 422
    assert named.json()["field"] == "at"
    assert "add Z" in named.json()["detail"]

    refused = ask(app, "/when?limit=9")
    assert refused.status_code == 422
    assert refused.json()["field"] == "limit"

    missing = ask(app, "/nowhere")
    assert (missing.status_code, missing.json()["title"]) == (404, "Not Found")


def test_a_failure_of_ours_shows_no_trace():
    app = application()

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("password=secret")

    answer = ask(app, "/broken")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:milepost:problem:internal"
    assert "secret" not in answer.text


def test_on_loopback_only_loopback_names_are_answered_unless_settings_add_one():
    assert hosts_allowed(load({})) == {"127.0.0.1", "localhost", "::1"}
    assert hosts_allowed(load({"MILEPOST_HOST": "0.0.0.0"})) is None
    settings = load({"MILEPOST_PUBLIC_HOSTS": "Track.Example, t2.example"})
    app = application(allowed_hosts=hosts_allowed(settings))
    assert ask(app, "/healthz", "127.0.0.1:8080").status_code == 200
    assert ask(app, "/healthz", "[::1]:8080").status_code == 200
    assert ask(app, "/healthz", "track.example").status_code == 200
    refused = ask(app, "/healthz", "rebound.example")
    assert refused.status_code == 421
    assert "MILEPOST_PUBLIC_HOSTS" in refused.json()["detail"]


def test_requests_are_measured_by_application_method_and_status():
    reader = InMemoryMetricReader()
    metrics = Metrics([reader])
    app = application(measured=("portal", metrics))
    ask(app, "/healthz")
    ask(app, "/nowhere")
    (resource,) = reader.get_metrics_data().resource_metrics
    found = {
        tuple(sorted(point.attributes.items()))
        for metric in resource.scope_metrics[0].metrics
        if metric.name == "milepost_http_request_seconds"
        for point in metric.data.data_points
    }
    assert found == {
        (("app", "portal"), ("method", "GET"), ("status", status)) for status in (200, 404)
    }
    metrics.close()


def test_static_files_may_be_kept_for_ever_under_the_address_of_their_content():
    app = application()
    site = Site("pipeline.web")
    site.mount(app)
    kept = ask(app, site.address("foundation.css"))
    assert kept.headers["cache-control"].endswith("immutable")
    assert kept.headers["content-type"].startswith("text/css")
    assert ask(app, "/static/foundation.css").headers["cache-control"] == "no-cache"
    assert ask(app, "/static/../app.py").status_code == 404
    assert ask(app, "/static/none.css").status_code == 404
