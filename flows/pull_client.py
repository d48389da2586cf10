"""A CCXT client for downloads: its limiter is on, Retry-After holds for every request, a failure is tried again later and later, and
given up in the end.

The client is CCXT's own; only its addresses change, and only to a demo exchange on this machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dolphin.addresses import loopback, moved
from dolphin.errors import ConfigError, MissingDependency, Unavailable

__all__ = ["Exchange"]

TIMEOUT_MS: Final = 20_000
LONGEST_PAUSE_S: Final = 30.0


class Exchange:
    """Exchange ``name`` (CCXT's id), or the demo exchange at ``url``. ``patience``: seconds for which one request is tried again.

    ``requests`` and ``failures`` count what was sent and what failed. Raises ``MissingDependency``, ``ConfigError``.
    """

    def __init__(self, name: str, url: str = "", patience: float = 120.0) -> None:
        try:
            import ccxt.async_support as library
            import tenacity
        except ImportError as error:
            raise MissingDependency(f"{error.name} is not installed: pip install 'dolphin-nautilus[live,grid]'") from error
        if name not in library.exchanges:
            raise ConfigError(f"--exchange {name}: CCXT has no such exchange, for example binanceusdm")
        self.name, self.demo, self.patience = name, bool(url), patience
        self.client: Any = getattr(library, name)({"enableRateLimit": True, "timeout": TIMEOUT_MS})
        if url:
            self.client.urls["api"] = moved(self.client.urls["api"], loopback(url, "--url"))
        self.requests, self.failures = 0, 0
        self._errors, self._tenacity, self._resume = library, tenacity, 0.0

    async def ask(self, method: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """The answer of one of the client's methods.

        Raises ``Unavailable`` when none came within the patience, or the exchange refuses; ``ConfigError`` for an unknown symbol.
        """
        t = self._tenacity
        again = t.AsyncRetrying(retry=t.retry_if_exception(self._may_pass), stop=self._hopeless, wait=self._pause, reraise=True)
        try:
            async for attempt in again:
                with attempt:
                    await self._rest()
                    self.requests += 1
                    return await method(*arguments)
        except self._errors.BadSymbol as error:
            raise ConfigError(f"{self.name} has no such symbol: {_brief(error)}") from error
        except self._errors.BaseError as error:
            if self._may_pass(error):
                why = f"{self.name} gave no answer for {self.patience:g} s: {_brief(error)}"
                raise Unavailable(f"{why}; start the pull again later, it goes on where it stopped") from error
            raise Unavailable(f"{self.name} refused: {_brief(error)}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def _rest(self) -> None:
        """A pause that the exchange demanded holds for every request."""
        while (left := self._resume - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _may_pass(self, error: BaseException) -> bool:
        """Whether trying again may help; so too for errors that CCXT has no name for, such as Binance's -1008 (overload)."""
        return isinstance(error, self._errors.OperationFailed) or type(error) is self._errors.ExchangeError

    def _hopeless(self, state: Any) -> bool:
        self.failures += 1
        return bool(state.seconds_since_start + _retry_after(self.client.last_response_headers) > self.patience)

    def _pause(self, state: Any) -> float:
        demanded = _retry_after(self.client.last_response_headers)
        if isinstance(state.outcome.exception(), self._errors.DDoSProtection) or demanded:
            self._resume = max(self._resume, time.monotonic() + max(demanded, 1.0))
        backoff: float = self._tenacity.wait_exponential_jitter(multiplier=0.25, max=LONGEST_PAUSE_S, jitter=0.25)(state)
        left: float = max(self.patience - state.seconds_since_start, 0.0)
        return max(demanded, min(backoff, left))


def _retry_after(headers: Any) -> float:
    """Seconds that the newest answer asks us to wait; 0 when it says nothing, or a date."""
    told = next((value for name, value in (headers or {}).items() if name.lower() == "retry-after"), "")
    return float(told) if told.isascii() and told.isdigit() and len(told) < 9 else 0.0


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
