"""What the loop sees on one bar, as values: a copy of the engine's state, the bar's row, the prices before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dolphin.config import EngineConfig, config_hash
from dolphin.engine import snapshot as codec
from dolphin.engine.history import read_only
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.order_book import NO_BOOK, OrderBookProvider, book_rows
from dolphin.engine.records import DayRows, params_record
from dolphin.kernels.loop import count_bar_nb
from dolphin.kernels.order_book import Book, book_macro_nb, book_value_nb
from dolphin.types import IRP_WINDOW, OB_ASSET, OB_MACRO, STATE, Array

__all__ = ["Scene", "scene_of"]


@dataclass(frozen=True, slots=True)
class Scene:
    """``params`` and ``state``: records, the state's copy with this bar counted; ``block`` float64[1, n_assets] the bar's prices after
    those of ``tail`` float64[50, n_assets]; ``book`` its row, or none; ``signal`` = (vel_div, v50 - v750); ``banned`` for the day;
    ``held`` = asset of the open position; ``vol_ok`` 1, 0, or -1 for "by the row's place in the day".
    """

    date: str
    config: EngineConfig
    params: Any
    state: Any
    assets: tuple[str, ...]
    block: Array
    tail: Array
    book: Book
    signal: tuple[float, float]
    banned: frozenset[str]
    held: str
    vol_ok: int

    @property
    def direction(self) -> int:
        """-1 SHORT, +1 LONG."""
        return int(self.state["direction"])

    @property
    def has_book(self) -> bool:
        """Whether an order book is attached."""
        return len(self.book.rows) > 0

    def book_value(self, name: str, j: int) -> float:
        """One of ``OB_ASSET`` of column ``j``; NaN = nothing known."""
        return book_value_nb(self.book, 0, j, OB_ASSET.index(name)) if self.has_book else math.nan

    def market_value(self, name: str) -> float:
        """One of ``OB_MACRO``; NaN = nothing known."""
        return book_macro_nb(self.book, 0, OB_MACRO.index(name)) if self.has_book else math.nan


def scene_of(engine: NDAlphaEngine, rows: DayRows, row: int, ob: OrderBookProvider | None, vol_ok: bool | None) -> Scene:
    """Row ``row`` of ``rows`` before an engine whose day is open and whose universe is ``rows.assets``; the engine stays as it is."""
    saved = codec.decode(engine.snapshot(), config_hash(engine.config))
    state = np.frombuffer(saved.state, dtype=STATE).copy()[0]
    ts, vel_div = rows.ts_ms[row : row + 1], float(rows.vel_div[row])
    count_bar_nb(state, vel_div, int(ts[0]))
    return Scene(
        date=saved.date,
        config=engine.config,
        params=params_record(engine.config)[0],
        state=state,
        assets=tuple(saved.assets),
        block=read_only(np.ascontiguousarray(rows.closes[row : row + 1])),
        tail=read_only(np.frombuffer(saved.tail).reshape(IRP_WINDOW, len(saved.assets))),
        book=NO_BOOK if ob is None else book_rows(ob, rows.assets, int(state["direction"]), ts),
        signal=(vel_div, float(rows.v50[row]) - float(rows.v750[row])),
        banned=frozenset(saved.banned),
        held=saved.held,
        vol_ok=-1 if vol_ok is None else int(vol_ok),
    )
