"""Binance USDT-M through Nautilus' adapter: what the account says, and an execution client whose answers can be relied upon.

Addresses are the adapter's own, or those of a demo exchange on this machine (``live.url``). Nothing here decides whether to trade:
``dolphin.live.gates`` does, and ``execution`` asks for what only it gives.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from nautilus_trader.adapters.binance.common.enums import BinanceAccountType, BinanceEnvironment, BinanceErrorCode
from nautilus_trader.adapters.binance.config import BinanceExecClientConfig, BinanceInstrumentProviderConfig
from nautilus_trader.adapters.binance.factories import (
    BinanceLiveExecClientFactory,
    get_cached_binance_futures_instrument_provider,
    get_cached_binance_http_client,
)
from nautilus_trader.adapters.binance.futures.execution import BinanceFuturesExecutionClient
from nautilus_trader.adapters.binance.futures.http.account import BinanceFuturesAccountHttpAPI
from nautilus_trader.adapters.binance.futures.http.market import BinanceFuturesMarketHttpAPI
from nautilus_trader.adapters.binance.http.error import BinanceError, BinanceServerError, get_binance_error_code
from nautilus_trader.common.component import LiveClock
from nautilus_trader.config import LiveExecEngineConfig
from nautilus_trader.core.data import Data
from nautilus_trader.core.nautilus_pyo3 import HttpError, HttpTimeoutError
from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.identifiers import InstrumentId, Venue

from actors.delivery import CLIENT
from dolphin.deployment import LiveConfig
from dolphin.errors import MissingDependency
from dolphin.live.gates import Account, Admission
from dolphin.live.keys import ExchangeKeys

__all__ = ["BinanceExecFactory", "BinanceQuotes", "UnknownOutcome", "ask_account", "certain", "execution", "reconciling"]

KIND: Final = BinanceAccountType.USDT_FUTURES
ALL: Final = BinanceInstrumentProviderConfig(load_all=True)
ASK_S: Final = 10.0
"""An exchange that has not answered after so many seconds has not answered."""

UNKNOWN_OUTCOME: Final = (
    BinanceErrorCode.TIMEOUT,
    BinanceErrorCode.UNEXPECTED_RESP,
    BinanceErrorCode.UNKNOWN,
    BinanceErrorCode.DISCONNECTED,
)
"""Error codes that leave open whether the order was taken."""


class UnknownOutcome(Exception):
    """The exchange's answer leaves open whether it took the order: not a rejection, the order is asked after."""


class CertainExecutionClient(BinanceFuturesExecutionClient):
    """Nautilus' client, except that an order counts as rejected only when the exchange has said so, and that fills count once.

    The adapter takes a 5xx or a timeout in the exchange's back end for a rejection. Such an order may rest or be filled all the same,
    and Nautilus books no fill of a rejected order. Here it stays without an answer, and desk and engine ask after it. Sending it again
    would be no remedy: Binance takes the id of a filled order a second time.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._submit_order_method = {kind: certain(method) for kind, method in self._submit_order_method.items()}

    def _get_cache_active_symbols(self) -> set[str]:
        """As the exchange writes them. The adapter has both spellings, asks for BTCUSDT twice, counts its fills twice, and after a
        reconnect Nautilus makes up an order that levels the difference.
        """
        return {symbol.removesuffix("-PERP") for symbol in super()._get_cache_active_symbols()}

    async def _connect(self) -> None:
        await super()._connect()
        for instrument in self._instrument_provider.list_all():
            self._cache.add_instrument(instrument)


class BinanceQuotes(LiveMarketDataClient):
    """Best bid and ask of all perpetuals, fetched when ``refresh`` is called: a lane needs a price of now at its bars, not a stream."""

    def __init__(self, admission: Admission, loop: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        client, venue = _client(clock, admission.live, admission.keys), Venue(admission.permit.venue)
        provider = get_cached_binance_futures_instrument_provider(client=client, clock=clock, account_type=KIND, config=ALL, venue=venue)
        super().__init__(loop=loop, client_id=CLIENT, venue=None, instrument_provider=provider, msgbus=msgbus, cache=cache, clock=clock)
        self._venue, self._market = venue, BinanceFuturesMarketHttpAPI(client, KIND)

    async def _connect(self) -> None:
        await self._instrument_provider.initialize()
        for instrument in self._instrument_provider.list_all():
            self._handle_data(instrument)
        await self.refresh()

    async def _disconnect(self) -> None:
        """Nothing to leave."""

    async def _subscribe(self, command: Any) -> None:
        """Quotes come with every refresh, snapshots by ``give``."""

    async def _unsubscribe(self, command: Any) -> None:
        """Quotes come with every refresh, snapshots by ``give``."""

    def give(self, data: Data) -> None:
        """Into the data engine's queue."""
        self._handle_data(data)

    async def refresh(self) -> None:
        """One request for all symbols; a quote that is no price is left out."""
        now = self._clock.timestamp_ns()
        for book in await self._market.query_ticker_book():
            instrument = self._cache.instrument(InstrumentId.from_str(f"{book.symbol}-PERP.{self._venue}"))
            bid, ask = float(book.bidPrice or "nan"), float(book.askPrice or "nan")
            if instrument is not None and 0.0 < bid <= ask < math.inf:
                sizes = instrument.make_qty(float(book.bidQty or 0)), instrument.make_qty(float(book.askQty or 0))
                prices = instrument.make_price(bid), instrument.make_price(ask)
                self._handle_data(QuoteTick(instrument.id, *prices, *sizes, now, now))


