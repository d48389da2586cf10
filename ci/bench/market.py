"""The market of the benches: days of the synthetic market, scanned."""

from __future__ import annotations

import numpy as np

from dolphin import scan_batch
from dolphin.engine.records import DayRows
from dolphin.synthetic.market import SyntheticMarket

__all__ = ["DAMPED", "scanned_days"]

DAMPED = 0.45
"""Factor on vel_div of the 5 s day that leaves about 70 trades, the day of the performance notes."""


def scanned_days(days: int, bar_seconds: int, damped: float = 1.0, assets: int = 48) -> list[tuple[str, DayRows]]:
    """Days of the synthetic market, scanned: ``(date, rows)``."""
    made = list(SyntheticMarket(days=days, bar_seconds=bar_seconds, assets=assets))
    batch = scan_batch(np.concatenate([day.close for day in made]))
    out, first = [], 0
    for day in made:
        part = slice(first, first + len(day.ts))
        velocity = batch.velocity[part] * damped
        rows = DayRows(day.symbols, day.close, batch.vel_div[part] * damped, velocity[:, 0].copy(), velocity[:, 3].copy(), day.ts)
        out.append((day.date, rows))
        first = part.stop
    return out
