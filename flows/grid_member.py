"""A member of the grid in the foreground: ``python -m flows.grid_member --state DIR [--port N]`` becomes the JVM, under its own pid.

For whoever keeps processes up: supervisord, systemd, a container. ``dolphin grid start`` is the same member, detached.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dolphin.config import load
from dolphin.deployment import GridConfig
from dolphin.errors import DolphinError
from dolphin.grid.jars import find_java, verified_jars
from dolphin.grid.member import MemberPlan, member_command, member_yaml
from dolphin.grid.process import record_member
from dolphin.storage.state import StateFolder
from flows.workspace import jar_folder

__all__ = ["become_member", "main"]


def become_member(config: GridConfig, state: StateFolder, port: int) -> None:
    """Replace this process by the member. Raises ``MissingDependency`` without Java or jars."""
    java, jars = find_java(), verified_jars(jar_folder(config.server), config.server)
    plan = MemberPlan(config.cluster, config.server, port, tuple(range(config.port, config.port + config.members)))
    folder = state.members / f"{plan.cluster}-{port}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "member.yaml").write_text(member_yaml(plan), encoding="utf-8")
    record_member(os.getpid(), plan, folder)
    command = member_command(java, jars, folder / "member.yaml")
    os.execv(command[0], command)


def main() -> None:
    """Exit codes of ``dolphin.errors``."""
    parser = argparse.ArgumentParser(prog="python -m flows.grid_member")
    parser.add_argument("--state", type=Path, required=True, help="folder of the deployment's state")
    parser.add_argument("--port", type=int, help="default: grid.port of the settings")
    arguments = parser.parse_args()
    state = StateFolder(arguments.state.absolute())
    try:
        config = load(state.settings if state.settings.is_file() else None, os.environ).settings.grid
        become_member(config, state, arguments.port or config.port)
    except DolphinError as error:
        print(f"grid member: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
