"""Laws that journals prove when all is over: chains, capital, positions, days, trades, and every decision taken once more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from dolphin.lane.inputs import Inputs
from dolphin.lane.lane import Lane
from dolphin.lane.scan_log import DayEnd, ScanLog, Universe
from dolphin.storage.journal import Entry, JournalReader, Kind, Record, journal_files
from dolphin.storage.journal_records import canonical
from dolphin.types import Posture
from sim.topology import World

__all__ = ["journals_hold"]

DECIDED = (Kind.BAR, Kind.TRADE, Kind.DAY_RESULT)

type Found = Iterator[tuple[str, str]]


def journals_hold(world: World) -> Found:
    """Law and what broke it."""
    for folder in sorted(world.root.iterdir()):
        for path in journal_files(folder / "journal"):
            with JournalReader(path) as journal:
                verdict = journal.verify()
                if not verdict.ok:
                    yield "journal", str(verdict).replace(str(world.root), "")
    folder = world.host.state.journals
    yield from _scans(world, folder)
    if (folder / "trader_blue.sqlite").is_file():
        with JournalReader(folder / "trader_blue.sqlite") as journal:
            records = list(journal.records())
        yield from _positions(records)
        yield from _capital(records, world.settings.engine.start_capital)
        yield from _days(records)
        yield from _again(world, folder, records)


def _scans(world: World, folder: Path) -> Found:
    """The scanner's bars are those of an undisturbed run, each once and in order."""
    if not (folder / "scanner.sqlite").is_file():
        return
    with JournalReader(folder / "scanner.sqlite") as journal:
        scans = list(journal.records(Kind.SCAN))
    for record, (ts_ms, wanted) in zip(scans, world.market.scans, strict=False):
        if (record.ts_ms, record.payload) != (ts_ms, json.loads(wanted)):
            yield "scans", f"bar {record.payload['date']} {record.payload['bar']} is not that of an undisturbed run"
            return
    if len(scans) > len(world.market.scans):
        yield "scans", f"{len(scans)} bars, there are {len(world.market.scans)}"


def _positions(records: list[Record]) -> Found:
    """Never more than one; a HIBERNATE leaves none behind."""
    opened = 0
    for record in records:
        if record.kind == Kind.TRADE:
            opened -= 1
        elif record.kind == Kind.BAR:
            opened += record.payload["entry"] is not None
            if opened not in (0, 1):
                yield "position", f"{opened} positions after {record.payload['date']} bar {record.payload['bar']}"
                return
            if opened and record.payload["posture"] == Posture.HIBERNATE:
                yield "position", f"one is open after HIBERNATE on {record.payload['date']} bar {record.payload['bar']}"


def _capital(records: list[Record], start: float) -> Found:
    """Champion: start + sum of net; honest: start times the product of ``1 + r*fraction*leverage``."""
    capital = honest = start
    for record in records:
        p = record.payload
        if record.kind == Kind.TRADE:
            capital += p["net_pnl"]
            honest *= 1.0 + p["honest_ret"] * p["fraction"] * p["leverage"]
            told = p["capital_after"], p["honest_capital_after"]
        elif record.kind == Kind.DAY_RESULT:
            told = p["capital"], p["honest_capital"]
        else:
            continue
        if not all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(told, (capital, honest), strict=True)):
            yield "capital", f"record {record.seq} says {told}, trades add up to {(capital, honest)}"
            return


def _days(records: list[Record]) -> Found:
    """No bar and no day twice, no trade of a day's result lost."""
    bars = [(r.payload["date"], r.payload["bar"]) for r in records if r.kind == Kind.BAR]
    if bars != sorted(set(bars)):
        yield "days", "a bar is decided twice, or out of order"
    dates = [r.payload["date"] for r in records if r.kind == Kind.DAY_RESULT]
    if dates != sorted(set(dates)):
        yield "days", f"a day is closed twice: {dates}"
    numbers = [r.payload["trade_id"] for r in records if r.kind == Kind.TRADE]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "trades", f"trades are {numbers}"
    since: list[int] = []
    for record in records:
        if record.kind == Kind.TRADE:
            since.append(record.payload["trade_id"])
        elif record.kind == Kind.DAY_RESULT:
            if [trade["trade_id"] for trade in record.payload["trades"]] != since:
                yield "trades", f"{record.payload['date']} had the trades {since}, its result says otherwise"
            since = []


def _again(world: World, folder: Path, records: list[Record]) -> Found:
    """From the first bar on, with the inputs of the journal, every decision comes out as it is there."""
    decided = [record for record in records if record.kind in DECIDED]
    told = {r.payload["scan_seq"]: msgspec.convert(r.payload["told"], Inputs) for r in decided if r.kind == Kind.BAR}
    lane, log = Lane(world.settings.engine, -1, with_book=world.settings.survival.order_book), ScanLog(folder)
    made: list[Entry] = []
    while (found := log.take(500)) and len(made) < len(decided):
        for scanned in found:
            if isinstance(scanned, Universe):
                lane.set_universe(scanned)
            elif isinstance(scanned, DayEnd):
                made += lane.end_day(scanned)
            elif scanned.seq in told:
                made += lane.take(scanned, told[scanned.seq])
            elif scanned.seq < max(told, default=0):
                yield "trades", f"bar {scanned.date} {scanned.bar} was never decided"
                log.close()
                return
    log.close()
    again = [entry for entry in made if entry.kind in DECIDED]
    for record, entry in zip(decided, again, strict=False):
        if (record.kind, record.payload) != (str(entry.kind), _payload(entry)):
            yield "decisions", f"record {record.seq} ({record.kind}) comes out otherwise"
            return
    if len(again) < len(decided):
        yield "decisions", f"{len(decided)} in the journal, {len(again)} when taken again"


def _payload(entry: Entry) -> Any:
    return json.loads(canonical(entry))
