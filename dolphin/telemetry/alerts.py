"""Alerts: what an operator must hear, once, off the caller's thread, and never with a secret in it.

``Alerts`` is what services hold: it redacts, tells the same thing once a window, and hands on to sinks, each with a queue and a thread
of its own, so that a webhook that hangs delays neither the caller nor the log. Nothing here raises into the caller; everything is counted.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any

__all__ = ["Alert", "AlertKind", "AlertSink", "Alerts", "Severity"]

MAX_TEXT, MAX_READ, LONGEST_SECRET = 2000, 20_000, 8000
MAX_KEYS = 10_000
_log = logging.getLogger("dolphin.alerts")


class AlertKind(StrEnum):
    """What happened."""

    POSTURE = "posture"
    KILL = "kill"
    RELEASE = "release"
    SAFE_MODE = "safe_mode"
    CRASHED = "crashed"
    CRASH_LOOP = "crash_loop"
    STALE_FEED = "stale_feed"
    FEED_GAP = "feed_gap"
    CLOCK_SKEW = "clock_skew"
    STALE_GRID = "stale_grid"
    STALE_POSTURE = "stale_posture"
    HOSTILE_VALUE = "hostile_value"
    JOURNAL_BROKEN = "journal_broken"
    RECOVERED = "recovered"


class Severity(IntEnum):
    """How loud."""

    INFO = 20
    WARNING = 30
    CRITICAL = 50


@dataclass(frozen=True, slots=True)
class Alert:
    """``key`` says which one of its kind (a symbol, a process, ``APEX->TURTLE``); ``swallowed``: how many alike were not told before it."""

    kind: AlertKind
    severity: Severity
    key: str
    text: str
    ts_ms: int
    service: str
    swallowed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON goes out: with ``schema``, the severity by name."""
        return {"schema": "dolphin.alert/1", **asdict(self), "severity": self.severity.name}


class AlertSink(ABC):
    """A way to a person."""

    name: str

    @abstractmethod
    def send(self, alert: Alert) -> None:
        """Deliver, or raise ``Unavailable`` within the sink's timeout."""

    def close(self) -> None:  # noqa: B027  most sinks hold nothing
        """Release what the sink holds."""


@dataclass(slots=True)
class _Window:
    """Since when, how loud, and what was swallowed since: the newest one and how many."""

    opened: float
    severity: Severity
    held: Alert | None = None
    count: int = 0

    def last_word(self) -> list[Alert]:
        """The newest swallowed alert, with how many more there were; nothing when none was."""
        return [] if self.held is None else [replace(self.held, swallowed=self.count - 1)]


