"""Deployments whose lanes are checked, copies of them that were meddled with, and what a verdict must say."""

from __future__ import annotations

from daemon_worlds import World
from lane_worlds import replay_of, settings_of

from dolphin.config import to_toml
from dolphin.storage.journal import Journal, JournalReader, Kind, journal_path
from dolphin.storage.replay import write_replay
from dolphin.storage.state import StateFolder
from flows.lane_parity_text import parity_text, sentence

__all__ = ["CHECKS", "FIRST", "SECOND", "begun", "entered", "rewritten", "same"]

FIRST, SECOND = "2025-01-02", "2025-01-03"
CHECKS = ["engine", "nautilus", "fills", "scans"]


def begun(root, market, **given):
    """A deployment whose state folder says what runs in it, as `dolphin up` leaves it."""
    world = World(root, settings=settings_of(**given), replay=replay_of(market, FIRST, SECOND))
    world.state.settings.write_text(to_toml(world.settings))
    write_replay(world.state.replay, world.replay)
    return world


def rewritten(calm, root, writer, change):
    """A copy of a state with one journal and its chain written anew: ``change`` gives a record's payload, None leaves it out."""
    state = StateFolder(root).made()
    for name in ("scanner", "trader_blue"):
        with JournalReader(journal_path(calm.journals, name)) as old, Journal.open(journal_path(state.journals, name), name) as new:
            for record in old.records():
                payload = change(record) if name == writer else record.payload
                if payload is not None:
                    new.append(Kind(record.kind), payload, record.ts_ms)
    state.settings.write_text(calm.settings.read_text())
    state.replay.write_bytes(calm.replay.read_bytes())
    return state


def entered(state):
    """The first bar record with an entry."""
    with JournalReader(journal_path(state.journals, "trader_blue")) as journal:
        return next(record for record in journal.records(Kind.BAR) if record.payload["entry"])


def same(found):
    assert found.passed, parity_text(found)
    assert [check.name for check in found.checks] == CHECKS
    assert all(check.compared for check in found.checks if check.name != "fills")
    assert ": every decision equals." in sentence(found)
    assert found.explanation is None
    return " | ".join(found.remarks)
