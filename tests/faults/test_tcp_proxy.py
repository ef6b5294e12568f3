"""What the proxy of the fault campaign does to frames."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import pytest
from tcp_proxy import TcpProxy

from pipeline.local.ports import HOST, unused


@pytest.fixture
def pair():
    """A proxy, and a client that is answered each frame with the same one."""
    port = unused()
    with socket.create_server((HOST, 0)) as server:
        proxy = TcpProxy(port, server.getsockname()[1])
        with socket.create_connection((HOST, port), timeout=20) as client:
            behind, _ = server.accept()
            echo = threading.Thread(target=_echo, args=(behind,))
            echo.start()
            yield proxy, client
        proxy.close()
        echo.join(20)


def _echo(behind):
    with behind, contextlib.suppress(OSError):
        while data := behind.recv(4096):
            behind.sendall(data)


def test_what_is_held_back_arrives_as_soon_as_the_network_is_calm(pair):
    proxy, client = pair
    frame = struct.pack(">ihhi", 8, 3, 1, 7)
    proxy.delay(3600.0)
    client.sendall(frame)
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(4096)
    proxy.calm()
    client.settimeout(20)
    assert client.recv(4096) == frame
