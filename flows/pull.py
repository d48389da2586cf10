"""``data pull``: klines and funding of an exchange, downloaded by CCXT into this project's day files.

Every day goes the way of ``data import``: the exchange's rows of each symbol become an exchange CSV in the hidden folder ``.pull``
(published atomically, so nothing is asked twice after a kill), and when all symbols of a day are there the importer sorts, checks and
writes the day, which gets its name in one step. Files depend on the exchange's answers alone, not on where a pull was interrupted.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from dolphin.errors import ConfigError, DataError, QualityError
from dolphin.storage.checks import QualityReport, combine
from dolphin.storage.importers import ImportedDay, import_klines
from dolphin.storage.kline_file import read_symbols
from dolphin.storage.lock import FileLock
from dolphin.storage.publish import publish, sync_folder
from dolphin.storage.schema import DAY_MS, date_of, day_start, is_date
from flows.pull_client import Exchange
from flows.pull_funding import FUNDING, FundingPull
from flows.pull_report import Change, PulledDay, PullReport, changes, examined
from flows.pull_source import Candle, Listing, Source

__all__ = ["PullPlan", "pull"]

HIDDEN: Final = ".pull"
AT_ONCE: Final = 8
"""Requests on their way at a time; CCXT's limiter sets the pace."""

type Job[T] = Callable[[], Coroutine[Any, Any, T]]
type Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class PullPlan:
    """``symbols``: these, or the ``top`` ones by turnover, or all. ``first``, ``last``: UTC days; no ``last``: the newest whole one."""

    exchange: str
    out: Path
    first: str
    last: str = ""
    symbols: tuple[str, ...] = ()
    top: int = 0
    timeframe: str = "1m"
    url: str = ""
    funding: bool = True
    verify: bool = False
    patience: float = 120.0


def pull(plan: PullPlan, track: Track) -> PullReport:
    """Download what is missing.

    Raises ``ConfigError`` (plan), ``DataError`` (rows that were refused; their day is not published and is asked for again next
    time), ``Unavailable`` (no answer, or another pull works in the folder), ``MissingDependency``.
    """
    for flag, day in (("--from", plan.first), ("--to", plan.last or plan.first)):
        if not is_date(day):
            raise ConfigError(f"{flag} {day}: expected a day YYYY-MM-DD")
    if plan.last and plan.last < plan.first:
        raise ConfigError(f"--to {plan.last} is before --from {plan.first}")
    exchange = Exchange(plan.exchange, plan.url, plan.patience)
    source = Source(exchange, plan.timeframe)
    with closing(_Locked(plan)), asyncio.Runner() as runner:
        try:
            return _Pull(plan, source, runner, track).run()
        finally:
            runner.run(exchange.close())


class _Locked:
    """One pull a folder, and one origin: klines of two exchanges in one folder would pass for one market. Sweeps up after a kill."""

    def __init__(self, plan: PullPlan) -> None:
        hidden = plan.out / HIDDEN
        self._lock = FileLock(hidden / "lock", "dolphin data pull")
        for left in (*hidden.glob(".*.tmp"), *plan.out.glob(f".{FUNDING}.*.tmp")):
            left.unlink()
        note, origin = hidden / "origin.json", {"exchange": plan.exchange, "demo": bool(plan.url), "timeframe": plan.timeframe}
        if not note.exists():
            with publish(note) as temporary:
                temporary.write_text(json.dumps(origin))
        elif (held := json.loads(note.read_text())) != origin:
            self.close()
            raise ConfigError(f"{plan.out} holds klines pulled from {held}, this pull is of {origin}: use another folder")

    def close(self) -> None:
        self._lock.release()


