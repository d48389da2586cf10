"""Recorded trades of a live feed: ``FOLDER/YYYY-MM-DD/HH.parquet``, the hour in progress and one that a crash cut as ``HH-NNN.parquet``.

A part is published every minute or so, the hour in one piece when it is over. A trade belongs to the file of its own stamp.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dolphin.errors import MalformedFile, QualityError
from dolphin.storage.klines import KlineBars
from dolphin.storage.parquet import Parquet, write_parquet
from dolphin.storage.publish import publish
from dolphin.storage.schema import DAY_MS, SYMBOL, date_of, day_start
from dolphin.storage.trade_bars import NEVER, Bar, Trade, TradeBars
from dolphin.types import Array

__all__ = ["FORMAT", "TradeRecord", "bars_of_rows", "read_trades", "recorded_bars", "recorded_days"]

FORMAT: Final = "dolphin-trades/1"
HOUR_MS: Final = 3_600_000
_NAMES: Final = {"ts_ms": "ts", "trade_id": "id", "price": "price", "size": "size", "taker_buys": "taker_buys", "trades": "trades"}
_KINDS: Final = {"symbol": "string", "price": "float", "size": "float", **dict.fromkeys(("ts", "id", "taker_buys", "trades"), "int64")}


class TradeRecord:
    """Writes trades below ``folder``. ``add`` keeps them in memory, ``flush`` publishes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[int, list[tuple[str, Trade]]] = {}

    def add(self, symbol: str, trade: Trade) -> None:
        """Keep a trade for the next ``flush``."""
        self._held.setdefault(trade.ts_ms // HOUR_MS, []).append((symbol, trade))

    def flush(self, over_ms: int) -> list[Path]:
        """Publish what is held, a part an hour; hours that were over at ``over_ms`` become one file. The files written."""
        written = []
        for hour, held in sorted(self._held.items()):
            path = self._part(hour)
            _publish(path, _columns(held))
            written.append(path)
        self._held = {}
        for hour in self._open_hours(over_ms // HOUR_MS):
            written.append(self._sealed(hour))
        return written

    def _part(self, hour: int) -> Path:
        folder = self.folder / date_of(hour * HOUR_MS)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{hour % 24:02d}"
        taken = [int(path.stem.partition("-")[2]) for path in folder.glob(f"{name}-*.parquet")]
        return folder / f"{name}-{max(taken, default=0) + 1:04d}.parquet"

    def _open_hours(self, before: int) -> list[int]:
        """Hours of today and yesterday that are over and still in parts."""
        found = set()
        for date in {date_of(max(0, before * HOUR_MS - DAY_MS)), date_of(before * HOUR_MS)}:
            for path in (self.folder / date).glob("[0-9][0-9]-*.parquet"):
                found.add(day_start(date) // HOUR_MS + int(path.name[:2]))
        return sorted(hour for hour in found if hour < before)

    def _sealed(self, hour: int) -> Path:
        """The parts of an hour as one file, ascending by time; the parts go when it is published."""
        folder, name = self.folder / date_of(hour * HOUR_MS), f"{hour % 24:02d}"
        whole, parts = folder / f"{name}.parquet", sorted(folder.glob(f"{name}-*.parquet"))
        _publish(whole, _joined([_load(path) for path in [*([whole] if whole.exists() else []), *parts]]))
        for path in parts:
            path.unlink()
        return whole


def recorded_days(folder: Path) -> list[str]:
    """UTC days of which trades are recorded, ascending."""
    return sorted(path.name for path in folder.glob("????-??-??") if path.is_dir())


def read_trades(folder: Path, date: str) -> dict[str, list[Trade]]:
    """The recorded trades of a UTC day by symbol, each once, ascending by number. Raises ``DataError`` for a damaged file."""
    found: dict[str, dict[int, Trade]] = {}
    for path in sorted((folder / date).glob("[0-9][0-9]*.parquet")):
        for symbol, trade in _trades(path):
            found.setdefault(symbol, {})[trade.trade_id] = trade
    return {symbol: [trades[number] for number in sorted(trades)] for symbol, trades in sorted(found.items())}


def recorded_bars(folder: Path, date: str, bar_seconds: int, symbols: Sequence[str], *, stale_bars: int = 12) -> KlineBars:
    """Bars of a UTC day made again from the trades recorded in ``folder`` (``state.feed / "trades"``).

    One row a bar of the day, float64[T, N] over ``symbols``. A bar is there only when the record proves it whole: ids without a hole up to
    a trade behind it. Everything else is NaN: what the feed took from the exchange's klines, the last bars of a record, a symbol
    before its first recorded trade of the day or the one before. Raises ``QualityError`` when nothing is recorded of the day.
    """
    if date not in recorded_days(folder):
        raise QualityError(f"no trades of {date} are recorded", path=folder, hint="feed.record = true keeps them")
    days = [read_trades(folder, date_of(day_start(date) + shift * DAY_MS)) for shift in (-1, 0, 1)]
    rows = 86_400 // bar_seconds
    made = [_proven([trade for day in days for trade in day.get(symbol, [])], date, bar_seconds, stale_bars) for symbol in symbols]
    opens = range(day_start(date), day_start(date) + DAY_MS, bar_seconds * 1000)
    return bars_of_rows(date, bar_seconds, opens, symbols, [[bars[row] for bars in made] for row in range(rows)])


def _proven(tape: Sequence[Trade], date: str, bar_seconds: int, stale_bars: int) -> list[Bar | None]:
    """One symbol's bars of ``date`` from its trades of that day and its neighbours, ascending by number."""
    bar_ms, first, rows = bar_seconds * 1000, day_start(date) // (bar_seconds * 1000), 86_400 // bar_seconds
    bars, made = TradeBars([""], bar_ms, first - rows, stale_bars=stale_bars), list[Bar | None]()
    bars.up([0], tape[0].ts_ms + 1 if tape else NEVER)
    for trade in tape:
        bars.add(0, trade)
        while len(made) < 2 * rows and trade.ts_ms >= (bars.done + 1) * bar_ms:
            whole = bars.proven(0, bars.done)
            made += [bar if whole else None for bar in bars.close()]
    made += [None] * (2 * rows - len(made))
    return made[rows:]


def bars_of_rows(
    date: str, bar_seconds: int, opens: Iterable[int], symbols: Sequence[str], rows: Sequence[Sequence[Bar | None]]
) -> KlineBars:
    """Rows of bars as blocks, NaN where there is none."""
    nothing = (math.nan,) * 5
    cells = [[nothing if bar is None else bar[:5] for bar in row] for row in rows]
    block: Array = np.array(cells, dtype=np.float64).reshape(len(rows), len(symbols), 5)
    blocks = (np.ascontiguousarray(block[:, :, k]) for k in range(5))
    return KlineBars(date, bar_seconds, np.array(list(opens), dtype=np.int64), tuple(symbols), *blocks)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of a file; ``code`` counts over ``names``. ``numbers``: ts, id, taker_buys, trades int64[R], price, size float64[R]."""

    code: npt.NDArray[np.int32]
    names: tuple[str, ...]
    numbers: dict[str, npt.NDArray[Any]]


def _columns(rows: Sequence[tuple[str, Trade]]) -> _Columns:
    names = tuple(sorted({symbol for symbol, _ in rows}))
    place = {symbol: n for n, symbol in enumerate(names)}
    values = zip(*(trade for _, trade in rows), strict=True)
    kinds = zip(Trade._fields, values, strict=True)
    numbers = {_NAMES[field]: np.array(column, np.float64 if field in ("price", "size") else np.int64) for field, column in kinds}
    return _Columns(np.array([place[symbol] for symbol, _ in rows], dtype=np.int32), names, numbers)


def _joined(parts: Sequence[_Columns]) -> _Columns:
    names = tuple(sorted({name for part in parts for name in part.names}))
    place = {symbol: n for n, symbol in enumerate(names)}
    code = np.concatenate([np.array([place[name] for name in part.names], dtype=np.int32)[part.code] for part in parts])
    numbers = {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers}
    order = np.argsort(numbers["ts"], kind="stable")
    return _Columns(code[order], names, {name: values[order] for name, values in numbers.items()})


def _publish(path: Path, columns: _Columns) -> None:
    with publish(path) as temporary:
        write_parquet(temporary, {"symbol": (columns.code, list(columns.names)), **columns.numbers}, {"format": FORMAT})


def _load(path: Path) -> _Columns:
    with Parquet(path) as file:
        file.require(tuple(_KINDS), _KINDS)
        if file.metadata.get("format") != FORMAT:
            raise MalformedFile(f"is not {FORMAT}", path=path)
        table = file.read(tuple(_KINDS))
        code, names = file.texts(table, "symbol")
        odd = [name for name in names if not SYMBOL.fullmatch(name)]
        if odd:
            raise QualityError(f"{odd[0][:40]!r} is not an asset name", path=path, column="symbol")
        return _Columns(code, tuple(names), {name: file.numbers(table, name) for name in _NAMES.values()})


def _trades(path: Path) -> Iterator[tuple[str, Trade]]:
    found = _load(path)
    columns = (found.numbers[_NAMES[field]].tolist() for field in Trade._fields)
    for code, (ts, number, price, size, buys, many) in zip(found.code.tolist(), zip(*columns, strict=True), strict=True):
        yield found.names[code], Trade(ts, number, price, size, bool(buys), many)
