"""The verb ``dolphin posture``: the posture in force, or what the survival stack decides on recorded sensors, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dolphin.errors import ConfigError
from flows.cli_grid import posture_in_force
from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.console import Outcome, verb

__all__ = ["add_posture_verb"]


def add_posture_verb(app: typer.Typer) -> None:
    """Register the verb on ``app``."""
    verb(app, "posture")(posture)


def posture(
    replay: Annotated[Path | None, typer.Option(help="Recorded sensors, parquet or CSV: dt_min, the sensors, optionally ts.")] = None,
    day: Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="Day at whose start a recording without ts began.")] = "",
    warm: Annotated[bool, typer.Option("--warm", help="Begin at the first target, as if the lane had been up; default: cold.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the changes for `dolphin backtest --posture-file`.")] = None,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """The posture that a trader obeys now, from the grid; exits 1 when it is stale, unreadable or unknown.

    With --replay: recorded sensors through the survival stack, each change of posture with its Rm and its reasons.
    """
    loaded = loaded_config(config, changes)
    if replay is None:
        if day or warm or out is not None:
            raise ConfigError("--date, --warm and --out belong to --replay FILE: recorded sensors")
        return posture_in_force(loaded.settings)
    from flows.posture_replay import replay_file
    from flows.postures import write_postures

    found = replay_file(replay, loaded.settings.survival, day, warm=warm)
    if out is not None:
        if not found.dated:
            raise ConfigError(f"--out: {replay} has no ts; give --date YYYY-MM-DD")
        write_postures(out, found.schedule)
    return Outcome("dolphin.posture-replay/1", found.to_dict(), found.to_text() + (f"\nschedule: {out}" if out is not None else ""))
