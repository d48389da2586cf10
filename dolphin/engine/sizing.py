"""Bet size for a researcher. The loop uses the same kernels."""

from __future__ import annotations

from dataclasses import dataclass

from dolphin.config import EngineConfig
from dolphin.engine.records import params_record
from dolphin.engine.signal import AlphaSignalGenerator
from dolphin.kernels.signal import compute_strength_nb, is_extreme_nb
from dolphin.kernels.sizing import compute_sizing_nb, get_bucket_boost_nb, get_streak_mult_nb, get_trend_mult_nb, regime_size_mult_nb

__all__ = ["AlphaBetSizer", "BetSize"]


@dataclass(frozen=True, slots=True)
class BetSize:
    """``fraction`` of capital, final ``leverage``, ``notional`` = capital * fraction * leverage in USDT."""

    fraction: float
    leverage: float
    notional: float


class AlphaBetSizer:
    """Size of an entry under a configuration."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._params = params_record(config)

    def calculate_size(
        self,
        capital: float,
        vel_div: float,
        direction: int = -1,
        *,
        vd_trend: float = 0.0,
        bucket_record: tuple[int, int] = (0, 0),
        streak: tuple[int, int] = (0, 0),
        regime: tuple[float, float, float] = (1.0, 0.0, 1.0),
    ) -> BetSize:
        """Size at ``vel_div`` with neutral defaults for what history and layers add.

        ``vd_trend`` = vel_div[-1] - vel_div[-10] (sign flipped for LONG); ``bucket_record`` = (wins, trades) of the bucket;
        ``streak`` = (losses in the last 5, closed trades); ``regime`` = (boost, beta, mc_scale).
        """
        threshold, extreme = AlphaSignalGenerator(self.config).levels(direction)
        strength = compute_strength_nb(vel_div, threshold, extreme)
        fraction_mult = get_trend_mult_nb(vd_trend) * get_bucket_boost_nb(*bucket_record) * get_streak_mult_nb(*streak)
        boost = regime_size_mult_nb(regime[0], regime[1], strength, regime[2])
        is_extreme = is_extreme_nb(vel_div, extreme, direction)
        return BetSize(*compute_sizing_nb(self._params[0], strength, is_extreme, capital, fraction_mult, 1.0, boost, False))
