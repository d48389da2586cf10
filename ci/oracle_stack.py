"""The full stack once more, slow and plain, from the specification and the layouts of the files: nothing of the product is called.

Files are read with pandas, kept whole, and searched anew for every question. ``VerdictTable`` stands in for the fitted forewarner.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from types import SimpleNamespace

import numpy as np
import oracle_book
import oracle_safety
import pandas as pd
from oracle_engine import OracleEngine, clamp

HOUR, DAY = 3_600_000, 86_400_000
ASSET = re.compile(r"[A-Z0-9]{2,20}(USDT|-PERP)")
FEATURES = (
    "imbalance", "imbalance_ma5", "imbalance_persistence", "withdrawal_velocity", "depth_quality", "spread_bps", "fill_buy", "fill_sell",
    "mid_move_bps", "mid", "depth",
)  # fmt: skip
FACTORS = ("funding_btc", "dvol_btc", "fng", "taker")
LAG = {"funding_btc": 60_000, "dvol_btc": DAY, "fng": 0, "taker": DAY}
LONG_FORM = {
    "funding_btc": "funding/binance_perp_8h_funding.parquet",
    "dvol_btc": "macro_daily/btc_derivatives_daily.parquet",
    "fng": "macro_daily/fear_greed_index.parquet",
    "taker": "macro_daily/binance_spot_1d_taker.parquet",
}


def midnight(date):
    return int(pd.Timestamp(date, tz="UTC").timestamp() * 1000)


class FileBook:
    """Recorded book features: every row by asset; an answer is the asset's last row, when its snapshot is at most 5 s old."""

    def __init__(self, folder, dates, direction):
        self.direction, self.rows = direction, {}
        for date in dates:
            if (folder / f"{date}.parquet").exists():
                for row in pd.read_parquet(folder / f"{date}.parquet").to_dict("records"):
                    self.rows.setdefault(row["symbol"], []).append(row)

    def known(self, asset, ts):
        rows = self.rows.get(asset, [])
        k = bisect_right(rows, ts, key=lambda row: row["ts"])
        return rows[k - 1] if k and ts - rows[k - 1]["snapshot_ts"] <= 5_000 else None

    def get_signal(self, asset, ts):
        row = self.known(asset, ts)
        return row and {name: row[name] for name in FEATURES[1:4]}

    def get_placement(self, asset, ts):
        """The fill chance is that of the closing order at the touch: a SHORT closes by a buy."""
        row = self.known(asset, ts)
        if row is None or math.isnan(row["depth_quality"]):
            return None
        side = -self.direction * row["imbalance_ma5"]
        fill = clamp(0.62 - 0.30 * side - 0.02 * (row["spread_bps"] - 1), 0.05, 0.95)
        return {"depth_quality": row["depth_quality"], "fill_probability": fill}

    def get_macro(self, ts):
        rows = [row for row in (self.known(asset, ts) for asset in self.rows) if row]
        if not rows:
            return None
        found = oracle_book.macro([[row[name] for name in FEATURES] for row in rows], [row["snapshot_ts"] for row in rows], ts)
        return dict(zip(("cascade_count", "regime_signal", "market_imbalance", "market_agreement"), found, strict=False))

    def get_market_multiplier(self, direction, ts):
        m = self.get_macro(ts)
        if m is None or math.isnan(m["market_imbalance"]):
            return None
        eff, a = direction * m["market_imbalance"], m["market_agreement"]
        return 1 + min(0.20, eff * a) if eff > 0.10 else 1 - min(0.15, abs(eff) * a) if eff < -0.10 else 1.0


def read_factor(folder, name):
    """(known from, value) of every finite row; [] without a file. A CSV is ``ts`` or ``date``, ``value``."""
    if (folder / f"{name}.csv").exists():
        rows = pd.read_csv(folder / f"{name}.csv")
        rows["ts"] = rows["ts"] if "ts" in rows else rows["date"].map(midnight)
    elif (folder / LONG_FORM[name]).exists():
        rows = pd.read_parquet(folder / LONG_FORM[name])
        rows = rows[rows["symbol"] == "BTCUSDT"] if "symbol" in rows else rows
        rows = rows[rows["series"] == name] if "series" in rows else rows
        if name == "funding_btc":
            rows = rows.rename(columns={"funding_rate": "value"})
        if name == "taker":
            rows = rows.assign(value=rows["taker_buy_volume"] / (rows["volume"] - rows["taker_buy_volume"]))
    else:
        return []
    times, values = rows["ts"].astype(int).tolist(), rows["value"].astype(float).tolist()
    if name == "funding_btc":
        values = per_eight_hours(times, values)
    return [(t + LAG[name], v) for t, v in zip(times, values, strict=True) if math.isfinite(v)]


