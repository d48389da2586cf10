"""Why a bar did what it did: the loop's questions in their order, each with its value and its limit. Values in, a plain record out.

Every number comes from the kernels that ``dolphin.kernels.loop`` decides with, on a copy of the engine's state; then the engine itself
takes the bar, and an explanation that does not end where the engine ends is refused with ``CheckFailed``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dolphin.engine.explain_assets import Candidate, Choice, rank
from dolphin.engine.explain_scene import Scene, scene_of
from dolphin.engine.explain_size import Confirmed, Conviction, Size, confirmed, conviction, size
from dolphin.engine.nd import BTC, NDAlphaEngine
from dolphin.engine.order_book import OrderBookProvider
from dolphin.engine.records import MC_STATUS, POSTURES, DayRows, NDPosition
from dolphin.errors import CheckFailed
from dolphin.kernels.exits import price_move_nb
from dolphin.kernels.loop import exit_reason_nb, gate_nb
from dolphin.kernels.order_book import adjust_exits_nb
from dolphin.types import AssetVerdict, BarResult, Confirmation, ExitReason, Refusal

__all__ = ["ANSWERS", "Check", "Explanation", "explain_row"]

ANSWERS = ("passed", "decided", "not asked")
"""Answers to a question of the loop: it went on, it ended there, it never came that far."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the loop. ``code``: the ``Refusal`` or ``ExitReason`` that it may lead to; ``answer``: one of ``ANSWERS``."""

    code: str
    question: str
    value: float | int | str
    limit: float | int | str
    answer: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision path of one bar.

    ``bar`` = the engine's ``global_bar_idx``, ``row`` = its place in the day, ``ts_ms`` its close (0 = unknown); ``code`` = the first
    ``Refusal``, NONE where a position was entered; ``exit_reason`` = the ``ExitReason`` of a close on this bar, NONE without one;
    ``position`` = what was open before the bar; ``asset_limits`` of the ranking; ``entry`` and ``exit`` = the engine's own records.
    """

    bar: int
    date: str
    row: int
    ts_ms: int
    direction: int
    vel_div: float
    code: str
    exit_reason: str
    position: dict[str, Any] | None
    checks: tuple[Check, ...]
    candidates: tuple[Candidate, ...] = ()
    asset_limits: dict[str, float] = field(default_factory=dict)
    confirmation: Confirmed | None = None
    conviction: Conviction | None = None
    size: Size | None = None
    entry: dict[str, Any] | None = None
    exit: dict[str, Any] | None = None


def explain_row(
    engine: NDAlphaEngine, rows: DayRows, row: int, *, ob: OrderBookProvider | None = None, vol_ok: bool | None = None
) -> Explanation:
    """Give row ``row`` of ``rows`` to an engine whose day is open and whose universe is ``rows.assets``; say why it did what it did.

    ``ob``: the provider that the engine has, None when it has none. The engine goes on by one bar, as by ``process_row``.
    Raises ``CheckFailed`` when the path does not end in the engine's own ``BarResult``.
    """
    scene = scene_of(engine, rows, row, ob, vol_ok)
    bar, place = int(scene.state["global_bar_idx"]), int(scene.state["row_in_day"])
    ts, vel_div = int(rows.ts_ms[row]), scene.signal[0]
    path = _manage(scene) if scene.state["open"] else _seek(scene)
    said = Explanation(bar=bar, date=scene.date, row=place, ts_ms=ts, direction=scene.direction, vel_div=vel_div, **path)
    result = engine.process_row(rows.closes[row], vel_div, float(rows.v50[row]), float(rows.v750[row]), ts, vol_ok)
    said = replace(said, entry=result.entry, exit=result.exit)
    _agree(said, result)
    return said


def _manage(scene: Scene) -> dict[str, Any]:
    """An open position: which exit rule closes it, or none."""
    s = scene.state
    position = NDPosition.read(s, scene.held)
    checks = list(_exit_checks(scene))
    reason = next((check.code for check in checks if check.answer == "decided"), ExitReason.NONE.name)
    code = Refusal.IN_POSITION if reason == ExitReason.NONE.name else Refusal.EXIT_THIS_BAR
    answer = "decided" if code is Refusal.IN_POSITION else "not asked"
    last = Check(Refusal.IN_POSITION.name, "the position stays", scene.held, "none", answer)
    return {
        "code": code.name,
        "exit_reason": reason,
        "position": position.to_dict() if position else None,
        "checks": (*checks, last),
    }


def _exit_checks(scene: Scene) -> list[Check]:
    s, c = scene.state, scene.config
    d, j = int(s["p_direction"]), int(s["p_asset"])
    price = float(scene.block[0, j]) if j >= 0 else math.nan
    ob = (math.nan,) * 4
    if j >= 0:
        market = scene.market_value("cascade_count"), scene.market_value("regime_signal")
        ob = (*market, scene.book_value("imbalance_ma5", j), scene.book_value("withdrawal_velocity", j))
    posture = POSTURES[int(s["posture"])].value
    reason = ExitReason(exit_reason_nb(scene.params, s, price, *scene.signal, ob))
    pnl = price_move_nb(d, float(s["p_entry_price"]), price)
    tp, sl, hold = adjust_exits_nb((c.fixed_tp_pct, c.stop_loss_pct, c.max_hold_bars), ob[0], ob[1], d * ob[2], ob[3], pnl)
    spread, spread0 = scene.signal[1], float(s["p_spread0"])
    asked: list[tuple[ExitReason, str, float | int | str, float | int | str]] = [
        (ExitReason.STALE_PRICE, "bars without a price", int(s["p_stale_bars"]), c.stale_price_bars)
    ]
    if s["p_stale_bars"] == 0:
        asked += [
            (ExitReason.SUBDAY_ACB_NORMALIZATION, "did the breaker calm down?", "yes" if s["acb_exit_due"] else "no", "yes"),
            (ExitReason.HIBERNATE_HALT, "posture", posture, "HIBERNATE"),
            (ExitReason.FIXED_TP, "pnl reaches the take profit", pnl, tp),
            (ExitReason.STOP_LOSS, "pnl falls to the stop loss", pnl, -sl),
        ]
        if c.vd_enabled:
            asked.append((ExitReason.VD_ADVERSE, "bars in a row with vel_div against it", int(s["p_adverse_bars"]), c.vd_adverse_bars))
        if c.tf_enabled:
            asked.append((ExitReason.TF_EXHAUST, "spread, with pnl > 0", spread, f"{c.tf_exhaust_ratio:g} x {spread0:.6g} at entry"))
            asked.append((ExitReason.TF_FLIP, "spread, sign changed", spread, f"-{c.tf_flip_ratio:g} x {spread0:.6g} at entry"))
        asked.append((ExitReason.MAX_HOLD, "bars held", int(s["global_bar_idx"] - s["p_entry_bar"]), hold))
    return _answered(asked, reason)


def _answered(asked: Sequence[Any], decided: Refusal | ExitReason) -> list[Check]:
    """The questions with their answers: those before the deciding one passed, those after it were not asked."""
    checks, answer = [], "passed"
    for code, question, value, limit in asked:
        checks.append(Check(code.name, question, value, limit, "decided" if code == decided else answer))
        answer = "not asked" if code == decided else answer
    return checks


def _seek(scene: Scene) -> dict[str, Any]:
    """No position: the gates, then the asset, its direction, the book, the size."""
    code = Refusal(gate_nb(scene.params, scene.state, scene.signal[0], scene.vol_ok))
    choice, confirmation, belief = Choice(), None, None
    if not code:
        choice = rank(scene, BTC)
        code = Refusal.NONE if choice.column >= 0 else Refusal.NO_ASSET
    if not code:
        confirmation = confirmed(scene, choice.column)
        against = confirmation.dc == Confirmation.CONTRADICT.name and scene.config.dc_skip_contradicts
        code = Refusal.DC_CONTRADICT if against else code
    if not code:
        belief = conviction(scene, choice.column)
        code = Refusal.OB_AGAINST if belief.after_book == 0.0 else code
    return {
        "code": code.name,
        "exit_reason": ExitReason.NONE.name,
        "position": None,
        "checks": tuple(_entry_checks(scene, code, (choice, confirmation, belief))),
        "candidates": choice.candidates,
        "asset_limits": choice.limits,
        "confirmation": confirmation,
        "conviction": belief,
        "size": size(scene, confirmation.dc, belief) if belief and confirmation and not code else None,
    }


def _entry_checks(scene: Scene, code: Refusal, found: tuple[Choice, Confirmed | None, Conviction | None]) -> list[Check]:
    s, c = scene.state, scene.config
    choice, confirmation, belief = found
    posture, verdict = POSTURES[int(s["posture"])].value, MC_STATUS[int(s["mc_status"])].value
    vol = ("row of the day", int(s["row_in_day"]), c.lookback) if scene.vol_ok < 0 else ("volatility regime, as given", scene.vol_ok, 1)
    threshold = c.short_threshold if scene.direction < 0 else c.long_threshold
    asked: list[Any] = [
        (Refusal.IN_POSITION, "is a position open?", "none", "none"),
        (Refusal.EXIT_THIS_BAR, "bars since the last exit", int(s["global_bar_idx"] - s["last_exit_bar"]), 1),
        (Refusal.HALTED, "posture, forewarner", f"{posture}, {verdict}", "no TURTLE, HIBERNATE, RED"),
        (Refusal.WARMING_UP, "bars so far", int(s["bar_count"]), c.lookback),
        (Refusal.VOL_REGIME, *vol),
        (Refusal.NO_CAPITAL, "capital, USDT", float(s["capital"]), 0.0),
        (Refusal.NO_SIGNAL, f"vel_div {'below' if scene.direction < 0 else 'above'} the threshold", scene.signal[0], threshold),
    ]
    if code in (Refusal.NONE, Refusal.NO_ASSET, Refusal.DC_CONTRADICT, Refusal.OB_AGAINST):
        asked.append((Refusal.NO_ASSET, "assets that pass the ranking", choice.passed, 1))
    if confirmation:
        asked.append(
            (Refusal.DC_CONTRADICT, f"{confirmation.steps} steps of the asset, bps", confirmation.change_bps, confirmation.limit_bps)
        )
    if belief and scene.has_book:
        asked.append((Refusal.OB_AGAINST, "confidence after the order book", belief.after_book, 0.0))
    return _answered(asked, code)


def _agree(said: Explanation, result: BarResult) -> None:
    """Raise ``CheckFailed`` unless the path ends where the engine ended: refusal, exit reason, and every figure of an entry."""
    code, reason = (*result.refusals, Refusal.NONE.name)[0], (result.exit or {}).get("reason", ExitReason.NONE.name)
    if (said.code, said.exit_reason) != (code, reason):
        raise CheckFailed(f"bar {said.bar}: explained as {said.code}, exit {said.exit_reason}; the engine says {code}, exit {reason}")
    passed = {x.verdict for x in said.candidates} & {AssetVerdict.CHOSEN, AssetVerdict.OUTRANKED}
    if code == Refusal.NO_ASSET.name and passed:
        raise CheckFailed(f"bar {said.bar}: the engine found no asset, but some are explained as passing")
    if result.entry is None:
        return
    if said.size is None or said.conviction is None or said.confirmation is None:
        raise CheckFailed(f"bar {said.bar}: the engine entered, but no size is explained")
    chosen = next(x for x in said.candidates if x.verdict == AssetVerdict.CHOSEN)
    sized = {name: getattr(said.size, name) for name in ("bucket", "fraction", "leverage", "notional")}
    believed = {"strength": said.conviction.strength, "confidence": said.conviction.after_book, "dc": said.confirmation.dc}
    ranked = {"asset": chosen.asset, "ars": chosen.ars_after_book, "irp_alignment": chosen.alignment}
    for name, mine in {**ranked, **believed, **sized}.items():
        its = result.entry[name]
        if mine != its and not (mine != mine and its != its):
            raise CheckFailed(f"bar {said.bar}: explained with {name} {mine!r}, the engine entered with {its!r}")
