"""What is attached to an engine in a backtest, however it came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dolphin.config import EngineConfig
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.order_book import OrderBookProvider
from dolphin.types import Posture

if TYPE_CHECKING:
    from dolphin.engine.breaker import AdaptiveCircuitBreaker

__all__ = ["Layers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What is attached to an engine; ``postures`` by UTC day, days that it does not name run in APEX."""

    book: OrderBookProvider | None = None
    breaker: AdaptiveCircuitBreaker | None = None
    postures: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What a date lacked, in words."""
    lacks: tuple[str, ...] = ()
    """The same as flags of the report."""

    def engine(self, config: EngineConfig) -> NDAlphaEngine:
        """A new engine with the layers attached."""
        engine = NDAlphaEngine(config)
        engine.set_ob_engine(self.book)
        engine.set_acb(self.breaker)
        return engine

    def posture(self, date: str) -> str:
        """Posture of a day."""
        return self.postures.get(date, Posture.APEX.value)

    @property
    def flags(self) -> tuple[str, ...]:
        """What every report has to name."""
        return (*(self.breaker.flags if self.breaker is not None else ()), *self.lacks)

    @property
    def acb_mode(self) -> str:
        """Threshold of the breaker, ``off`` without one."""
        return self.breaker.mode if self.breaker is not None else "off"
