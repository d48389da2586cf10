"""All layers of a backtest from what there is: order book, circuit breaker (ACB), posture schedule. What a date lacks is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dolphin.config import Settings, SyntheticConfig, config_hash
from dolphin.engine.breaker import AdaptiveCircuitBreaker, day_factors
from dolphin.engine.schedule import PostureSchedule
from dolphin.errors import DataError
from dolphin.storage.book_file import RecordedOrderBook, write_book_day
from dolphin.storage.day_table import DayTable, read_day
from dolphin.storage.indicators import daily_indicators, w750_of_days
from dolphin.storage.macro import archived_indicators, macro_sources
from dolphin.storage.publish import sha256_file
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket
from dolphin.types import Posture
from flows.layers import Layers
from flows.postures import read_postures
from flows.workspace import cache_folder

if TYPE_CHECKING:
    from dolphin.forewarner.forewarner import ForewarnerHistory

__all__ = ["Sources", "archived_factors", "cached_books", "full_stack", "layers_again", "macro_sources"]

SNAPSHOT_MS = 10_000
"""Snapshots of the cached synthetic books: one every 10 s makes three days of 48 assets in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the layers are made of, None = nothing. ``book``: folder of recorded book features (the synthetic market brings its own);
    ``macro``: of ``KNOWN_FILES`` or an eigenvalue archive; ``forewarner``: table of trials; ``posture_file``: see
    ``flows.postures``, without it postures are computed from the run.
    """

    book: Path | None = None
    macro: Path | None = None
    forewarner: Path | None = None
    posture_file: Path | None = None
    synthetic: bool = False


def full_stack(settings: Settings, tables: Sequence[DayTable], paths: Sequence[Path], direction: int, sources: Sources) -> Layers:
    """All layers for which there is data. ``paths``: files of ``tables``, and before them those of earlier days.

    Raises ``DataError`` for a file that is refused, ``ConfigError`` for an unknown posture or trials of another configuration.
    """
    book, macro, forewarner = sources.book, sources.macro, sources.forewarner
    dates = [table.date for table in tables]
    folder = cached_books(settings, settings.synthetic) if sources.synthetic and book is None else book
    provider = RecordedOrderBook(folder, dates, direction) if folder is not None else None
    missing = tuple(f"{date}: no order book" for date in (provider.missing if provider is not None else dates))
    series = macro_sources(macro) if macro is not None else []
    indicators = daily_indicators(series, dates, archived_factors(macro, dates) if macro is not None else None)
    lacks = (("macro", indicators.gaps), ("book", missing), ("forewarner", forewarner is None))
    assets = {table.date: table.assets for table in tables}
    before = [path for path in paths if path.stem < dates[0]]
    files = [*(source.path for source in series), *([forewarner] if forewarner is not None else [])]
    files += [path for date in dates if folder is not None and (path := folder / f"{date}.parquet").exists()]
    return Layers(
        book=provider,
        breaker=AdaptiveCircuitBreaker(indicators.by_date(), w750_of_days(paths), assets=assets),
        forewarner=_history(forewarner, settings, tables, before) if forewarner is not None else None,
        postures=read_postures(sources.posture_file) if sources.posture_file is not None else PostureSchedule(),
        survival=settings.survival if sources.posture_file is None else None,
        notes=(*indicators.gaps, *missing),
        lacks=tuple(name for name, lacking in lacks if lacking),
        sources={
            "book": _text(folder),
            "macro": _text(macro),
            "forewarner": _text(forewarner),
            "before": _digests(before),
            "files": _digests(files),
        },
    )


def layers_again(record: Mapping[str, Any], settings: Settings, paths: Sequence[Path], direction: int) -> Layers:
    """The layers of a finished run from what its summary says of them.

    Raises ``DataError`` for a source that is gone or has changed since.
    """
    for item in [*record["files"], *record["before"]]:
        path = Path(item["file"])
        if not path.is_file():
            raise DataError("a source of the run's layers is gone", path=path, hint="run the backtest again")
        if sha256_file(path) != item["sha256"]:
            raise DataError("has changed since the run (another sha256)", path=path, hint="run the backtest again")
    given: dict[str, Any] = {name: Path(record[name]) if record[name] else None for name in ("book", "macro", "forewarner")}
    known = [*(Path(item["file"]) for item in record["before"]), *paths]
    layers = full_stack(settings, [read_day(path) for path in paths], known, direction, Sources(**given))
    schedule = PostureSchedule(tuple((ts, Posture(posture)) for ts, posture in record["postures"]))
    return layers.replaying(schedule)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _digests(paths: Iterable[Path]) -> list[dict[str, str]]:
    return [{"file": str(path.resolve()), "sha256": sha256_file(path)} for path in paths]


def _history(path: Path, settings: Settings, tables: Sequence[DayTable], before: Sequence[Path]) -> ForewarnerHistory:
    from dolphin.forewarner.forewarner import Forewarner, ForewarnerHistory

    known = [*map(read_day, before[-1:]), *tables]
    return ForewarnerHistory(Forewarner.load(path, settings.engine), {table.date: table.signals for table in known}, tables[0].date)


def archived_factors(folder: Path, dates: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Factors of the days of which ``folder/eigenvalues`` holds indicator scans: medians of the first 10."""
    return {date: tuple(day_factors(rows)) for date, rows in archived_indicators(folder, dates).items()}


def cached_books(settings: Settings, config: SyntheticConfig) -> Path:
    """Folder of the synthetic market's book features in the cache, written when a day is missing."""
    import dolphin.synthetic.book

    source = sha256_file(Path(dolphin.synthetic.book.__file__))[:16]
    folder = cache_folder(settings.paths, "books") / f"{config_hash(config)}-{source}"
    if len(list(folder.glob("*.parquet"))) < config.days:
        market = SyntheticMarket(config.assets, config.days, config.bar_seconds, config.seed, config.start)
        for day in SyntheticBook(market, snapshot_ms=min(SNAPSHOT_MS, config.bar_seconds * 1000)):
            write_book_day(folder, day)
    return folder
