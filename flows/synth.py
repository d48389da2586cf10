"""The synthetic market as kline files: the embedded default of backtest, quick start and CI."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dolphin.synthetic.market
from dolphin.config import Settings, SyntheticConfig, config_hash
from dolphin.storage.klines import KlineBars, write_klines
from dolphin.storage.publish import sha256_file
from dolphin.synthetic.market import SyntheticMarket
from flows.workspace import cache_folder

__all__ = ["cached_market", "write_market"]

type Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


def write_market(config: SyntheticConfig, folder: Path, track: Track) -> list[Path]:
    """Write the market's days as klines into ``folder``; returns the files."""
    market = SyntheticMarket(config.assets, config.days, config.bar_seconds, config.seed, config.start)
    source = [{"file": f"synthetic market {config_hash(config)}", "sha256": ""}]
    files = []
    for day in track(market, config.days, "synthetic days"):
        bars = KlineBars(day.date, config.bar_seconds, day.ts, market.symbols, day.open, day.high, day.low, day.close, day.volume)
        files.append(write_klines(folder, bars, source))
    return files


def cached_market(settings: Settings, track: Track) -> Path:
    """Folder of the market's klines in the cache, written when a day is missing; its name hashes settings and the market's source."""
    config = settings.synthetic
    source = sha256_file(Path(dolphin.synthetic.market.__file__))
    folder = cache_folder(settings.paths, "synthetic") / f"{config_hash(config)}-{source[:16]}"
    if len(list(folder.glob("*.parquet"))) < config.days:
        write_market(config, folder, track)
    return folder
