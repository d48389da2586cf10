"""The kill switch as a file: engaged while it is there, whatever is in it. Latched: nothing but ``release`` takes it away.

A file needs no grid, no process and no good luck, and it survives them. What the grid says is compared with the last release
(``released``): the echo of a switch that was released must not engage it again, everything else that says "engaged" does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from dolphin.errors import ConfigError, Unavailable
from dolphin.storage.publish import publish, sync_folder

__all__ = ["KillOrder", "KillSwitch"]

MAX_BYTES = 64 * 1024


class KillOrder(Struct, frozen=True, kw_only=True):
    """Why, who and when (ms UTC)."""

    reason: str
    by: str
    ts_ms: Annotated[int, Meta(ge=0)]


class KillSwitch:
    """The switch of a state folder; ``path`` is its file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path.with_name(path.name + ".released")

    def engaged(self) -> bool | None:
        """Whether the file is there; None: cannot be told (no such folder, no permission), which counts as engaged."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False if self.path.parent.is_dir() else None
        except OSError:
            return None
        return True

    def order(self) -> KillOrder:
        """Why it is engaged; a file that says nothing readable is as good."""
        return _read(self.path) or KillOrder(reason="no reason can be read", by="unknown", ts_ms=0)

    def released(self) -> KillOrder | None:
        """The order that was released last."""
        return _read(self.last)

    def engage(self, order: KillOrder) -> KillOrder:
        """Engage; durable when it returns the order in force: the first one stays.

        Raises ``ConfigError`` without a reason, ``Unavailable`` when the disk refuses.
        """
        _checked(order.reason)
        if self.engaged():
            return self.order()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with publish(self.path) as temporary:
                temporary.write_bytes(msgspec.json.encode(order))
        except OSError as error:
            raise Unavailable(
                f"{self.path}: the kill switch cannot be written ({error.strerror}); stop the processes: dolphin down"
            ) from error
        return order

    def release(self, reason: str) -> KillOrder:
        """Release; the order that was in force, or that was released before when none was.

        Raises ``ConfigError`` without a reason, ``Unavailable`` when the file stays.
        """
        _checked(reason)
        if self.engaged() is False:
            return self.released() or KillOrder(reason="it was not engaged", by="nobody", ts_ms=0)
        order = self.order()
        try:
            with publish(self.last) as temporary:
                temporary.write_bytes(msgspec.json.encode(order))
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise Unavailable(f"{self.path}: the kill switch cannot be removed ({error.strerror})") from error
        return order


def _checked(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("--reason '': say why, in a few words")


def _read(path: Path) -> KillOrder | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_BYTES), type=KillOrder)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