class _Pull:
    def __init__(self, plan: PullPlan, source: Source, runner: asyncio.Runner, track: Track) -> None:
        self.plan, self.source, self.runner, self.track = plan, source, runner, track
        self.hidden, self.bar_seconds = plan.out / HIDDEN, source.bar_ms // 1000
        self.listings: tuple[Listing, ...] = ()
        self.actions: dict[str, str] = {}
        self.quality: list[QualityReport] = []
        self.changed: list[Change] = []

    def run(self) -> PullReport:
        """Everything in its order: listings, funding, klines day by day, then what is missing."""
        began = time.monotonic()
        plan, source = self.plan, self.source
        self.runner.run(source.open())
        symbols = self.runner.run(source.choose(plan.symbols, plan.top))
        listed = self._each([partial(source.listing, symbol) for symbol in symbols], "listings")
        self.listings = tuple(sorted(listed, key=lambda listing: listing.symbol))
        days, unfinished = self._days()
        payments = None
        if plan.funding and days:
            funding = FundingPull(source, self.listings, (day_start(days[0]), day_start(days[-1]) + DAY_MS), plan.out)
            self._each(funding.jobs(), "funding")
            funding.publish()
            payments = funding.counts(symbols)
        self._klines(days)
        found = tuple(self._examined(date) for date in days)
        return PullReport(
            plan.exchange, source.exchange.demo, plan.out, self.bar_seconds, self.listings, found, unfinished,
            tuple(self.changed), combine(self.quality), payments, source.exchange.requests, source.exchange.failures,
            time.monotonic() - began,
        )  # fmt: skip

    def _days(self) -> tuple[list[str], tuple[str, ...]]:
        """Days that are over by the exchange's clock, and those of the plan that are not."""
        newest = date_of(self.source.now_ms - self.source.bar_ms - DAY_MS)
        last = self.plan.last or newest
        asked = [date_of(ms) for ms in range(day_start(self.plan.first), day_start(last) + DAY_MS, DAY_MS)]
        return [d for d in asked if d <= newest], tuple(d for d in asked if d > newest)

    def _klines(self, days: Sequence[str]) -> None:
        todo = {date: self._missing(date) for date in days}
        total = sum(map(len, todo.values()))
        for _ in self.track(self._pulled(todo), total, "symbol-days"):
            pass

    def _pulled(self, todo: dict[str, list[Listing]]) -> Iterator[str]:
        """Work through the days; one item a symbol-day."""
        for date, missing in todo.items():
            folder = self.hidden / "days" / date
            yield from self._run([partial(self._fetch, listing, date, folder) for listing in missing])
            self.actions[date] = self._finish(date, missing, folder)

    def _missing(self, date: str) -> list[Listing]:
        """Symbols listed on that day that its file lacks; those that it has, when it is to be verified."""
        path = self.plan.out / f"{date}.parquet"
        held = set(read_symbols(path)) if path.exists() else set()
        listed = [x for x in self.listings if x.listed(day_start(date), day_start(date) + DAY_MS, self.source.bar_ms)]
        return [x for x in listed if (x.symbol in held) == (self.plan.verify and path.exists())]

    async def _fetch(self, listing: Listing, date: str, folder: Path) -> str:
        path = self._csv(folder, listing, date)
        if not path.exists():
            rows = await self.source.candles(listing, day_start(date), day_start(date) + DAY_MS)
            folder.mkdir(parents=True, exist_ok=True)
            with publish(path) as temporary:
                temporary.write_text("".join(_line(row) for row in rows), encoding="ascii")
        return listing.symbol

    def _csv(self, folder: Path, listing: Listing, date: str) -> Path:
        return folder / f"{listing.symbol}-{self.plan.timeframe}-{date}.csv"

    def _finish(self, date: str, missing: Sequence[Listing], folder: Path) -> str:
        """Give the day its name, or compare it with the one that is there."""
        path, staged = self.plan.out / f"{date}.parquet", folder / "day"
        files = [file for file in (self._csv(folder, x, date) for x in missing) if file.exists() and file.stat().st_size]
        shutil.rmtree(staged, ignore_errors=True)
        verifying = self.plan.verify and path.exists()
        day: ImportedDay | None = None
        if files:
            staged.mkdir()
            if path.exists() and not verifying:
                shutil.copyfile(path, staged / path.name)
            day = self._imported(files, staged, folder)
        if verifying:
            self.changed += changes(path, staged / path.name, [x.symbol for x in missing])
        elif day is not None:
            (staged / path.name).replace(path)
            sync_folder(path.parent)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()
        return "verified" if verifying else day.action if day else "kept" if path.exists() else "empty"

    def _imported(self, files: list[Path], staged: Path, folder: Path) -> ImportedDay:
        try:
            report = import_klines(files, staged, layout="exchange", bar_seconds=self.bar_seconds, merge=True)
        except DataError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if len(report.days) != 1:
            raise QualityError(f"rows of {', '.join(d.date for d in report.days)} came for one day", path=files[0])
        self.quality.append(report.quality)
        return report.days[0]

    def _examined(self, date: str) -> PulledDay:
        return examined(date, self.actions[date], self.plan.out / f"{date}.parquet", self.listings, self.source.bar_ms)

    def _each[T](self, jobs: Sequence[Job[T]], label: str) -> list[T]:
        return list(self.track(self._run(jobs), len(jobs), label))

    def _run[T](self, jobs: Sequence[Job[T]]) -> Iterator[T]:
        """Results as they come, ``AT_ONCE`` jobs at a time; the first error ends all of them."""
        loop, turn = self.runner.get_loop(), asyncio.Semaphore(AT_ONCE)
        open_tasks = {loop.create_task(_in_turn(turn, job)) for job in jobs}
        try:
            while open_tasks:
                done, open_tasks = self.runner.run(_some_of(open_tasks))
                errors = [error for task in done if (error := task.exception()) is not None]
                if errors:
                    raise errors[0]
                yield from (task.result() for task in done)
        finally:
            for task in open_tasks:
                task.cancel()
            self.runner.run(_all_of(open_tasks))


async def _in_turn[T](turn: asyncio.Semaphore, job: Job[T]) -> T:
    async with turn:
        return await job()


async def _some_of[T](tasks: set[asyncio.Task[T]]) -> tuple[set[asyncio.Task[T]], set[asyncio.Task[T]]]:
    return await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _all_of(tasks: Iterable[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _line(row: Candle) -> str:
    return ",".join(value if isinstance(value, str) else repr(value) for value in row) + "\n"
