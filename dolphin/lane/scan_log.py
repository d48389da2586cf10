"""The durable way of the bars: the scanner appends each to its journal, the trader reads them from there, in order and each once.

Three kinds of record: the universe when it changes, a scan for every closed bar, and the end of a day. JSON keeps a float64 bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from dolphin.errors import MalformedFile, QualityError, Unavailable
from dolphin.storage.journal import Entry, JournalReader, Kind, Record, journal_path
from dolphin.storage.schema import SYMBOL, is_date
from dolphin.types import Array, ScanBatch

__all__ = ["DayEnd", "ScanLog", "Scanned", "ScannedBar", "Universe", "day_entry", "known", "scan_entry", "universe_entry"]

NEWBORN: Final = 2000
"""How often a journal may be found without its tables, which its writer makes just after the file: some seconds of steps."""
SCANNER: Final = "scanner"
"""Writer of the journal that bars are read from."""


@dataclass(frozen=True, slots=True)
class Universe:
    """Assets of the bars that follow. ``seq`` and ``hash``: the journal's record."""

    seq: int
    hash: str
    assets: tuple[str, ...]
    bar_seconds: int


@dataclass(frozen=True, slots=True)
class ScannedBar:
    """One bar: ``ts_ms`` of its close, ``bar`` of its day, ``closes`` float64[n_assets], NaN = no price or no signal."""

    seq: int
    hash: str
    date: str
    bar: int
    ts_ms: int
    closes: Array
    vel_div: float
    v50: float
    v750: float


@dataclass(frozen=True, slots=True)
class DayEnd:
    """No more bars of ``date`` will come; it had ``bars``."""

    seq: int
    hash: str
    date: str
    bars: int
    ts_ms: int


type Scanned = Universe | ScannedBar | DayEnd


def universe_entry(assets: Sequence[str], bar_seconds: int, ts_ms: int, delisted: Iterable[str] = ()) -> Entry:
    """Record of a universe; ``delisted``: those of it that have no price any more."""
    gone = {"delisted": sorted(delisted)} if delisted else {}
    return Entry(Kind.UNIVERSE, {"assets": list(assets), "bar_seconds": bar_seconds, **gone}, ts_ms)


def scan_entry(at: tuple[str, int], ts_ms: int, batch: ScanBatch, row: int, closes: Array, told: dict[str, Any]) -> Entry:
    """Record of row ``row`` of ``batch``, bar ``at`` = (date, bar); ``closes`` float64[n_assets] of it; ``told``: what else is noted."""
    payload: dict[str, Any] = {"date": at[0], "bar": at[1], "vel_div": known(float(batch.vel_div[row])), **told}
    payload |= {name: _listed(getattr(batch, name)[row]) for name in ("lambda_max", "velocity", "instability")}
    payload |= {"n_participants": batch.n_participants[row].tolist(), "closes": _listed(closes)}
    return Entry(Kind.SCAN, payload, ts_ms)


def day_entry(date: str, bars: int, ts_ms: int) -> Entry:
    """Record of a day's end."""
    return Entry(Kind.DAY_TABLE, {"date": date, "bars": bars}, ts_ms)


class ScanLog:
    """Reads the scanner's journal behind record ``seq``. A journal that is not there yet has nothing new."""

    def __init__(self, folder: Path, seq: int = 0) -> None:
        self._path, self.seq = journal_path(folder, SCANNER), seq
        self._reader: JournalReader | None = None
        self._empty = 0

    def take(self, most: int, until: int | None = None) -> list[Scanned]:
        """The next records, at most ``most`` read, none behind record ``until``.

        Raises ``DataError`` for a journal that is damaged or ends before ``seq``.
        """
        reader = self._opened()
        if reader is None or reader.head()[0] == self.seq:
            return []
        if reader.head()[0] < self.seq:
            why = f"ends with record {reader.head()[0]}, bars up to {self.seq} were processed"
            raise QualityError(why, path=self._path, hint="a scanner's journal and a lane's belong together: keep both or start both anew")
        found: list[Scanned] = []
        for record in islice(reader.records(after=self.seq), most):
            if until is not None and record.seq > until:
                break
            self.seq = record.seq
            scanned = _read(record, self._path)
            if scanned is not None:
                found.append(scanned)
        return found

    def hash_of(self, seq: int) -> str:
        """Hash of a record, empty when it is not there."""
        reader = self._opened()
        record = next(iter(reader.records(after=seq - 1)), None) if reader is not None and 0 < seq <= reader.head()[0] else None
        return record.hash if record is not None and record.seq == seq else ""

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _opened(self) -> JournalReader | None:
        if self._reader is None and self._path.is_file():
            try:
                self._reader = JournalReader(self._path)
            except Unavailable:
                return None
            except MalformedFile:
                self._empty += 1
                if self._empty > NEWBORN:
                    raise
        return self._reader


def known(value: float) -> float | None:
    """NaN and infinity as null."""
    return float(value) if math.isfinite(value) else None


def _listed(values: Array) -> list[float | None]:
    return [known(value) for value in values.tolist()]


def _read(record: Record, path: Path) -> Scanned | None:
    """What a record says, None for one that says nothing of bars. Raises ``QualityError`` for one that is not as the scanner writes it."""
    values = record.payload
    try:
        if record.kind == Kind.UNIVERSE:
            assets = tuple(values["assets"])
            if not all(SYMBOL.fullmatch(name) for name in assets) or len(set(assets)) < len(assets):
                raise ValueError(f"assets {assets[:3]} are not distinct symbols")
            return Universe(record.seq, record.hash, assets, int(values["bar_seconds"]))
        if record.kind == Kind.DAY_TABLE:
            return DayEnd(record.seq, record.hash, _date(values), int(values["bars"]), record.ts_ms)
        if record.kind != Kind.SCAN:
            return None
        numbers = [
            np.nan if value is None else float(value) for value in (values["vel_div"], values["velocity"][0], values["velocity"][-1])
        ]
        closes = np.array(values["closes"], dtype=np.float64)
        if closes.ndim != 1:
            raise ValueError("closes are no row")
        return ScannedBar(record.seq, record.hash, _date(values), int(values["bar"]), record.ts_ms, closes, *numbers)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise QualityError(f"record {record.seq} is no {record.kind}: {error}", path=path, hint="`dolphin journal verify`") from error


def _date(values: dict[str, Any]) -> str:
    if not is_date(values["date"]):
        raise ValueError(f"{values['date']!r} is no date")
    return str(values["date"])