def per_eight_hours(times, rates):
    """The interval of a payment: the median of the last three steps in whole hours; the first payment has none."""
    out = [math.nan]
    for i in range(1, len(times)):
        steps = [times[k] - times[k - 1] if k > 0 else times[i] - times[i - 1] for k in (i, i - 1, i - 2)]
        out.append(rates[i] * 8 / max(round(sorted(steps)[1] / HOUR), 1))
    return out[: len(times)]


def value_at(known, moment):
    """The newest value known at the moment, for 24 hours."""
    past = [(t, v) for t, v in known if t <= moment]
    return past[-1][1] if past and moment - past[-1][0] < DAY else math.nan


def archived(folder, date):
    """Factors of a day with indicator scans: medians of the finite values of the first ten; None without a scan."""
    scans = [np.load(path) for path in sorted((folder / "eigenvalues" / date).glob("scan_*__Indicators.npz"))[:10]]
    return oracle_safety.factors([[float(scan[name]) for name in FACTORS] for scan in scans]) if scans else None


class VerdictTable:
    """A forewarner that answers ``(probability, score)`` by date and keeps what it was asked."""

    in_sample = ()

    def __init__(self, by_date):
        self.by_date, self.asked = by_date, []

    def as_of(self, date):
        def assess(cfg):
            self.asked.append((date, cfg["max_leverage"]))
            return SimpleNamespace(catastrophic_probability=self.by_date[date][0], envelope_score=self.by_date[date][1])

        return SimpleNamespace(assess_config_dict=assess)


def mc_status(probability, score):
    if not (math.isfinite(probability) and math.isfinite(score)) or probability > 0.25 or score < -1.0:
        return "RED"
    return "ORANGE" if score < 0 or probability > 0.10 else "OK"


class OracleStack:
    """Day tables through the slow engine with every layer that is given.

    ``macro``: folder of series and archived indicators, None without a breaker; ``verdicts``: {date: (probability, score)};
    ``postures``: [(ts_ms, posture)]; ``first``: earlier days are known but not run. ``days`` tells what each day was run with.
    """

    def __init__(self, config, paths, *, direction=-1, book=None, macro=None, verdicts=None, postures=(), funding=None, first=""):
        self.tables = {path.stem: pd.read_parquet(path) for path in paths}
        self.book = None if book is None else FileBook(book, list(self.tables), direction)
        self.engine = OracleEngine(config, ob=self.book, funding=funding)
        self.first = first
        self.direction, self.verdicts, self.postures, self.days = direction, verdicts, postures, {}
        self.macro, self.known = macro, None if macro is None else {name: read_factor(macro, name) for name in FACTORS}
        self.w750 = {date: table["v750_lambda_max_velocity"].dropna().median() for date, table in self.tables.items()}

    def run(self):
        for date, table in self.tables.items():
            if date < self.first:
                continue
            assets = [name for name in table.columns if ASSET.fullmatch(name)]
            boost, beta = (1.0, 0.0) if self.known is None else self.boost_beta(date, assets)
            mc = "OFF" if self.verdicts is None else mc_status(*self.verdicts[date])
            rows = table[["vel_div", "v50_lambda_max_velocity", "v750_lambda_max_velocity", "timestamp"]]
            signals = [(*row[:3], int(row[3])) for row in rows.itertuples(index=False)]
            postures = [self.posture_at(signal[3]) for signal in signals]
            self.days[date] = {"boost": boost, "beta": beta, "mc": mc, "postures": set(postures)}
            self.engine.day(date, assets, table[assets].to_numpy(), signals, self.direction, postures, boost=boost, beta=beta, mc=mc)
        return self.engine.trades

    def boost_beta(self, date, assets):
        factors = archived(self.macro, date) or [value_at(self.known[name], midnight(date)) for name in FACTORS]
        if not np.isfinite([*factors, self.w750[date]]).any():
            return 1.0, 0.2
        signals = oracle_safety.signals(*factors)
        boost = 1 + 0.5 * math.log1p(signals) if signals >= 1 else 1.0
        beta = 0.8 if self.w750[date] >= oracle_safety.threshold(self.w750, date, "as_of") else 0.2
        market = self.book and self.book.get_macro(midnight(date))
        if market and market["regime_signal"] == 1:
            leaving = [s for s in (self.book.get_signal(a, midnight(date)) for a in assets) if s and s["withdrawal_velocity"] < -0.20]
            beta *= 1 + 0.25 * len(leaving) / len(assets)
        return boost, beta

    def posture_at(self, ts):
        """A change holds for the bars that close after it."""
        past = [posture for at, posture in self.postures if at < ts]
        return past[-1] if past else "APEX"
