"""An alpha that decides what a test tells it to."""

from __future__ import annotations

from typing import Any

from dolphin.types import BarResult

__all__ = ["Decisions"]


class Decisions:
    """Stands for the alpha: it decides at each bar what the test has told it to."""

    def __init__(self) -> None:
        self.trades: list[dict[str, Any]] = []
        self.next = BarResult()
        self.bars = 0

    def process_row(self, *row: Any) -> BarResult:
        self.bars += 1
        decided, self.next = self.next, BarResult()
        return decided

    def begin_day(self, *args: Any) -> None:
        """No day."""

    set_universe = update_posture = update_acb_boost = begin_day

    def end_day(self) -> dict[str, Any]:
        return {"date": "2024-01-01"}

    def snapshot(self) -> bytes:
        return b""
