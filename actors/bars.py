"""A second source: ordinary Nautilus bars, one a name, put together into snapshots and scanned here. Slower: it costs a call a name."""

from __future__ import annotations

import numpy as np
from nautilus_trader.model.data import Bar

from actors.data_types import Snapshot, Universe
from dolphin.scanner.scan import Scanner

__all__ = ["BarAssembler"]

MS = 1_000_000


class BarAssembler:
    """Bars in, snapshots out. A tick is complete when every name has come, or when a bar of a later tick does: what is missing has no
    price. A bar that is not later than the newest tick handed out is dropped and counted in ``late``, a repeated one likewise.
    """

    def __init__(self, universe: tuple[str, ...], bar_seconds: int) -> None:
        self.late = 0
        self._universe = Universe(universe)
        self._bar_ms = bar_seconds * 1000
        self._scanner = Scanner(len(universe))
        self._ts = self._done = 0
        self._closes = np.full(len(universe), np.nan)
        self._came = 0

    def add(self, bar: Bar) -> list[Snapshot]:
        """Take a bar in; return the snapshots that are complete now (none, one, or two)."""
        ts = bar.ts_event
        out: list[Snapshot] = []
        column = self._universe.column.get(bar.bar_type.instrument_id.symbol.value.removesuffix("-PERP"))
        if column is None:
            return out
        if ts <= self._done or ts < self._ts:
            self.late += 1
            return out
        if ts > self._ts and self._came:
            out.append(self._flush())
        self._ts = ts
        if self._closes[column] == self._closes[column]:
            self.late += 1
            return out
        self._closes[column] = bar.close.as_double()
        self._came += 1
        if self._came == len(self._universe):
            out.append(self._flush())
        return out

    def _flush(self) -> Snapshot:
        # the nearest bar: some venues close a bar a millisecond before the full minute
        bar = (self._ts // MS + self._bar_ms // 2) // self._bar_ms - 1
        row = self._scanner.scan(self._closes[None], [bar])
        signal = float(row.vel_div[0]), float(row.velocity[0, 0]), float(row.velocity[0, -1])
        done = Snapshot(self._ts, self._universe, self._closes, signal)
        self._done, self._came, self._closes = self._ts, 0, np.full(len(self._universe), np.nan)
        return done
