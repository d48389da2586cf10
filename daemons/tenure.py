"""Being the one writer of a record: the lock is renewed every few seconds, and whoever lost it stands by."""

from __future__ import annotations

import math
import platform
from typing import Final

from daemons.service import Context
from dolphin.grid.lock import LEASES, WriterLock

__all__ = ["Tenure"]

RENEW_S: Final = 5.0


class Tenure:
    """The writer's lock ``name``. Its owner is host and state folder, which admits one process: a restart takes over at once.
    ``highest``: newest number that its journal knows."""

    def __init__(self, context: Context, name: str, highest: int = 0) -> None:
        self._context = context
        self._lock = WriterLock(context.grid, name, f"{platform.node() or 'localhost'}:{context.state.root}", context.clock.wall_ms)
        self._lock.highest = highest
        self._renewed = -math.inf

    @property
    def fence(self) -> int:
        """Number to write with, 0 while standing by."""
        return self._lock.fence

    def held(self) -> bool:
        """Whether this process is the writer; tries to become it. Raises ``MissingDependency`` when the grid does not say."""
        now = self._context.clock.monotonic()
        if self._lock.fence and now - self._renewed < RENEW_S:
            return True
        held = (self._lock.fence and self._lock.renew()) or self._lock.acquire() or self._taken_over()
        self._renewed = now
        return bool(held)

    def lost(self) -> None:
        """A later writer was met: stand by until its lease is over."""
        self._lock.fence = 0

    def release(self) -> None:
        """Let the next one in."""
        self._lock.release()

    def _taken_over(self) -> bool:
        """The lease of the process that had this state folder before."""
        if self._lock.holder() != self._lock.owner:
            return False
        self._context.grid.delete(LEASES, self._lock.name)
        return self._lock.acquire()
