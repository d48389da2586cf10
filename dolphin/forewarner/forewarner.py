"""What the engine asks at the start of a day: ``NDAlphaEngine.set_mc_forewarner(Forewarner.load(path), base_cfg)``."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.config import EngineConfig, config_hash
from dolphin.engine.forewarner import mc_status
from dolphin.errors import ConfigError
from dolphin.forewarner.condition import CONDITION, day_condition
from dolphin.forewarner.envelope import ENVELOPE, base_of, config_values
from dolphin.forewarner.model import catastrophic, fit_envelope, fit_risk, fold, went_well
from dolphin.forewarner.table import TrialPlan, TrialTable, read_table
from dolphin.types import Array, McStatus

__all__ = ["Forewarner", "ForewarnerHistory", "Report"]


@dataclass(frozen=True, slots=True)
class Report:
    """An assessment. ``catastrophic_probability`` of max drawdown > 40 % or ROI < -30 % (honest) over a path as long as the trials';
    ``envelope_score`` 1 = in the middle of what went well, 0 = at its edge, NaN = cannot be told; ``mc_status`` by the engine's gate.
    """

    catastrophic_probability: float
    envelope_score: float
    mc_status: McStatus
    base_rate: float
    settings: dict[str, float]
    condition: dict[str, float]
    condition_date: str
    cautions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; NaN is null."""
        return {
            "catastrophic_probability": _or_none(self.catastrophic_probability),
            "envelope_score": _or_none(self.envelope_score),
            "mc_status": self.mc_status.value,
            "base_rate": self.base_rate,
            "settings": self.settings,
            "condition": {name: _or_none(value) for name, value in self.condition.items()},
            "condition_date": self.condition_date,
            "cautions": list(self.cautions),
        }


class Forewarner:
    """Both models, refitted from the table, in the market condition of one finished day (the table's last; ``observed`` for another)."""

    def __init__(self, table: TrialTable) -> None:
        self.table = table
        events, features = catastrophic(table), table.features()
        self.risk = fit_risk(features, events, fold(table) == 4)
        self.envelope = fit_envelope(features[went_well(table)])
        self.condition: Array = table.plan.condition(-1)
        self.condition_date = table.plan.days[-1].date

    @classmethod
    def load(cls, path: Path | str, config: EngineConfig | None = None) -> Forewarner:
        """From the table of trials.

        Raises ``DataError`` for a damaged or foreign file, ``ConfigError`` when ``config`` differs from the trials' base
        configuration in more than the settings that they vary.
        """
        table = read_table(Path(path))
        if config is not None and config_hash(base_of(config)) != table.plan.config_hash:
            _, lines = config_values({name: getattr(config, name) for name in EngineConfig.__struct_fields__}, table.plan.config)
            raise ConfigError(f"{path}: its trials ran another configuration: {'; '.join(lines)}")
        return cls(table)

    def observed(self, date: str, signals: Mapping[str, Array]) -> Forewarner:
        """The same models in the condition of the finished day ``date``; ``signals``: columns of its day table."""
        other = copy(self)
        other.condition, other.condition_date = day_condition(signals), date
        return other

    def assess_config_dict(self, cfg: Mapping[str, Any]) -> Report:
        """Assess a configuration by engine names (or those of the specification); what it lacks is as in the trials.

        A value that is not finite, or a condition figure that cannot be read, gives an envelope score of NaN and RED.
        Raises ``ConfigError`` for an unknown name.
        """
        settings, lines = config_values(cfg, self.table.plan.config)
        row = np.concatenate([list(settings.values()), self.condition])[None, :]
        probability, score = float(self.risk.probability(row)[0]), float(self.envelope.score(row)[0])
        score = np.nan if self._unread() else score
        report = Report(
            catastrophic_probability=probability,
            envelope_score=score,
            mc_status=mc_status(probability, score),
            base_rate=self.risk.base_rate,
            settings=settings,
            condition=dict(zip(CONDITION, self.condition.tolist(), strict=True)),
            condition_date=self.condition_date,
            cautions=(),
        )
        return replace(report, cautions=(*lines, *self._cautions(report)))

    def _cautions(self, report: Report) -> list[str]:
        lines = [
            f"{name} = {value:g} lies outside what the trials varied ({low:g} to {high:g})"
            for (name, value), (low, high) in zip(report.settings.items(), ENVELOPE.values(), strict=True)
            if not low <= value <= high
        ]
        if self.envelope.shape is None:
            lines.append("too few trials went well: there is no envelope, and every assessment is RED")
        if self.risk.trees is None:
            lines.append("too few trials of one kind: the probability is the base rate, whatever the settings")
        unread = self._unread()
        return lines + ([f"condition of {report.condition_date} unknown: {', '.join(unread)}; this counts as RED"] if unread else [])

    def _unread(self) -> list[str]:
        """Condition figures that every day of the trials had and the last day lacks."""
        known = np.isfinite([self.table.plan.condition(k) for k in range(len(self.table.plan.days))]).all(axis=0)
        return [name for name, had, value in zip(CONDITION, known, self.condition, strict=True) if had and not np.isfinite(value)]


class ForewarnerHistory:
    """A forewarner for a run over past days: ``as_of(date)`` knows the last of ``days`` before ``date``, and nothing later.

    ``first``: day on which the run begins; days before it are known, not judged. On the first of ``days`` the condition is known only
    when the trials hold the calendar day before it; an unknown one counts as RED.
    """

    def __init__(self, forewarner: Forewarner, days: Mapping[str, Mapping[str, Array]], first: str = "") -> None:
        plan = forewarner.table.plan
        self.forewarner = forewarner
        self.in_sample = tuple(sorted(date for date in {day.date for day in plan.days} if date in days and date >= first))
        """Days of the run on which the trials ran too: there the model has seen what it judges."""
        known = {date: forewarner.observed(date, signals) for date, signals in days.items()}
        self._dates = sorted(known)
        start = copy(forewarner)
        start.condition, start.condition_date = _day_before(plan, self._dates[0]) if self._dates else (forewarner.condition, "")
        self._as_of = [start, *(known[date] for date in self._dates)]

    def as_of(self, date: str) -> Forewarner:
        """As it stood at the start of ``date``."""
        return self._as_of[bisect_left(self._dates, date)]


def _day_before(plan: TrialPlan, date: str) -> tuple[Array, str]:
    before = (dt.date.fromisoformat(date) - dt.timedelta(days=1)).isoformat()
    place = next((k for k, day in enumerate(plan.days) if day.date == before), None)
    return (np.full(len(CONDITION), np.nan) if place is None else plan.condition(place)), before


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
