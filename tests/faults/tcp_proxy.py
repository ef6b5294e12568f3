"""A proxy between Kafka's clients and one broker, which can do what networks do at their worst.

It passes on whole frames, and looks into them for one thing only: which answer belongs to a request
to end a transaction.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from enum import Enum

from pipeline.local.ports import HOST

END_TXN = 26
"""Kafka's API key of the request that commits or aborts."""
CALL_S = 5.0


class Way(Enum):
    """Direction of a frame."""

    UP = "to the broker"
    DOWN = "from the broker"


class Link:
    """One client's connection and its counterpart to the broker."""

    def __init__(self, client: socket.socket, broker: socket.socket) -> None:
        self.client, self.broker = client, broker
        self.dead = False
        """Half open: both ends think that it is there, and nothing arrives any more."""
        self.ending: set[int] = set()
        """Correlation ids of requests to end a transaction that were not answered yet."""

    def reset(self) -> None:
        """Cut it as a router does: no farewell, what was under way is lost."""
        for end in (self.client, self.broker):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class TcpProxy:
    """Listens on `port` and passes on to `target`, until told to misbehave."""

    def __init__(self, port: int, target: int) -> None:
        self.delayed_ends = 0
        """Answers to the end of a transaction that were held back so far."""
        self._target = target
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        self._delay_s = 0.0
        self._end_delay_s = 0.0
        self._flowing = {way: threading.Event() for way in Way}
        self._calm = threading.Event()
        self.calm()
        self._listener = socket.create_server((HOST, port))
        threading.Thread(target=self._accept, name="tcp-proxy", daemon=True).start()

    def calm(self) -> None:
        """Behave from now on; what is held back goes on at once."""
        self._delay_s = self._end_delay_s = 0.0
        self._calm.set()
        for flowing in self._flowing.values():
            flowing.set()

    def cut(self) -> int:
        """Reset every connection; how many there were."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.reset()
        return len(links)

    def half_open(self) -> int:
        """Let nothing arrive any more on today's connections; new ones work."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.dead = True
        return len(links)

    def delay(self, seconds: float) -> None:
        """Have each frame take so much longer, both ways."""
        self._calm.clear()
        self._delay_s = seconds

    def stall(self, way: Way) -> None:
        """Let nothing pass in one direction until `calm`; nothing is lost."""
        self._flowing[way].clear()

    def delay_ends(self, seconds: float) -> None:
        """Hold back what the broker answers to the end of a transaction."""
        self._calm.clear()
        self._end_delay_s = seconds

    def close(self) -> None:
        self._listener.close()
        self.calm()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                broker = socket.create_connection((HOST, self._target), timeout=CALL_S)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            link = Link(client, broker)
            for end in (client, broker):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._links.add(link)
            for way in Way:
                threading.Thread(target=self._pump, args=(link, way), daemon=True).start()

    def _pump(self, link: Link, way: Way) -> None:
        """Pass frames on in one direction until either end is gone."""
        source, sink = (link.client, link.broker) if way is Way.UP else (link.broker, link.client)
        with contextlib.suppress(OSError):
            while frame := _frame(source):
                held_s = self._look(link, way, frame)
                self._flowing[way].wait()
                if held_s:
                    self._calm.wait(held_s)
                if not link.dead:
                    sink.sendall(frame)
        with self._lock:
            self._links.discard(link)
        link.reset()

    def _look(self, link: Link, way: Way, frame: bytes) -> float:
        """How long a frame is held back."""
        if way is Way.UP:
            key, _version, correlation = struct.unpack_from(">hhi", frame, 4)
            if key == END_TXN and self._end_delay_s:
                link.ending.add(correlation)
            return self._delay_s
        (correlation,) = struct.unpack_from(">i", frame, 4)
        if correlation in link.ending:
            link.ending.discard(correlation)
            self.delayed_ends += 1
            return self._end_delay_s
        return self._delay_s


def _frame(source: socket.socket) -> bytes:
    """The next whole frame, its length in front; nothing at the end, or where it is cut short."""
    head = _exactly(source, 4)
    rest = _exactly(source, struct.unpack(">i", head)[0]) if head else b""
    return head + rest if rest else b""


def _exactly(source: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = source.recv(size - len(found))
        if not part:
            return b""
        found += part
    return bytes(found)
