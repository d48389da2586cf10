"""Clients of an exchange by CCXT Pro: the exchange's own addresses, or a demo exchange's on this machine in their stead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dolphin.addresses import moved
from dolphin.deployment import FeedConfig
from dolphin.errors import ConfigError, MissingDependency

__all__ = ["DEFAULT_EXCHANGE", "exchange_client", "venue_names"]

DEFAULT_EXCHANGE: Final = "binanceusdm"
"""What a demo exchange speaks."""


def exchange_client(config: FeedConfig) -> Any:
    """CCXT Pro's client of ``config.exchange``; with ``config.url`` not one of its addresses leads away from this machine.

    Raises ``MissingDependency`` without CCXT, ``ConfigError`` for an unknown exchange.
    """
    try:
        import ccxt.pro as library
    except ImportError as error:
        raise MissingDependency("ccxt is not installed: pip install 'dolphin-nautilus[live]'") from error
    name = config.exchange or DEFAULT_EXCHANGE
    if name not in library.exchanges:
        raise ConfigError(f"feed.exchange = {name!r}: CCXT Pro has no such exchange")
    options = {"watchTradesForSymbols": {"name": "aggTrade"}}
    client = getattr(library, name)({"enableRateLimit": True, "options": options})
    if config.url:
        client.urls["api"] = moved(client.urls["api"], config.url)
    return client


async def venue_names(client: Any, symbols: Sequence[str]) -> list[str]:
    """CCXT's names of the linear perpetuals ``symbols`` (BTCUSDT), or of the spot pairs where the exchange has no perpetual of one.

    Raises ``ConfigError`` for a symbol that it does not have.
    """
    markets = await client.load_markets()
    found: dict[str, str] = {}
    for name, market in markets.items():
        if market.get("id") not in found or market.get("linear"):
            found[market.get("id")] = name
    unknown = [symbol for symbol in symbols if symbol not in found]
    if unknown:
        raise ConfigError(f"{', '.join(unknown[:5])}: the exchange has no such market")
    return [found[symbol] for symbol in symbols]
