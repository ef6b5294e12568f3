"""Artifacts come from a Maven repository, whole and as pinned, or not at all."""

import errno
import gzip
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from pathlib import Path

import pytest

from pipeline.local import pins
from pipeline.local.artifacts import Artifacts
from pipeline.local.faults import ArtifactError
from pipeline.local.pins import Pin, Pins
from pipeline.local.unpacking import UnsafeArchiveError, tree_digest, unpack

JAR = b"jar" * 1_000


def archive(**files):
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def pin(name, packaging, content):
    return Pin("org.x", name, "1", "", packaging, len(content), hashlib.sha256(content).hexdigest())


class Repository:
    """A Maven repository on this machine, with faults on demand."""

    def __init__(self, tmp_path):
        self.files = {
            "a-1.jar": JAR + b"a",
            "b-1.jar": JAR + b"b",
            "app-1.tar.gz": archive(lib__one=b"1", runner=b"2"),
        }
        self.asked = Counter()
        self.cut = Counter()
        unpacked = tmp_path / "reference"
        with tarfile.open(fileobj=io.BytesIO(self.files["app-1.tar.gz"])) as tar:
            unpack(tar, unpacked)
        files, digest = tree_digest(unpacked)
        self.pins = Pins(
            kafka_version="1",
            kafka=(
                pin("a", "jar", self.files["a-1.jar"]),
                pin("b", "jar", self.files["b-1.jar"]),
            ),
            registry_version="1",
            registry=pin("app", "tar.gz", self.files["app-1.tar.gz"]),
            registry_files=files,
            registry_tree_sha256=digest,
        )

    def artifacts(self, cache, **options):
        repositories = {"test": self.url}
        return Artifacts(cache, repositories=repositories, pins=self.pins, **options)


