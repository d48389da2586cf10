"""All layers of a backtest from what there is: order book, circuit breaker (ACB), posture schedule. What a date lacks is said."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dolphin.config import Settings, SyntheticConfig, config_hash
from dolphin.engine.breaker import AdaptiveCircuitBreaker
from dolphin.engine.schedule import PostureSchedule
from dolphin.errors import ConfigError, MalformedFile, QualityError
from dolphin.storage.book_file import RecordedOrderBook, write_book_day
from dolphin.storage.day_table import DayTable
from dolphin.storage.indicators import MacroSeries, daily_indicators, read_series, w750_of_days
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket
from flows.layers import Layers
from flows.workspace import cache_folder

if TYPE_CHECKING:
    from dolphin.forewarner.forewarner import ForewarnerHistory

__all__ = ["cached_books", "full_stack", "macro_sources", "read_postures"]

SNAPSHOT_MS = 10_000
"""Snapshots of the cached synthetic books: one every 10 s makes three days of 48 assets in seconds."""

KNOWN_FILES: Mapping[str, tuple[str, ...]] = {
    "funding_btc": ("funding_btc.csv", "funding_btc.parquet", "funding/binance_perp_8h_funding.parquet"),
    "dvol_btc": ("dvol_btc.csv", "dvol_btc.parquet", "macro_daily/btc_derivatives_daily.parquet"),
    "fng": ("fng.csv", "fng.parquet", "macro_daily/fear_greed_index.parquet"),
    "taker": ("taker.csv", "taker.parquet", "macro_daily/binance_spot_1d_taker.parquet"),
}
"""Files of a ``--macro`` folder by factor, the first that is there is read."""


def full_stack(
    settings: Settings,
    tables: Sequence[DayTable],
    paths: Iterable[Path],
    direction: int,
    *,
    book: Path | None = None,
    macro: Path | None = None,
    posture_file: Path | None = None,
    forewarner: Path | None = None,
    synthetic: bool = False,
) -> Layers:
    """All layers for which there is data. ``book``: folder of recorded book features (the synthetic market brings its own);
    ``macro``: folder of ``KNOWN_FILES``; ``posture_file``: JSON ``{"YYYY-MM-DD": "STALKER", ...}``; ``forewarner``: table of trials.

    Raises ``DataError`` for a file that is refused, ``ConfigError`` for an unknown posture or trials of another configuration.
    """
    dates = [table.date for table in tables]
    folder = cached_books(settings, settings.synthetic) if synthetic and book is None else book
    provider = RecordedOrderBook(folder, dates, direction) if folder is not None else None
    indicators = daily_indicators(macro_sources(macro) if macro is not None else (), dates)
    assets = {table.date: table.assets for table in tables}
    breaker = AdaptiveCircuitBreaker(indicators.by_date(), w750_of_days(list(paths)), assets=assets)
    missing = tuple(f"{date}: no order book" for date in (provider.missing if provider is not None else dates))
    return Layers(
        book=provider,
        breaker=breaker,
        forewarner=_history(forewarner, settings, tables) if forewarner is not None else None,
        postures=read_postures(posture_file) if posture_file is not None else PostureSchedule(),
        notes=(*indicators.gaps, *missing),
        lacks=(*(("macro_missing",) if indicators.gaps else ()), *(("book_missing",) if missing else ())),
    )


def _history(path: Path, settings: Settings, tables: Sequence[DayTable]) -> ForewarnerHistory:
    from dolphin.forewarner.forewarner import Forewarner, ForewarnerHistory

    return ForewarnerHistory(Forewarner.load(path, settings.engine), {table.date: table.signals for table in tables})


def macro_sources(folder: Path) -> list[MacroSeries]:
    """The factors' series that lie in ``folder``. Raises ``QualityError`` when there is none."""
    found = []
    for factor, names in KNOWN_FILES.items():
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is not None:
            found.append(read_series(path, factor))
    if not found:
        known = ", ".join(name for names in KNOWN_FILES.values() for name in names)
        raise QualityError("no series of the circuit breaker", path=folder, hint=f"known names: {known}")
    return found


def read_postures(path: Path) -> PostureSchedule:
    """Postures by UTC day from JSON; days that it does not name are APEX.

    Raises ``MalformedFile`` for what is no such file, ``ConfigError`` for an unknown posture.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schedule = {dt.date.fromisoformat(day).isoformat(): posture for day, posture in record.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise MalformedFile(f"not a posture schedule ({error})", path=path, hint='{"YYYY-MM-DD": "STALKER"}') from error
    try:
        return PostureSchedule.by_day(schedule)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def cached_books(settings: Settings, config: SyntheticConfig) -> Path:
    """Folder of the synthetic market's book features in the cache, written when a day is missing."""
    import dolphin.synthetic.book
    from dolphin.storage.publish import sha256_file

    source = sha256_file(Path(dolphin.synthetic.book.__file__))[:16]
    folder = cache_folder(settings.paths, "books") / f"{config_hash(config)}-{source}"
    if len(list(folder.glob("*.parquet"))) < config.days:
        market = SyntheticMarket(config.assets, config.days, config.bar_seconds, config.seed, config.start)
        for day in SyntheticBook(market, snapshot_ms=min(SNAPSHOT_MS, config.bar_seconds * 1000)):
            write_book_day(folder, day)
    return folder
