"""Is the forewarner worth believing: fitted on trials over earlier days, asked about trials over later ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dolphin.engine.forewarner import mc_status
from dolphin.forewarner.condition import CONDITION
from dolphin.forewarner.envelope import ENVELOPE
from dolphin.forewarner.forewarner import Forewarner
from dolphin.forewarner.model import FEATURES, Envelope, Risk, catastrophic, fit_envelope, fit_risk, fold, went_well
from dolphin.forewarner.table import TrialTable
from dolphin.types import Array, Ints, McStatus

__all__ = ["brier", "calibrate", "compare_with_base", "reliability", "verdict"]

BINS: Final = 10
RESAMPLES: Final = 1000

type Flags = npt.NDArray[np.bool_]


def brier(probability: Array, events: Flags) -> float:
    """Mean of ``(probability - event)**2``: 0 is perfect, lower is better."""
    return float(np.mean((probability - events) ** 2))


def reliability(probability: Array, events: Flags) -> list[dict[str, Any]]:
    """Ten equal bins of probability: trials, mean probability, share of events with its 95 % interval (Wilson). Empty bins are left out."""
    place = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    rows = []
    for k in range(BINS):
        inside = place == k
        n = int(inside.sum())
        if n:
            share, z = float(events[inside].mean()), 1.96
            mid, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
            low, high = (float((mid + sign * half) / (1 + z * z / n)) for sign in (-1, 1))
            bounds = {"low": max(0.0, low), "high": min(1.0, high)}
            said = float(probability[inside].mean())
            rows.append({"from": k / BINS, "to": (k + 1) / BINS, "trials": n, "probability": said, "observed": share, **bounds})
    return rows


def compare_with_base(probability: Array, events: Flags, known_rate: float, groups: Ints) -> dict[str, Any]:
    """Brier score against two constants: ``known_rate`` (of the earlier trials) and the tested trials' own rate, which nobody knew.

    ``skill = 1 - brier/own``, with the 90 % interval of a bootstrap over ``groups`` (trials that start on one day are drawn
    together). ``beats`` asks for a better score than both constants.
    """
    own = float(events.mean())
    score, base_known, base_own = brier(probability, events), brier(np.full(len(events), known_rate), events), own * (1 - own)
    low, high = _skill_interval(probability, events, groups)
    return {
        "trials": len(events),
        "rate": own,
        "known_rate": known_rate,
        "brier": score,
        "brier_known_rate": base_known,
        "brier_own_rate": base_own,
        "skill": 1 - score / base_own if base_own > 0 else None,
        "skill_low": low,
        "skill_high": high,
        "beats": score < min(base_known, base_own),
    }


def calibrate(table: TrialTable, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the page shows, as JSON values. ``settings``: the configuration whose leverage curve is drawn.

    Early pool: folds 0 to 2 fit, 3 calibrates, 4 tests on the same days. Late pool: tests on days that the fit never saw.
    """
    features, events, pool, folds = table.features(), catastrophic(table), table.column("pool"), fold(table)
    early, late, same = (pool == 0) & (folds != 4), pool == 1, (pool == 0) & (folds == 4)
    held, starts = folds[early] == 3, table.starts()
    risk = fit_risk(features[early], events[early], held)
    blind = fit_risk(features[early], events[early], held, tuple(range(len(ENVELOPE))))
    envelope = fit_envelope(features[early & went_well(table)])
    known = float(events[early].mean())
    said = {"later": risk.probability(features[late]), "same": risk.probability(features[same])}
    tests = {
        "later": compare_with_base(said["later"], events[late], known, starts[late]),
        "same": compare_with_base(said["same"], events[same], known, starts[same]),
        "later_without_condition": compare_with_base(blind.probability(features[late]), events[late], known, starts[late]),
    }
    return {
        "tests": tests,
        "reliability": {"later": reliability(said["later"], events[late]), "same": reliability(said["same"], events[same])},
        "gate": _gate(said["later"], envelope.score(features[late]), events[late]),
        "envelope": _envelope_check(envelope, features[late], went_well(table)[late], int((early & went_well(table)).sum())),
        "importance": _importance(risk, features[late], events[late]),
        "curve": _curve(table, settings),
        "outcomes": _outcomes(table),
        "calibrated": risk.trees is not None,
    }


