"""Where a lane stands, from its journal: that needs neither the grid nor the trader."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dolphin.config import Settings
from dolphin.errors import DolphinError
from dolphin.storage.journal import JournalReader, Kind, journal_path

__all__ = ["LaneNow", "lane_now"]


@dataclass(frozen=True, slots=True)
class LaneNow:
    """After its newest bar, whose close is ``ts_ms``. ``equity`` and ``peak``: honest, marked, USDT; ``position``: as entered, or None;
    ``live``: with real orders.

    ``refusals``: why the bar entered nothing; ``blocks``: what of that is a doubt about the deployment and not the market.
    """

    lane: str
    live: bool
    ts_ms: int
    equity: float
    peak: float
    trades: int
    position: dict[str, Any] | None
    refusals: list[str]
    blocks: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def lane_now(journals: Path, settings: Settings, lane: str) -> LaneNow | None:
    """Of lane BLUE or GREEN, on paper or live as ``settings`` say; None before its first bar."""
    path, longest = journal_path(journals, settings.lane_journal(lane)), settings.engine.max_hold_bars
    try:
        with JournalReader(path) as journal:
            bars, trades = journal.tail(longest + 2, Kind.BAR), sum(1 for _ in journal.records(Kind.TRADE))
            closed = journal.last(Kind.TRADE)
    except DolphinError:  # not there, or not readable while it is being made
        return None
    if not bars:
        return None
    entered = next((bar for bar in reversed(bars) if bar.payload["entry"] is not None), None)
    is_open = entered is not None and (closed is None or closed.seq < entered.seq)
    last = bars[-1].payload
    return LaneNow(
        lane, settings.live.mode == "live", bars[-1].ts_ms, last["equity"], last["peak"], trades,
        entered.payload["entry"] if is_open and entered else None, list(last["refusals"]), list(last["told"]["blocks"]),
    )  # fmt: skip
