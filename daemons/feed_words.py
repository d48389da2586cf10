"""What an operator hears of a live feed: one word for the heartbeat, alerts when something is wrong and when it is right again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from daemons.trade_feed import Answer
from dolphin.storage.schema import clock, date_of
from dolphin.telemetry.alerts import AlertKind, Severity

__all__ = ["FeedWords"]

type Tell = Callable[[AlertKind, Severity, str, str], None]


class FeedWords:
    """``status``: connecting, backfill, running, gaps (a symbol of the newest bar has a gap), stale, clock_skew."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.status = "connecting"
        self.dead_bars = 0
        """Bars in a row in which nobody traded."""
        self.missing_bars = 0
        """Bars without a row since the start."""
        self.without_price = 0
        """Symbols without a price in the newest bar."""

    def say(self, word: str) -> None:
        """The word from now on."""
        if word == "stale" != self.status:
            self._tell(AlertKind.STALE_FEED, Severity.CRITICAL, "feed", "the exchange does not answer: no bars until it does")
        self.status = word

    def down(self, symbols: int, why: str) -> None:
        """A subscription ended."""
        self._tell(AlertKind.STALE_FEED, Severity.WARNING, "subscription", f"subscription of {symbols} symbols ended: {why[:200]}")

    def skew(self, on: bool, lead: tuple[int, int]) -> None:
        """The clocks are apart, or agree again."""
        if on:
            text = (
                f"the exchange's clock is {lead[0]} to {lead[1]} ms ahead of ours: nothing is closed; set the clock of this machine (NTP)"
            )
            self._tell(AlertKind.CLOCK_SKEW, Severity.CRITICAL, "CLOCK_SKEW", text)
            self.status = "clock_skew"
        else:
            self._tell(AlertKind.RECOVERED, Severity.INFO, "CLOCK_SKEW", "the clocks agree again")
            self.status = "backfill"

    def delisted(self, symbols: Sequence[str]) -> None:
        """Symbols that are not traded any more."""
        text = f"{', '.join(symbols)}: not traded any more, no price from now on; they leave the universe at the next UTC day"
        self._tell(AlertKind.STALE_FEED, Severity.WARNING, "delisted", text)

    def refused(self, answer: Answer) -> None:
        """The exchange has not what was asked for."""
        self._tell(AlertKind.FEED_GAP, Severity.WARNING, answer.ask.symbol, f"{answer.ask.symbol}: no backfill: {answer.refused[:200]}")

    def bar(self, open_ms: int, gaps: int, anybody: bool, without: int, symbols: int) -> None:
        """A bar is over: ``gaps`` symbols of it may lack trades, ``without`` have no price."""
        at = f"{date_of(open_ms)} {clock(open_ms)}"
        if not anybody:
            self.dead_bars += 1
            self.missing_bars += 1
            if self.dead_bars == 1:
                self._tell(
                    AlertKind.STALE_FEED, Severity.CRITICAL, "feed", f"bar {at}: nobody traded and the exchange has no bar: none is made"
                )
            self.status = "stale"
            return
        if self.dead_bars:
            self._tell(AlertKind.RECOVERED, Severity.INFO, "feed", f"bars again from {at} on; {self.dead_bars} are missing before it")
        if gaps:
            text = f"bar {at}: {gaps} of {symbols} symbols may lack trades that the exchange does not give: they have no price"
            self._tell(AlertKind.FEED_GAP, Severity.WARNING, "bar", text)
        self.dead_bars, self.without_price = 0, without
        self.status = "gaps" if gaps else "running"
