"""A recorded day of sensors through the survival stack."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from dolphin.config import SurvivalConfig
from dolphin.engine.schedule import PostureSchedule, day_start
from dolphin.engine.survival import SafetyRecord, Sensors, SurvivalStack, categories, combine, posture_of
from dolphin.engine.survival_report import SensorDay, replay
from dolphin.errors import ConfigError, QualityError
from dolphin.storage.sensor_file import read_sensors
from dolphin.types import Posture

__all__ = ["PostureReplay", "replay_file"]


@dataclass(frozen=True, slots=True)
class PostureReplay:
    """``began`` in posture ``start``; ``changes``: the records of the evaluations that changed it; ``minutes`` by posture, from
    ``began`` to the last evaluation; ``dated``: times are those of a day, not of 1970.
    """

    began: int
    dated: bool
    start: Posture
    changes: tuple[SafetyRecord, ...]
    minutes: Mapping[str, float]
    evaluations: int
    lowest_rm: float
    flags: tuple[str, ...]

    @property
    def schedule(self) -> PostureSchedule:
        """From where the recording began on."""
        return PostureSchedule(((self.began, self.start), *((r.ts_ms, r.posture) for r in self.changes)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        changes = [{"ts_ms": r.ts_ms, "posture": r.posture.value, "rm": r.rm, "reasons": list(r.reasons)} for r in self.changes]
        facts = {"evaluations": self.evaluations, "lowest_rm": self.lowest_rm, "flags": list(self.flags)}
        return {"began_ms": self.began, "start": self.start.value, "changes": changes, "minutes": dict(self.minutes), **facts}

    def to_text(self) -> str:
        """What a person reads."""
        rows = [f"{self._clock(self.began)}  {self.start:<9}  (start)"]
        rows += [f"{self._clock(r.ts_ms)}  {r.posture:<9}  Rm {r.rm:.3f}  {'; '.join(r.reasons)}".rstrip() for r in self.changes]
        spent = ", ".join(f"{name} {minutes:,.0f} min" for name, minutes in self.minutes.items())
        flags = f"; {', '.join(self.flags)}" if self.flags else ""
        return "\n".join([*rows, f"{self.evaluations} evaluations, lowest Rm {self.lowest_rm:.3f}: {spent}{flags}"])

    def _clock(self, ts_ms: int) -> str:
        moment = dt.datetime.fromtimestamp(ts_ms / 1000, dt.UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S}" if self.dated else f"+{ts_ms / 60_000:.1f} min"


def replay_file(path: Path, config: SurvivalConfig, date: str = "", *, warm: bool = False) -> PostureReplay:
    """Play the sensors of ``path``. Times: its column ``ts``, else from the start of ``date`` by ``dt_min``, else from 1970.

    Raises ``DataError`` for a file that is refused, ``ConfigError`` for a ``date`` that is none.
    """
    columns = read_sensors(path)
    times: list[int] | None = columns.pop("ts", None)
    if times is not None and any(later <= before for before, later in pairwise(times)):
        raise QualityError("times do not ascend", path=path, column="ts")
    day = SensorDay(**columns)
    first_step = _minutes(day.dt_min[0])
    began = (_start(date) if date else 0) if times is None else times[0] - round(first_step * 60_000)
    stack = _warm(day, config) if warm else SurvivalStack(config)
    start, records = stack.posture, replay(day, stack, began)
    if times is not None:
        records = [msgspec.structs.replace(r, ts_ms=ts) for r, ts in zip(records, times, strict=True)]
    held, edges = [start, *(r.posture for r in records)], [began, *(r.ts_ms for r in records)]
    minutes: Counter[Posture] = Counter()
    for posture, (before, later) in zip(held, pairwise(edges), strict=False):
        minutes[posture] += (later - before) / 60_000
    return PostureReplay(
        began=began,
        dated=times is not None or bool(date),
        start=start,
        changes=tuple(r for r, before in zip(records, held, strict=False) if r.posture != before),
        minutes={posture.value: minutes[posture] for posture in Posture if minutes[posture]},
        evaluations=len(records),
        lowest_rm=min(r.rm for r in records),
        flags=stack.flags,
    )


def _warm(day: SensorDay, config: SurvivalConfig) -> SurvivalStack:
    first = Sensors(**{f.name: getattr(day, f.name)[0] for f in fields(Sensors)})
    rm = combine(*categories(first, config.order_book))
    return SurvivalStack(config, rm=rm, posture=posture_of(rm))


def _minutes(value: float | None) -> float:
    return value if value is not None and 0 < value < math.inf else 0.0


def _start(date: str) -> int:
    try:
        return day_start(date)
    except ValueError as error:
        raise ConfigError(f"--date {date!r}: expected YYYY-MM-DD") from error
