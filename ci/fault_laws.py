"""What must hold after every run of the fault matrix, whatever was done: from its journals, day tables and alerts."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from itertools import pairwise

import msgspec
from fault_evidence import LANE, Evidence

from dolphin.lane.inputs import Inputs
from dolphin.lane.lane import Lane
from dolphin.lane.scan_log import DayEnd, ScanLog, Universe
from dolphin.storage.journal import Kind
from dolphin.storage.journal_records import canonical
from flows.journal import verdicts

__all__ = ["JOURNAL_LAWS", "broken_laws", "disturbed"]

PROPAGATED_S = 1.5
WINDOW_MS = 55_000
DECIDED = (Kind.BAR, Kind.TRADE, Kind.DAY_RESULT)


def broken_laws(run: Evidence, reference: Evidence | None) -> list[str]:
    """Every law that does not hold, in words."""
    found = [f"journal: {verdict.to_text()}" for verdict in verdicts(run.state.journals, "") if not verdict.ok]
    for law in LAWS:
        found += [f"{law.__name__.strip('_')}: {text}" for text in law(run)]
    if reference is not None:
        found += [f"reference: {text}" for text in (*_same_days(run, reference), *_same_trades(run, reference))]
    return found


def disturbed(run: Evidence) -> bool:
    """Whether a bar with signals was told anything but the healthy posture."""
    told = [record.payload["told"] for record in run.lane_bars() if record.payload["vel_div"] is not None]
    return any(inputs["posture"] != "STALKER" or inputs["blocks"] for inputs in told)


def _days_once(run: Evidence) -> list[str]:
    """No day twice, and none missing before the one in hand."""
    dates = [record.payload["date"] for record in run.records(LANE, Kind.DAY_RESULT)]
    bars = sorted({record.payload["date"] for record in run.records(LANE, Kind.BAR)})
    wrong = [f"{date} has {many} results" for date, many in Counter(dates).items() if many > 1]
    return wrong + [f"{date} has no result" for date in bars[:-1] if date not in dates]


def _decisions_again(run: Evidence) -> list[str]:
    """The scanner's bars with the inputs of the lane's journal give the lane's journal."""
    past = [(r.kind, r.payload) for r in run.records(LANE) if r.kind in DECIDED]
    told = {p["scan_seq"]: msgspec.convert(p["told"], Inputs) for kind, p in past if kind == Kind.BAR}
    lane, log, again = Lane(run.settings.engine, -1, with_book=run.settings.survival.order_book), ScanLog(run.state.journals), []
    while page := log.take(500):
        for scanned in page:
            if isinstance(scanned, Universe):
                lane.set_universe(scanned)
            elif isinstance(scanned, DayEnd):
                again += lane.end_day(scanned)
            elif scanned.seq in told:
                again += lane.take(scanned, told[scanned.seq])
    log.close()
    made = [(str(e.kind), json.loads(canonical(e))) for e in again if e.kind in DECIDED][: len(past)]
    first = next((k for k, (a, b) in enumerate(zip(past, made, strict=False)) if a != b), min(len(past), len(made)))
    return [] if made == past else [f"record {first} of {len(past)} comes out otherwise"]


def _bars_all(run: Evidence) -> list[str]:
    """Every bar of the scanner once and in order, up to where the lane is."""
    scans = [(r.payload["date"], r.payload["bar"]) for r in run.records("scanner", Kind.SCAN)]
    bars = [(r.payload["date"], r.payload["bar"]) for r in run.records(LANE, Kind.BAR)]
    wrong = [] if len(scans) == len(set(scans)) and scans == sorted(scans) else ["the scanner's bars are not in order, each once"]
    return wrong + ([] if bars == scans[: len(bars)] else ["the lane's bars are not the scanner's"])


def _entries_allowed(run: Evidence) -> list[str]:
    """What was entered was entered in health, by what the lane itself had read."""
    return [
        f"bar {r.payload['bar']} of {r.payload['date']} entered in {r.payload['told']['posture']} {r.payload['told']['blocks']}"
        for r in run.records(LANE, Kind.BAR)
        if r.payload["entry"] and (r.payload["told"]["posture"] != "STALKER" or r.payload["told"]["blocks"])
    ]


def _entries_seen(run: Evidence) -> list[str]:
    """By our own clock: nothing was entered in an interval in which nobody could know that all is well."""
    moments = [moment for moment, _ in run.heads]
    heads = [head for _, head in run.heads]
    wrong = []
    for record in run.records(LANE, Kind.BAR):
        place = bisect_left(heads, record.seq)
        if record.payload["entry"] and 0 < place < len(moments):
            earliest, latest = moments[place - 1], moments[place]
            if any(start + PROPAGATED_S < earliest and latest < end for start, end in run.blind):
                wrong.append(f"bar {record.payload['bar']} of {record.payload['date']} entered while blind")
    return wrong


def _recovery_bounded(run: Evidence) -> list[str]:
    """Rm drops at once and rises by at most ``0.02*dt*(target - last)`` and ``0.05*dt``, dt at most two cadences."""
    wrong, last = [], 0.0
    for record in run.records("system_watchdog", Kind.POSTURE):
        rm, target = record.payload["rm"], record.payload["target"]
        most = last + min(0.04 * max(0.0, target - last), 0.1) if target > last else target
        if rm > most + 1e-9:
            wrong.append(f"Rm rose from {last:.4f} to {rm:.4f}, at most {most:.4f}")
        last = rm
    return wrong


def _postures_in_order(run: Evidence) -> list[str]:
    """(fence, seq) only grow."""
    order = [(r.payload["fence"], r.payload["seq"]) for r in run.records("system_watchdog", Kind.POSTURE)]
    return [] if all(a < b for a, b in pairwise(order)) else ["fence and seq of the postures fall"]


def _alerts_once(run: Evidence) -> list[str]:
    """The same process tells the same thing once a window, and its last word; more only when it got louder."""
    wrong: list[str] = []
    told: dict[tuple[str, ...], list[int]] = {}
    for alert in sorted(run.alerts(), key=lambda a: a["ts_ms"]):
        name = tuple(alert[part] for part in ("service", "kind", "key", "severity"))
        told.setdefault(name, []).append(alert["ts_ms"])
        if len(told[name]) > 2 and told[name][-1] - told[name][-3] < WINDOW_MS:
            wrong.append(f"{name} told three times within {(told[name][-1] - told[name][-3]) / 1000:.0f} s")
    return wrong


def _same_days(run: Evidence, reference: Evidence) -> list[str]:
    """Whole day tables are the reference's, byte for byte."""
    done = [record.payload["date"] for record in run.records("scanner", Kind.DAY_TABLE)]
    files = [(run.state.days / f"{date}.parquet", reference.state.days / f"{date}.parquet") for date in done]
    return [f"day table {ours.name} differs" for ours, theirs in files if ours.read_bytes() != theirs.read_bytes()]


def _same_trades(run: Evidence, reference: Evidence) -> list[str]:
    """Where postures were not affected, the trades are the undisturbed run's."""
    if disturbed(run):
        return []
    ours, theirs = run.trades(), reference.trades()
    return [] if ours == theirs[: len(ours)] else [f"{len(ours)} trades, and not those of the undisturbed run"]


JOURNAL_LAWS = (_days_once, _decisions_again, _bars_all, _postures_in_order)
"""Of any deployment; the others know that of the fault matrix."""
LAWS = (*JOURNAL_LAWS, _entries_allowed, _entries_seen, _recovery_bounded, _alerts_once)