def verdict(found: Mapping[str, Any]) -> str:
    """The answer in one sentence, honest when it is no."""
    test = found["tests"]["later"]
    pair = f"Brier {test['brier']:.4f} against {min(test['brier_known_rate'], test['brier_own_rate']):.4f} on later days"
    if not found["calibrated"]:
        return f"Nothing was learnt: too few catastrophes, or too few trials without; {pair}"
    if not test["beats"]:
        return f"Does not beat the base rate: {pair}"
    if test["skill_low"] is None or test["skill_low"] <= 0:
        return f"Beats the base rate, but not surely: {pair}"
    return f"Beats the base rate: {pair}"


def _skill_interval(probability: Array, events: Flags, groups: Ints) -> tuple[float | None, float | None]:
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < 3:
        return None, None
    count = np.bincount(place).astype(np.float64)
    hits, errors = np.bincount(place, events), np.bincount(place, (probability - events) ** 2)
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    n, k, e = (values[drawn].sum(axis=1) for values in (count, hits, errors))
    rate = k / n
    usable = (rate > 0) & (rate < 1)
    if not usable.any():
        return None, None
    low, high = np.percentile(1 - (e / n)[usable] / (rate * (1 - rate))[usable], [5, 95])
    return float(low), float(high)


def _gate(probability: Array, score: Array, events: Flags) -> list[dict[str, Any]]:
    """How often the later trials of each status ended in a catastrophe."""
    status = np.array([mc_status(float(p), float(s)).value for p, s in zip(probability, score, strict=True)], dtype=object)
    return [
        {
            "status": name.value,
            "trials": int((status == name.value).sum()),
            "catastrophic": float(events[status == name.value].mean()) if (status == name.value).any() else None,
        }
        for name in (McStatus.OK, McStatus.ORANGE, McStatus.RED)
    ]


def _envelope_check(envelope: Envelope, late: Array, well: Flags, fitted: int) -> dict[str, Any]:
    """Share of the later trials below 0 and below -1, of those that went well and of the others."""
    score = envelope.score(late)
    some = envelope.shape is not None
    groups = {"well": score[well], "others": score[~well]}
    shares = {
        name: {
            "trials": len(values),
            "below_0": float((values < 0).mean()) if some and len(values) else None,
            "below_minus_1": float((values < -1).mean()) if some and len(values) else None,
        }
        for name, values in groups.items()
    }
    return {"fitted_on": fitted, "shares": shares}


def _importance(risk: Risk, features: Array, events: Flags) -> list[dict[str, Any]]:
    """By how much the Brier score of the later trials rises when one feature is shuffled among them."""
    if risk.trees is None:
        return []
    rng, score = np.random.default_rng(0), brier(risk.probability(features), events)
    rows = []
    for k, name in enumerate(FEATURES):
        shuffled = features.copy()
        shuffled[:, k] = rng.permutation(shuffled[:, k])
        rows.append({"name": name, "condition": name in CONDITION, "loss": brier(risk.probability(shuffled), events) - score})
    return sorted(rows, key=lambda row: -row["loss"])


def _curve(table: TrialTable, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the model as it is used (fitted on all trials) says about ``settings`` over max_leverage, on the table's last day."""
    forewarner = Forewarner(table)
    low, high = ENVELOPE["max_leverage"]
    points = []
    for leverage in np.linspace(low, high, 37):
        report = forewarner.assess_config_dict({**settings, "max_leverage": float(leverage)})
        values = {name: report.to_dict()[name] for name in ("catastrophic_probability", "envelope_score", "mc_status")}
        points.append({"max_leverage": float(leverage), **values})
    now = forewarner.assess_config_dict(settings)
    return {"now": now.to_dict(), "points": points, "held": forewarner.risk.held}


def _outcomes(table: TrialTable) -> dict[str, Any]:
    """Counts and quartiles of the outcomes, by pool."""
    events, well, pool = catastrophic(table), went_well(table), table.column("pool")
    out = {}
    for k, name in enumerate(("earlier", "later")):
        inside = pool == k
        roi, fall = table.column("honest_roi")[inside], table.column("honest_max_drawdown")[inside]
        out[name] = {
            "trials": int(inside.sum()),
            "catastrophic": float(events[inside].mean()),
            "went_well": float(well[inside].mean()),
            "roi": np.percentile(roi, [5, 25, 50, 75, 95]).tolist(),
            "max_drawdown": np.percentile(fall, [5, 25, 50, 75, 95]).tolist(),
            "trades": float(np.median(table.column("trades")[inside])),
        }
    return out
