"""A replay: which recorded days are played, since when and how fast. Written once by whoever starts it, read by every process of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from dolphin.errors import MalformedFile
from dolphin.storage.publish import publish

__all__ = ["Replay", "read_replay", "write_replay"]


class Replay(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``folder`` of klines, UTC days ``first_date`` to ``last_date`` (inclusive). At ``started_monotonic`` (seconds of CLOCK_MONOTONIC, one
    clock for all processes of a machine) the market's time was ``start_ms``; since then it runs ``speed`` times as fast as ours.
    """

    folder: str
    first_date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    last_date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    start_ms: Annotated[int, Meta(ge=0)]
    started_monotonic: float
    speed: Annotated[float, Meta(gt=0, le=100_000)]

    def market_ms(self, monotonic: float) -> int:
        """``start_ms + (monotonic - started_monotonic) * 1000 * speed``; before the start it stands at ``start_ms``."""
        return self.start_ms + int(max(0.0, monotonic - self.started_monotonic) * 1000.0 * self.speed)


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
