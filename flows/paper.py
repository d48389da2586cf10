"""A paper session: bring one lane up under its supervisor, watch it, report its days, and stop it in order.

The lane is a process of supervisord's, which restarts it; the session holds a lock, so that there are never two, whatever an orchestrator
believes. A session that is killed leaves lane and deployment running, and the next one adopts them.
"""

from __future__ import annotations

import asyncio
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from dolphin.config import Settings, load
from dolphin.errors import ConfigError, Unavailable
from dolphin.storage.lock import FileLock
from dolphin.storage.publish import publish
from dolphin.storage.state import StateFolder
from flows.job import Job, JobReport, checked
from flows.paper_watch import LaneHealth, LaneWatch, lane_words
from flows.processes import ours
from flows.services import is_trader, services_of
from flows.supervision import down, last_words
from flows.supervisor import Supervisor

__all__ = ["PaperJob", "PaperSession", "Wish", "lane_process", "paper_trade"]

WATCH_S: Final = 2.0
SETTLE_S: Final = 11.0
"""Longer than two heartbeats: what they say of the replay's end is then not of before it."""
DEAF_S: Final = 30.0
"""A supervisor that does not answer for so long is gone."""
PATIENCE_S: Final = 180.0
"""Another session that starts or stops the deployment is waited for so long."""


class PaperJob(Job, frozen=True):
    """``lane`` for ``hours`` at most. ``keep``: it goes on behind them, and the next session adopts it.

    ``replay`` and ``speed`` are those of `dolphin up`; they count when the deployment is not up yet.
    """

    lane: Literal["BLUE", "GREEN"] = "BLUE"
    hours: Annotated[float, Meta(gt=0, le=24 * 366, description="length of the session, hours")] = 24.0
    keep: Annotated[bool, Meta(description="the lane goes on when the hours are over")] = False
    replay: Annotated[str, Meta(description="folder of klines to replay; empty: the live feed, or the synthetic market")] = ""
    speed: Annotated[float, Meta(gt=0, le=100_000, description="market seconds in one of ours, in a replay")] = 60.0


class Wish(StrEnum):
    """What whoever started a session wants of it."""

    GO_ON = ""
    STOP = "the run was cancelled"
    LEAVE = "the runner of this session is gone"


def paper_trade(
    job: PaperJob,
    tell: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
    report: Callable[[JobReport], None] = lambda found: None,
    asked: Callable[[], Wish] = lambda: Wish.GO_ON,
) -> JobReport:
    """Trade one lane on paper until its hours are over, the replay has ended, or somebody stops it or us.

    ``report`` gets the table of days whenever one has ended; ``asked`` says what our starter wants. SIGTERM, SIGINT and errors stop the
    lane in the state that its settings ask for, within ``supervision.stop_timeout_s``, and everything that sessions have brought up.
    Raises ``Unavailable`` when another session has the lane, when it does not start, or keeps crashing.
    """
    state = checked(job).state(job.loaded()).made()
    lock = FileLock(state.processes / f"paper_{job.lane.lower()}.lock", f"paper-trade of {job.lane}")
    session = PaperSession(job, state, tell)
    try:
        try:
            session.bring_up()
            session.watch(report, asked)
        finally:
            with _undisturbed():
                session.leave()
                report(session.found())
        return session.found()
    finally:
        lock.release()


