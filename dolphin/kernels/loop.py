"""The compiled step behind ``NDAlphaEngine.process_bar`` and ``process_day``: manage the open position, or try to enter.

Both doors call ``advance_nb``, the one with a single row, the other with a day of rows; that is why they cannot differ.
Source: specification of the engine, 2-8.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.kernels.costs import champion_close_nb, funding_nb, honest_return_nb
from dolphin.kernels.direction import check_dc_nb
from dolphin.kernels.exits import evaluate_exit_nb, price_move_nb
from dolphin.kernels.order_book import (
    CASCADES,
    FILL,
    IMBALANCE,
    MULTIPLIER,
    PERSISTENCE,
    QUALITY,
    REGIME,
    WITHDRAWAL,
    adjust_confidence_nb,
    adjust_exits_nb,
    book_macro_nb,
    book_value_nb,
    factor_or_one_nb,
)
from dolphin.kernels.selection import ALIGNMENT, ARS, BANNED, ELIGIBLE, select_asset_nb
from dolphin.kernels.signal import compute_confidence_nb, compute_strength_nb, gate_open_nb, is_extreme_nb
from dolphin.kernels.sizing import (
    compute_sizing_nb,
    get_bucket_boost_nb,
    get_signal_bucket_nb,
    get_streak_mult_nb,
    get_trend_mult_nb,
    regime_size_mult_nb,
)
from dolphin.kernels.window import history_nb, window_nb
from dolphin.types import Array, ExitReason, Ints, Posture, Refusal

__all__ = [
    "Frame", "Funding", "Output", "Work", "advance_nb", "choose_nb", "close_position_nb", "confirm_nb", "count_bar_nb", "exit_reason_nb",
    "gate_nb", "recent_losses_nb", "vel_div_trend_nb",
]  # fmt: skip

STALE_PRICE = int(ExitReason.STALE_PRICE)
ACB_NORMALIZATION = int(ExitReason.SUBDAY_ACB_NORMALIZATION)
STALKER = list(Posture).index(Posture.STALKER)
HIBERNATE = list(Posture).index(Posture.HIBERNATE)
ENTERED = int(Refusal.NONE)
IN_POSITION = int(Refusal.IN_POSITION)
EXIT_THIS_BAR = int(Refusal.EXIT_THIS_BAR)
HALTED = int(Refusal.HALTED)
WARMING_UP = int(Refusal.WARMING_UP)
VOL_REGIME = int(Refusal.VOL_REGIME)
NO_CAPITAL = int(Refusal.NO_CAPITAL)
NO_SIGNAL = int(Refusal.NO_SIGNAL)
NO_ASSET = int(Refusal.NO_ASSET)
DC_CONTRADICT = int(Refusal.DC_CONTRADICT)
OB_AGAINST = int(Refusal.OB_AGAINST)


class Frame(NamedTuple):
    """Rows of the day: ``block`` float64[n_bars, n_assets], ``tail`` float64[50, n_assets], the rest [n_bars].

    ``vol_ok`` int8: 1, 0, or -1 for "by the row's place in the day"; ``ts`` int64 ms, 0 = unknown.
    """

    block: Array
    tail: Array
    vel_div: Array
    v50: Array
    v750: Array
    vol_ok: Any
    ts: Ints


class Funding(NamedTuple):
    """Funding series: ``times`` int64[n] ms, ``rates`` float64[n, n_assets]; no column = no series given."""

    times: Ints
    rates: Array


class Work(NamedTuple):
    """Scratch space: ``window`` float64[50, n_assets], ``column`` float64[50], ``notes`` (``NOTES`` of ``selection``); the uniform draws
    from number ``draws_base`` on; ``only_asset``: -1 = rank all assets, -2 = nothing to trade, else the one column to trade.
    """

    window: Array
    column: Array
    notes: Array
    draws: Array
    draws_base: int
    only_asset: int


class Output(NamedTuple):
    """``trades`` TRADE[capacity], ``codes`` int8[n_bars]: the ``Refusal`` value of each row, 0 where a position was entered."""

    trades: Any
    codes: Any


@kernel
def _close_nb(
    params: Any, state: Any, price: float, reason: int, book: tuple[bool, float, float], draws: Array, funding: Any, trade: Any
) -> None:
    d = state.p_direction
    exit_price, gross, fees, used = champion_close_nb(params, d, (state.p_entry_price, price), state.p_notional, reason, book, draws)
    paid, missing = funding_nb(funding.times, funding.rates, state.p_asset, d, state.p_entry_ts, state.last_ts)
    honest = honest_return_nb(params, d, state.p_entry_price, price, reason, paid)
    state.draws_used += used
    net = gross - fees
    state.capital += net
    state.honest_capital *= 1 + honest * state.p_fraction * state.p_leverage
    state.recent_losses[state.n_trades % 5] = 0 if net > 0 else 1
    state.n_trades += 1
    state.bucket_trades[state.p_bucket] += 1
    state.bucket_wins[state.p_bucket] += 1 if net > 0 else 0
    state.open = 0
    state.acb_exit_due = 0
    _record_nb(state, trade)
    trade.trade_id = state.n_trades
    trade.exit_ts = state.last_ts
    trade.exit_price = exit_price
    trade.reason = reason
    trade.gross_pnl = gross
    trade.fees = fees
    trade.net_pnl = net
    trade.capital_after = state.capital
    trade.honest_ret = honest
    trade.honest_capital_after = state.honest_capital
    trade.funding_missing = 1 if missing else 0


@kernel
def _record_nb(state: Any, trade: Any) -> None:
    trade.asset = state.p_asset
    trade.direction = state.p_direction
    trade.entry_bar = state.p_entry_bar
    trade.entry_ts = state.p_entry_ts
    trade.bucket = state.p_bucket
    trade.dc = state.p_dc
    trade.mc_status = state.p_mc_status
    trade.posture = state.p_posture
    trade.entry_price = state.p_entry_price
    trade.notional = state.p_notional
    trade.leverage = state.p_leverage
    trade.fraction = state.p_fraction
    trade.vel_div = state.p_vel_div
    trade.strength = state.p_strength
    trade.confidence = state.p_confidence
    trade.irp_alignment = state.p_irp_alignment
    trade.ars = state.p_ars
    trade.boost = state.p_boost
    trade.beta = state.p_beta


@kernel
def close_position_nb(params: Any, state: Any, reason: int, has_book: bool, draws: Array, funding: Any, trade: Any) -> None:
    """Close the open position at its last valid price, between bars (the HIBERNATE path): the exit bar is the last one processed.

    ``params`` PARAMS[1], ``state`` STATE[1], ``trade`` TRADE[1], written.
    """
    p, s, t = params[0], state[0], trade[0]
    t.exit_bar = s.p_entry_bar if s.global_bar_idx <= s.p_entry_bar else s.global_bar_idx - 1
    t.bars_held = t.exit_bar - s.p_entry_bar
    _close_nb(p, s, s.p_last_price, reason, (has_book, np.nan, np.nan), draws, funding, t)


@kernel
def count_bar_nb(state: Any, vel_div: float, ts: int) -> None:
    """Section 3.1: the bar counts, and a finite ``vel_div`` enters its history. ``ts`` ms UTC of the bar's close."""
    state.bar_count += 1
    state.last_ts = ts
    if -np.inf < vel_div < np.inf:
        state.vel_div_history[state.n_vel_div % 10] = vel_div
        state.n_vel_div += 1


