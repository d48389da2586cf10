"""What every scheduled job is given and hands back: checked parameters in, one report out. No scheduler is needed to run one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from dolphin.config import LoadedConfig
from dolphin.errors import ConfigError
from dolphin.storage.state import StateFolder
from flows.cli_options import loaded_config
from flows.workspace import state_folder

__all__ = ["Date", "Job", "JobReport", "asked", "checked"]

Date = Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="UTC day, YYYY-MM-DD; empty: see the job")]


class Job(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a job. ``config``: settings file; empty: ./dolphin.toml when there is one, and the environment."""

    config: Annotated[str, Meta(description="settings file; empty: ./dolphin.toml when there is one")] = ""

    def loaded(self) -> LoadedConfig:
        """The settings. Raises ``ConfigError``."""
        return loaded_config(Path(self.config) if self.config else None)

    def state(self, loaded: LoadedConfig) -> StateFolder:
        """The deployment's folder that the settings name."""
        return StateFolder(state_folder(loaded.settings.paths, ""))


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a job found. ``key`` names it for good (lower case, digits, dashes); ``rows``: a table, the same columns in each.

    ``found``: a check found something wrong, which a scheduler shows as a failed run. ``text``: Markdown.
    """

    key: str
    text: str
    rows: Sequence[Mapping[str, Any]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"key": self.key, "found": self.found, "rows": [dict(row) for row in self.rows], **self.facts}


def asked[J: Job](kind: type[J], given: Mapping[str, Any]) -> J:
    """The job with these parameters, texts turned into numbers. Raises ``ConfigError`` naming the parameter."""
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(kind.__struct_fields__)
        raise ConfigError(f"{kind.__name__}: {error} (parameters: {known})") from error


def checked[J: Job](job: J) -> J:
    """The same job when every parameter is in its range: constructors do not look. Raises ``ConfigError``."""
    return asked(type(job), msgspec.structs.asdict(job))
