"""The verb `dolphin dashboard`: the operator's page on 127.0.0.1."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dolphin.errors import ConfigError, MissingDependency
from flows.cli_options import ConfigOption, loaded_config
from flows.console import Outcome, verb

__all__ = ["add_dashboard_verb"]


def dashboard(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0: a free one.")] = 8720,
    state: Annotated[Path | None, typer.Option("--state", help="State folder of the deployment; default: that of `dolphin up`.")] = None,
    no_kill: Annotated[bool, typer.Option("--no-kill", help="Offer no kill switch: the page only reads.")] = False,
    config: ConfigOption = None,
) -> Outcome:
    """Show posture, lanes, feed, processes, alerts and logs live in a browser, until Ctrl-C. From elsewhere: ssh -L 8720:127.0.0.1:8720."""
    from dolphin.storage.state import StateFolder
    from flows.workspace import state_folder

    settings = loaded_config(config).settings
    if state is not None and not state.is_dir():
        raise ConfigError(f"--state {state}: there is no such folder; `dolphin up` makes one")
    folder = StateFolder((state or state_folder(settings.paths, "")).absolute())
    try:
        from flows.dashboard.run import run
    except ModuleNotFoundError as error:
        raise MissingDependency(f"{error.name} is not installed: pip install 'dolphin-nautilus[grid,dashboard]'") from error
    address = run(folder, settings, port, offer_kill=not no_kill)
    return Outcome("dolphin.dashboard-ended/1", {"address": address}, "the dashboard has ended")


def add_dashboard_verb(app: typer.Typer) -> None:
    """`dolphin dashboard`."""
    verb(app, "dashboard")(dashboard)
