"""A Nautilus live node with its own Binance adapter, unmodified, against a demo exchange: ``python nautilus_node.py ADDRESS``.

It hears trades and books, buys at market, places a protective stop, cancels it, sells half by a reduce-only limit, and prints as one
JSON object what it believes. The rest of the position is left for the next node to find.
"""

from __future__ import annotations

import asyncio
import json
import sys
from decimal import Decimal

from nautilus_trader.adapters.binance import (
    BINANCE,
    BinanceAccountType,
    BinanceDataClientConfig,
    BinanceExecClientConfig,
    BinanceLiveDataClientFactory,
    BinanceLiveExecClientFactory,
)
from nautilus_trader.adapters.binance.config import BinanceInstrumentProviderConfig
from nautilus_trader.config import LiveExecEngineConfig, LoggingConfig, StrategyConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.enums import OrderSide, TriggerType
from nautilus_trader.model.identifiers import InstrumentId, TraderId, Venue
from nautilus_trader.trading.strategy import Strategy

from daemons.exchange.signing import DEMO_KEY, DEMO_SECRET

INSTRUMENT = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")


class Buyer(Strategy):
    """Buys on the first trade; ``told``: what happened, in order."""

    def __init__(self, config: StrategyConfig) -> None:
        super().__init__(config)
        self.told: list[str] = []
        self.trades = self.quotes = 0
        self.done = asyncio.Event()

    def on_start(self) -> None:
        self.found = str(self.portfolio.net_position(INSTRUMENT))
        self.subscribe_trade_ticks(INSTRUMENT)
        self.subscribe_quote_ticks(INSTRUMENT)

    def on_quote_tick(self, tick) -> None:
        self.quotes += 1

    def on_trade_tick(self, tick) -> None:
        self.trades += 1
        if self.trades == 1:
            quantity = self.cache.instrument(INSTRUMENT).make_qty("0.04")
            self.submit_order(self.order_factory.market(INSTRUMENT, OrderSide.BUY, quantity))

    def on_order_accepted(self, event) -> None:
        if self.told == ["filled BUY 0.04"]:
            self.told.append("stop accepted")
            self.cancel_order(self.cache.order(event.client_order_id))

    def on_order_canceled(self, event) -> None:
        self.told.append("stop canceled")
        instrument = self.cache.instrument(INSTRUMENT)
        low = instrument.make_price(self.cache.quote_tick(INSTRUMENT).bid_price * Decimal("0.95"))
        quantity = instrument.make_qty("0.02")
        self.submit_order(self.order_factory.limit(INSTRUMENT, OrderSide.SELL, quantity, low, reduce_only=True))

    def on_order_rejected(self, event) -> None:
        self.told.append(f"rejected {event.reason}")
        self.done.set()

    def on_order_filled(self, event) -> None:
        order = self.cache.order(event.client_order_id)
        if not order.is_closed:
            return
        self.told.append(f"filled {order.side_string()} {order.filled_qty}")
        if order.is_buy:
            instrument = self.cache.instrument(INSTRUMENT)
            trigger = instrument.make_price(event.last_px * Decimal("0.9"))
            stop = self.order_factory.stop_market(
                INSTRUMENT, OrderSide.SELL, order.quantity, trigger, TriggerType.LAST_PRICE, reduce_only=True
            )
            self.submit_order(stop)
        else:
            self.done.set()


async def run(address: str) -> TradingNode:
    """From connection to the printed object."""
    socket = address.replace("http", "ws")
    provider = BinanceInstrumentProviderConfig(load_ids=frozenset({INSTRUMENT}))
    common = {
        "account_type": BinanceAccountType.USDT_FUTURES, "api_key": DEMO_KEY, "api_secret": DEMO_SECRET, "base_url_http": address,
        "instrument_provider": provider,
    }  # fmt: skip
    node = TradingNode(
        TradingNodeConfig(
            trader_id=TraderId("DOLPHIN-001"),
            logging=LoggingConfig(log_level="WARNING", log_colors=False),
            exec_engine=LiveExecEngineConfig(reconciliation=True, reconciliation_startup_delay_secs=0),
            data_clients={BINANCE: BinanceDataClientConfig(base_url_ws=socket, **common)},
            exec_clients={BINANCE: BinanceExecClientConfig(base_url_ws=socket + "/ws-fapi/v1", base_url_ws_stream=socket, **common)},
            timeout_connection=20,
            timeout_disconnection=3,
            timeout_post_stop=1,
        )
    )
    strategy = Buyer(StrategyConfig(strategy_id="BUYER-1"))
    node.trader.add_strategy(strategy)
    node.add_data_client_factory(BINANCE, BinanceLiveDataClientFactory)
    node.add_exec_client_factory(BINANCE, BinanceLiveExecClientFactory)
    node.build()
    running = asyncio.ensure_future(node.run_async())
    await asyncio.wait({asyncio.ensure_future(strategy.done.wait()), running}, timeout=40, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.5)
    account = node.portfolio.account(Venue("BINANCE"))
    told = {
        "found": getattr(strategy, "found", None), "told": strategy.told, "heard": strategy.trades > 0 and strategy.quotes > 0,
        "position": str(node.portfolio.net_position(INSTRUMENT)), "balance": str(account.balance_total(USDT)) if account else None,
    }  # fmt: skip
    print("TOLD", json.dumps(told), flush=True)
    await node.stop_async()
    await running
    return node


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(run(sys.argv[1])).dispose()
