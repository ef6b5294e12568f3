"""A registry whose certificate a private authority vouches for."""

import http.server
import json
import shutil
import ssl
import subprocess
import threading

import pytest

from pipeline.kafka.errors import RegistryUnavailableError
from pipeline.kafka.registry import Registry
from pipeline.operations import doctor
from pipeline.operations.findings import Patient, Severity
from pipeline.settings import Settings, SettingsError

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl makes the certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "registry.pem", folder / "registry.key"
    subject = ("-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    files = ("-keyout", key, "-out", certificate)
    subprocess.run([OPENSSL, "req", *made, *subject, *files], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def url(certificate):
    """Address of a registry over TLS that knows no subject."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps([]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_set_authority_is_trusted(url, certificate):
    settings = Settings(registry_ca_location=certificate[0])
    with Registry.of(settings, url) as registry:
        assert registry.versions("a-value") == []
    assert list(doctor.registry_reachable(Patient(settings, "", url))) == []


def test_without_it_the_registry_is_an_outage_that_names_certificates(url):
    with (
        Registry.of(Settings(), url) as registry,
        pytest.raises(RegistryUnavailableError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        registry.versions("a-value")
    (finding,) = doctor.registry_reachable(Patient(Settings(), "", url))
    assert finding.severity is Severity.UNREACHABLE
    assert "MILEPOST_REGISTRY_CA_LOCATION" in finding.remedy


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_can_not_be_used_is_named(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=r"MILEPOST_REGISTRY_CA_LOCATION: .*ca\.pem"):
        Registry.of(Settings(registry_ca_location=path), "https://127.0.0.1:1")
