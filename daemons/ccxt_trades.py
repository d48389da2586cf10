"""Trades of an exchange through CCXT Pro, on a thread of its own that only stores what came: subscriptions, the exchange's time, backfill.

CCXT wakes a caller that watches many symbols for the first of them that traded; what came for the others in the same instant it tells
with their *next* trade. So the trades are taken out of its caches every 10 ms, and watching only keeps the subscription alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import batched
from typing import Any, Final

from tenacity import AsyncRetrying, RetryCallState, RetryError, retry_if_exception, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_exponential_jitter

from daemons.ccxt_client import venue_names
from daemons.ccxt_rest import answer, parsed
from daemons.trade_feed import Answer, AskBars, AskMarkets, AskTrades, Down, Heard, Listed, Told, TradeFeed
from dolphin.errors import ConfigError

__all__ = ["CcxtTrades"]

BATCH: Final = 100
"""Symbols of one connection; Binance takes 200 streams."""
PUMP_S: Final = 0.01
WATCH_S: Final = 0.05
POLL_S: Final = 1.0
AT_ONCE: Final = 4
"""Requests under way; CCXT's limiter spaces them."""
CLOSE_S: Final = 5.0
LONGEST_S: Final = 30.0
PATIENCE_S: Final = 6 * 3600.0
"""A request that was not answered by then is none any more."""
"""Longest pause before a subscription or request is tried again."""
_log = logging.getLogger("dolphin.feed")