class PaperSession:
    """``bring_up``, ``watch``, ``leave``: each once, in this order. ``why`` it is over; ``keep``: the lane goes on behind it."""

    def __init__(self, job: PaperJob, state: StateFolder, tell: Callable[[str], None]) -> None:
        self.job, self.state, self.tell = job, state, tell
        self.name, self.why, self.keep = "", "it was stopped", False
        self.days: list[dict[str, Any]] = []
        self._supervisor = Supervisor(state.root)
        self._own = state.processes / "paper.json"  # a session brought the deployment up, so one ends it; `dolphin down` forgets it
        self._began, self._deaf, self._quiet = time.monotonic(), math.inf, math.inf
        self._said: tuple[str, ...] = ()

    def bring_up(self) -> None:
        """Start what does not run, adopt what does. Raises ``Unavailable``, and ``ConfigError`` when another lane is deployed here."""
        with self._alone(PATIENCE_S):
            if not self._supervisor.alive:
                self._up()
            self.name = lane_process(self._settings(), self.job.lane)
            for name, process in self._supervisor.processes().items():
                if process.pid == 0 and (name == self.name or not is_trader(name)):
                    self._supervisor.start(name)
                if name == self.name:
                    self.tell(f"{self.job.lane} runs, pid {process.pid}" if process.pid else f"{self.job.lane} starts")

    def watch(self, report: Callable[[JobReport], None], asked: Callable[[], Wish]) -> None:
        """Until the session is over. Raises ``Unavailable`` when the lane keeps crashing or its supervisor is gone, or our starter is."""
        self._began = time.monotonic()
        watch, until = LaneWatch(self.state, self._settings(), self.job.lane, self.name), self._began + self.job.hours * 3600.0
        try:
            while time.monotonic() < until:
                wish = asked()
                if wish is Wish.STOP:
                    self.why = Wish.STOP.value
                    return
                if wish is Wish.LEAVE:
                    self.why, self.keep = Wish.LEAVE.value, True
                    raise Unavailable(f"{self.why}; the next session adopts {self.job.lane}")
                if self._over(watch):
                    return
                for day in watch.new_days():
                    self.days.append(day)
                    report(self.found())
                time.sleep(WATCH_S)
            self.why, self.keep = "its hours are over", self.job.keep
        except asyncio.CancelledError:  # Prefect takes the run back, since its server lost it, for one; a cancel of somebody is a signal
            self.why, self.keep = "the run was taken from this session", True
            raise
        finally:
            watch.close()

    def leave(self) -> None:
        """Stop the lane, and the deployment when a session has brought it up: then it has no other lane."""
        if self.keep:
            self.tell(f"{self.why}; {self.job.lane} goes on")
            return
        began, patience = time.monotonic(), self._settings().supervision.stop_timeout_s
        with suppress(Unavailable):
            name = self.name or self._adoptable()
            if name:
                self._supervisor.stop(name)
                while self._supervisor.processes()[name].pid and time.monotonic() - began < patience + 5.0:
                    time.sleep(0.1)
                words, _ = lane_words(self.state, self._settings(), self.job.lane)
                self.tell(f"{name} has ended after {time.monotonic() - began:.1f} s; {words}")
        with suppress(Unavailable), self._alone(float(patience)):
            if self._unused():
                down(self.state, self._settings())
                self.tell(f"everything has ended after {time.monotonic() - began:.1f} s")

    def found(self) -> JobReport:
        """Where the lane stands, and the days that ended during the session."""
        words, facts = lane_words(self.state, self._settings(), self.job.lane)
        columns = list(self.days[0]) if self.days else []
        lines = [" | ".join(map(str, row)) for row in (columns, ["---"] * len(columns), *(day.values() for day in self.days))]
        table = "\n".join(f"| {line} |" for line in lines) if self.days else "No day has ended during this session."
        text = f"**{words}**\n\n{table}\n"
        return JobReport(f"paper-{self.job.lane.lower()}", text, self.days, {"why": self.why, "kept": self.keep, "now": facts})

    def _over(self, watch: LaneWatch) -> bool:
        """Look once. Whether the lane was stopped by somebody else, or has no more bars."""
        try:
            health = watch.look()
        except Unavailable as error:
            self._deaf = min(self._deaf, time.monotonic())
            if not ours(self.state.root):
                self.why = "everything was stopped from outside"
                return True
            if time.monotonic() - self._deaf > DEAF_S:
                raise Unavailable(f"for {DEAF_S:g} s {error}") from error
            return False
        self._deaf = math.inf
        self._say(health)
        if health.process == "FATAL":
            raise Unavailable(f"{self.name} keeps crashing: {last_words(self.state, self.name)}")
        self._quiet = min(self._quiet, time.monotonic()) if health.ended else math.inf
        if health.process == "STOPPED" or time.monotonic() - self._quiet > SETTLE_S:
            self.why = "the lane was stopped from outside" if health.process == "STOPPED" else "the replay has ended"
            return True
        return False

    def _say(self, health: LaneHealth) -> None:
        """What has changed."""
        settled = time.monotonic() - self._began > SETTLE_S or health.posture is not None
        said = (f"posture {health.posture or 'unknown'}", *health.troubles) if settled else ()
        if said and said != self._said:
            self.tell(f"{self.job.lane}: {', '.join(said)}; journal at {health.seq}")
        self._said = said

    def _up(self) -> None:
        """`dolphin up` in a process of its own. One that fails leaves nothing behind, and neither does one that we interrupt."""
        job, feed = self.job, self.job.loaded().settings.feed
        given = {"--config": job.config, "--replay": job.replay, "--speed": "" if feed.exchange or feed.url else f"{job.speed:g}"}
        flags = [word for name, value in given.items() if value for word in (name, value)]
        command = [sys.executable, "-m", "flows.cli", "up", "--json", "--set", f"paper.lanes={job.lane}", *flags]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line, code = "", None
        try:
            for line in child.stderr or ():
                self.tell(line.strip())
            code = child.wait()
        finally:
            if code is None:
                with _undisturbed():
                    child.kill()
                    child.wait()
                    down(self.state, self._settings())
        if code:
            raise Unavailable(line.strip().removeprefix("dolphin: ") or f"`dolphin up` ended with exit code {code}")
        with publish(self._own, durable=False) as temporary:
            temporary.write_text("{}\n", encoding="utf-8")

    def _settings(self) -> Settings:
        """Those of what runs, or before that those that were asked for."""
        return (load(self.state.settings) if self.state.settings.is_file() else self.job.loaded()).settings

    def _adoptable(self) -> str:
        """The lane's process, when there is one; for a session that was stopped before it adopted it."""
        settings = self._settings()
        return lane_process(settings, self.job.lane) if self._supervisor.alive and self.job.lane in settings.paper.names else ""

    def _unused(self) -> bool:
        """Whether what runs here is nobody's: a session brought it up, or its supervisor is gone."""
        return self._own.is_file() if self._supervisor.alive else bool(ours(self.state.root))

    @contextmanager
    def _alone(self, patience_s: float) -> Iterator[None]:
        """One session at a time brings up or ends."""
        until = time.monotonic() + patience_s
        while True:
            try:
                lock = FileLock(self.state.processes / "paper.lock", f"paper-trade of {self.job.lane}, starting or ending")
                break
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
        try:
            yield
        finally:
            lock.release()


def lane_process(settings: Settings, lane: str) -> str:
    """Name of the lane's process in a deployment. Raises ``ConfigError`` when it has none."""
    names = settings.paper.names
    if lane not in names:
        raise ConfigError(
            f"the deployment trades {settings.paper.lanes}, not {lane}: `dolphin down`, then `up --set paper.lanes=BLUE,GREEN`"
        )
    return [spec.name for spec in services_of(names) if is_trader(spec.name)][names.index(lane)]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second SIGTERM or Ctrl-C must not end what the first one has begun."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
