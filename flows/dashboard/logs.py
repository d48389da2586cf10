"""The newest lines of all logs, redacted, and the alerts in them. Files grow, rotate and vanish; a flood is skipped, not waited for."""

from __future__ import annotations

import datetime as dt
import re
from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec

from dolphin.telemetry.alerts import AlertKind
from flows.dashboard.follow import Clean
from flows.dashboard.snapshot import AlertView, LogLine

__all__ = ["LogFollower"]

OWN, OTHERS = 120, 80
ALERTS: Final = 60
MAX_READ: Final = 64 * 1024
"""Bytes of one file in one pass; what is beyond is left out."""
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_PLAIN: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ ([A-Z]+) (.*)")
_ALERT: Final = re.compile(rf"({'|'.join(AlertKind)}) (\S+): (.*)")
_JAVA: Final = re.compile(r"([A-Z]+): (.*)")
_JAVA_LEVELS: Final = {"SEVERE": "ERROR", "WARNING": "WARNING"}
_JAVA_HEAD: Final = re.compile(r"[A-Z][a-z]{2} \d{1,2}, \d{4} \d{1,2}:\d\d:\d\d [AP]M")


class LogFollower:
    """``look`` once a pass. ``lines`` (our own, and a few of the libraries') and ``alerts``: the newest, oldest first."""

    def __init__(self, folder: Path, clean: Clean) -> None:
        self._folder, self._clean = folder, clean
        self._places: dict[str, tuple[int, int]] = {}
        self._own: deque[LogLine] = deque(maxlen=OWN)
        self._java: dict[str, int] = {}
        self._others: deque[LogLine] = deque(maxlen=OTHERS)
        self.lines: list[LogLine] = []
        self.alerts: deque[AlertView] = deque(maxlen=ALERTS)

    def look(self, wall_ms: int) -> None:
        """Read what was written since the last look, in the order of its times."""
        first, fresh, told = not self._places, list[LogLine](), list[AlertView]()
        for path in sorted(self._folder.glob("*.log")):
            for line in self._new_lines(path):
                if head := _JAVA_HEAD.match(line):
                    self._java[path.stem] = _moment(head[0], "%b %d, %Y %I:%M:%S %p")
                elif line.strip():
                    _take(line, path.stem, self._java.get(path.stem) or wall_ms, self._clean, fresh, told)
        if first:
            fresh.sort(key=lambda line: line.at_ms)
            told.sort(key=lambda alert: alert.at_ms)
        self.alerts.extend(told)
        if fresh:
            self._own.extend(line for line in fresh if line.own)
            self._others.extend(line for line in fresh if not line.own)
            self.lines = sorted([*self._own, *self._others], key=lambda line: line.at_ms)

    def _new_lines(self, path: Path) -> list[str]:
        """Whole lines only: what has no end yet is read next time."""
        try:
            with path.open("rb") as file:
                status = path.stat()
                inode, offset = self._places.get(path.name, (status.st_ino, max(0, status.st_size - MAX_READ)))
                if inode != status.st_ino or status.st_size < offset:
                    offset = 0
                if status.st_size - offset > MAX_READ:
                    offset = status.st_size - MAX_READ
                file.seek(offset)
                data = file.read(MAX_READ)
        except OSError:
            return []
        end = data.rfind(b"\n") + 1 or (len(data) if len(data) == MAX_READ else 0)
        self._places[path.name] = status.st_ino, offset + end
        return data[:end].decode(errors="replace").splitlines()[-OWN:]


def _take(line: str, service: str, otherwise_ms: int, clean: Clean, lines: list[LogLine], alerts: list[AlertView]) -> None:
    """One line of a log, as what it is: JSON of our processes, plain text of the supervisor, the second line of a message of the grid."""
    before = lines[-1].at_ms if lines and lines[-1].service == service else 0
    record = _json(line)
    if record is not None:
        level, text, at = str(record.get("level", "")), str(record.get("message", "")), _moment(str(record.get("time", "")))
        own = str(record.get("logger", "")).startswith("dolphin")
        alert = _alert(record.get("alert"), clean)
    else:
        level, text, at, own, alert = _plain(line, service, clean)
    level = level if level in _LEVELS else "INFO"
    lines.append(
        LogLine(at_ms=at or before or otherwise_ms, service=service, level=level, text=clean(text), own=own or level not in _LEVELS[:2])
    )
    if alert is not None:
        alerts.append(alert)


def _plain(line: str, service: str, clean: Clean) -> tuple[str, str, int, bool, AlertView | None]:
    if found := _PLAIN.match(line):
        at, text = _moment(found[1]), found[3]
        told = _ALERT.match(text)
        if told is None:
            return found[2], text, at, service.startswith("supervisor"), None
        alert = AlertView(at_ms=at, severity=found[2], kind=told[1], key=clean(told[2]), text=clean(told[3]), service=service)
        return found[2], text, at, True, alert
    if found := _JAVA.match(line):
        return _JAVA_LEVELS.get(found[1], "INFO"), found[2], 0, False, None
    return "INFO", line, 0, not service.startswith("grid"), None


def _alert(record: Any, clean: Clean) -> AlertView | None:
    try:
        found = msgspec.convert(record, _Alert)
    except msgspec.ValidationError:
        return None
    words = {name: clean(getattr(found, name)) for name in ("severity", "kind", "key", "text")}
    return AlertView(at_ms=found.ts_ms, service=clean(found.service).split(":")[0], **words)


class _Alert(msgspec.Struct):
    kind: str
    severity: str
    key: str
    text: str
    ts_ms: int
    service: str


def _json(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _moment(text: str, form: str = "%Y-%m-%d %H:%M:%S") -> int:
    """A time of this machine's zone, as logging libraries write it (``2026-11-21 17:34:39,243``), ms UTC; 0 for another text."""
    try:
        return round(dt.datetime.strptime(text.partition(",")[0] if "%b" not in form else text, form).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return 0
