"""Verbs of the kill switch: `dolphin kill`, `dolphin release`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_options import ConfigOption, loaded_config
from flows.console import Outcome, verb

if TYPE_CHECKING:
    from dolphin.config import Settings
    from dolphin.storage.state import StateFolder

__all__ = ["add_kill_verbs"]

StateOption = Annotated[Path | None, typer.Option("--state", help="State folder of the deployment; default: that of `dolphin up`.")]


def kill(
    reason: Annotated[str, typer.Option("--reason", help="Why, in a few words; kept in journal and file.")],
    state: StateOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Stop trading: positions are closed on the next bar, nothing is entered until `dolphin release`; survives every restart."""
    from flows.kill import engage

    folder, settings = _deployment(state, config)
    done = engage(folder, settings, reason)
    text = f"kill switch engaged: {done.order.reason} (by {done.order.by}, {folder.kill}); `dolphin release --reason ...` ends it"
    return _outcome("dolphin.kill/1", True, folder, text, done.missed)


def release(
    reason: Annotated[str, typer.Option("--reason", help="Why it is safe again; kept in the journal.")],
    state: StateOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Release the kill switch: posture rises again by the law of recovery."""
    from flows.kill import release as let_go

    folder, settings = _deployment(state, config)
    done = let_go(folder, settings, reason)
    return _outcome("dolphin.release/1", False, folder, f"kill switch released; it was: {done.order.reason}", done.missed)


def add_kill_verbs(app: typer.Typer) -> None:
    """`dolphin kill`, `dolphin release`."""
    for function in (kill, release):
        verb(app, function.__name__)(function)


def _outcome(schema: str, engaged: bool, folder: StateFolder, text: str, missed: tuple[str, ...]) -> Outcome:
    lines = [text, *(f"not told (the file is enough): {line}" for line in missed)]
    return Outcome(schema, {"engaged": engaged, "file": str(folder.kill), "missed": list(missed)}, "\n".join(lines))


def _deployment(state: Path | None, config: Path | None) -> tuple[StateFolder, Settings]:
    """The state folder, and the settings that its processes run with."""
    from dolphin.config import load
    from dolphin.storage.state import StateFolder
    from flows.workspace import state_folder

    given = loaded_config(config).settings
    folder = StateFolder((state or state_folder(given.paths, "")).absolute())
    running = folder.settings if folder.settings.is_file() else None
    return folder, given if running is None else load(running, os.environ).settings
