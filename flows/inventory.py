"""What data lies where, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dolphin.config import PathsConfig
from dolphin.errors import DataError
from dolphin.storage.checks import QualityReport, combine
from dolphin.storage.day_table import list_days
from dolphin.storage.klines import KlineDay, KlineStore
from dolphin.storage.schema import clock, date_of, is_date

__all__ = ["KlineCheck", "check_klines", "in_range", "inventory"]

type Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


def inventory(paths: PathsConfig, klines: Path | None, days: Path | None) -> list[dict[str, Any]]:
    """One row a folder that holds anything: kind, folder, days, first, last, megabytes."""
    rows = []
    folders = (("klines", klines or Path(paths.klines)), ("days", days or Path(paths.days)))
    for kind, folder in folders:
        files = list(list_days(folder)) if kind == "days" else sorted(p for p in folder.glob("*.parquet") if is_date(p.stem))
        if files:
            size = sum(p.stat().st_size for p in files) / 1e6
            rows.append(
                {"kind": kind, "folder": str(folder), "days": len(files), "first": files[0].stem, "last": files[-1].stem, "megabytes": size}
            )
    return rows


def in_range(dates: Iterable[str], first: str, last: str) -> list[str]:
    """Dates from ``first`` to ``last``, inclusive; empty = open."""
    return [d for d in dates if (not first or d >= first) and (not last or d <= last)]


@dataclass(frozen=True, slots=True)
class KlineCheck:
    """Quality of a range of klines: one report over the good days, and the files that were refused."""

    days: list[str]
    quality: QualityReport
    refused: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether anything was found at all."""
        q = self.quality
        return bool(self.refused or q.gaps or q.counts or q.absent)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        q = self.quality
        gaps = [{"date": date_of(g.first_ms), "from": clock(g.first_ms), "to": clock(g.last_ms), "bars": g.bars} for g in q.gaps]
        counts = {
            "found": self.found,
            "days": self.days,
            "bars": q.bars,
            "rows": q.rows,
            "absent": q.absent,
            "missing_bars": q.missing_bars,
        }
        return {**counts, "counts": dict(q.counts), "gaps": gaps, "examples": [str(e) for e in q.examples], "refused": self.refused}

    def to_text(self) -> str:
        """What a person reads."""
        q = self.quality
        lines = [f"{len(self.days)} days, {q.bars} bars, {q.rows} rows"]
        lines += [f"refused: {why}" for why in self.refused]
        lines += [f"{rule}: {count}" for rule, count in q.counts]
        lines += [f"  {example}" for example in q.examples]
        lines += [f"absent: {q.absent} rows of single symbols on bars that others have"] if q.absent else []
        lines += [f"missing: {q.missing_bars} bars"] if q.gaps else []
        lines += [f"  {date_of(gap.first_ms)} {gap}" for gap in q.gaps]
        return "\n".join(lines + ([] if self.found else ["nothing found"]))


def check_klines(store: KlineStore, first: str, last: str, *, track: Track) -> KlineCheck:
    """Load every day of the range by the rules of ``dolphin.storage.checks``."""
    dates = in_range(store.dates(), first, last)
    reports, refused = [], []
    before: KlineDay | None = None
    for date in track(dates, len(dates), "days"):
        try:
            before = store.load(date, None, before)
        except DataError as error:
            refused.append(str(error))
            before = None
        else:
            reports.append(before.quality)
    return KlineCheck(dates, combine(reports), refused)
