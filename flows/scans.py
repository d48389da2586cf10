"""Klines to day tables: load, scan in chunks of days with the days before as warm-up, publish one table a day."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.config import ScannerConfig, Settings
from dolphin.errors import QualityError
from dolphin.kernels._jit import cache_dir
from dolphin.scanner.scan import STREAM_ASSETS, Scanner, rows_needed
from dolphin.scanner.settings import ANCHOR_BARS, settings_hash
from dolphin.storage.archive import write_scans
from dolphin.storage.day_table import DayTable, list_days, read_day, write_day
from dolphin.storage.klines import KlineDay, KlineStore
from dolphin.storage.publish import publish, sha256_file, stale_aside
from dolphin.storage.rebuild import Difference, compare_days
from dolphin.storage.scanned import archived_day, batch_rows, days_before, scanned_table
from dolphin.types import ScanBatch
from flows.inventory import in_range
from flows.workspace import cache_folder

__all__ = ["RebuildCheck", "ScanReport", "Scanned", "cached_scan", "check_rebuild", "scan_days", "scan_klines"]

CHUNK_ROWS = 16_384
MOST_ROWS = rows_needed(ANCHOR_BARS - 1)

type Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Scanned:
    """A day of klines, its scan, and the table made of both."""

    day: KlineDay
    batch: ScanBatch
    table: DayTable


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan of an archive wrote."""

    folder: str
    written: list[str]
    kept: list[str]
    aside: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def to_text(self) -> str:
        """What a person reads."""
        lines = [f"{len(self.written)} day tables written to {self.folder}, {len(self.kept)} kept"]
        return "\n".join(lines + [f"old file kept as {name}" for name in self.aside])


def scan_days(store: KlineStore, dates: Sequence[str], settings: ScannerConfig) -> Iterator[Scanned]:
    """Scan ``dates`` (ascending days of ``store``) with one scanner, warmed up by the days before the first.

    The universe is every symbol of the archive, and a scanner's state is a function of the rows since its last anchor and the 751
    before it, so a day's table does not depend on which days are asked for. Memory holds one chunk of days.
    """
    symbols = store.symbols()
    path = settings.path if settings.path != "auto" else "stream" if len(symbols) <= STREAM_ASSETS else "blocked"
    scanner, threads = Scanner(len(symbols), path=path), settings.threads or os.cpu_count() or 1
    before: KlineDay | None = None
    chunk: list[KlineDay] = []
    skipped = set(days_before(store, dates[0], MOST_ROWS))
    for date in [*sorted(skipped), *dates]:
        before = store.load(date, symbols, before)
        chunk.append(before)
        if sum(len(day.ts) for day in chunk) >= CHUNK_ROWS or date == dates[-1]:
            yield from (scanned for scanned in _scan_chunk(scanner, chunk, threads) if scanned.day.date not in skipped)
            chunk = []


def scan_klines(
    store: KlineStore,
    out: Path,
    settings: Settings,
    first: str = "",
    last: str = "",
    *,
    force: bool = False,
    archive: Path | None = None,
    track: Track,
) -> ScanReport:
    """Write the day tables of a range; existing ones are kept unless ``force``, which keeps the old file beside the new one.

    ``archive``: also write the eigenvalue archive there. Raises ``DataError`` for klines that are refused.
    """
    dates = in_range(store.dates(), first, last)
    if not dates:
        raise QualityError("no day in the range", path=store.folder, hint=f"days are {store.dates()[0]} to {store.dates()[-1]}")
    there = {path.stem for path in list_days(out)}
    wanted = [date for date in dates if force or date not in there]
    today = dt.datetime.now(dt.UTC).date().isoformat()
    aside = []
    for scanned in track(scan_days(store, wanted, settings.scanner) if wanted else (), len(wanted), "days scanned"):
        path = out / f"{scanned.table.date}.parquet"
        if path.exists():
            aside.append(str(stale_aside(path, today)))
        write_day(out, scanned.table)
        if archive is not None:
            write_scans(archive, archived_day(scanned.day, scanned.batch))
    return ScanReport(str(out), wanted, [date for date in dates if date not in set(wanted)], aside)


