"""Options that several verbs share, and how they become settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dolphin.errors import ConfigError

if TYPE_CHECKING:
    from dolphin.config import LoadedConfig

__all__ = ["CONFIG_NAME", "ConfigOption", "SetOption", "loaded_config"]

CONFIG_NAME = "dolphin.toml"

ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings file; default: ./dolphin.toml when there is one.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting, e.g. fixed_tp_pct=0.01.")]


def loaded_config(config: Path | None, changes: list[str] | None = None, profile: str | None = None) -> LoadedConfig:
    """Settings from file, environment and flags. Raises ``ConfigError`` for a flag that is not NAME=VALUE."""
    from dolphin.config import load

    flags = {}
    for change in changes or []:
        name, sign, value = change.partition("=")
        if not sign or not name:
            raise ConfigError(f"--set {change!r}: expected NAME=VALUE")
        flags[name] = value
    if profile is not None:
        flags["profile"] = profile
    default = Path(CONFIG_NAME)
    return load(config if config is not None else default if default.is_file() else None, os.environ, flags)
