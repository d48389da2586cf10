"""The proxy of the fault matrix does what it says: it delays, it holds one direction, and it loses nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from fault_proxy import Proxy
from grid_clusters import free_ports


@pytest.fixture
def wire() -> Iterator[tuple[Proxy, socket.socket]]:
    """A proxy before a server that sends back what it hears, and a client of it."""
    port = free_ports(2)
    with socket.create_server(("127.0.0.1", port + 1)) as server:

        def echo() -> None:
            talk, _ = server.accept()
            with talk:
                while data := talk.recv(4096):
                    talk.sendall(data)

        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        proxy = Proxy(port, port + 1)
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as client:
            yield proxy, client
        thread.join(5.0)
        proxy.close()


def heard(client: socket.socket, many: int) -> tuple[bytes, float]:
    began, data = time.monotonic(), b""
    while len(data) < many:
        data += client.recv(4096)
    return data, time.monotonic() - began


def test_a_delay_is_added_on_each_way(wire):
    proxy, client = wire
    client.sendall(b"now")
    assert heard(client, 3)[1] < 0.2
    proxy.delay_s = 0.3
    client.sendall(b"late")
    data, seconds = heard(client, 4)
    assert data == b"late"
    assert 0.6 <= seconds < 1.5


@pytest.mark.parametrize("way", ["up", "down"])
def test_what_is_held_comes_later_and_whole(wire, way):
    proxy, client = wire
    proxy.held = {way}
    client.sendall(b"one")
    client.settimeout(0.4)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.sendall(b"two")
    client.settimeout(5.0)
    proxy.held = set()
    assert heard(client, 6)[0] == b"onetwo"
