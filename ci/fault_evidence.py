"""What a run leaves behind: its journals, day tables and alerts, and what was seen of them while it ran."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from dolphin.config import Settings
from dolphin.errors import DataError, Unavailable
from dolphin.storage.journal import JournalReader, Kind, Record, journal_path
from dolphin.storage.state import StateFolder

__all__ = ["LANE", "Evidence"]

LANE = "trader_blue"


class Evidence:
    """Of the run below ``root`` with its state folder ``root/<folder>``."""

    def __init__(self, root: Path, settings: Settings, folder: str = "state") -> None:
        self.root, self.settings, self.state = root, settings, StateFolder(root / folder)
        self.heads: list[tuple[float, int]] = []
        """(monotonic, newest record of the lane's journal) while it ran: when a decision was made, to a fifth of a second."""
        self.blind: list[tuple[float, float]] = []
        """Intervals in which the lane must not enter, whatever its journal says of the posture it read."""

    def records(self, writer: str, kind: Kind | None = None, folder: str = "") -> list[Record]:
        """Of a journal (``folder``: of another state folder below ``root``); none while it is not there."""
        state = StateFolder(self.root / folder) if folder else self.state
        path = journal_path(state.journals, writer)
        if not path.is_file():
            return []
        with suppress(DataError, Unavailable), JournalReader(path) as journal:
            return list(journal.records(kind))
        return []

    def newest(self, writer: str, kind: Kind, count: int) -> list[Record]:
        """The last records of a kind."""
        path = journal_path(self.state.journals, writer)
        if not path.is_file():
            return []
        with suppress(DataError, Unavailable), JournalReader(path) as journal:
            return journal.tail(count, kind)
        return []

    def lane_bars(self) -> list[Record]:
        """What the lane has decided."""
        return self.records(LANE, Kind.BAR)

    def trades(self) -> list[dict[str, Any]]:
        """As journalled."""
        return [record.payload for record in self.records(LANE, Kind.TRADE)]

    def alerts(self) -> list[dict[str, Any]]:
        """What the command was given."""
        path, found, place = self.root / "alerts", [], 0
        text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        while place < len(text):
            alert, place = json.JSONDecoder().raw_decode(text, place)
            found.append(alert)
        return found
