"""From a service class to a process: settings and ports opened, signals, JSON log lines, exit code, the last line of defence."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import shutil
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import platformdirs
from pythonjsonlogger.json import JsonFormatter

from daemons.clock import RealClock
from daemons.outbox import Outbox
from daemons.runner import Runner
from daemons.service import Context, Service, identity_of
from dolphin import __version__
from dolphin.config import Settings, config_hash, load
from dolphin.errors import DolphinError, MissingDependency
from dolphin.grid.client import HazelcastGrid
from dolphin.kernels._jit import cache_dir
from dolphin.live.keys import secrets_of
from dolphin.storage.journal import Journal, Kind, journal_path
from dolphin.storage.lock import FileLock
from dolphin.storage.market_clock import read_market_clock
from dolphin.storage.publish import publish
from dolphin.storage.replay import Replay, read_replay
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import AlertKind, Alerts, Severity
from dolphin.telemetry.metrics import Metrics
from dolphin.telemetry.output import RedactedOutput
from dolphin.telemetry.redaction import Redactor
from dolphin.telemetry.sinks import sinks_of

__all__ = ["main", "open_context", "process_name", "run"]

CACHE_VARIABLE: Final = "NUMBA_CACHE_DIR"


def main(service: type[Service]) -> None:
    """``python -m daemons.NAME [--state DIR]``: run until SIGTERM or SIGINT, then exit 0; exit codes of ``dolphin.errors``.

    A service of lanes takes ``--lane``, which becomes part of the process's name, and ``--watch``: lines for a person on stdout, and the
    log into the file that the supervisor would write.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {service.__module__}", description=(service.__doc__ or "").splitlines()[0])
    parser.add_argument("--state", type=Path, default=Path(platformdirs.user_state_dir("dolphin")), help="folder of the deployment's state")
    if service.lanes:
        parser.add_argument("--lane", choices=service.lanes, default="", help="lane of the process; default: the deployment's first")
        parser.add_argument("--watch", action="store_true", help="lines for a person on stdout, the log into its file")
    given = parser.parse_args()
    state, lane = StateFolder(given.state.absolute()), getattr(given, "lane", "")
    _own_compiled_kernels(state.compiled / process_name(service, lane))
    sys.exit(run(service, state, lane, watch=getattr(given, "watch", False)))


def process_name(service: type[Service], lane: str = "") -> str:
    """Of lock, log, heartbeat and compiled kernels: ``trader``, or ``trader_green`` where a lane was named."""
    return f"{service.name}_{lane.lower()}" if lane else service.name


