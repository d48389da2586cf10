"""Books of an exchange through CCXT Pro: one websocket subscription a symbol, on a thread of its own that only stores what came.

CCXT merges the venue's messages into whole books. What is no book is refused by the tracker, a subscription that fails is begun again,
later and later; a book that stands still becomes stale by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from tenacity import AsyncRetrying, retry_if_exception_type
from tenacity.wait import wait_exponential_jitter

from daemons.books import BookFeed
from dolphin.errors import ConfigError, MissingDependency
from dolphin.types import BOOK_LEVELS, Array

__all__ = ["CcxtFeed", "exchange_client"]

CLOSE_S: Final = 5.0
_log = logging.getLogger("dolphin.ob_stream")


def exchange_client(name: str) -> Any:
    """CCXT Pro's client of exchange ``name``. Raises ``MissingDependency`` without CCXT, ``ConfigError`` for an unknown exchange."""
    try:
        import ccxt.pro as library
    except ImportError as error:
        raise MissingDependency("ccxt is not installed: pip install 'dolphin-nautilus[live]'") from error
    if name not in library.exchanges:
        raise ConfigError(f"feed.exchange = {name!r}: CCXT Pro has no such exchange")
    return getattr(library, name)({"enableRateLimit": True})


class CcxtFeed(BookFeed):
    """Follows ``symbols`` (BTCUSDT ...) of ``client``, an object like CCXT Pro's exchanges. ``clock``: ms UTC, the time of receipt.

    ``errors``: failed subscriptions by kind of error.
    """

    def __init__(self, client: Any, symbols: Sequence[str], clock: Callable[[], int]) -> None:
        self.symbols = tuple(symbols)
        self.errors: Counter[str] = Counter()
        self._client, self._clock = client, clock
        self._fresh: dict[int, tuple[int, Array, Array]] = {}
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._follow(),), name="books", daemon=True)
        self._thread.start()

    def newest(self) -> dict[int, tuple[int, Array, Array]]:
        fresh, self._fresh = self._fresh, {}
        return fresh

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _follow(self) -> None:
        """Until ``close``: one task a symbol."""
        tasks = [asyncio.create_task(self._persist(place)) for place in range(len(self.symbols))]
        for task in tasks:
            task.add_done_callback(_ended)
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    async def _persist(self, place: int) -> None:
        """Subscribe again and again, with growing pauses."""
        retry = retry_if_exception_type(Exception)
        async for attempt in AsyncRetrying(wait=wait_exponential_jitter(multiplier=0.5, max=60.0), retry=retry, before_sleep=self._failed):
            with attempt:
                await self._watch(place)

    async def _watch(self, place: int) -> None:
        name = await self._venue_name(self.symbols[place])
        while True:
            book = await self._client.watch_order_book(name, BOOK_LEVELS)
            received = self._clock()
            self._fresh[place] = (received, _side(book["bids"]), _side(book["asks"]))

    async def _venue_name(self, symbol: str) -> str:
        """CCXT's name of the linear perpetual ``symbol``, or of the spot pair where the exchange has no perpetual of it."""
        markets = await self._client.load_markets()
        found = {name: market for name, market in markets.items() if market.get("id") == symbol}
        swaps = [name for name, market in found.items() if market.get("linear")]
        if not found:
            raise ConfigError(f"{symbol}: the exchange has no such market")
        return str((swaps or list(found))[0])

    def _failed(self, state: Any) -> None:
        error = state.outcome.exception()
        self.errors[type(error).__name__] += 1
        _log.warning("a subscription failed and is begun again: %s: %s", type(error).__name__, error)


def _ended(task: asyncio.Task[None]) -> None:
    """A subscription is never given up; one that ended all the same is a defect that must be seen."""
    if not task.cancelled():
        _log.error("a subscription ended", exc_info=task.exception())


def _side(levels: Any) -> Array:
    """float64[n, 2], at most ``BOOK_LEVELS``; what is no such thing becomes an empty side, which the tracker refuses."""
    try:
        rows = np.array([level[:2] for level in levels[:BOOK_LEVELS]], dtype=np.float64)
    except (TypeError, ValueError, IndexError):
        return np.empty((0, 2))
    return np.ascontiguousarray(rows) if rows.ndim == 2 and rows.shape[1] == 2 else np.empty((0, 2))
