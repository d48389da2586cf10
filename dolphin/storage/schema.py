"""The vocabulary of the files: column names, symbols, dates, and the grid of bars in a UTC day.

A day holds the bars that OPEN in it: the bar opened at 23:59 belongs to the day although it closes at 00:00 of the next.
Times are int64 milliseconds UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from dolphin.errors import QualityError, SchemaError
from dolphin.types import Ints

__all__ = [
    "DAY_MS",
    "FLOW_COLUMNS",
    "KLINE_COLUMNS",
    "MAX_PRICE",
    "MIN_PRICE",
    "PRICE_COLUMNS",
    "SHARES",
    "SIGNALS",
    "SYMBOL",
    "Gap",
    "bar_spacing",
    "checked_bar_seconds",
    "clock",
    "date_of",
    "day_start",
    "file_date",
    "gaps_of",
    "is_date",
]

DAY_MS = 86_400_000
PRICE_COLUMNS = ("open", "high", "low", "close")
KLINE_COLUMNS = ("ts", "symbol", *PRICE_COLUMNS, "volume")
FLOW_COLUMNS = ("quote_volume", "trades", "taker_buy_volume")
"""Optional columns of klines: turnover in quote currency, number of trades, volume bought by takers (base currency); NaN = not told."""

SIGNALS = (
    "vel_div", "v50_lambda_max_velocity", "v150_lambda_max_velocity", "v300_lambda_max_velocity", "v750_lambda_max_velocity",
    "instability_50", "instability_150",
)  # fmt: skip
"""Required float64 columns of a day table, in file order."""

SHARES = ("lambda_share_50", "lambda_share_150", "lambda_share_300", "lambda_share_750")
"""Optional float64 columns of a day table: largest eigenvalue over number of participants."""

SYMBOL = re.compile(r"[A-Z0-9]{2,20}(USDT|-PERP)")
"""What an asset column is called (match the whole name)."""

MIN_PRICE, MAX_PRICE = 1e-12, 1e12
"""A price outside this open interval, USDT, is damage and not a market."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Gap:
    """Bars that are missing: opens of the first and last one (ms) and how many."""

    first_ms: int
    last_ms: int
    bars: int

    def __str__(self) -> str:
        return f"{clock(self.first_ms)}..{clock(self.last_ms)} ({self.bars} bars)"


def is_date(text: str) -> bool:
    """Whether ``text`` is a real ``YYYY-MM-DD``."""
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def day_start(day: str) -> int:
    """First millisecond of the UTC day ``YYYY-MM-DD``. Raises ``QualityError`` when it is no date."""
    if not is_date(day):
        raise QualityError(f"{day!r} is not a date YYYY-MM-DD")
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_MS


def date_of(ms: int) -> str:
    """UTC day of a moment (years 1..9999)."""
    return date.fromordinal(date(1970, 1, 1).toordinal() + ms // DAY_MS).isoformat()


def clock(ms: int) -> str:
    """``HH:MM`` of a moment, with seconds when it has any."""
    moment = datetime.fromtimestamp(ms // 1000 % 86_400, UTC)
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"


def file_date(path: Path, suffix: str = ".parquet") -> str:
    """Day that a file's name promises. Raises ``SchemaError`` when the name is not ``YYYY-MM-DD<suffix>``."""
    day = path.name.removesuffix(suffix)
    if not path.name.endswith(suffix) or not is_date(day):
        raise SchemaError(f"the name is not YYYY-MM-DD{suffix}", path=path, hint="rename it to the UTC day that it holds")
    return day


def checked_bar_seconds(value: int | str, path: Path | str | None = None) -> int:
    """``value`` as a bar interval: whole seconds that divide a day. Raises ``SchemaError``."""
    text = str(value)
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) == 0 or 86_400 % int(text):
        raise SchemaError(f"bar_seconds = {text[:40]!r} is not a whole number of seconds that divides a day", path=path)
    return int(text)


def bar_spacing(times: Ints) -> int:
    """Commonest step, in seconds, of ascending unique ``times`` (ms); 0 when fewer than two or not whole seconds."""
    if len(times) < 2:
        return 0
    steps, counts = np.unique(np.diff(times), return_counts=True)
    step = int(steps[np.argmax(counts)])
    return 0 if step % 1000 else step // 1000


def gaps_of(opens: Ints, first_ms: int, last_ms: int, bar_ms: int) -> tuple[Gap, ...]:
    """Bars of the grid ``first_ms, first_ms + bar_ms, ... < last_ms`` that ``opens`` (ascending, on that grid) lacks."""
    have = (opens - first_ms) // bar_ms
    edges = np.concatenate(([-1], have, [(last_ms - first_ms) // bar_ms]))
    holes = np.flatnonzero(np.diff(edges) > 1)
    return tuple(
        Gap(first_ms + (int(edges[i]) + 1) * bar_ms, first_ms + (int(edges[i + 1]) - 1) * bar_ms, int(edges[i + 1] - edges[i]) - 1)
        for i in holes
    )