@kernel
def exit_reason_nb(params: Any, state: Any, price: float, vel_div: float, spread: float, ob: tuple[float, float, float, float]) -> int:
    """Section 7 for the open position on this bar; 0 = stay.

    ``ob`` = (cascade_count, regime_signal, imbalance_ma5, withdrawal_velocity) of the held asset.
    """
    adverse = -state.p_direction * vel_div >= params.vd_adverse_level
    state.p_adverse_bars = state.p_adverse_bars + 1 if adverse else 0
    if not (price > 0.0 and price < np.inf):
        state.p_stale_bars += 1
        return STALE_PRICE if state.p_stale_bars >= params.stale_price_bars else 0
    state.p_stale_bars = 0
    state.p_last_price = price
    if state.acb_exit_due != 0:
        return ACB_NORMALIZATION
    d, held = state.p_direction, state.global_bar_idx - state.p_entry_bar
    pnl = price_move_nb(d, state.p_entry_price, price)
    limits = (params.fixed_tp_pct, params.stop_loss_pct, params.max_hold_bars)
    limits = adjust_exits_nb(limits, ob[0], ob[1], d * ob[2], ob[3], pnl)
    hibernate = state.posture == HIBERNATE
    return evaluate_exit_nb(params, limits, pnl, held, hibernate, state.p_adverse_bars, (spread, state.p_spread0))