def run(service: type[Service], state: StateFolder, lane: str = "", *, watch: bool = False) -> int:
    """The process; returns its exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    name = process_name(service, lane)
    log = _json_log(name, state.made().logs / f"{name}.log" if watch else None)
    with ExitStack() as opened:
        context = None
        try:
            context = open_context(service, state, opened, lane)
            if watch:
                context = dataclasses.replace(context, say=_say)
            _run(service(context), stop)
        except DolphinError as error:
            log.error("%s", error, extra={"error": type(error).__name__})
            if watch:
                print(f"{name}: {error}", file=sys.stderr)
            return _left(context, str(error), error.exit_code)
        except Exception as error:
            log.exception("crashed")
            return _left(context, f"{type(error).__name__}: {error}", 1)
        return _left(context, "stopped", 0)


def open_context(service: type[Service], state: StateFolder, opened: ExitStack, lane: str = "") -> Context:
    """Settings and ports of a process; ``opened`` closes them. Raises ``Unavailable`` when this service already runs on this state."""
    settings = load(state.settings if state.settings.is_file() else None, os.environ).settings
    if settings.grid.kind != "hazelcast":
        raise MissingDependency("grid.kind = embedded lives inside one process; set grid.kind = hazelcast and `dolphin grid start`")
    name = process_name(service, lane)
    identity, writer = identity_of(name), service.writer(settings, lane)
    lock = FileLock(state.processes / f"{name}.lock", identity)
    opened.callback(lock.release)
    clock = RealClock(read_replay(state.replay) or read_market_clock(state.clock))
    metrics = Metrics(clock.monotonic)
    redact = Redactor(os.environ, secrets_of(settings.live.key_file, os.environ))
    if settings.live.mode == "live":  # before anything can say a key: Nautilus writes past Python, too
        opened.callback(RedactedOutput(redact).close)
    alerts = Alerts(
        sinks_of(settings.alerts, os.environ), redact, clock.monotonic,
        window_s=settings.alerts.window_s, queue=settings.alerts.queue, count=metrics.alert,
    )  # fmt: skip
    opened.callback(alerts.close, 2.0)
    journal = opened.enter_context(Journal.open(journal_path(state.journals, writer), writer))
    grid = HazelcastGrid(settings.grid, identity, wait=False)
    opened.callback(grid.close)
    endpoint = metrics.serve()
    opened.callback(endpoint.close)
    facts = {"pid": os.getpid(), "identity": identity, "metrics_port": endpoint.port, "started_monotonic": clock.monotonic()}
    with publish(state.processes / f"{name}.json", durable=False) as temporary:
        temporary.write_text(json.dumps(facts), encoding="utf-8")
    started = {"version": __version__, "config_hash": config_hash(settings), "pid": os.getpid(), **_market(settings, clock.replay)}
    journal.append(Kind.STARTED, started, clock.wall_ms())
    return Context(
        identity=identity, settings=settings, state=state, clock=clock, grid=grid, journal=journal,
        outbox=Outbox(journal, grid), alerts=alerts, metrics=metrics, log=logging.getLogger(f"dolphin.{name}"), lane=lane,
    )  # fmt: skip


def _market(settings: Settings, replay: Replay | None) -> dict[str, Any]:
    """What a paper record is judged by: settings of the engine, speed of the market, and whether its bars are a demo exchange's."""
    return {"engine_hash": config_hash(settings.engine), "speed": replay.speed if replay else 1.0, "demo": bool(settings.feed.url)}


def _run(service: Service, stop: threading.Event) -> None:
    runner = Runner(service)
    while not stop.is_set():
        stop.wait(runner.turn())
    runner.stop()


def _left(context: Context | None, reason: str, code: int) -> int:
    """Tell journal and operator why, as far as they can still be told."""
    if context is not None:
        if code:
            context.alert(AlertKind.CRASHED, Severity.CRITICAL, context.identity.split(":")[0], f"ended with exit code {code}: {reason}")
        try:
            context.journal.append(Kind.STOPPED, {"reason": reason[:2000], "exit_code": code}, context.clock.wall_ms())
        except DolphinError as error:
            context.log.error("the journal did not take the last record: %s", error)
    return code


def _say(line: str) -> None:
    print(line, flush=True)


def _json_log(name: str, path: Path | None = None) -> logging.Logger:
    """One JSON object a line on stderr, or into the file ``path``, for every logger of the process."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr) if path is None else logging.FileHandler(path, encoding="utf-8")
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    handler.setFormatter(
        JsonFormatter("{asctime}{levelname}{name}{message}", style="{", rename_fields=names, static_fields={"service": name})
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    return logging.getLogger(f"dolphin.{name}")


def _own_compiled_kernels(folder: Path) -> None:
    """Compiled kernels in a folder of this process only (processes that share one can crash); it begins as a copy of the user's.

    Numba reads the variable when kernels are imported, so a process whose supervisor did not set it starts again with it.
    """
    name = cache_dir().name
    shared, own = Path(platformdirs.user_cache_dir("dolphin")) / name, folder / name
    if shared.is_dir() and not any(own.rglob("*.nbc")):
        copy = folder / f".{name}.{os.getpid()}"
        try:
            shutil.copytree(shared, copy)
            shutil.rmtree(own, ignore_errors=True)  # empty folders, made when kernels were imported
            copy.rename(own)
        except OSError:  # somebody compiles there just now: compile here, too
            shutil.rmtree(copy, ignore_errors=True)
    if os.environ.get(CACHE_VARIABLE) != str(folder):
        os.environ[CACHE_VARIABLE] = str(folder)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
