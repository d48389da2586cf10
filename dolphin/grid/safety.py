"""The posture record in the grid: written by one watchdog, in order, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from dolphin.errors import Fenced, MissingDependency
from dolphin.grid.maps import SAFETY, PostureRecord, fields
from dolphin.grid.port import GridPort
from dolphin.grid.record import Entry, Raw, Reason, decode, encode
from dolphin.types import SafetyRecord

__all__ = ["LATEST", "SafetyCell", "parse_posture"]

LATEST: Final = "latest"
_TRIES: Final = 8


class SafetyCell:
    """The AtomicReference DOLPHIN_SAFETY where the cluster has a CP subsystem, and always the map's ``latest``, which can be watched.

    ``kind`` says which is the authority, ``cp`` or ``map``. It is asked once: a cluster that loses its CP subsystem raises.
    """

    def __init__(self, grid: GridPort) -> None:
        self._grid, self._cp = grid, grid.consensus
        self.kind = "cp" if self._cp else "map"

    def read(self) -> Entry:
        """What the authority holds, or why there is nothing."""
        if self._cp is None:
            return self._grid.read(SAFETY, LATEST)
        return self._grid._entry(SAFETY, LATEST, self._cp.load(SAFETY))

    def write(self, record: SafetyRecord, fence: int = 0) -> None:
        """Publish by compare-and-set. Raises ``Fenced`` when a record of a later holder, or one with this or a later ``seq``, is there."""
        values = {name: getattr(record, name) for name in SafetyRecord.__struct_fields__}
        fresh = PostureRecord(**values, fence=fence)
        if self._cp is not None:
            cp = self._cp
            self._advance(fresh, lambda: cp.load(SAFETY), lambda old, new: cp.swap(SAFETY, old, new), lambda new: cp.overwrite(SAFETY, new))
        self._advance(fresh, self._load, self._swap, lambda new: self._grid._store(SAFETY, LATEST, new, None))

    def _load(self) -> Raw:
        return self._grid._load(SAFETY, LATEST)

    def _swap(self, old: str | None, new: str) -> bool:
        return self._grid._add(SAFETY, LATEST, new, None) if old is None else self._grid._swap(SAFETY, LATEST, old, new)

    def _advance(
        self, fresh: PostureRecord, load: Callable[[], Raw], swap: Callable[[str | None, str], bool], overwrite: Callable[[str], None]
    ) -> None:
        """Put ``fresh`` over what it follows; what is no posture record is overwritten."""
        text = encode(SAFETY, LATEST, fields(fresh))
        for _ in range(_TRIES):
            raw = load()
            there = parse_posture(decode(raw))
            if isinstance(there, PostureRecord) and (there.fence, there.seq) >= (fresh.fence, fresh.seq):
                theirs, ours = f"fence {there.fence} seq {there.seq}", f"fence {fresh.fence} seq {fresh.seq}"
                raise Fenced(f"{SAFETY} holds {theirs}, ours is {ours}: another watchdog writes; stop one of them")
            if isinstance(raw, Reason):
                overwrite(text)
                return
            if swap(raw, text):
                return
        raise MissingDependency(f"{SAFETY} changed {_TRIES} times while it was written: who else writes it?")


def parse_posture(record: dict[str, Any] | Reason | None) -> PostureRecord | Reason:
    """The posture record, or why it is none."""
    if record is None or isinstance(record, Reason):
        return record or Reason.ABSENT
    try:
        return msgspec.convert(record, PostureRecord)
    except msgspec.ValidationError:
        return Reason.WRONG_FIELDS
