"""A replay: recorded days and the clock by which they are played. Written once by whoever starts it, read by every process of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from dolphin.errors import MalformedFile
from dolphin.storage.market_clock import MarketClock
from dolphin.storage.publish import publish

__all__ = ["Replay", "read_replay", "write_replay"]


class Replay(MarketClock, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``folder`` of klines, UTC days ``first_date`` to ``last_date`` (inclusive)."""

    folder: str
    first_date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    last_date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


def read_replay(path: Path) -> Replay | None:
    """The replay of a state folder, None when there is none. Raises ``MalformedFile`` for a file that is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Replay)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedFile(f"is no replay ({error})", path=path, hint="`dolphin up --replay` writes it") from error


def write_replay(path: Path, replay: Replay) -> None:
    """Publish it at ``path``."""
    with publish(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(replay))
