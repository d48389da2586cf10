"""MC-forewarner (Monte-Carlo forewarner) gate: from a report to the day's status. Source: specification of the engine, 2.3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dolphin.types import McStatus

__all__ = ["DayVerdict", "judge_day", "mc_status"]


@dataclass(frozen=True, slots=True)
class DayVerdict:
    """``status`` of the day and ``scale``, the leverage factor that goes with it."""

    status: McStatus
    scale: float


def mc_status(catastrophic_probability: float, envelope_score: float) -> McStatus:
    """RED: probability > 0.25 or score < -1.0; ORANGE: score < 0 or probability > 0.10; else OK. Not finite: RED."""
    if not (math.isfinite(catastrophic_probability) and math.isfinite(envelope_score)):
        return McStatus.RED
    if catastrophic_probability > 0.25 or envelope_score < -1.0:
        return McStatus.RED
    return McStatus.ORANGE if envelope_score < 0 or catastrophic_probability > 0.10 else McStatus.OK


def judge_day(forewarner: Any, base_cfg: Mapping[str, Any], date: str, max_leverage: float, boost: float) -> DayVerdict:
    """Ask ``forewarner.assess_config_dict`` about ``base_cfg`` with ``max_leverage = base max_leverage * boost``; ORANGE halves size.

    A forewarner that has ``as_of(date)`` is asked as it stood at the start of that day.
    """
    as_of = getattr(forewarner, "as_of", None)
    asked = forewarner if as_of is None else as_of(date)
    base = float(base_cfg.get("max_leverage", max_leverage))
    report = asked.assess_config_dict({**base_cfg, "max_leverage": base * boost})
    status = mc_status(float(report.catastrophic_probability), float(report.envelope_score))
    return DayVerdict(status, 0.5 if status is McStatus.ORANGE else 1.0)