class Alerts:
    """The alerts of one process.

    The first alert of a ``(kind, key)`` goes out at once, and so does a louder one; others within ``window_s`` are swallowed. When the
    window ends, ``tick`` (call it with every heartbeat) tells the newest swallowed one with the count: the last word always arrives.
    ``clock``: monotonic seconds. ``count(sink, outcome)`` is told ``sent``, ``failed``, ``dropped`` and ``swallowed`` (sink ``-``).
    """

    def __init__(
        self,
        sinks: Iterable[AlertSink],
        redact: Callable[[str], str],
        clock: Callable[[], float],
        *,
        window_s: float = 60.0,
        queue: int = 256,
        count: Callable[[str, str], None] | None = None,
    ) -> None:
        self._redact, self._clock, self._window_s = redact, clock, window_s
        self._told = count
        self._counts: Counter[tuple[str, str]] = Counter()
        self._windows: dict[tuple[str, str], _Window] = {}
        self._lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._outboxes = [_Outbox(sink, queue, self._count, redact) for sink in sinks]

    def send(self, alert: Alert) -> None:
        """Take an alert; returns at once."""
        key, text, service = (self._clean(part, limit) for part, limit in ((alert.key, 200), (alert.text, MAX_TEXT), (alert.service, 80)))
        clean = replace(alert, key=key, text=text, service=service)
        for due in (*self._due(), *self._admitted(clean)):
            self._hand_on(due)

    def tick(self) -> None:
        """Tell what was swallowed in windows that have ended."""
        for due in self._due():
            self._hand_on(due)

    def counts(self) -> dict[tuple[str, str], int]:
        """``(sink, outcome) -> how many``; sink ``-`` for what was swallowed before any."""
        with self._count_lock:
            return dict(self._counts)

    def close(self, timeout_s: float = 5.0) -> None:
        """Tell what is held back, wait up to ``timeout_s`` for each sink to deliver, drop the rest (counted), release the sinks."""
        for due in self._due(at_once=True):
            self._hand_on(due)
        for outbox in self._outboxes:
            outbox.close(timeout_s)

    def _admitted(self, alert: Alert) -> list[Alert]:
        """The alert itself, or nothing when it is swallowed; and the last word of a window that gave way to it."""
        name, now = (str(alert.kind), alert.key), self._clock()
        with self._lock:
            window = self._windows.get(name)
            swallowed = window is not None and alert.severity <= window.severity
            told: list[Alert] = []
            if window is not None and swallowed:
                window.held, window.count = alert, window.count + 1
            else:
                self._windows.pop(name, None)
                self._windows[name] = _Window(now, alert.severity)
                if len(self._windows) > MAX_KEYS:
                    told += self._windows.pop(next(iter(self._windows))).last_word()
                told.append(replace(alert, swallowed=window.count if window is not None else 0))
        if swallowed:
            self._count("-", "swallowed")
        return told

    def _due(self, *, at_once: bool = False) -> list[Alert]:
        """Last words of windows that have ended; a window that told one begins anew, a quiet one is forgotten."""
        now, due = self._clock(), []
        with self._lock:
            while self._windows:  # in the order in which they opened
                name = next(iter(self._windows))
                if not at_once and now - self._windows[name].opened < self._window_s:
                    break
                window = self._windows.pop(name)
                due += window.last_word()
                if window.held is not None:
                    self._windows[name] = _Window(now, window.held.severity)
        return due

    def _clean(self, text: str, limit: int) -> str:
        """One line without secrets. Of an endless text only the beginning is looked at, less what a secret cut in two would leave."""
        clean = self._redact(text[:MAX_READ].encode(errors="replace").decode())
        if len(text) > MAX_READ:
            clean = clean[: max(0, len(clean) - LONGEST_SECRET)]
        return " ".join("".join(c if c.isprintable() else " " for c in clean).split())[:limit]

    def _hand_on(self, alert: Alert) -> None:
        for outbox in self._outboxes:
            outbox.put(alert)

    def _count(self, sink: str, outcome: str) -> None:
        with self._count_lock:
            self._counts[sink, outcome] += 1
        if self._told is not None:
            self._told(sink, outcome)


class _Outbox:
    """One sink's bounded queue and thread. One job a waiting alert; whichever alert is oldest when a job runs is delivered."""

    def __init__(self, sink: AlertSink, size: int, count: Callable[[str, str], None], redact: Callable[[str], str]) -> None:
        self._sink, self._size, self._count, self._redact = sink, size, count, redact
        self._waiting: deque[Alert] = deque()
        self._jobs: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"alerts-{sink.name}")

    def put(self, alert: Alert) -> None:
        """Queue it; when full the oldest that is not critical goes, or the new one when all others are."""
        with self._lock:
            full = len(self._waiting) >= self._size
            if not self._closed:
                self._waiting.append(alert)
            if full and not self._closed:
                quiet = next((a for a in self._waiting if a.severity < Severity.CRITICAL), self._waiting[0])
                self._waiting.remove(quiet)
            job = None if full or self._closed else self._worker.submit(self._deliver)
            if job is not None:
                self._jobs.add(job)
        if job is None:
            self._count(self._sink.name, "dropped")
        else:
            job.add_done_callback(self._settled)

    def close(self, timeout_s: float) -> None:
        """Deliver for at most ``timeout_s``, then drop and count what is left."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs)
        wait(jobs, timeout_s)
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._sink.close()

    def _deliver(self) -> None:
        with self._lock:
            alert = self._waiting.popleft()
        self._sink.send(alert)

    def _settled(self, job: Future[None]) -> None:
        """Whatever a sink raised ends here: counted, and one redacted line in the log."""
        with self._lock:
            self._jobs.discard(job)
        if job.cancelled():
            self._count(self._sink.name, "dropped")
            return
        error = job.exception()
        self._count(self._sink.name, "sent" if error is None else "failed")
        if error is not None:
            _log.warning("an alert was not delivered by %s: %s", self._sink.name, self._redact(f"{type(error).__name__}: {error}")[:300])
