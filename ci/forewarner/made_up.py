"""Tables of trials that never ran, with a law of our own, and a small market for trials that do."""

from __future__ import annotations

import numpy as np
from builders import day

from dolphin.config import EngineConfig
from dolphin.forewarner.condition import CONDITION
from dolphin.forewarner.envelope import ENVELOPE
from dolphin.forewarner.paths import draw_path
from dolphin.forewarner.table import COLUMNS, CalendarDay, TrialPlan, TrialTable
from dolphin.forewarner.trial import Market

DAYS = 30


def plan(**changes):
    """Thirty days whose condition is drawn at random."""
    rng = np.random.default_rng(5)
    days = [CalendarDay(date=f"2025-03-{k + 1:02d}", sha256="", condition=rng.random(len(CONDITION)).tolist()) for k in range(DAYS)]
    bounds = {name: (float(low), float(high)) for name, (low, high) in ENVELOPE.items()}
    facts = {"config": EngineConfig(), "seed": 7, "path_days": 30, "block_days": 5.0, "direction": -1, "days": days, "code": "made up"}
    return TrialPlan(**{**facts, "envelope": bounds, **changes})


def known_risk(values):
    """Probability by leverage and fraction alone, between 2 and 98 %."""
    low, high = ENVELOPE["max_leverage"]
    size = (values["max_leverage"] - low) / (high - low) + (values["max_fraction"] - 0.05) / 0.35 - 1.0
    return 1.0 / (1.0 + np.exp(-4.0 * size))


def table(trials=6000, risk=known_risk, seed=1):
    """A catastrophe with probability ``risk(settings)``; what is none went well."""
    rng, made = np.random.default_rng(seed), plan()
    columns = {name: rng.uniform(low, high, trials) for name, (low, high) in ENVELOPE.items()}
    paths = [draw_path(7, k, DAYS, 2, 5.0) for k in range(trials)]
    columns |= {"trial": np.arange(trials), "pool": np.array([p.pool for p in paths]), "start": np.array([p.days[0] for p in paths])}
    condition = np.array([made.condition(int(p.days[0]) - 1) for p in paths])
    columns |= {name: condition[:, k] for k, name in enumerate(CONDITION)}
    event = rng.random(trials) < risk(columns)
    for ledger in ("honest", "champion"):
        outcome = {"roi": (-0.5, 0.1), "max_drawdown": (0.6, 0.1), "profit_factor": (0.5, 1.5)}
        columns |= {f"{ledger}_{name}": np.where(event, *pair) for name, pair in outcome.items()}
    columns |= {"engine_seed": np.zeros(trials), "trades": np.full(trials, 50)}
    return TrialTable(made, np.column_stack([columns[name].astype(np.float64) for name in COLUMNS]))


def market(days=6, assets=10, bars=500):
    """Days of a random walk whose signal opens often; each goes on where the one before ended."""
    out, level = [], None
    for k in range(days):
        rows = day(seed=3, bars=bars, assets=assets, missing=0.01, day_index=k, start=level)
        good = np.where(np.isfinite(rows.closes) & (rows.closes > 0), rows.closes, np.nan)
        level = np.nanmedian(good[-20:], axis=0)
        out.append((f"2025-01-{k + 1:02d}", rows))
    return Market.of(out)