@kernel
def _exit_nb(
    params: Any, state: Any, reason: int, book: tuple[bool, float, float], draws: Array, funding: Any, trade: Any, notes: Array
) -> None:
    """Close the open position on this bar, at its last valid price. ``book`` = (attached, depth_quality, fill_probability)."""
    if reason == STALE_PRICE and state.p_asset >= 0:
        notes[BANNED, state.p_asset] = 1.0
    trade.exit_bar = state.global_bar_idx
    trade.bars_held = state.global_bar_idx - state.p_entry_bar
    _close_nb(params, state, state.p_last_price, reason, book, draws, funding, trade)
    state.last_exit_bar = state.global_bar_idx


@kernel
def choose_nb(params: Any, state: Any, block: Array, tail: Array, book: Any, work: Any, row: int) -> int:
    """Column of the asset to enter on this row, or -1."""
    notes, only = work.notes, work.only_asset
    for j in range(block.shape[1]):
        price = block[row, j]
        notes[ELIGIBLE, j] = 1.0 if price > 0.0 and price < np.inf and notes[BANNED, j] == 0.0 else 0.0
    if only != -1:
        return only if only >= 0 and notes[ELIGIBLE, only] == 1.0 else -1
    window = window_nb(block, tail, row, work.window, work.column)
    return select_asset_nb(window, state.direction, params.irp_returns != 0, params.min_irp_alignment, book, row, notes)


@kernel
def vel_div_trend_nb(state: Any) -> float:
    """``vel_div[-1] - vel_div[-10]`` of the finite values, sign flipped for LONG; 0 when fewer than 10."""
    n = state.n_vel_div
    if n < 10:
        return 0.0
    return -state.direction * (state.vel_div_history[(n - 1) % 10] - state.vel_div_history[n % 10])


@kernel
def recent_losses_nb(state: Any) -> int:
    """Losses among the last 5 closed trades."""
    losses = 0
    for i in range(5):
        losses += state.recent_losses[i]
    return losses


@kernel
def confirm_nb(params: Any, state: Any, block: Array, tail: Array, column: Array, row: int, asset: int) -> int:
    """Direction confirmation of column ``asset``: 1, 0 or -1. ``column`` float64[50] is scratch."""
    if params.use_direction_confirm == 0:
        return 0
    n = params.dc_lookback + 1
    prices = column[:n]
    known = history_nb(block, tail, row, asset, prices)
    return check_dc_nb(prices[n - known :], state.direction, params.dc_lookback, params.dc_min_magnitude_bps)


@kernel
def _enter_nb(params: Any, state: Any, block: Array, tail: Array, book: Any, work: Any, row: int, signal: tuple[float, float]) -> int:
    """Section 4 from the asset on: open a position on this row, or say which ``Refusal`` came first. ``signal`` = (vel_div, spread)."""
    d, vel_div = state.direction, signal[0]
    threshold = params.short_threshold if d < 0 else params.long_threshold
    extreme = params.short_extreme if d < 0 else params.long_extreme
    j = choose_nb(params, state, block, tail, book, work, row)
    if j < 0:
        return NO_ASSET
    dc = confirm_nb(params, state, block, tail, work.column, row, j)
    if dc < 0 and params.dc_skip_contradicts != 0:
        return DC_CONTRADICT
    strength = compute_strength_nb(vel_div, threshold, extreme)
    confidence, market_mult = compute_confidence_nb(strength), 1.0
    if book.rows.shape[0] > 0:
        confidence = adjust_confidence_nb(confidence, d * book_value_nb(book, row, j, IMBALANCE), book_value_nb(book, row, j, PERSISTENCE))
        market_mult = factor_or_one_nb(book_macro_nb(book, row, MULTIPLIER))
    if confidence == 0.0:
        return OB_AGAINST
    bucket = get_signal_bucket_nb(vel_div, threshold, extreme)
    trend_mult = get_trend_mult_nb(vel_div_trend_nb(state))
    bucket_boost = get_bucket_boost_nb(state.bucket_wins[bucket], state.bucket_trades[bucket])
    streak_mult = get_streak_mult_nb(recent_losses_nb(state), state.n_trades)
    boost = regime_size_mult_nb(state.boost, state.beta, strength, state.mc_scale) * market_mult
    dc_mult = params.dc_leverage_boost if dc > 0 else 1.0
    is_extreme, stalker = is_extreme_nb(vel_div, extreme, d), state.posture == STALKER
    state.p_fraction, state.p_leverage, state.p_notional = compute_sizing_nb(
        params, strength, is_extreme, state.capital, trend_mult * bucket_boost * streak_mult, dc_mult, boost, stalker
    )
    state.p_bucket, state.p_dc, state.p_strength, state.p_confidence = bucket, dc, strength, confidence
    state.p_ars = work.notes[ARS, j] if work.only_asset < 0 else np.nan
    state.p_irp_alignment = work.notes[ALIGNMENT, j] if work.only_asset < 0 else np.nan
    _open_nb(state, j, block[row, j], signal)
    return ENTERED


