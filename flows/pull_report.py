"""What a pull did and what the exchange does not have: holes by symbol and day, listings, candles that changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.storage.checks import QualityReport
from dolphin.storage.kline_file import KlineRows, read_rows
from dolphin.storage.schema import DAY_MS, Gap, clock, date_of, day_start, gaps_of
from flows.pull_source import Listing

__all__ = ["Change", "Hole", "PullReport", "PulledDay", "changes", "examined"]

SHOWN = 20
_FIELDS = ("open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume")


@dataclass(frozen=True, slots=True)
class PulledDay:
    """A day's file. ``action``: ``written``, ``merged`` (symbols joined it), ``kept``, ``verified``, or ``empty``: no candle, no file."""

    date: str
    action: str
    rows: int
    symbols: int
    holes: tuple[Hole, ...]


@dataclass(frozen=True, slots=True)
class Hole:
    """Bars that symbols lack although they were listed."""

    gap: Gap
    symbols: tuple[str, ...]

    def __str__(self) -> str:
        return f"{date_of(self.gap.first_ms)} {self.gap}: {_names(self.symbols)}"


@dataclass(frozen=True, slots=True)
class Change:
    """A candle that is not what it was when its day was pulled; ``was`` or ``now`` empty: it appeared, or it is gone."""

    symbol: str
    ts_ms: int
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.symbol} {date_of(self.ts_ms)} {clock(self.ts_ms)}: {self.was or 'nothing'} -> {self.now or 'nothing'}"


@dataclass(frozen=True, slots=True)
class PullReport:
    """``unfinished``: days that were asked for and are not over. ``funding``: payments by symbol. ``seconds``: of the whole pull."""

    exchange: str
    demo: bool
    folder: Path
    bar_seconds: int
    listings: tuple[Listing, ...]
    days: tuple[PulledDay, ...]
    unfinished: tuple[str, ...]
    changed: tuple[Change, ...]
    quality: QualityReport
    funding: dict[str, int] | None
    requests: int
    failures: int
    seconds: float

    @property
    def holes(self) -> list[Hole]:
        """Of all days."""
        return [hole for day in self.days for hole in day.holes]

    @property
    def missing_bars(self) -> int:
        """Bars of single symbols that the exchange does not have."""
        return sum(hole.gap.bars * len(hole.symbols) for hole in self.holes)

    @property
    def found(self) -> bool:
        """Whether there is anything that a person should look at."""
        return bool(self.holes or self.changed or self.quality.counts or self.unfinished)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        holes = [
            {"date": date_of(h.gap.first_ms), "from": clock(h.gap.first_ms), "to": clock(h.gap.last_ms), "bars": h.gap.bars,
             "symbols": list(h.symbols)}
            for h in self.holes
        ]  # fmt: skip
        listed = {x.symbol: {"first": _day(x.first_ms), "last": _day(x.last_ms)} for x in self.listings}
        changed = [{"symbol": c.symbol, "ts_ms": c.ts_ms, "was": c.was, "now": c.now} for c in self.changed]
        return {
            "exchange": self.exchange, "demo": self.demo, "folder": str(self.folder), "bar_seconds": self.bar_seconds, "found": self.found,
            "days": [{"date": d.date, "action": d.action, "rows": d.rows, "symbols": d.symbols} for d in self.days],
            "unfinished": list(self.unfinished), "listings": listed, "missing_bars": self.missing_bars, "holes": holes,
            "changed": changed, "counts": dict(self.quality.counts), "funding": self.funding, "requests": self.requests,
            "failed_requests": self.failures, "seconds": round(self.seconds, 3),
        }  # fmt: skip

    def to_text(self) -> str:
        """What a person reads."""
        actions = [f"{sum(d.action == a for d in self.days)} {a}" for a in sorted({d.action for d in self.days})]
        rows = sum(d.rows for d in self.days)
        lines = [
            f"{self.exchange}{' (demo)' if self.demo else ''}, {len(self.listings)} symbols, {self.bar_seconds} s bars -> {self.folder}"
        ]
        lines += [f"{len(self.days)} days: {', '.join(actions) or 'none'}; {rows} rows"]
        if self.funding is not None:
            lines += [f"funding: {sum(self.funding.values())} payments of {sum(n > 0 for n in self.funding.values())} symbols"]
        first, last = (self.days[0].date, self.days[-1].date) if self.days else ("", "")
        lines += _by_day("listed", [(_day(x.first_ms), x.symbol) for x in self.listings if x.first_ms and _day(x.first_ms) >= first > ""])
        lines += _by_day("delisted after", [(_day(x.last_ms), x.symbol) for x in self.listings if x.last_ms and _day(x.last_ms) <= last])
        lines += [f"{date}: not over yet, left out" for date in self.unfinished]
        lines += [f"{rule}: {count}" for rule, count in self.quality.counts]
        lines += _some([f"changed: {change}" for change in self.changed], "changed candles")
        lines += [f"missing: {self.missing_bars} bars of single symbols"] if self.holes else []
        lines += _some([f"  {hole}" for hole in self.holes], "holes")
        pace = f"{self.requests} requests in {self.seconds:.1f} s, {self.failures} of them failed and were sent again"
        return "\n".join([*lines, pace])


