"""What was missed is asked of the exchange before a bar is handed out: trades by their numbers, whole bars by klines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from daemons.trade_feed import Answer, AskBars, AskTrades, TradeFeed
from dolphin.storage.trade_bars import Missing

__all__ = ["Backfill"]

FEW: Final = 8
"""So many symbols at once are filled trade by trade; more by klines, which cost a twentieth (Binance: weight 1, trades 20)."""
KLINE_MS: Final = 60_000
"""Shortest klines that an exchange has."""


class Backfill:
    """Requests for ``symbols``. Each is asked once a bar for trades, then for klines; what is not had by then is not to be had.

    ``give_up_s``: an exchange that otherwise answers and gives nothing for so long is not asked further.
    """

    def __init__(self, feed: TradeFeed, symbols: Sequence[str], bar_ms: int, give_up_s: float) -> None:
        self._feed, self._symbols, self._bar_ms, self._give_up_s = feed, tuple(symbols), bar_ms, give_up_s
        self._place = {symbol: place for place, symbol in enumerate(self._symbols)}
        self._open: dict[int, AskBars | AskTrades] = {}
        self._trades_until: dict[int, int] = {}
        self._bars_until: dict[int, int] = {}
        self._since_s = 0.0
        self.answers = 0

    def place_of(self, symbol: str) -> int:
        """Place of a symbol; -1: of an earlier universe."""
        return self._place.get(symbol, -1)

    def lacking(self, missing: Sequence[Missing], bar: int, last_bar: int, now_s: float, *, answers: bool) -> list[Missing]:
        """Ask for what was not asked for; what of ``missing`` may still come. Empty: hand the bar out.

        ``last_bar``: the newest bar that is over; ``now_s``: seconds of ours; ``answers``: whether the exchange answers at all.
        """
        if not self._open:
            self._since_s = now_s
        waiting = [found for found in missing if found.place in self._open or self._asked(found, bar, last_bar, len(missing))]
        if waiting and answers and now_s - self._since_s > self._give_up_s:
            for found in waiting:
                self._open.pop(found.place, None)
                self._trades_until[found.place] = self._bars_until[found.place] = bar
            return []
        return waiting

    def forget(self) -> None:
        """Ask for everything anew; answers under way do not count."""
        self._open, self._trades_until, self._bars_until = {}, {}, {}

    def heard(self, answer: Answer, now_s: float) -> int:
        """Take note of an answer; the place it is for, -1 when nobody waits for it."""
        place = self.place_of(answer.ask.symbol)
        if self._open.get(place) is not answer.ask:
            return -1
        del self._open[place]
        self.answers += 1
        self._since_s = now_s
        if isinstance(answer.ask, AskBars):
            self._bars_until[place] = answer.ask.last_ms // self._bar_ms
        else:
            self._trades_until[place] = answer.ask.until_ms // self._bar_ms - 1
        return place

    def _asked(self, found: Missing, bar: int, last_bar: int, many: int) -> bool:
        """Ask for a symbol; False when everything was asked."""
        klines = self._bar_ms >= KLINE_MS
        by_trades = not klines or (many <= FEW and found.from_id >= 0 and last_bar == bar)
        start, end = bar * self._bar_ms, (last_bar + 1) * self._bar_ms
        ask: AskBars | AskTrades
        if by_trades and self._trades_until.get(found.place, -1) < bar:
            ask = AskTrades(self._symbols[found.place], found.from_id, found.since_ms, end)
        elif klines and self._bars_until.get(found.place, -1) < bar:
            ask = AskBars(self._symbols[found.place], start, end - self._bar_ms)
        else:
            return False
        self._open[found.place] = ask
        self._feed.ask(ask)
        return True
