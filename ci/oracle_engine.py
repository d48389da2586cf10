"""The engine once more, slow and plain, written from the specification page and not from the kernels: lists, dicts, numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dolphin.types import TRADE_FIELDS

LANE = {-1: (-0.02, -0.05), 1: (0.01, 0.04)}


def ok_price(x):
    return x is not None and math.isfinite(x) and x > 0


def clamp(x, low, high):
    return low if x < low else high if x > high else x


def irp(p, direction):
    r = np.diff(np.asarray(p, dtype=float)) * direction
    c = np.cumsum(r)
    mfe = c.max()
    mae = abs(min(c.min(), 0.0))
    latency = 50 if mfe <= 0 else int(np.argmax(c >= 0.1 * mfe)) + 1
    return mfe, mae, mfe / (mae + 1e-6), np.count_nonzero(r > 0) / len(r), np.var(r), latency


def ars(efficiency, alignment, noise):
    return 0.5 * math.log1p(efficiency) + 0.35 * alignment - 0.15 * noise * 1000


def assert_same_trades(trades, expected):
    """Every field of every trade: numbers to 1e-12, everything else exactly."""
    assert len(trades) == len(expected)
    for got, want in zip(trades, expected, strict=True):
        assert tuple(got) == TRADE_FIELDS
        for name in TRADE_FIELDS:
            if isinstance(want[name], float) and not math.isnan(want[name]):
                assert got[name] == pytest.approx(want[name], rel=1e-12, abs=1e-300), (name, got, want)
            else:
                assert got[name] == want[name] or (math.isnan(got[name]) and math.isnan(want[name])), (name, got, want)


class OracleEngine:
    def __init__(self, config, ob=None, funding=None):
        self.c, self.ob, self.funding = config, ob, funding
        self.capital = self.honest = config.start_capital
        self.pos = None
        self.last_exit, self.bars, self.g = -1, 0, 0
        self.vds, self.hist, self.trades = [], {}, []
        self.buckets = {b: [0, 0] for b in range(4)}
        self.rng = np.random.RandomState(config.seed)
        self.boost, self.beta, self.mc_scale, self.acb_due = 1.0, 0.0, 1.0, False
        self.last_ts = 0

    def update_acb_boost(self, boost, beta):
        if self.pos and self.boost >= 1.25 and boost < 1.10:
            self.acb_due = True
        self.boost, self.beta = boost, beta

    def day(self, date, assets, closes, signals, direction=-1, posture="APEX", vol=None, boost=1.0, beta=0.0, mc="OFF"):
        """signals: list of (vel_div, v50, v750, ts); posture: one for the day, or a list of one a bar."""
        self.date, self.d, self.mc = date, direction, mc
        self.boost, self.beta = boost, beta
        self.mc_scale = 0.5 if mc == "ORANGE" else 1.0
        by_bar = [posture] * len(signals) if isinstance(posture, str) else posture
        self.set_posture(posture if isinstance(posture, str) else posture[0])
        self.banned = set()
        self.assets = list(assets)
        if not len(signals) and self.posture == "HIBERNATE" and self.pos:
            self.close(self.pos["last"], "HIBERNATE_HALT", max(self.g - 1, self.pos["entry_bar"]), None)
        for i, (vd, v50, v750, ts) in enumerate(signals):
            self.set_posture(by_bar[i])
            prices = {a: float(x) for a, x in zip(self.assets, closes[i], strict=True) if ok_price(float(x))}
            self.bar(prices, vd, v50, v750, ts, i >= self.c.lookback if vol is None else vol[i])

    def set_posture(self, posture):
        self.posture, self.halt = posture, self.mc == "RED" or posture in ("TURTLE", "HIBERNATE")

    def bar(self, prices, vd, v50, v750, ts, vol_ok):
        for a, p in prices.items():
            h = self.hist.setdefault(a, [])
            h.append(p)
            if len(h) > 500:
                del h[:-200]
        self.bars += 1
        self.last_ts = ts
        if math.isfinite(vd):
            self.vds.append(vd)
        if self.pos:
            self.manage(prices, vd, v50 - v750, ts)
        elif self.g > self.last_exit and not self.halt and self.bars >= self.c.lookback and vol_ok:
            self.enter(prices, vd, v50 - v750, ts)
        self.g += 1

    def eff(self, asset, ts, direction):
        s = self.ob.get_signal(asset, ts) if self.ob else None
        return None if s is None else direction * s["imbalance_ma5"]

    def enter(self, prices, vd, spread, ts):
        d, c = self.d, self.c
        thr, ext = LANE[d]
        if self.capital <= 0 or not (vd < thr if d < 0 else vd > thr):
            return
        choice = self.select(prices, ts)
        if choice is None:
            return
        a, score, alignment = choice
        p, dc = self.hist[a], 0
        if c.use_direction_confirm and len(p) >= 8:
            chg = (p[-1] - p[-8]) / p[-8] * 1e4
            dc = 1 if -d * chg < -0.75 else -1 if -d * chg > 0.75 else 0
        if dc < 0 and c.dc_skip_contradicts:
            return
        s = clamp((thr - vd) / (thr - ext), 0.0, 1.0)
        confidence, market = 0.5 + 0.4 * s, 1.0
        if self.ob:
            eff, sig = self.eff(a, ts, d), self.ob.get_signal(a, ts)
            if eff is not None:
                if eff > 0.10:
                    confidence *= 1 + min(0.15, eff * sig["imbalance_persistence"] * 0.5)
                elif eff < -0.15 and sig["imbalance_persistence"] > 0.60:
                    return
                elif eff < -0.10:
                    confidence *= max(0.85, 1 - abs(eff) * sig["imbalance_persistence"] * 0.4)
            m = self.ob.get_market_multiplier(d, ts)
            market = 1.0 if m is None else m
        v, e, t = -d * vd, -d * ext, -d * thr
        extreme = v <= e
        slack = 1e-12
        bucket = 0 if v <= 1.5 * e + slack else 1 if v <= e + slack else 2 if v <= (t + e) / 2 + slack else 3
        n, wins = self.buckets[bucket]
        rate = wins / n if n else 0
        bb = 1.3 if rate > 0.6 else 1.1 if rate > 0.55 else 0.7 if rate < 0.4 else 0.85 if rate < 0.45 else 1.0
        bb = 1.0 if n < 10 else bb
        losses = sum(x["net_pnl"] <= 0 for x in self.trades[-5:])
        streak = 1.0 if len(self.trades) < 5 else 0.5 if losses >= 4 else 0.7 if losses >= 3 else 1.1 if losses <= 1 else 1.0
        trend = -d * (self.vds[-1] - self.vds[-10]) if len(self.vds) >= 10 else 0.0
        tm = 1.3 if trend < -0.01 else 0.7 if trend > 0.01 else 1.0
        fraction = (0.02 + s * 0.18) * ((0.70 if extreme else 0.55) / 0.95) * (2.0 if extreme else 1.0) * tm * bb * streak
        fraction = clamp(fraction, 0.02, 0.20)
        regime = self.boost * (1 + self.beta * s**3) * self.mc_scale if self.beta > 0 else self.boost * self.mc_scale
        cap = min(5.0 * regime * market, 6.0)
        if self.posture == "STALKER":
            cap = min(cap, 2.0)
        lev = (0.5 + s**3 * 4.5) * (c.dc_leverage_boost if dc > 0 else 1.0) * regime * market
        lev = min(max(lev, 0.5), cap)
        self.pos = {
            "asset": a, "direction": d, "entry_bar": self.g, "entry_ts": ts, "entry_price": prices[a],
            "notional": self.capital * fraction * lev,
            "leverage": lev, "fraction": fraction, "bucket": bucket, "vel_div": vd, "strength": s, "confidence": confidence,
            "dc": {1: "CONFIRM", 0: "NEUTRAL", -1: "CONTRADICT"}[dc], "irp_alignment": alignment, "ars": score, "boost": self.boost,
            "beta": self.beta, "mc_status": self.mc, "posture": self.posture,
            "last": prices[a], "stale": 0, "adverse": 0, "spread0": spread,
        }  # fmt: skip

    def select(self, prices, ts):
        d = self.d
        if not self.c.use_asset_selection:
            return ("BTCUSDT", math.nan, math.nan) if "BTCUSDT" in prices and "BTCUSDT" not in self.banned else None
        rows = []
        for a in self.assets:
            p = self.hist.get(a, [])
            if len(p) < 50:
                continue
            best = None
            for k in (d, -d):
                _, _, eff, al, noise, lat = irp(p[-50:], k)
                score = ars(eff, al, noise)
                if best is None or score > best[0]:
                    best = (score, k, al, noise, lat)
            score, k, al, noise, lat = best
            if noise > 500 or lat > 20 or al < 0.20:
                continue
            depth = None
            if self.ob and (pl := self.ob.get_placement(a, ts)) is not None:
                depth = pl["depth_quality"]
                adj = 0.10 if depth >= 1.5 else 0.05 if depth >= 1.0 else -0.10 if depth < 0.30 else -0.05 if depth < 0.60 else 0
                score += abs(score) * adj
            rows.append((score, a, k, al, depth))
        rows.sort(key=lambda r: -r[0])
        for score, a, k, al, depth in rows:
            if al >= self.c.min_irp_alignment and k == d and a in prices and a not in self.banned and (depth is None or depth >= 0.20):
                return a, score, al
        return None

    def manage(self, prices, vd, spread, ts):
        q, c = self.pos, self.c
        held = self.g - q["entry_bar"]
        d = q["direction"]
        q["adverse"] = q["adverse"] + 1 if (vd >= 0.02 if d < 0 else vd <= -0.02) else 0
        if q["asset"] not in prices:
            q["stale"] += 1
            if q["stale"] >= 12:
                self.banned.add(q["asset"])
                self.close(q["last"], "STALE_PRICE", self.g, ts)
                self.last_exit = self.g
            return
        price = q["last"] = prices[q["asset"]]
        q["stale"] = 0
        pnl = d * (price - q["entry_price"]) / q["entry_price"]
        tp, sl, hold = c.fixed_tp_pct, c.stop_loss_pct, c.max_hold_bars
        if self.ob:
            m = self.ob.get_macro(ts) or {"cascade_count": 0, "regime_signal": 0}
            sig = self.ob.get_signal(q["asset"], ts)
            eff = 0.0 if sig is None else d * sig["imbalance_ma5"]
            first = second = False
            if m["cascade_count"] > 0:
                first, tp, hold = True, tp * 1.40, hold * 0.50
            elif m["regime_signal"] == 1:
                second, sl = True, 0.10
                tp = tp * 0.60 if pnl > 0 else tp
                hold = hold * 0.40 if eff < -0.10 else hold
            elif m["regime_signal"] == -1 and eff > 0.15:
                hold *= 1.5
            if sig is not None and sig["withdrawal_velocity"] < -0.20 and not first and not second:
                hold = min(hold, 0.40 * c.max_hold_bars)
                tp = tp * 0.75 if pnl > 0 else tp
            hold = int(hold)
        reason = None
        s0 = q["spread0"]
        if self.acb_due:
            reason = "SUBDAY_ACB_NORMALIZATION"
        elif self.posture == "HIBERNATE":
            reason = "HIBERNATE_HALT"
        elif pnl >= tp:
            reason = "FIXED_TP"
        elif pnl <= -sl:
            reason = "STOP_LOSS"
        elif c.vd_enabled and q["adverse"] >= 3:
            reason = "VD_ADVERSE"
        elif c.tf_enabled and abs(spread) <= 0.25 * abs(s0) and pnl > 0:
            reason = "TF_EXHAUST"
        elif c.tf_enabled and spread * s0 < 0 and abs(spread) >= 0.5 * abs(s0):
            reason = "TF_FLIP"
        elif held >= hold:
            reason = "MAX_HOLD"
        if reason:
            self.close(price, reason, self.g, ts)
            self.last_exit = self.g

    def close(self, price, reason, bar, ts):
        q = self.pos
        d, entry, notional = q["direction"], q["entry_price"], q["notional"]
        slip = {"STOP_LOSS": 0.0005, "STALE_PRICE": 0.0050}.get(reason, 0.0002)
        out = price * (1 - d * slip)
        raw = d * (out - entry) / entry
        if reason != "STALE_PRICE":
            if self.rng.random_sample() < 0.62:
                raw += 0.0002
            if reason != "STOP_LOSS" and self.rng.random_sample() < 0.50:
                raw += 0.0002
            if self.ob:
                pl = self.ob.get_placement(q["asset"], ts) if ts is not None and q["asset"] in self.assets else None
                if pl is not None and pl["depth_quality"] > 0.5:
                    raw += pl["fill_probability"] * 5 * 1e-4
            elif self.rng.random_sample() < 0.40:
                raw += 0.0005
        entry_fee = (0.0002 * 0.62 + 0.0005 * 0.38) * notional
        exit_fee = (0.0005 if reason in ("STOP_LOSS", "STALE_PRICE") else 0.0002 * 0.5 + 0.0005 * 0.5) * notional
        gross, fees = raw * notional, entry_fee + exit_fee
        net = gross - fees
        self.capital += net
        exit_ts = self.last_ts
        funding = 0.0
        if self.funding:
            funding = sum(d * rate for t, rate in self.funding.get(q["asset"], []) if q["entry_ts"] < t <= exit_ts)
        h, hx = 0.0002, 0.0050 if reason == "STALE_PRICE" else 0.0002
        honest = d * (price * (1 - d * hx) - entry * (1 + d * h)) / (entry * (1 + d * h)) - 2 * 0.0005 - funding
        self.honest *= 1 + honest * q["fraction"] * q["leverage"]
        n = self.buckets[q["bucket"]]
        n[0] += 1
        n[1] += net > 0
        keep = {k: v for k, v in q.items() if k not in ("last", "stale", "adverse", "spread0")}
        self.trades.append({
            **keep, "trade_id": len(self.trades) + 1, "date": self.date, "exit_bar": bar, "exit_ts": exit_ts, "exit_price": out,
            "reason": reason, "bars_held": bar - q["entry_bar"], "gross_pnl": gross, "fees": fees, "net_pnl": net,
            "capital_after": self.capital, "honest_ret": honest, "honest_capital_after": self.honest,
        })  # fmt: skip
        self.pos, self.acb_due = None, False