class CcxtTrades(TradeFeed):
    """Follows an exchange. ``client``: an object like CCXT Pro's exchanges; ``timer``: another one, that asks for the exchange's time only,
    so that no queue of requests delays it. ``clock``: ms of the market by our clock.
    """

    def __init__(self, client: Any, timer: Any, clock: Callable[[], int], bar_seconds: int) -> None:
        self._client, self._timer, self._clock = client, timer, clock
        self._frame = f"{bar_seconds // 60}m" if bar_seconds >= 60 else f"{bar_seconds}s"
        self._events: deque[tuple[int, Sequence[Told | Heard | Down | Listed | Answer]]] = deque()
        """What came together is taken together: a connection's newest trade must not be seen before another symbol's older one. Before it
        the number of the subscription over whose symbols the places count; 0: no places."""
        self._names: list[str] = []
        self._number = self._followed = 0
        self._keepers: list[asyncio.Task[None]] = []
        self._batches: list[tuple[int, ...]] = []
        self._sessions: dict[int, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._quiet_until = 0.0
        self._loop = asyncio.new_event_loop()
        self._stop, self._requests = asyncio.Event(), asyncio.Semaphore(AT_ONCE)
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), name="trades", daemon=True)
        self._thread.start()

    def follow(self, symbols: Sequence[str]) -> None:
        self._followed += 1
        self._call(self._subscribe(tuple(symbols), self._followed))

    def ask(self, ask: AskBars | AskTrades | AskMarkets) -> None:
        self._call(self._answered(ask))

    def take(self) -> list[Told | Heard | Down | Listed | Answer]:
        found: list[Told | Heard | Down | Listed | Answer] = []
        for _ in range(len(self._events)):
            of, events = self._events.popleft()
            found += events if of in (0, self._followed) else []
        return found

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        self._loop.call_soon_threadsafe(self._spawn, work)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a task of the feed ended", exc_info=task.exception())

    async def _run(self) -> None:
        for work in (self._poll(), self._pump()):
            self._spawn(work)
        await self._stop.wait()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
        await self._timer.close()

    async def _poll(self) -> None:
        """Ask for the exchange's time every second. It is asked again at once, so nothing here has to be repeated."""
        from ccxt.base.errors import BaseError

        while True:
            sent = self._clock()
            try:
                server = await asyncio.wait_for(self._timer.fetch_time(), 10.0)
                self._events.append((0, [Told(sent, self._clock(), int(server))]))
            except (BaseError, TimeoutError, TypeError) as error:
                _log.warning("the exchange's time is not to be had: %s: %s", type(error).__name__, error)
                self._heed(error, self._timer)
            await asyncio.sleep(max(POLL_S, self._quiet_until - time.monotonic()))

    async def _subscribe(self, symbols: tuple[str, ...], subscription: int) -> None:
        """Let go of what was followed before, then one connection a batch."""
        await self._unsubscribe()
        retry = retry_if_exception(lambda error: isinstance(error, Exception) and not isinstance(error, ConfigError))
        async for attempt in AsyncRetrying(wait=self._pause, retry=retry, before_sleep=_failed):
            with attempt:
                self._names = await venue_names(self._client, symbols)
        self._number, self._sessions = subscription, {}
        self._batches = list(batched(range(len(self._names)), BATCH))
        for number, places in enumerate(self._batches):
            self._events.append((subscription, [Down(places, "not connected yet")]))
            self._keepers.append(self._spawn(self._keep(number)))

    async def _unsubscribe(self) -> None:
        from ccxt.base.errors import BaseError

        for keeper in self._keepers:
            keeper.cancel()
        batches, self._batches, self._keepers = [[self._names[place] for place in batch] for batch in self._batches], [], []
        for names in batches:
            with contextlib.suppress(BaseError, TimeoutError):
                await asyncio.wait_for(self._client.un_watch_trades_for_symbols(names), CLOSE_S)

    async def _keep(self, number: int) -> None:
        """A connection, begun again, later and later, when it fails."""
        names = [self._names[place] for place in self._batches[number]]

        def lost(state: RetryCallState) -> None:
            _failed(state)
            self._down(number, str(_error(state)))

        retry = retry_if_exception_type(Exception)
        while True:
            async for attempt in AsyncRetrying(wait=self._pause, retry=retry, before_sleep=lost):
                with attempt:
                    await self._client.watch_trades_for_symbols(names)
            await asyncio.sleep(WATCH_S)

    async def _pump(self) -> None:
        """What the caches hold that is new; a connection that is another one than before was lost in between."""
        while True:
            for number in range(len(self._batches)):
                self._drain(number)
                session = self._session(number)
                if session is not self._sessions.get(number, session):
                    self._down(number, "another connection")
                self._sessions[number] = session
            await asyncio.sleep(PUMP_S)

    def _down(self, number: int, why: str) -> None:
        self._drain(number)
        self._events.append((self._number, [Down(self._batches[number], why)]))

    def _drain(self, number: int) -> None:
        received, heard = self._clock(), list[Heard]()
        for place in self._batches[number]:
            cache = self._client.trades.get(self._names[place])
            if cache:
                heard.append(Heard(place, received, [parsed(trade) for trade in cache]))
                cache.clear()
        if heard:
            self._events.append((self._number, heard))

    def _session(self, number: int) -> Any:
        wanted = f"trade::{self._names[self._batches[number][0]]}"
        return next((socket for socket in self._client.clients.values() if wanted in socket.subscriptions), None)

    async def _answered(self, ask: AskBars | AskTrades | AskMarkets) -> None:
        """Ask until there is an answer: only a symbol that is not there is not asked for again. An exchange in maintenance says all kinds
        of things."""
        from ccxt.base.errors import BadSymbol

        def again(error: BaseException) -> bool:
            return isinstance(error, Exception) and not isinstance(error, BadSymbol | ConfigError)

        retrying = AsyncRetrying(wait=self._pause, retry=retry_if_exception(again), stop=stop_after_delay(PATIENCE_S), before_sleep=_failed)
        try:
            async for attempt in retrying:
                with attempt:
                    async with self._requests:
                        await asyncio.sleep(max(0.0, self._quiet_until - time.monotonic()))
                        self._events.append((0, [await answer(self._client, ask, self._frame)]))
        except (BadSymbol, ConfigError, RetryError) as error:
            if not isinstance(ask, AskMarkets):
                self._events.append((0, [Answer(ask, {}, refused=f"{type(error).__name__}: {error}")]))

    def _pause(self, state: RetryCallState) -> float:
        """Growing, and never shorter than the exchange asked for."""
        self._heed(_error(state), self._client)
        rest = self._quiet_until - time.monotonic()
        return max(rest, float(wait_exponential_jitter(multiplier=0.5, max=LONGEST_S)(state)))

    def _heed(self, error: BaseException | None, client: Any) -> None:
        """A 429 says how long nothing may be asked."""
        from ccxt.base.errors import DDoSProtection

        if isinstance(error, DDoSProtection):
            told = {key.lower(): value for key, value in (client.last_response_headers or {}).items()}.get("retry-after", "")
            self._quiet_until = max(self._quiet_until, time.monotonic() + (float(told) if str(told).isdigit() else 1.0))


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _failed(state: RetryCallState) -> None:
    error = _error(state)
    _log.warning("the exchange failed, once more: %s: %s", type(error).__name__, str(error)[:300])
