"""Signal layer for a researcher: is the gate open, how strong, how confident? The loop uses the same kernels."""

from __future__ import annotations

from dataclasses import dataclass

from dolphin.config import EngineConfig
from dolphin.kernels.direction import check_dc_nb
from dolphin.kernels.signal import compute_confidence_nb, compute_strength_nb, gate_open_nb
from dolphin.kernels.sizing import get_signal_bucket_nb
from dolphin.types import Array, Confirmation

__all__ = ["AlphaSignalGenerator", "Signal"]


@dataclass(frozen=True, slots=True)
class Signal:
    """``is_valid`` = gate open and direction not contradicted; strength in [0, 1], confidence in [0.5, 0.9], bucket 0 (extreme) to 3."""

    is_valid: bool
    direction: int
    strength: float
    confidence: float
    bucket: int
    dc: str


class AlphaSignalGenerator:
    """Signal of one lane under a configuration."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config

    def levels(self, direction: int) -> tuple[float, float]:
        """``(threshold, extreme)`` of the lane."""
        c = self.config
        return (c.short_threshold, c.short_extreme) if direction < 0 else (c.long_threshold, c.long_extreme)

    def generate(self, vel_div: float, prices: Array, direction: int = -1) -> Signal:
        """Signal from this bar's ``vel_div`` and the asset's last prices float64[n] (USDT, for direction confirmation)."""
        c = self.config
        threshold, extreme = self.levels(direction)
        strength = compute_strength_nb(vel_div, threshold, extreme)
        dc = check_dc_nb(prices, direction, c.dc_lookback, c.dc_min_magnitude_bps) if c.use_direction_confirm else 0
        is_valid = gate_open_nb(vel_div, threshold, direction) and not (dc < 0 and c.dc_skip_contradicts)
        bucket = get_signal_bucket_nb(vel_div, threshold, extreme)
        return Signal(is_valid, direction, strength, compute_confidence_nb(strength), bucket, Confirmation(dc).name)
