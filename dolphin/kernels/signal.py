"""Signal kernels: from vel_div (short-window minus long-window velocity of the largest eigenvalue) to gate, strength, confidence.

``threshold`` and ``extreme`` are those of the lane: SHORT -0.02 / -0.05, LONG 0.01 / 0.04. Source: specification of the engine, 4-6.
"""

from __future__ import annotations

from dolphin.kernels._jit import kernel

__all__ = ["compute_confidence_nb", "compute_strength_nb", "gate_open_nb", "is_extreme_nb"]


@kernel
def gate_open_nb(vel_div: float, threshold: float, direction: int) -> bool:
    """SHORT: ``vel_div < threshold``; LONG: ``vel_div > threshold``. Strict; NaN never opens."""
    return vel_div < threshold if direction < 0 else vel_div > threshold


@kernel
def compute_strength_nb(vel_div: float, threshold: float, extreme: float) -> float:
    """``s = clamp((threshold - vel_div) / (threshold - extreme), 0, 1)``; NaN gives 0."""
    s = (threshold - vel_div) / (threshold - extreme)
    if not s > 0.0:
        return 0.0
    return 1.0 if s > 1.0 else s


@kernel
def compute_confidence_nb(strength: float) -> float:
    """``confidence = 0.50 + 0.40 * strength``."""
    return 0.50 + 0.40 * strength


@kernel
def is_extreme_nb(vel_div: float, extreme: float, direction: int) -> bool:
    """SHORT: ``vel_div <= extreme``; LONG: ``vel_div >= extreme``."""
    return direction * (vel_div - extreme) >= 0.0
