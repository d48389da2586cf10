"""The state folder: everything that the processes of one deployment share or leave behind, under one root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["StateFolder"]


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Names below ``root``; ``made`` makes the folders. Whoever starts processes writes ``settings``, ``replay`` and
    ``clock``."""

    root: Path

    def made(self) -> StateFolder:
        """The same, with every folder there."""
        for folder in (self.journals, self.days, self.archive, self.processes, self.compiled, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        return self

    @property
    def settings(self) -> Path:
        """The effective settings, TOML; without it the defaults and the environment count."""
        return self.root / "dolphin.toml"

    @property
    def replay(self) -> Path:
        """The replay that runs; absent: live."""
        return self.root / "replay.json"

    @property
    def clock(self) -> Path:
        """The market's clock where it is not the wall's and no replay's: a demo exchange's."""
        return self.root / "clock.json"

    @property
    def feed(self) -> Path:
        """What the live feed recorded: ``trades``, ``klines`` of whole days, ``partial`` ones."""
        return self.root / "feed"

    @property
    def kill(self) -> Path:
        """The kill switch: engaged while this file is there, whatever is in it."""
        return self.root / "KILL"

    @property
    def dashboard_token(self) -> Path:
        """What the dashboard's kill switch asks for, mode 0600; there while one runs."""
        return self.root / "dashboard.token"

    @property
    def journals(self) -> Path:
        """One SQLite file a lane or service."""
        return self.root / "journal"

    @property
    def days(self) -> Path:
        """Day tables of the scanner."""
        return self.root / "days"

    @property
    def archive(self) -> Path:
        """Root of the eigenvalue archive."""
        return self.root / "archive"

    @property
    def processes(self) -> Path:
        """Of each process: ``<service>.lock`` (held while it runs) and ``<service>.json`` (pid, metrics port)."""
        return self.root / "processes"

    @property
    def compiled(self) -> Path:
        """Of each process its own folder of compiled kernels."""
        return self.root / "compiled"

    @property
    def logs(self) -> Path:
        """Of each process ``<name>.log``, and its rotated predecessors."""
        return self.root / "logs"

    @property
    def members(self) -> Path:
        """Of each member of the grid its configuration."""
        return self.root / "grid"

    @property
    def restarts(self) -> Path:
        """Restarts by the supervisor since `dolphin up`, JSON: process -> count."""
        return self.root / "restarts.json"
