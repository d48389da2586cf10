"""Verbs under `dolphin flows`: Prefect's server, the deployments that it schedules, and any of their jobs without it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from dolphin.errors import ConfigError, MissingDependency
from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.console import Outcome, verb

if TYPE_CHECKING:
    from dolphin.config import Settings
    from flows.prefect_server import PrefectServer

__all__ = ["flows_app"]

flows_app = typer.Typer(help="Scheduled jobs: Prefect's server, its deployments, and each job without it.", no_args_is_help=True)
server_app = typer.Typer(help="Prefect's server on 127.0.0.1, its SQLite in the state folder.", no_args_is_help=True)
flows_app.add_typer(server_app, name="server")


@verb(flows_app, "list")
def list_(changes: SetOption = None, config: ConfigOption = None) -> Outcome:
    """Deployments and their schedules; with the server up also what has run and what comes next."""
    _, server = _server(config, changes)
    from flows.prefect_server import deployment_rows

    url = _url(server)
    rows = deployment_rows(url)
    lines = [f"{'deployment':<24} {'cron (UTC)':<12} {'schedule':<9} {'last run':<10} next run"]
    for row in rows:
        when = str(row["next_run"] or "-")[:16].replace("T", " ")
        lines.append(f"{row['name']:<24} {row['cron']:<12} {'on' if row['scheduled'] else 'off':<9} {row['last_run'] or '-':<10} {when}")
    known = sum(row["registered"] for row in rows)
    none = "none is registered: `dolphin flows server start`, then `dolphin flows serve`"
    lines.append(f"{url}: {known} of {len(rows)} registered" if known else none)
    return Outcome("dolphin.flows-list/1", {"api": url, "deployments": rows}, "\n".join(lines))


@verb(flows_app, "run")
def run(
    name: Annotated[str, typer.Argument(help="A deployment (paper-trade/blue) or a flow (data-audit).")],
    parameters: Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="A parameter of the job.")] = None,
    config: ConfigOption = None,
) -> Outcome:
    """Run a job here and now, without Prefect. Exits 1 when it found something."""
    from flows.deployments.catalogue import named
    from flows.job import asked

    spec, known = named(name)
    given = dict(known) | ({"config": str(config)} if config is not None else {})
    for parameter in parameters or []:
        key, sign, value = parameter.partition("=")
        if not sign or not key:
            raise ConfigError(f"-p {parameter!r}: expected NAME=VALUE")
        given[key] = value
    kind, body = spec.load()
    job = asked(kind, given)
    signal.signal(signal.SIGTERM, _interrupted)
    report = body(job)
    return Outcome("dolphin.flows-run/1", {"flow": spec.name, **report.to_dict()}, report.text, int(report.found))


@verb(flows_app, "serve")
def serve(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Runs at a time.")] = 5,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Register the deployments and run what is due, in the foreground until Ctrl-C or SIGTERM."""
    settings, server = _server(config, changes)
    url = _url(server)
    if not url:
        raise MissingDependency("no Prefect server: `dolphin flows server start`, or PREFECT_API_URL of yours")
    from dolphin.config import to_toml
    from dolphin.storage.lock import FileLock
    from dolphin.storage.publish import publish

    lock = FileLock(server.folder / "serve.lock", "dolphin flows serve")
    path = server.folder / "dolphin.toml"
    with publish(path) as temporary:
        temporary.write_text(to_toml(_absolute(settings, server)), encoding="utf-8")
    os.environ.update(server.environment() | {"PREFECT_API_URL": url})
    from flows.deployments.serving import serve as serve_all

    serve_all(limit, path.resolve())
    lock.release()
    return Outcome("dolphin.flows-serve/1", {"api": url}, "served no more: nothing is run by schedule until the next `dolphin flows serve`")


@verb(server_app, "start")
def start(
    port: Annotated[int, typer.Option(min=1024, max=65_535, help="Port on 127.0.0.1.")] = 4200,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Start it and return when it answers (the first time 15 to 25 s)."""
    _, server = _server(config, changes)
    fresh = server.start(port)
    text = f"{'up' if fresh else 'was up already'}: {server.url.removesuffix('/api')}\nexport PREFECT_API_URL={server.url}"
    return Outcome("dolphin.flows-server/1", {"started": fresh, "api": server.url, "pids": server.pids}, text)


@verb(server_app, "stop")
def stop(changes: SetOption = None, config: ConfigOption = None) -> Outcome:
    """Stop it; what trades goes on."""
    _, server = _server(config, changes)
    ended = server.stop()
    return Outcome("dolphin.flows-server/1", {"ended": ended}, "ended" if ended else "was not running")


@verb(server_app, "status")
def status(changes: SetOption = None, config: ConfigOption = None) -> Outcome:
    """Whether it runs and answers. Exits 1 when it does not."""
    _, server = _server(config, changes)
    pids, answers = server.pids, server.answers
    words = f"answers at {server.url}" if answers else "does not answer"
    text = f"pid {', '.join(map(str, pids))} {words}" if pids else "not running"
    return Outcome("dolphin.flows-server/1", {"pids": pids, "healthy": answers, "api": server.url}, text, int(not (pids and answers)))


def _server(config: Path | None, changes: list[str] | None) -> tuple[Settings, PrefectServer]:
    settings = loaded_config(config, changes).settings
    from dolphin.storage.state import StateFolder
    from flows.prefect_server import PrefectServer
    from flows.workspace import state_folder

    return settings, PrefectServer(StateFolder(state_folder(settings.paths, "")))


def _url(server: PrefectServer) -> str:
    """Our own server's when it answers, otherwise the one that the environment names."""
    return server.url if server.answers else os.environ.get("PREFECT_API_URL", "")


def _absolute(settings: Settings, server: PrefectServer) -> Settings:
    """The settings with absolute folders: runs must not depend on where they start."""
    import msgspec

    named = {name: str(Path(value).absolute()) for name, value in msgspec.structs.asdict(settings.paths).items() if value}
    paths = msgspec.structs.replace(settings.paths, **{**named, "state": str(server.state.root.resolve())})
    return msgspec.structs.replace(settings, paths=paths)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """SIGTERM as Ctrl-C: the job leaves in order."""
    print("dolphin: SIGTERM", file=sys.stderr)
    raise KeyboardInterrupt