def examined(date: str, action: str, path: Path, listings: Sequence[Listing], bar_ms: int) -> PulledDay:
    """The day with the bars that listed symbols lack in its file (all bars, where there is no file); equal holes are told as one."""
    rows = read_rows(path) if path.exists() else None
    found: dict[Gap, list[str]] = {}
    for listing in listings:
        first, last = listing.span(day_start(date), day_start(date) + DAY_MS, bar_ms)
        opens = np.sort(rows.ts[rows.code == rows.symbols.index(listing.symbol)]) if rows and listing.symbol in rows.symbols else None
        if first < last:
            for gap in gaps_of(np.empty(0, dtype=np.int64) if opens is None else opens, first, last, bar_ms):
                found.setdefault(gap, []).append(listing.symbol)
    holes = [Hole(gap, tuple(symbols)) for gap, symbols in sorted(found.items(), key=lambda item: (item[0].first_ms, item[0].bars))]
    return PulledDay(date, action, len(rows.ts) if rows else 0, len(rows.symbols) if rows else 0, tuple(holes))


def changes(held: Path, fresh: Path, symbols: Sequence[str]) -> list[Change]:
    """Candles of ``symbols`` that differ between two files of one day, in any column that both have."""
    was, now = (_by_bar(read_rows(path, volume=True), symbols) if path.exists() else {} for path in (held, fresh))
    found = []
    for key in sorted(was.keys() | now.keys()):
        before, after = was.get(key), now.get(key)
        if before is None or after is None:
            found.append(Change(*key, _values(before), _values(after)))
        elif differing := [i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b and a == a and b == b]:
            texts = (" ".join(f"{_FIELDS[i]} {values[i]!r}" for i in differing) for values in (before, after))
            found.append(Change(*key, *texts))
    return found


def _by_bar(rows: KlineRows, symbols: Iterable[str]) -> dict[tuple[str, int], tuple[float, ...]]:
    columns = (*rows.prices, rows.volume, *(rows.flows or ()))
    table = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1).tolist()
    wanted = set(symbols)
    names = [rows.symbols[code] for code in rows.code.tolist()]
    return {(n, t): tuple(v) for n, t, v in zip(names, rows.ts.tolist(), table, strict=True) if n in wanted}


def _values(values: tuple[float, ...] | None) -> str:
    return "" if values is None else " ".join(f"{name} {value!r}" for name, value in zip(_FIELDS, values, strict=False))


def _names(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:4]) + (f" and {len(symbols) - 4} more" if len(symbols) > 4 else "")


def _by_day(event: str, days: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{event} {date}: {_names([s for d, s in days if d == date])}" for date in sorted({d for d, _ in days})]


def _day(ms: int) -> str:
    return date_of(ms) if ms else ""


def _some(lines: list[str], what: str) -> list[str]:
    return lines if len(lines) <= SHOWN else [*lines[:SHOWN], f"  and {len(lines) - SHOWN} more {what}; --json lists all"]
