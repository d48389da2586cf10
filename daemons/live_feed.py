"""The live source of a scanner put together: exchange by CCXT Pro, bars, files, journal."""

from __future__ import annotations

from daemons.ccxt_client import exchange_client
from daemons.ccxt_trades import CcxtTrades
from daemons.feed_words import FeedWords
from daemons.live_bars import LiveBars
from daemons.live_history import LiveHistory
from daemons.service import Context
from dolphin.storage.trade_record import TradeRecord

__all__ = ["live_bars"]


def live_bars(context: Context) -> LiveBars:
    """Bars of the exchange that ``settings.feed`` names. Raises ``MissingDependency`` without CCXT, ``ConfigError`` for a wrong one."""
    config, folder = context.settings.feed, context.state.feed
    feed = CcxtTrades(exchange_client(config), exchange_client(config), context.clock.market_ms, config.bar_seconds)
    history = LiveHistory(context.journal, folder, feed, config.bar_seconds)
    record = TradeRecord(folder / "trades") if config.record else None
    return LiveBars(feed, context.clock, config, history, FeedWords(context.alert), record)
