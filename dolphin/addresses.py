"""Addresses of an exchange, or of a demo exchange on this machine in its stead: nothing else is ever put in the place of an exchange."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from dolphin.errors import ConfigError

__all__ = ["loopback", "moved"]


def loopback(url: str, name: str) -> str:
    """``url`` as ``http://HOST:PORT`` of this machine. Raises ``ConfigError`` naming the setting ``name`` for any other address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here, port = False, None
    if not here or not port or parts.scheme != "http" or parts.username is not None or parts.path.strip("/"):
        raise ConfigError(f"{name} {url}: expected http://127.0.0.1:PORT, a demo exchange on this machine")
    return f"http://{parts.netloc}"


def moved(addresses: Any, here: str) -> Any:
    """CCXT's tree of addresses with every scheme and host replaced by ``here`` (websockets by its ws://), paths kept."""
    if isinstance(addresses, dict):
        return {name: moved(address, here) for name, address in addresses.items()}
    parts = urlsplit(str(addresses))
    return f"{'ws' if parts.scheme.startswith('ws') else 'http'}://{urlsplit(here).netloc}{parts.path}"
