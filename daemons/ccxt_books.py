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
from daemons.ccxt_client import venue_names
from dolphin.types import BOOK_LEVELS, Array

__all__ = ["CcxtFeed"]

CLOSE_S: Final = 5.0
_log = logging.getLogger("dolphin.ob_stream")


class CcxtFeed(BookFeed):
    """Follows ``symbols`` (BTCUSDT ...) of ``client``, an object like CCXT Pro's exchanges. ``clock``: ms UTC, the time of receipt.

    ``errors``: failed subscriptions by kind of error.
    """

    def __init__(self, client: Any, symbols: Sequence[str], clock: Callable[[], int]) -> None:
        self.symbols = tuple(symbols)
        self.errors: Counter[str] = Counter()
        self._client, self._clock = client, clock
        self._names: dict[int, str] = {}
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
        """Book after book; subscribe again when one does not come, with pauses that grow until one comes."""
        retry, wait = retry_if_exception_type(Exception), wait_exponential_jitter(multiplier=0.5, max=60.0)
        while True:
            async for attempt in AsyncRetrying(wait=wait, retry=retry, before_sleep=self._failed):
                with attempt:
                    await self._watch(place)

    async def _watch(self, place: int) -> None:
        if place not in self._names:
            (self._names[place],) = await venue_names(self._client, self.symbols[place : place + 1])
        name = self._names[place]
        book = await self._client.watch_order_book(name, BOOK_LEVELS)
        self._fresh[place] = (self._clock(), _side(book["bids"]), _side(book["asks"]))

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
