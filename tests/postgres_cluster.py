"""A PostgreSQL server of the tests' own, from the binaries of Debian's package.

Its data lie in a folder that goes with it; it answers on loopback only, commits durably, can be
killed and started again, and ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil
import psycopg

from pipeline.local.ports import HOST, unused
from pipeline.local.processes import Command, Process

NAME = "milepost"
OLDEST = 15
"""Earlier versions can't sort a whole cluster as ICU does."""
UNPRIVILEGED = ("postgres", "nobody")
READY_S = 60.0


def binaries() -> Path | None:
    """The folder of the newest server that is installed."""
    found = {}
    for folder in {*Path("/usr/lib/postgresql").glob("*/bin"), *_on_path()}:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            told = subprocess.check_output([folder / "postgres", "--version"], text=True)
            found[int(re.search(r"\d+", told).group())] = folder
    newest = max(found, default=0)
    return found[newest] if newest >= OLDEST else None


def _on_path() -> list[Path]:
    there = shutil.which("postgres")
    return [Path(there).resolve().parent] if there else []


BINARIES = binaries()
MISSING = f"needs PostgreSQL {OLDEST} or newer: apt-get install postgresql"


class PostgresCluster:
    """A server; not started until asked to."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = unused()
        self._password = secrets.token_hex(16)
        self._process: Process | None = None
        self._count = itertools.count(1)
        self._initialise()

    def _initialise(self) -> None:
        user = None
        if os.geteuid() == 0:  # the server refuses to be root's
            known = {entry.pw_name for entry in pwd.getpwall()}
            user = next(name for name in UNPRIVILEGED if name in known)
            shutil.chown(self.folder, user)
        self._prefix = ("setpriv", f"--reuid={user}", "--clear-groups") if user else ()
        secret = self.folder / "password"
        secret.write_text(self._password)
        subprocess.run(
            [
                *self._prefix,
                BINARIES / "initdb",
                *("--pgdata", self.folder / "data", "--username", NAME),
                *("--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"),
                # Words in the order of a language, as on most servers: not of code points
                *("--encoding=UTF8", "--locale=C.UTF-8"),
                *("--locale-provider=icu", "--icu-locale=en-US"),
            ],
            cwd=self.folder,
            check=True,
            capture_output=True,
        )

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://{NAME}:{self._password}@{HOST}:{self.port}/{database}"

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=NAME,
            password=self._password,
            dbname="postgres",
            autocommit=True,
        )

    def create(self) -> str:
        """Make an empty schema; the URL of a store in it."""
        name = f"store_{next(self._count)}"
        with self.connect() as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url()}?options=-csearch_path%3D{name}"

    def create_database(self, options: str) -> str:
        """Make a database of another kind; its URL."""
        name = f"database_{next(self._count)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        return self.url(name)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.exit_code() is None

    def start(self) -> None:
        """Start it, on whatever data is there; returns once it answers."""
        command = Command(
            name="PostgreSQL",
            argv=[
                *self._prefix,
                str(BINARIES / "postgres"),
                *("-D", str(self.folder / "data"), "-p", str(self.port)),
                *("-c", f"listen_addresses={HOST}", "-c", f"unix_socket_directories={self.folder}"),
                *("-c", "fsync=on", "-c", "recovery_init_sync_method=syncfs"),
                *("-c", "shared_buffers=32MB"),
            ],
            cwd=self.folder,
            log=self.folder / "server.log",
            grace_s=0.5,
        )
        self._process = Process(command)
        self._process.wait_until(self._answers, READY_S)

    def kill(self) -> None:
        """End the server and all that serve its clients as a crash does."""
        server = psutil.Process(self._process.pid)
        serving = server.children()
        self._process.kill()
        for process in serving:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(serving, timeout=READY_S)

    def close(self) -> None:
        """End it, and remove its data."""
        if self.running:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True
