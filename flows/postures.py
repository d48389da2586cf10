"""Posture schedules as files."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import msgspec

from dolphin.engine.schedule import PostureSchedule
from dolphin.errors import ConfigError, MalformedFile
from dolphin.storage.publish import publish

__all__ = ["PostureChange", "read_postures", "write_postures"]


class PostureChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of a schedule: ``posture`` holds for the bars that close after ``ts_ms``."""

    ts_ms: int
    posture: str


def read_postures(path: Path) -> PostureSchedule:
    """Postures from JSON: ``{"YYYY-MM-DD": "STALKER"}``, where days that are not named are APEX, or a list of changes
    ``{"ts_ms": 1735689600000, "posture": "STALKER"}``, as ``dolphin posture --replay --out`` writes it; each holds until the next.

    Raises ``MalformedFile`` for what is no such file, ``ConfigError`` for an unknown posture and for times that do not ascend.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        by_day = {} if isinstance(record, list) else {dt.date.fromisoformat(day).isoformat(): posture for day, posture in record.items()}
        changes = msgspec.convert(record, list[PostureChange]) if isinstance(record, list) else []
    except (OSError, ValueError, AttributeError, TypeError) as error:
        hint = '{"YYYY-MM-DD": "STALKER"} or [{"ts_ms": 1735689600000, "posture": "STALKER"}]'
        raise MalformedFile(f"not a posture schedule ({error})", path=path, hint=hint) from error
    try:
        return PostureSchedule.by_day(by_day) if by_day else PostureSchedule(tuple((c.ts_ms, c.posture) for c in changes))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def write_postures(path: Path, schedule: PostureSchedule) -> None:
    """Publish a schedule as ``read_postures`` takes it."""
    changes = [{"ts_ms": ts_ms, "posture": posture.value} for ts_ms, posture in schedule.changes]
    with publish(path) as temporary:
        temporary.write_text(json.dumps(changes, indent=1) + "\n", encoding="utf-8")