def cached_scan(store: KlineStore, settings: Settings, first: str, last: str, *, track: Track) -> tuple[Path, dict[str, dict[str, int]]]:
    """Day tables of the range in the user's cache, scanned when they are not there, and the klines' quality counts by day.

    The folder's name hashes the bytes of every kline file, scanner settings, package and kernel sources: nothing in it can be stale.
    """
    import msgspec

    files = "".join(sha256_file(store.path(date)) for date in store.dates())
    parts = (files, settings_hash(), settings.scanner.path, str(store.bar_seconds), cache_dir().name, _sources())
    folder = cache_folder(settings.paths, "scans") / hashlib.sha256("|".join(parts).encode()).hexdigest()[:24]
    counts_file = folder / "quality.json"
    counts: dict[str, dict[str, int]] = msgspec.json.decode(counts_file.read_bytes()) if counts_file.exists() else {}
    missing = [date for date in in_range(store.dates(), first, last) if date not in counts]
    for scanned in track(scan_days(store, missing, settings.scanner) if missing else (), len(missing), "days scanned"):
        write_day(folder, scanned.table)
        quality = scanned.day.quality
        counts[scanned.day.date] = {**dict(quality.counts), **({"absent": quality.absent} if quality.absent else {})}
        with publish(counts_file) as temporary:
            temporary.write_bytes(msgspec.json.encode(counts))
    return folder, counts


@dataclass(frozen=True, slots=True)
class RebuildCheck:
    """Cached day tables against fresh scans of their klines: rows that differ, by day, and days without klines."""

    days: list[str]
    differences: dict[str, list[Difference]]
    orphans: list[str]

    @property
    def found(self) -> bool:
        """Whether a cached table is not what its klines give."""
        return bool(self.differences or self.orphans)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; NaN is null."""
        rows = {
            date: [{**asdict(d), "cached": _or_none(d.cached), "fresh": _or_none(d.fresh)} for d in found]
            for date, found in self.differences.items()
        }
        return {"found": self.found, "days": self.days, "stale": rows, "without_klines": self.orphans}

    def to_text(self) -> str:
        """What a person reads."""
        lines = [f"{len(self.days)} cached days compared"]
        lines += [f"{date}: {len(found)} rows differ, first {found[0]}" for date, found in self.differences.items()]
        lines += [f"{date}: no klines to compare with" for date in self.orphans]
        return "\n".join(lines + ([] if self.found else ["every vel_div is within 1e-10 of a fresh scan"]))


def check_rebuild(store: KlineStore, folder: Path, settings: Settings, first: str, last: str, *, track: Track) -> RebuildCheck:
    """Scan the klines of every cached day again and compare vel_div row by row (tolerance 1e-10)."""
    cached = {path.stem: path for path in list_days(folder)}
    dates = in_range(cached, first, last)
    if not dates:
        raise QualityError("no day table in the range", path=folder, hint="`dolphin data scan` writes them")
    known = [date for date in dates if date in set(store.dates())]
    differences = {}
    for scanned in track(scan_days(store, known, settings.scanner) if known else (), len(known), "days compared"):
        found = compare_days(read_day(cached[scanned.table.date]), scanned.table)
        if found:
            differences[scanned.table.date] = found
    return RebuildCheck(known, differences, [date for date in dates if date not in set(known)])


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sources() -> str:
    import dolphin.scanner
    import dolphin.storage

    folders = [Path(package.__path__[0]) for package in (dolphin.scanner, dolphin.storage)]
    return "".join(sha256_file(path) for folder in folders for path in sorted(folder.glob("*.py")))


def _scan_chunk(scanner: Scanner, days: list[KlineDay], threads: int) -> Iterator[Scanned]:
    bar_ms = days[0].bar_seconds * 1000
    closes = np.concatenate([day.closes for day in days]) if len(days) > 1 else days[0].closes
    batch = scanner.scan(closes, np.concatenate([day.ts for day in days]) // bar_ms, threads=threads)
    end = 0
    for day in days:
        start, end = end, end + len(day.ts)
        part = batch_rows(batch, start, end)
        yield Scanned(day, part, scanned_table(day, part, settings_hash()))
