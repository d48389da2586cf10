"""Eight small days with everything the full stack reads, written to files: day tables, recorded books, macro series."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dolphin.book.day import BookDay
from dolphin.storage.book_file import write_book_day
from dolphin.storage.day_table import DayTable, write_day
from dolphin.storage.schema import SIGNALS, date_of, day_start
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket

DAYS, BAR_MS, DAY_MS, HOUR = 8, 120_000, 86_400_000, 3_600_000
DATES = [f"2025-01-{k:02d}" for k in range(1, DAYS + 1)]
LEVELS = (0.0, 1e-3, -1e-3, 2e-3, 0.5e-3, 3e-3, 5e-3, 1e-3)
VERDICTS = dict(
    zip(DATES, [(0.05, 0.5), (0.10, 0.0), (0.2, 0.5), (0.25, 0.1), (0.05, -1.01), (0.05, -1.0), (0.10, 0.2), (0.11, 0.3)], strict=True)
)
POSTURES = [
    (day_start(DATES[1]), "STALKER"),
    (day_start(DATES[1]) + 14 * HOUR, "APEX"),
    (day_start(DATES[2]) + 9 * HOUR + 1, "STALKER"),
    (day_start(DATES[3]), "APEX"),
    (day_start(DATES[3]) + 8 * HOUR, "TURTLE"),
    (day_start(DATES[3]) + 11 * HOUR, "APEX"),
    *(
        (day_start(DATES[k]) + h * HOUR + m * 60_000, p)
        for k in (5, 7)
        for h in range(6, 23, 3)
        for m, p in ((0, "HIBERNATE"), (40, "APEX"))
    ),
]


@dataclass(frozen=True)
class StackDays:
    """Files of the days: ``paths`` of the tables, folders of books and of series (with archived indicators of two days)."""

    paths: list[Path]
    book: Path
    macro: Path


def write_stack_days(root: Path) -> StackDays:
    """Signals open both lanes often, books age past 5 s, most assets withdraw at two midnights, one day has no book."""
    market = SyntheticMarket(assets=10, days=DAYS, bar_seconds=BAR_MS // 1000, seed=11)
    books = SyntheticBook(market, snapshot_ms=10_000)
    paths = []
    for k, (day, book) in enumerate(zip(market, books, strict=True)):
        paths.append(write_day(root / "days", table_of(k, day), sidecar=False))
        if k != 4:
            write_book_day(root / "book", aged(k, book))
    write_macro(root / "macro", DATES)
    write_archive(root / "macro", DATES[3], (-2e-4, 58.0, 30.0, np.nan))
    write_archive(root / "macro", DATES[6], (1e-4, 50.0, 20.0, 0.95))
    return StackDays(paths, root / "book", root / "macro")


def table_of(k: int, day) -> DayTable:
    """A random vel_div over the market's closes. One asset is absent on the fourth day, one is listed on the last."""
    rng, n = np.random.default_rng([5, k]), len(day.ts)
    v50, v750 = rng.normal(0, 0.03, n), rng.normal(LEVELS[k], 2e-4, n)
    values = dict.fromkeys(SIGNALS, np.full(n, 0.5)) | {"vel_div": v50 - v750, SIGNALS[1]: v50, SIGNALS[4]: v750}
    values["vel_div"][rng.random(n) < 0.02] = np.nan
    keep = [j for j in range(10) if not (j == 7 and k == 3) and not (j == 9 and k < DAYS - 1)]
    assets = tuple(day.symbols[j] for j in keep)
    return DayTable(day.date, BAR_MS // 1000, day.ts + BAR_MS, values, assets, np.ascontiguousarray(day.close[:, keep]))


def aged(k: int, book: BookDay) -> BookDay:
    """Samples up to 7 s before their bar's close, of snapshots up to 5 s before the sample; none is known from 5,001 ms on."""
    rng = np.random.default_rng([6, k])
    late = rng.choice([0, 0, 0, 1_000, 2_000, 5_000, 7_000], len(book.ts))
    late[-1] = 0
    age = rng.choice([0, 0, 1, 3_000, 4_000, 5_000], book.snapshot_ts.shape)
    age[-1] = 0
    there = (book.snapshot_ts > 0) & (rng.random(book.snapshot_ts.shape) > 0.03)
    ts = book.ts - late
    snapshots = np.where(there, ts[:, None] - age, 0)
    features = np.where(there[:, :, None], book.features, np.nan)
    if k in (1, 5):
        snapshots[-1], features[-1] = book.ts[-1], 0.5
        features[-1, :, 3] = np.where(np.arange(10) < 7, -0.3, 0.0)
    return replace(book, sample_ms=1_000, ts=ts, snapshot_ts=snapshots, features=features)


def write_macro(folder: Path, dates: list[str]) -> Path:
    """CSV series that change from day to day: hourly funding, DVOL with a hole and an empty cell, fear and greed by date, taker."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(8)
    stamps = [day_start(dates[0]) + k * DAY_MS for k in range(-2, len(dates) + 1)]
    hours = [stamps[0] + h * HOUR + 7 for h in range(24 * len(stamps))]
    rates = np.repeat(rng.choice([-2.5e-5, -1e-5, 1.25e-5], len(hours) // 8), 8)
    daily = {name: rng.choice(list(kinds), len(stamps)).tolist() for name, kinds in (("dvol_btc", (50, 60, 90)), ("fng", (20, 35, 60)))}
    daily["taker"] = rng.choice([0.75, 0.85, 1.1], len(stamps)).tolist()
    columns = {name: [(str(t), str(v)) for t, v in zip(stamps, values, strict=True)] for name, values in daily.items()}
    columns["dvol_btc"][3] = (columns["dvol_btc"][3][0], "")
    del columns["dvol_btc"][5]
    columns["fng"] = [(date_of(int(t)), v) for t, v in columns["fng"]]
    columns["funding_btc"] = [(str(t), repr(float(v))) for t, v in zip(hours, rates, strict=True)]
    for name, rows in columns.items():
        (folder / f"{name}.csv").write_text("\n".join([f"{'date' if name == 'fng' else 'ts'},value", *map(",".join, rows)]) + "\n")
    return folder


def write_archive(folder: Path, date: str, factors: tuple[float, ...]) -> None:
    """Indicator scans of a day: the medians of the first 10 are ``factors``; one of them is unknown, and from the 11th on all is calm."""
    names, calm = ("funding_btc", "dvol_btc", "fng", "taker"), (1e-4, 40.0, 60.0, 1.1)
    (folder / "eigenvalues" / date).mkdir(parents=True)
    for k in range(24):
        values = [v * (1 + 0.1 * (k % 3 - 1)) if k < 9 else v for v in (factors if k < 10 else calm)]
        values[k % 4] = values[k % 4] if k != 9 else np.nan
        members = dict(zip(names, map(np.float64, values), strict=True)) | {"ts_ms": np.int64(day_start(date) + (k + 1) * BAR_MS)}
        np.savez(folder / "eigenvalues" / date / f"scan_{k:06d}__Indicators.npz", **members)
