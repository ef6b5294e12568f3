"""The pinned artifacts on this machine: downloaded once, verified, kept in a cache folder.

Everything appears in the cache by a rename after its digest was checked, so a kill or a broken
connection leaves nothing that looks finished. Must never start a process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import ssl
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import certifi
import httpx
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import Artifact, MavenContext, PythonResolver

from pipeline.local.faults import ArtifactError
from pipeline.local.pins import Pin, Pins, load
from pipeline.local.progress import Report, Step, silent
from pipeline.local.unpacking import tree_digest, unpack

TRIES = 3
PARALLEL = 6
MEGABYTE = 1_000_000


def default_cache_dir() -> Path:
    """Give `milepost/` below the user's cache folder, by the platform's convention."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "milepost"
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".cache") / "milepost"


class Artifacts:
    """What the local stack runs, by path; downloads what is missing.

    Args:
        cache_dir: where artifacts are kept; None: `default_cache_dir()`.
        report: told how far downloads are.
        repositories: Maven repositories by name; None: Maven Central and those of jgo's
            configuration file, where a company names its mirror.
        pins: what to download, if not what ships with Milepost.

    """

    def __init__(
        self,
        cache_dir: Path | None = None,
        *,
        report: Report = silent,
        repositories: Mapping[str, str] | None = None,
        pins: Pins | None = None,
    ) -> None:
        self.cache_dir = (cache_dir or default_cache_dir()).absolute()
        self.pins = pins or load()
        self._report = report
        self._repositories = repositories

    @property
    def kafka_dir(self) -> Path:
        """Folder of Kafka's jars."""
        return self.cache_dir / f"kafka-{self.pins.kafka_version}"

    @property
    def registry_dir(self) -> Path:
        """Folder that the registry's archive is unpacked to."""
        return self.cache_dir / f"registry-{self.pins.registry_version}"

    def class_path(self) -> list[Path]:
        """Paths of Kafka's jars, whether they are there or not."""
        return [self.kafka_dir / pin.filename for pin in self.pins.kafka]

    def registry_jar(self) -> Path:
        """Path of the jar that starts the registry, whether it is there or not."""
        pin = self.pins.registry
        return self.registry_dir / f"{pin.name}-{pin.version}-runner.jar"

    def ensure(self) -> None:
        """Verify that everything is there as pinned, and download what is not.

        Raises:
            ArtifactError: an artifact could not be had, did not match its pin, or found no room.

        """
        with self._explained():
            if not self._missing():
                return
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            with self._locked():
                jars = self._missing()
                if not jars:
                    return
                self._check_room(jars)
                partial = self.cache_dir / "partial"
                shutil.rmtree(partial, ignore_errors=True)
                try:
                    self._download_all(jars, partial)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ArtifactError:
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._no_room() from error
            message = f"{self.cache_dir} can't be used ({error}): set MILEPOST_CACHE_DIR"
            raise ArtifactError(message) from error

    def _missing(self) -> list[Pin]:
        """Find what has to be downloaded: everything is read and compared with its pin."""
        missing = [
            pin for pin in self.pins.kafka if not _matches(self.kafka_dir / pin.filename, pin)
        ]
        expected = (self.pins.registry_files, self.pins.registry_tree_sha256)
        if tree_digest(self.registry_dir) != expected:
            missing.append(self.pins.registry)
        return missing

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.cache_dir / "download.lock").open("w") as lock:
            told = False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not told:
                        self._report(Step("Waiting for a download by another process"))
                        told = True
                    time.sleep(0.2)
            yield

    def _check_room(self, pins: list[Pin]) -> None:
        # The registry's archive and what it unpacks to are there at the same time.
        needed = sum(pin.size * (2 if pin is self.pins.registry else 1) for pin in pins)
        if shutil.disk_usage(self.cache_dir).free < needed * 1.1:
            raise self._no_room(needed)

    def _no_room(self, needed: int = 0) -> ArtifactError:
        size = f" ({needed // MEGABYTE + 1} MB are needed)" if needed else ""
        return ArtifactError(
            f"No room for Kafka and the registry in {self.cache_dir}{size}: "
            "free some disk space, or set MILEPOST_CACHE_DIR to a folder on another disk"
        )

    def _download_all(self, pins: list[Pin], partial: Path) -> None:
        context = self._context(partial)
        download = _Download(sum(pin.size for pin in pins), self._report, self._owner)
        context.resolver = download
        with contextlib.closing(download), ThreadPoolExecutor(PARALLEL) as pool:
            futures = [pool.submit(download.fetch, context, pin) for pin in pins]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                # Also on Ctrl-C: running downloads stop at their next chunk.
                download.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        for future in done:
            future.result()
        for pin, future in zip(pins, futures, strict=True):
            if pin is self.pins.registry:
                self._unpack_registry(future.result(), partial)
            else:
                self.kafka_dir.mkdir(parents=True, exist_ok=True)
                future.result().replace(self.kafka_dir / pin.filename)
        missing = self._missing()
        if missing:
            raise ArtifactError(
                f"{self.kafka_dir.parent} changed while artifacts were verified "
                f"({missing[0].coordinates}): try again"
            )

    def _owner(self, pin: Pin) -> str:
        """Name the program that needs an artifact."""
        if pin is self.pins.registry:
            return f"The schema registry {self.pins.registry_version}"
        return f"Kafka {self.pins.kafka_version}"

    def _unpack_registry(self, archive: Path, partial: Path) -> None:
        self._report(Step("Unpacking the schema registry"))
        folder = Path(tempfile.mkdtemp(dir=partial)) / "registry"
        with tarfile.open(archive) as tar:
            unpack(tar, folder)
        shutil.rmtree(self.registry_dir, ignore_errors=True)
        folder.replace(self.registry_dir)

    def _context(self, partial: Path) -> MavenContext:
        repositories = self._repositories
        if repositories is None:
            configured = GlobalSettings.load().repositories
            repositories = {**configured, "central": configured.get("central", MAVEN_CENTRAL_URL)}
        return MavenContext(repo_cache=partial, remote_repos=dict(repositories), local_repos=[])


