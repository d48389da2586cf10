"""Where a process listens, read from /proc: a grid without passwords must not be reachable from another machine."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Final

from dolphin.errors import MissingDependency

__all__ = ["foreign_listeners"]

_TABLES: Final = (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07"))
"""Socket tables and the state that accepts from anybody: LISTEN for TCP, unconnected for UDP."""


def foreign_listeners(pid: int) -> list[str]:
    """``address:port`` of every TCP or UDP socket of ``pid`` that listens beyond loopback.

    Raises ``MissingDependency`` where that cannot be told (no /proc, another user's process): unknown is not safe.
    """
    try:
        links = [_target(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        tables = [(Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:], state) for name, state in _TABLES]
    except OSError as error:
        raise MissingDependency(f"where process {pid} listens cannot be told ({error}): the grid runs on Linux, under your user") from error
    ours = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = []
    for rows, state in tables:
        for row in rows:
            fields = row.split()
            if fields[3] == state and fields[9] in ours:
                address, port = _address(fields[1])
                if not address.is_loopback:
                    found.append(f"{address}:{port}")
    return sorted(found)


def _target(fd: Path) -> str:
    """What a descriptor is; empty when it was closed while we looked: then it listens no more."""
    try:
        return str(fd.readlink())
    except FileNotFoundError:
        return ""


def _address(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """``0100007F:1645`` as the kernel prints it: 32-bit words in the byte order of the machine."""
    words, port = text.split(":")
    raw = b"".join(socket.ntohl(int(words[i : i + 8], 16)).to_bytes(4, "big") for i in range(0, len(words), 8))
    address = ipaddress.ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address, int(port, 16)