@kernel
def _open_nb(state: Any, asset: int, price: float, signal: tuple[float, float]) -> None:
    state.open = 1
    state.p_asset = asset
    state.p_direction = state.direction
    state.p_entry_bar = state.global_bar_idx
    state.p_entry_ts = state.last_ts
    state.p_entry_price = price
    state.p_last_price = price
    state.p_vel_div = signal[0]
    state.p_mc_status = state.mc_status
    state.p_posture = state.posture
    state.p_boost = state.boost
    state.p_beta = state.beta
    state.p_spread0 = signal[1]
    state.p_stale_bars = 0
    state.p_adverse_bars = 0


@kernel
def gate_nb(params: Any, state: Any, vel_div: float, vol_ok: int) -> int:
    """Sections 3.3, 4.1, 4.2: the first ``Refusal`` that holds before any asset is looked at; 0 = look."""
    if not state.global_bar_idx > state.last_exit_bar:
        return EXIT_THIS_BAR
    if state.halted != 0:
        return HALTED
    if state.bar_count < params.lookback:
        return WARMING_UP
    if vol_ok == 0 or (vol_ok < 0 and state.row_in_day < params.lookback):
        return VOL_REGIME
    if not state.capital > 0.0:
        return NO_CAPITAL
    d = state.direction
    return ENTERED if gate_open_nb(vel_div, params.short_threshold if d < 0 else params.long_threshold, d) else NO_SIGNAL


@kernel
def advance_nb(params: Any, state: Any, frame: Any, book: Any, funding: Any, work: Any, out: Any, span: tuple[int, int]) -> tuple[int, int]:
    """Run rows ``span[0] .. span[1]-1``; return ``(next row, trades written)``.

    Stops early when ``out.trades`` is full or the draws run short; the caller empties or refills and goes on at ``next row``.
    ``params`` PARAMS[1], ``state`` STATE[1] (changed in place). Depends on rows up to the current one only.
    """
    p, s = params[0], state[0]
    block, tail, has_book = frame.block, frame.tail, book.rows.shape[0] > 0
    n_out = 0
    for row in range(span[0], span[1]):
        if s.open != 0 and (n_out == out.trades.shape[0] or s.draws_used - work.draws_base + 3 > work.draws.shape[0]):
            return row, n_out
        vel_div, spread = frame.vel_div[row], frame.v50[row] - frame.v750[row]
        count_bar_nb(s, vel_div, frame.ts[row])
        if s.open != 0:
            j, ob = s.p_asset, (np.nan, np.nan, np.nan, np.nan)
            if has_book and j >= 0:
                ob = (
                    book_macro_nb(book, row, CASCADES),
                    book_macro_nb(book, row, REGIME),
                    book_value_nb(book, row, j, IMBALANCE),
                    book_value_nb(book, row, j, WITHDRAWAL),
                )
            price = block[row, j] if j >= 0 else np.nan
            code = IN_POSITION
            reason = exit_reason_nb(p, s, price, vel_div, spread, ob)
            if reason != 0:
                fills = (has_book, np.nan, np.nan)
                if has_book and j >= 0:
                    fills = (True, book_value_nb(book, row, j, QUALITY), book_value_nb(book, row, j, FILL))
                draws = work.draws[s.draws_used - work.draws_base :]
                _exit_nb(p, s, reason, fills, draws, funding, out.trades[n_out], work.notes)
                n_out += 1
                code = EXIT_THIS_BAR
        else:
            code = gate_nb(p, s, vel_div, frame.vol_ok[row])
            if code == ENTERED:
                code = _enter_nb(p, s, block, tail, book, work, row, (vel_div, spread))
        out.codes[row] = code
        s.global_bar_idx += 1
        s.row_in_day += 1
    return span[1], n_out
