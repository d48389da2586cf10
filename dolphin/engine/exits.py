"""Exit rules for a researcher. The loop uses the same kernel."""

from __future__ import annotations

import math

from dolphin.config import EngineConfig
from dolphin.engine.records import NDPosition, params_record
from dolphin.kernels.exits import evaluate_exit_nb, price_move_nb
from dolphin.types import ExitReason

__all__ = ["AlphaExitManager"]


class AlphaExitManager:
    """Which exit rule holds for a position at a price."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._params = params_record(config)

    def evaluate(self, position: NDPosition, price: float, bar: int, *, hibernate: bool = False, adverse_bars: int = 0) -> ExitReason:
        """First rule that holds at ``price`` (USDT) on engine bar ``bar``; ``ExitReason.NONE`` = stay. Velocity exits need the loop."""
        pnl = price_move_nb(position.direction, position.entry_price, price)
        limits = (self.config.fixed_tp_pct, self.config.stop_loss_pct, self.config.max_hold_bars)
        held = bar - position.entry_bar
        return ExitReason(evaluate_exit_nb(self._params[0], limits, pnl, held, hibernate, adverse_bars, (math.nan, math.nan)))
