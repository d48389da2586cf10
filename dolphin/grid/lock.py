"""One writer at a time.

Nobody can be kept from writing late, so every holder has a higher number that travels in what it writes; readers refuse lower ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dolphin.errors import MissingDependency
from dolphin.grid.port import GridPort
from dolphin.grid.record import Reason, decode, encode

__all__ = ["LEASES", "WriterLock"]

LEASES: Final = "DOLPHIN_LEASES"
_TRIES: Final = 32
_SCHEMA: Final = "dolphin.lease/1"


class WriterLock:
    """A lock by name: a FencedLock where the cluster has a CP subsystem, else an entry with a time to live.

    (A map's own key lock belongs to an OS thread and blocks the key for everybody else; a lease entry does neither and can be looked at.)
    ``owner`` is shown to others and must be unique; ``clock``: milliseconds UTC. Renew it every ``lease_s / 3`` or so.
    """

    def __init__(self, grid: GridPort, name: str, owner: str, clock: Callable[[], int], lease_s: float = 15.0) -> None:
        self._grid, self._clock, self._lease_s = grid, clock, lease_s
        self.name, self.owner = name, owner
        self.fence = 0
        """Number of this holder, 0 when it does not hold the lock; it grows from holder to holder, through restarts of the grid, too."""
        self.highest = 0
        """Highest number that this holder knows of: a grid that lost it, on a clock that was set back, gets a higher one all the same."""

    def acquire(self) -> bool:
        """Try to become the writer. Raises ``MissingDependency`` when the grid does not answer."""
        cp = self._grid.consensus
        taken = cp.acquire(self._lock) if cp else self._leased()
        if taken:
            self.fence = self.highest = self._draw()
        return taken

    def renew(self) -> bool:
        """Whether this is still the writer; if so, for another ``lease_s``. When it is not, ``fence`` is 0: write nothing more."""
        if self.fence:
            cp = self._grid.consensus
            if not (cp.holds(self._lock) if cp else self._mine() and self._extended()):
                self.fence = 0
        return self.fence != 0

    def release(self) -> None:
        """Let the next one in."""
        cp = self._grid.consensus
        if self.fence and cp:
            cp.release(self._lock)
        elif self.fence and self._mine():
            self._grid.delete(LEASES, self.name)
        self.fence = 0

    def holder(self) -> str:
        """Who holds the lease, empty when nobody does (or the CP subsystem keeps it to itself)."""
        return self._owner(self._grid.read(LEASES, self.name).record)

    @property
    def _lock(self) -> str:
        return f"DOLPHIN_WRITER_{self.name}"

    def _lease(self) -> dict[str, Any]:
        return {"schema": _SCHEMA, "ts_ms": self._clock(), "owner": self.owner}

    def _leased(self) -> bool:
        """Put our entry where none is. What is there and names no owner is no lease; it would never run out, so it goes."""
        entry = self._grid.read(LEASES, self.name)
        if entry.reason is not Reason.ABSENT and not self._owner(entry.record):
            self._grid.delete(LEASES, self.name)
        return self._grid.put_if_absent(LEASES, self.name, self._lease(), self._lease_s)

    @staticmethod
    def _owner(record: dict[str, Any] | None) -> str:
        owner = record.get("owner") if record is not None and record["schema"] == _SCHEMA else None
        return owner if isinstance(owner, str) else ""

    def _mine(self) -> bool:
        return self.holder() == self.owner

    def _extended(self) -> bool:
        """Extend, then look again: the lease may have run out and been taken in between (the other one then has a little more time)."""
        self._grid.extend(LEASES, self.name, self._lease_s)
        return self._mine()

    def _draw(self) -> int:
        """The next number: above the last one and ``highest``, not below the clock, so that an emptied grid does not start from 1 again."""
        cp, key, cell = self._grid.consensus, f"fence:{self.name}", f"DOLPHIN_FENCE_{self.name}"
        for _ in range(_TRIES):
            raw = cp.load(cell) if cp else None
            entry = self._grid.read(LEASES, key)
            last = decode(raw) if cp else entry.record
            number = max(_number(last) + 1, self.highest + 1, self._clock())
            fresh = {"schema": "dolphin.fence/1", "ts_ms": self._clock(), "number": number}
            if cp is None and entry.reason not in (None, Reason.ABSENT):
                self._grid.delete(LEASES, key)
            elif (
                self._grid.replace_if_same(LEASES, key, entry.record, fresh)
                if cp is None
                else cp.swap(cell, raw, encode(LEASES, key, fresh))
            ):
                return number
        raise MissingDependency(f"no number for the writer {self.name} after {_TRIES} tries: is something else writing {LEASES}[{key!r}]?")


def _number(record: object) -> int:
    number = record.get("number") if isinstance(record, dict) else None
    return number if isinstance(number, int) and 0 <= number < 2**62 else 0
