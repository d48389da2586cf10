"""Time in a simulation: the world's, in whole milliseconds, and what each process's clock makes of it."""

from __future__ import annotations

from daemons.clock import Clock
from dolphin.storage.replay import Replay

__all__ = ["ProcessClock", "WorldClock"]


class WorldClock:
    """``now_ms`` since the beginning, which was ``start_ms`` UTC."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms, self.now_ms = start_ms, 0

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self.now_ms / 1000.0


class ProcessClock(Clock):
    """``ahead_s``: how long this turn's calls have taken so far; ``jump_ms``: how wrong its wall clock is."""

    def __init__(self, world: WorldClock, replay: Replay | None) -> None:
        super().__init__(replay)
        self.world = world
        self.ahead_s, self.jump_ms = 0.0, 0
        self.right_ms = 0
        """Since when the wall clock is right."""

    def monotonic(self) -> float:
        return self.world.now_ms / 1000.0 + self.ahead_s

    def wall_ms(self) -> int:
        return self.world.start_ms + self.world.now_ms + round(self.ahead_s * 1000.0) + self.jump_ms