@pytest.fixture
def repository(tmp_path):
    repository = Repository(tmp_path)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rpartition("/")[2]
            content = repository.files.get(name)
            if content is None:
                self.send_error(404)
                return
            repository.asked[name] += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if repository.cut[name] > 0:
                repository.cut[name] -= 1
                content = content[: len(content) // 2]
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    repository.url = f"http://127.0.0.1:{server.server_port}"
    yield repository
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_pin_is_a_digest_and_names_no_host():
    known = pins.load()
    assert len(known.kafka) > 40
    assert all(len(one.sha256) == 64 and one.size > 0 for one in (*known.kafka, known.registry))
    text = Path(pins.__file__).with_name("artifacts.json").read_text("utf-8")
    assert "//" not in text
    names = [one.filename for one in known.kafka]
    assert len(set(names)) == len(names)


def test_the_versions_are_the_ones_that_keep_commit_markers():
    known = pins.load()
    assert known.kafka_version == "4.2.1"
    assert {one.version for one in known.kafka if one.group == "org.apache.kafka"} == {"4.2.1"}
    assert known.registry_version == known.registry.version == "2.6.13.Final"


def test_what_is_missing_is_downloaded_once(repository, tmp_path):
    artifacts = repository.artifacts(tmp_path / "cache")
    artifacts.ensure()
    artifacts.ensure()
    assert [path.read_bytes() for path in artifacts.class_path()] == [JAR + b"a", JAR + b"b"]
    assert (artifacts.registry_dir / "lib" / "one").read_bytes() == b"1"
    assert set(repository.asked.values()) == {1}


def test_progress_ends_at_the_total(repository, tmp_path):
    steps = []
    repository.artifacts(tmp_path / "cache", report=steps.append).ensure()
    measured = [step for step in steps if step.total]
    assert measured[-1].done == measured[-1].total == repository.pins.size


@pytest.mark.parametrize("name", ["a-1.jar", "app-1.tar.gz"])
def test_a_broken_connection_is_tried_again(repository, tmp_path, name):
    repository.cut[name] = 1
    artifacts = repository.artifacts(tmp_path / "cache")
    artifacts.ensure()
    assert repository.asked[name] == 2
    assert artifacts.registry_dir.is_dir()


def test_a_half_written_jar_in_the_cache_is_replaced(repository, tmp_path):
    artifacts = repository.artifacts(tmp_path / "cache")
    artifacts.ensure()
    artifacts.class_path()[0].write_bytes(JAR)
    artifacts.ensure()
    assert artifacts.class_path()[0].read_bytes() == JAR + b"a"
    assert repository.asked["b-1.jar"] == 1


def test_a_changed_file_of_the_registry_is_replaced(repository, tmp_path):
    artifacts = repository.artifacts(tmp_path / "cache")
    artifacts.ensure()
    (artifacts.registry_dir / "runner").write_bytes(b"3")
    artifacts.ensure()
    assert (artifacts.registry_dir / "runner").read_bytes() == b"2"


def test_what_a_killed_download_left_behind_is_cleared(repository, tmp_path):
    cache = tmp_path / "cache"
    rest = cache / "partial" / "org" / "x" / "a" / "1" / "a-1.jar"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(JAR[:10])
    repository.artifacts(cache).ensure()
    assert not (cache / "partial").exists()


def test_other_content_than_pinned_is_refused(repository, tmp_path):
    repository.files["a-1.jar"] = JAR + b"z"
    artifacts = repository.artifacts(tmp_path / "cache")
    with pytest.raises(ArtifactError, match=r"org\.x:a:1, .* pinned SHA-256"):
        artifacts.ensure()
    assert not artifacts.class_path()[0].exists()


def test_without_network_the_message_names_what_is_missing_and_the_ways_out(tmp_path):
    nowhere = {"central": "http://127.0.0.1:1/maven"}
    with pytest.raises(ArtifactError) as caught:
        Artifacts(tmp_path, repositories=nowhere).ensure()
    message = str(caught.value)
    assert message.startswith(("Kafka 4.2.1 needs ", "The schema registry 2.6.13.Final needs "))
    assert "could not be downloaded from http://127.0.0.1:1/maven (ConnectError" in message
    assert "MILEPOST_CACHE_DIR" in message
    assert "MILEPOST_BOOTSTRAP_SERVERS" in message
    assert len(message.splitlines()) == 1


def test_an_artifact_that_the_repository_lacks_is_named(repository, tmp_path):
    del repository.files["b-1.jar"]
    with pytest.raises(ArtifactError, match=r"needs org\.x:b:1, which .* \(it is not there\)"):
        repository.artifacts(tmp_path / "cache").ensure()


TWO = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_artifacts import Repository
repository = Repository(Path(sys.argv[2]))
repository.url = sys.argv[3]
repository.artifacts(Path(sys.argv[4])).ensure()
"""


def test_two_processes_at_once_download_once(repository, tmp_path):
    here = str(Path(__file__).parent)
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        arguments = (here, str(tmp_path / name), repository.url, str(tmp_path / "cache"))
        runs.append(subprocess.Popen([sys.executable, "-c", TWO, *arguments]))
    # Archives made at different times differ in nothing that is pinned: both have the same pins.
    assert [run.wait(60) for run in runs] == [0, 0]
    assert set(repository.asked.values()) == {1}


@pytest.fixture
def tiny_disk(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("needs root on Linux to mount a tiny disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_too_small_is_told_before_the_download(tiny_disk):
    with pytest.raises(ArtifactError, match=r"No room .* \(3\d\d MB are needed\).*CACHE_DIR"):
        Artifacts(tiny_disk, repositories={}).ensure()


def test_a_disk_that_fills_up_meanwhile_is_told(repository, tiny_disk, monkeypatch):
    repository.files["a-1.jar"] = bytes(200_000)
    monkeypatch.setattr(Artifacts, "_check_room", lambda *_: None)
    with pytest.raises(ArtifactError, match=r"No room for Kafka") as caught:
        repository.artifacts(tiny_disk).ensure()
    assert caught.value.__cause__.errno == errno.ENOSPC


def test_an_archive_cannot_write_elsewhere(tmp_path):
    escaping = archive(**{"..__outside": b"x"})
    with tarfile.open(fileobj=io.BytesIO(escaping)) as tar, pytest.raises(UnsafeArchiveError):
        unpack(tar, tmp_path / "in")
    assert not (tmp_path / "outside").exists()


def test_an_archive_with_links_is_refused(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar, pytest.raises(UnsafeArchiveError):
        unpack(tar, tmp_path / "in")
