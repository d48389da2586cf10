"""The verb `dolphin paper`: one lane in the foreground, by the same process that `dolphin up` keeps up."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from dolphin.errors import ConfigError, MissingDependency
from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.console import Outcome, verb

__all__ = ["add_paper_verb"]


def paper(
    lane: Annotated[str, typer.Option("--lane", help="blue (SHORT) or green (LONG).")],
    state: Annotated[Path | None, typer.Option("--state", help="State folder of the deployment; default: paths.state.")] = None,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Trade one lane on paper beside a deployment that is up: a line a bar with posture, decision and fills, until Ctrl-C.

    The log goes to logs/trader_LANE.log of the state folder. A position is held or closed at the end as paper.on_stop says. Exits 4 when
    the lane runs already.
    """
    if lane.upper() not in ("BLUE", "GREEN"):
        raise ConfigError(f"--lane {lane}: blue or green")
    from dolphin.storage.state import StateFolder
    from flows.workspace import state_folder

    folder = StateFolder((state or state_folder(loaded_config(config, changes).settings.paths, "")).absolute())
    if not folder.settings.is_file():
        raise MissingDependency(f"{folder.root} is no deployment that is up: `dolphin up` first (scanner, grid and watchdog feed the lane)")
    sys.stdout.flush()
    command = [sys.executable, "-m", "daemons.trader", "--state", str(folder.root), "--lane", lane.upper(), "--watch"]
    changed = {f"DOLPHIN__{name.replace('.', '__').upper()}": value for name, _, value in (c.partition("=") for c in changes or [])}
    os.execve(sys.executable, command, {**os.environ, **changed, "DOLPHIN__LIVE__MODE": "paper"})  # this verb never trades live


def add_paper_verb(app: typer.Typer) -> None:
    """Register the verb on ``app``."""
    verb(app, "paper")(paper)
