"""Verbs that run everything around the clock: `dolphin up`, `status`, `logs`, `down`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dolphin.errors import ConfigError
from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.console import Outcome, progress, verb

if TYPE_CHECKING:
    from dolphin.config import Settings
    from dolphin.storage.state import StateFolder
    from flows.status import Status
    from flows.supervision import Plan

__all__ = ["add_up_verbs"]

ServiceArgument = Annotated[str, typer.Argument(help="Name of a process as in `dolphin status`; default: all.")]


def up(
    replay: Annotated[Path | None, typer.Option(help="Folder of klines to replay; default: the synthetic market.")] = None,
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First UTC day of the replay; default: the second.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last UTC day of the replay.")] = "",
    speed: Annotated[float, typer.Option(help="Market seconds in one of ours.")] = 60.0,
    macro: Annotated[Path | None, typer.Option(help="Outside series of the circuit breaker, or an archive of indicators.")] = None,
    book: Annotated[Path | None, typer.Option(help="Recorded order-book days; the synthetic market brings its own.")] = None,
    forewarner: Annotated[Path | None, typer.Option(help="Table of trials; default: a small one is trained first.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the replay has ended, then stop everything.")] = False,
    members: Annotated[int | None, typer.Option(help="Members of the grid: 1 or 3.")] = None,
    server: Annotated[str | None, typer.Option(help="Hazelcast 5.7.0, or 5.4.0: the last open one with a CP subsystem.")] = None,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Start grid and services in order, wait until all are healthy; what runs already stays. Live with [feed] set and no --replay."""
    flags = [f"grid.{name}={value}" for name, value in (("members", members), ("server", server)) if value is not None]
    settings, state = _deployment(config, [*(changes or []), *flags])
    from flows.status_text import status_text
    from flows.supervision import follow
    from flows.supervision import up as start

    plan = _plan(settings, state, (replay, first, last, speed), {"macro": macro, "book": book, "forewarner": forewarner})
    fresh = start(plan, _say)
    if wait:
        follow(plan, _say)
    found = _status(state, plan.settings)
    hint = "look at it: dolphin status, dolphin logs -f, dolphin grid watch; end it: dolphin down"
    text = f"{status_text(found)}\n\n{'up' if fresh else 'was up already'}; {hint}"
    text = "the replay has ended; everything was stopped" if wait else text
    return Outcome("dolphin.up/1", {"started": fresh, **found.to_dict()}, text)


def status(changes: SetOption = None, config: ConfigOption = None) -> Outcome:
    """Every process: pid, uptime, age of its heartbeat, restarts; posture and lag. Exits 1 when one is not well."""
    settings, state = _deployment(config, changes)
    from flows.status_text import status_text

    found = _status(state, settings)
    return Outcome("dolphin.status/1", found.to_dict(), status_text(found), int(not found.healthy))


def logs(
    service: ServiceArgument = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written from now on, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", min=0, max=1_000_000, help="Last lines of each.")] = 20,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """The last lines of the processes' logs, by `tail`."""
    _, state = _deployment(config, changes)
    known = sorted(path.stem for path in state.logs.glob("*.log"))
    if service and service not in known:
        raise ConfigError(f"no log of {service!r}; there are {', '.join(known) or 'none: nothing was started yet'}")
    names = [service] if service else known
    if names:
        sys.stdout.flush()
        os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), *(str(state.logs / f"{name}.log") for name in names)])
    return Outcome("dolphin.logs/1", {"logs": []}, f"no logs in {state.logs}: `dolphin up` writes them")


def down(changes: SetOption = None, config: ConfigOption = None) -> Outcome:
    """Stop everything that `dolphin up` started, the trader first, the grid last; nothing else."""
    settings, state = _deployment(config, changes)
    from flows.processes import ours
    from flows.supervision import down as stop

    before = ours(state.root)
    forced = stop(state, _running(state, settings))
    found = f", {len(forced)} of them found by their mark" if forced else ""
    text = f"{len(before)} processes ended{found}" if before else "nothing was running"
    return Outcome("dolphin.down/1", {"ended": before, "found_by_mark": forced}, text)


def add_up_verbs(app: typer.Typer) -> None:
    """`dolphin up`, `status`, `logs`, `down`."""
    for function in (up, status, logs, down):
        verb(app, function.__name__)(function)


def _deployment(config: Path | None, changes: list[str] | None) -> tuple[Settings, StateFolder]:
    """Settings with a grid of members, and the state folder that they name. Raises ``ConfigError`` when the embedded grid is asked for."""
    import msgspec

    from dolphin.storage.state import StateFolder
    from flows.workspace import state_folder

    loaded = loaded_config(config, changes)
    if loaded.settings.grid.kind == "embedded" and loaded.origin["grid.kind"] != "default":
        raise ConfigError("grid.kind = embedded lives inside one process: `dolphin up` runs several and needs grid.kind = hazelcast")
    grid = msgspec.structs.replace(loaded.settings.grid, kind="hazelcast")
    return msgspec.structs.replace(loaded.settings, grid=grid), StateFolder(state_folder(loaded.settings.paths, ""))


def _plan(settings: Settings, state: StateFolder, replay: tuple[Path | None, str, str, float], sources: dict[str, Path | None]) -> Plan:
    from flows.replay import absent_layers, planned_replay, trained_forewarner, with_sources
    from flows.services import member_services, services_of
    from flows.stack import cached_books
    from flows.supervision import Plan
    from flows.synth import cached_market

    given, first, last, speed = replay
    settings = with_sources(settings, sources)
    if given is None and settings.feed.live:
        return _live_plan(settings, state)
    found = {name: Path(value) if (value := getattr(settings.paths, name)) else None for name in sources}
    klines = given if given is not None else cached_market(settings, progress)
    planned = planned_replay(klines, first, last, speed)
    if found["book"] is None and given is None:
        found["book"] = cached_books(settings, settings.synthetic)
    if found["forewarner"] is None:
        found["forewarner"] = trained_forewarner(settings, given, progress, _say)
    settings, lines = absent_layers(with_sources(settings, found))
    for line in lines:
        _say(line)
    ports = range(settings.grid.port, settings.grid.port + settings.grid.members)
    return Plan(settings, state, (*member_services(ports), *services_of(settings.paper.names)), planned)


def _live_plan(settings: Settings, state: StateFolder) -> Plan:
    """Bars and books of the exchange that ``feed`` names, by its own clock."""
    from flows.demo_clock import market_clock
    from flows.replay import absent_layers, trained_forewarner, with_sources
    from flows.services import member_services, services_of
    from flows.supervision import Plan

    clock = market_clock(settings.feed.url)
    if not settings.paths.forewarner:
        settings = with_sources(settings, {"forewarner": trained_forewarner(settings, None, progress, _say)})
    settings, lines = absent_layers(settings, live_book=True)
    for line in lines:
        _say(line)
    ports = range(settings.grid.port, settings.grid.port + settings.grid.members)
    return Plan(settings, state, (*member_services(ports), *services_of(settings.paper.names)), None, clock)


def _status(state: StateFolder, settings: Settings) -> Status:
    from flows.status import status_of

    return status_of(state, _running(state, settings))


def _running(state: StateFolder, settings: Settings) -> Settings:
    """The settings of what runs (`up --members 3` changed them), or the given ones."""
    from dolphin.config import load

    return load(state.settings).settings if state.settings.is_file() else settings


def _say(text: str) -> None:
    print(text, file=sys.stderr)