class BinanceExecFactory(BinanceLiveExecClientFactory):
    """Makes ``CertainExecutionClient``."""

    @staticmethod
    def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> CertainExecutionClient:
        """As Nautilus asks for it."""
        keys = ExchangeKeys(config.api_key, config.api_secret)
        client = _client(clock, LiveConfig(url=config.base_url_http or ""), keys)
        provider = get_cached_binance_futures_instrument_provider(
            client=client, clock=clock, account_type=KIND, config=config.instrument_provider, venue=config.venue
        )
        return CertainExecutionClient(
            loop=loop, client=client, msgbus=msgbus, cache=cache, clock=clock, instrument_provider=provider, base_url_ws="",
            config=config, account_type=KIND, name=name, environment=BinanceEnvironment.LIVE,
            api_key=config.api_key, api_secret=config.api_secret,
        )  # fmt: skip


def execution(admission: Admission) -> BinanceExecClientConfig:
    """Configuration of the execution client. No order is ever sent twice: ``max_retries`` stays unset."""
    live, keys = admission.live, admission.keys
    socket = "ws" + live.url.removeprefix("http") if live.url else None
    return BinanceExecClientConfig(
        account_type=KIND, api_key=keys.key, api_secret=keys.secret, instrument_provider=ALL,
        base_url_http=live.url or None, base_url_ws=f"{socket}/ws-fapi/v1" if socket else None, base_url_ws_stream=socket,
        use_reduce_only=True, use_position_ids=False,
    )  # fmt: skip


def reconciling(live: LiveConfig) -> LiveExecEngineConfig:
    """Orders and positions are compared with the exchange's at the start, every 5 and 10 seconds, and when an answer is missing."""
    return LiveExecEngineConfig(
        reconciliation=live.reconciliation, open_check_interval_secs=5.0, position_check_interval_secs=10.0,
        reconciliation_startup_delay_secs=1.0,
    )  # fmt: skip


async def ask_account(live: LiveConfig, keys: ExchangeKeys) -> Account:
    """Balance, position mode, permission and time of the exchange. Raises ``MissingDependency`` naming the kind of failure, no more."""
    clock = LiveClock()
    client = _client(clock, live, keys)
    account, market = BinanceFuturesAccountHttpAPI(client, clock, KIND), BinanceFuturesMarketHttpAPI(client, KIND)
    try:
        async with asyncio.timeout(ASK_S):
            await market.request_server_time()  # the first call opens the connection: its time is not measured
            before = clock.timestamp_ms()
            server = await market.request_server_time()
            skew = server - 0.5 * (before + clock.timestamp_ms())
            mode = await account.query_futures_hedge_mode()
            info = await account.query_futures_account_info()
    except BinanceError as error:
        raise MissingDependency(
            f"the exchange refuses (HTTP {error.status}, code {_code(error)}): {live.url or 'Binance USDT-M'}"
        ) from None
    except (HttpError, HttpTimeoutError, OSError, msgspec.MsgspecError) as error:
        raise MissingDependency(f"the exchange does not answer ({type(error).__name__}): {live.url or 'Binance USDT-M'}") from None
    balance = max(float(info.totalWalletBalance or 0), float(info.totalMarginBalance or 0))
    return Account(balance=balance, one_way=not mode.dualSidePosition, can_trade=info.canTrade, skew_ms=skew)


def _client(clock: Any, live: LiveConfig, keys: ExchangeKeys) -> Any:
    """One for all parts of a node: they share the exchange's limits."""
    return get_cached_binance_http_client(
        clock=clock, account_type=KIND, api_key=keys.key, api_secret=keys.secret, base_url=live.url or None
    )


def certain(submit: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """``submit``, with ``UnknownOutcome`` in place of an error that does not say whether the order was taken."""

    async def submitted(*args: Any) -> None:
        try:
            await submit(*args)
        except BinanceError as error:
            if isinstance(error, BinanceServerError) or get_binance_error_code(error) in UNKNOWN_OUTCOME:
                raise UnknownOutcome(f"HTTP {error.status}, code {_code(error)}") from None
            raise

    return submitted


def _code(error: BinanceError) -> str:
    return str(error.message.get("code", "none")) if isinstance(error.message, dict) else "none"
