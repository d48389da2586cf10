"""A make-believe run for the report's tests: a random market, trades with both ledgers after engine.md 8, and what surrounds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.config import EngineConfig, load
from dolphin.report import Bars, DayQuality, Run, RunContext, VenueRun, VenueTrade, build_run
from dolphin.types import TRADE_FIELDS

START_MS = 1_617_321_600_000  # 2021-04-02 00:00 UTC
DAY_MS = 86_400_000
ENGINE = EngineConfig()


def market(days: int = 2, assets: int = 12, seed: int = 7, bar_seconds: int = 60, outages: bool = False) -> Bars:
    """Random walks with clustered volatility, heavy-tailed vel_div, slow shares, missing prices and (if asked) two missing spells."""
    rng = np.random.default_rng(seed)
    n = days * 86_400 // bar_seconds
    ts = START_MS + (np.arange(n, dtype=np.int64) + 1) * bar_seconds * 1000
    volatility = 6e-4 * np.exp(0.5 * np.sin(np.arange(n) / 900) + 0.3 * rng.standard_normal(n).cumsum() / np.sqrt(n))
    factor = rng.standard_t(4, n) * volatility
    steps = 0.8 * factor[:, None] + rng.standard_t(4, (n, assets)) * volatility[:, None] * 0.7
    closes = 10.0 ** rng.uniform(-2, 4.5, assets) * np.exp(np.cumsum(steps - steps.mean(axis=0), axis=0))
    closes[rng.random((n, assets)) < 0.002] = np.nan
    shares = np.stack(
        [0.45 + 0.15 * np.sin(np.arange(n) / w / 3) + rng.standard_normal(n).cumsum() * 0.02 / w for w in (50, 150, 300, 750)], axis=1
    )
    vel_div = rng.standard_t(3, n) * 0.011
    vel_div[: min(60, n // 4)] = np.nan
    keep = np.ones(n, dtype=bool)
    if outages and days >= 24:
        keep[18 * 1440 + 120 : 18 * 1440 + 270] = False
        keep[23 * 1440 + 240 : 23 * 1440 + 525] = False
    names = [f"{name}USDT" for name in ("ADA", "BCH", "BTC", "DOGE", "DOT", "ETH", "LINK", "LTC", "SOL", "UNI", "XLM", "XRP")]
    names += [f"C{k:02d}USDT" for k in range(max(assets - len(names), 0))]
    return Bars(ts_ms=ts[keep], names=tuple(names[:assets]), closes=closes[keep], vel_div=vel_div[keep], shares=shares[keep])


def trades(
    bars: Bars, direction: int = -1, seed: int = 42, every: int = 1, hold: int = 120
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Trades on random assets whenever vel_div crosses the threshold, and the position left open at the end, if any."""
    rng, draws = np.random.default_rng(seed), np.random.RandomState(seed)  # the engine's own generator
    done: list[dict[str, Any]] = []
    capital = honest = ENGINE.start_capital
    threshold, extreme = (-0.02, -0.05) if direction < 0 else (0.01, 0.04)
    t, n = 100, len(bars.ts_ms)
    while t < n:
        vd = bars.vel_div[t]
        asset = int(rng.integers(len(bars.names)))
        entry = bars.closes[t, asset]
        if not (direction * (vd - threshold) > 0 and np.isfinite(entry)) or rng.random() > 1 / every:
            t += 1
            continue
        strength = float(np.clip((threshold - vd) / (threshold - extreme), 0, 1))
        leverage, fraction = 0.5 + 4.5 * strength**3, 0.02 + 0.18 * strength
        record = {
            "trade_id": len(done), "asset": bars.names[asset], "direction": direction, "entry_bar": t, "entry_ts": int(bars.ts_ms[t]),
            "entry_price": float(entry), "notional": capital * fraction * leverage, "leverage": leverage, "fraction": fraction,
            "bucket": int(3 - 3 * strength), "vel_div": float(vd), "strength": strength, "confidence": 0.5 + 0.4 * strength,
            "dc": "CONFIRM" if rng.random() < 0.6 else "NEUTRAL", "irp_alignment": 0.45 + 0.2 * rng.random(), "ars": 1 + rng.random(),
            "boost": 1.0, "beta": 0.0, "mc_status": "OFF", "posture": "APEX",
        }  # fmt: skip
        out = _exit(bars, asset, t, direction, hold)
        if out is None:
            return done, record
        closed = _ledger(record, *out, capital, honest, draws)
        closed |= {"exit_bar": out[0], "exit_ts": int(bars.ts_ms[out[0]]), "date": _date(bars.ts_ms[out[0]]), "bars_held": out[0] - t}
        done.append({name: closed[name] for name in TRADE_FIELDS})
        capital, honest = closed["capital_after"], closed["honest_capital_after"]
        t = out[0] + 1
    return done, None