class _Download(PythonResolver):
    """One run of downloads: counts bytes over all threads and can be stopped.

    Differs from jgo's own in that connections are kept and surely closed, and that nothing but
    our pins says what is right.
    """

    def __init__(self, total: int, report: Report, owner: Callable[[Pin], str]) -> None:
        super().__init__()
        self.stop = threading.Event()
        self._client = httpx.Client(
            timeout=30,
            follow_redirects=True,
            headers={"Accept-Encoding": "identity"},
            verify=_trust(),
        )
        self._total = total
        self._report = report
        self._owner = owner
        self._lock = threading.Lock()
        self._done = 0

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fetch(self, context: MavenContext, pin: Pin) -> Path:
        """Download one artifact into the context's folder and verify it.

        Raises:
            ArtifactError: it can't be had, or is not what its pin says.

        """
        artifact = (
            context.project(pin.group, pin.name)
            .at_version(pin.version)
            .artifact(pin.classifier, pin.packaging)
        )
        problem = ""
        for attempt in range(TRIES):
            if attempt and self.stop.wait(0.5 * attempt):
                raise _StoppedError
            try:
                path: Path = artifact.resolve()
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
            except LookupError as error:
                problem = str(error)
                break
            else:
                if _matches(path, pin):
                    return path
                path.unlink()
                problem = "what arrived does not match its pinned SHA-256"
        where = " or ".join(context.remote_repos.values())
        raise ArtifactError(
            f"{self._owner(pin)} needs {pin.coordinates}, which could not be downloaded from "
            f"{where} ({problem}): connect this machine to a Maven repository (jgo's "
            "configuration file can name a mirror), or copy the cache folder from a machine that "
            "has it and set MILEPOST_CACHE_DIR, or set MILEPOST_BOOTSTRAP_SERVERS and "
            "MILEPOST_REGISTRY_URL to a Kafka and a registry of your own"
        )

    def download(self, artifact: Artifact) -> Path:
        """Download an artifact from the first repository that has it: called by jgo.

        Raises:
            LookupError: no repository has it.
            httpx.HTTPError: a repository can't be reached or fails.

        """
        path = artifact.cached_path
        if path is None:
            raise LookupError("no folder to download to")
        path.parent.mkdir(parents=True, exist_ok=True)
        for repository in artifact.context.remote_repos.values():
            url = f"{repository}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"
            with self._client.stream("GET", url) as answer:
                if answer.status_code == httpx.codes.NOT_FOUND:
                    continue
                answer.raise_for_status()
                self._write(answer, path)
                return path
        raise LookupError("it is not there")

    def _write(self, answer: httpx.Response, path: Path) -> None:
        counted = 0
        try:
            with path.open("wb") as file:
                for chunk in answer.iter_raw(65_536):
                    self._go_on()
                    file.write(chunk)
                    counted += len(chunk)
                    self._add(len(chunk))
        except BaseException:
            path.unlink(missing_ok=True)
            self._add(-counted)
            raise

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise _StoppedError

    def _add(self, length: int) -> None:
        with self._lock:
            self._done += length
            step = Step("Downloading Kafka and the schema registry", self._done, self._total)
            self._report(step)


def _trust() -> ssl.SSLContext:
    """Trust what this machine trusts, such as a company's own authority, and the usual ones."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


class _StoppedError(Exception):
    """Another download of the same run failed, or the user gave up."""


def _matches(path: Path, pin: Pin) -> bool:
    try:
        with path.open("rb") as file:
            same_size = os.fstat(file.fileno()).st_size == pin.size
            return same_size and hashlib.file_digest(file, "sha256").hexdigest() == pin.sha256
    except FileNotFoundError:
        return False