def context(bars: Bars, open_position: dict[str, Any] | None = None, **changes: Any) -> RunContext:
    """What surrounds a run: hashes, quality of each day, refusals, flags."""
    days = sorted({_date(ts) for ts in bars.ts_ms})
    gaps = np.flatnonzero(np.diff(bars.ts_ms) > 60_000)
    missing = {_date(bars.ts_ms[g]): ((int(bars.ts_ms[g]), int(bars.ts_ms[g + 1]) - 60_000),) for g in gaps}
    lost = {day: sum(end - begin for begin, end in missing.get(day, ())) // 60_000 for day in days}
    quality = [
        DayQuality(date=day, bars=1440 - lost[day], expected=1440, missing=missing.get(day, ()), counts={"missing prices": 31 + k % 7})
        for k, day in enumerate(days)
    ]
    values: dict[str, Any] = {
        "config": load(flags={"fixed_tp_pct": 0.0095, "seed": 42}),
        "config_hash": "3f9d0c2ab1e47755",
        "version": "0.1.0",
        "git": "158c9cf",
        "data": [{"file": f"{day}.parquet", "sha256": f"{k:064x}"} for k, day in enumerate(days)],
        "universe": list(bars.names),
        "bar_seconds": 60,
        "days": days,
        "quality": quality,
        "refusals": {
            "NO_SIGNAL": 24_210,
            "IN_POSITION": 13_377,
            "WARMING_UP": 100,
            "VOL_REGIME": 2_900,
            "NO_ASSET": 410,
            "DC_CONTRADICT": 1_204,
        },
        "flags": ("funding_missing", "synthetic"),
        "open_position": open_position,
        "seconds": 1.23,
    }
    return RunContext(**values | changes)


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """The simplest publisher: write beside, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    yield temporary
    temporary.replace(path)


def _date(ts: int) -> str:
    return str(np.datetime64((int(ts) - 1) // DAY_MS, "D"))


def _exit(bars: Bars, asset: int, t: int, d: int, hold: int) -> tuple[int, float, str] | None:
    entry = bars.closes[t, asset]
    for held, price in enumerate(bars.closes[t + 1 : t + hold + 1, asset], start=1):
        if np.isfinite(price) and d * (price - entry) / entry >= ENGINE.fixed_tp_pct:
            return t + held, float(price), "FIXED_TP"
        if np.isfinite(price) and held == hold:
            return t + held, float(price), "MAX_HOLD"
    if t + hold + 20 < len(bars.ts_ms):
        last = bars.closes[t : t + hold + 12, asset]
        return t + hold + 12, float(last[np.isfinite(last)][-1]), "STALE_PRICE"
    return None


def _ledger(r: dict[str, Any], bar: int, price: float, reason: str, capital: float, honest: float, draws: Any) -> dict[str, Any]:
    d, entry, notional = r["direction"], r["entry_price"], r["notional"]
    stale = reason == "STALE_PRICE"
    left = price * (1 - d * (0.0050 if stale else 0.0002))
    raw = d * (left - entry) / entry
    if not stale:
        raw += sum(credit for chance, credit in ((0.62, 0.0002), (0.50, 0.0002), (0.40, 0.0005)) if draws.random_sample() < chance)
    fees = (3.14e-4 + (5e-4 if stale else 3.5e-4)) * notional
    bought, sold = entry * (1 + d * 0.0002), price * (1 - d * (0.0050 if stale else 0.0002))
    honest_ret = d * (sold - bought) / bought - 2 * 0.0005
    net = raw * notional - fees
    return r | {
        "exit_price": left, "reason": reason, "gross_pnl": raw * notional, "fees": fees, "net_pnl": net, "capital_after": capital + net,
        "honest_ret": honest_ret, "honest_capital_after": honest * (1 + honest_ret * r["fraction"] * r["leverage"]),
    }  # fmt: skip


def run(days: int = 2, assets: int = 12, seed: int = 7, **changes: Any) -> Run:
    """A whole make-believe run; ``changes`` go into its context."""
    bars = market(days, assets, seed)
    done, left_open = trades(bars)
    return build_run(context(bars, left_open, **changes), done, bars)


def venue(trades: list[dict[str, Any]], style: str = "market", seed: int = 3, **changes: Any) -> VenueRun:
    """Orders and fills of these trades: the parts of each add up, the account closes, some maker entries are missed or partly filled."""
    rng = np.random.default_rng(seed)
    done = [_filled(trade, style, rng) for trade in trades]
    fees = sum(0.001 * trade["notional"] for trade in trades)
    funding = sum(trade.funding for trade in done)
    realised = sum(trade.fills_net for trade in done) + fees - funding
    values: dict[str, Any] = {
        "engine": "nautilus_trader 1.231.0",
        "order_style": style,
        "latency_ms": 150.0,
        "spread_bps": 2.0,
        "orders": 2 * len(done),
        "fills": 2 * len(done) + 5,
        "start_balance": ENGINE.start_capital,
        "end_balance": ENGINE.start_capital + realised - fees + funding,
        "realised": realised,
        "fees": fees,
        "funding": funding,
        "hashes": {"orders": f"{17:064x}", "fills": f"{18:064x}"},
        "files": {"Tearsheet": "tearsheet.html", "Orders": "orders.parquet", "Fills": "fills.parquet", "Positions": "positions.parquet"},
        "trades": done,
        "parity": {"trades": len(done), "equal": True, "first_difference": ""},
    }
    return VenueRun(**values | changes)


def _filled(trade: dict[str, Any], style: str, rng: np.random.Generator) -> VenueTrade:
    n, net, wanted = trade["notional"], trade["net_pnl"], trade["notional"] / trade["entry_price"]
    fate = rng.choice(["full", "part", "none"], p=[0.86, 0.08, 0.06]) if style == "maker" else "full"
    share = {"full": 1 - 0.002 * rng.random(), "part": 0.55, "none": 0.0}[str(fate)]
    known = {"trade_id": trade["trade_id"], "asset": trade["asset"], "direction": trade["direction"], "quantity_model": wanted}
    if share == 0:
        return VenueTrade(
            **known, quantity_filled=0.0, model_net=net, fills_net=0.0, quantity=-net, entry_liquidity="none", exit_liquidity="none"
        )
    sides = ["maker", "taker", "mixed"]
    entry, leave = (str(rng.choice(sides, p=[0.5, 0.4, 0.1])) if style == "maker" else "taker" for _ in range(2))
    parts = {
        "credits": -n * float(rng.choice([0.0, 2e-4, 4e-4, 9e-4])),
        "fees": -n * 3.4e-4,
        "slippage": -n * 1.1e-4 * rng.random(),
        "latency": n * 2.5e-4 * float(rng.standard_normal()),
        "quantity": -net * (1 - share),
        "funding": -n * 1e-4 if rng.random() < 0.15 else 0.0,
    }
    fills = net + sum(parts.values())
    known |= {"quantity_filled": wanted * share, "entry_liquidity": entry, "exit_liquidity": leave}
    return VenueTrade(**known, model_net=net, fills_net=fills, **parts)


def records(run: Run) -> list[dict[str, Any]]:
    """The run's trades as the engine would hand them over."""
    columns = [column.tolist() for column in run.trades.values()]
    return [dict(zip(run.trades, row, strict=True)) for row in zip(*columns, strict=True)]
