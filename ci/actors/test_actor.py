"""The actor is a thin wire: no alpha in it, loadable by its path, the same decisions as the engine, and safe against other threads."""

from __future__ import annotations

import ast
import json
import math
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from builders import day, names
from msgspec import ValidationError
from nautilus_trader.config import ImportableStrategyConfig
from nautilus_trader.trading.config import StrategyFactory

import actors.backtest
from actors.backtest import VenueBacktest
from actors.config import DolphinActorConfig
from actors.dolphin_actor import DolphinActor, parse_acb
from actors.instruments import perpetuals
from dolphin.config import EngineConfig, VenueConfig
from dolphin.engine.nd import NDAlphaEngine
from dolphin.errors import ConfigError
from dolphin.scanner.scan import Scanner

ACTORS = Path(actors.backtest.__file__).parent
ALPHA = {"vel_div", "v50", "v750", "strength", "fraction", "leverage"}
THRESHOLDS = {
    getattr(EngineConfig(), name)
    for name in (
        "short_threshold", "short_extreme", "long_threshold", "long_extreme", "fixed_tp_pct", "max_hold_bars", "min_irp_alignment",
        "dc_min_magnitude_bps", "max_fraction", "tf_exhaust_ratio", "lookback",
    )
}  # fmt: skip
PATHS = {"strategy_path": "actors.dolphin_actor:DolphinActor", "config_path": "actors.config:DolphinActorConfig"}


def alpha_in(source):
    """Lines of ``source`` that compute with, or compare, what only the engine may look into, or that know one of its thresholds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp | ast.AugAssign | ast.BoolOp | ast.IfExp | ast.If | ast.While):
            parts = [node.test] if isinstance(node, ast.IfExp | ast.If | ast.While) else [node]
            for inner in (n for part in parts for n in ast.walk(part)):
                name = getattr(inner, "id", None) or getattr(inner, "attr", None)
                name = inner.value if isinstance(inner, ast.Constant) and isinstance(inner.value, str) else name
                if name in ALPHA:
                    found.append((node.lineno, name))
        number = node.value if isinstance(node, ast.Constant) and type(node.value) in (int, float) else None
        if number is not None and number in {abs(t) for t in THRESHOLDS}:
            found.append((node.lineno, number))
    return found


@pytest.mark.parametrize("path", sorted(ACTORS.glob("*.py")), ids=lambda p: p.name)
def test_there_is_no_alpha_in_the_actors(path):
    """No arithmetic and no comparison on vel_div, velocities, strength, fraction or leverage; no threshold of the engine."""
    assert alpha_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "if tick.vel_div < limit: pass", "x = 2 * leverage", "x = -vel_div", "fraction += y", "x = record['strength'] * 3", "x = -0.02",
        "while v50 - v750: pass", "x = a if tick.v50 else b", "LIMIT = 0.0095", "held >= 120", "x = 0.05", "if tick.vel_div: pass",
        "x = abs(tick.vel_div) > limit", "x = vel_div and y",
    ],
)  # fmt: skip
def test_planted_alpha_would_be_found(line):
    assert alpha_in(f"def on_bar(self, tick):\n    {line}\n" if "\n" not in line else line)


def test_the_import_has_no_effect_and_an_actor_needs_no_venue():
    actor = DolphinActor(DolphinActorConfig())
    assert (actor.direction, actor.posture, actor.engine.capital) == (-1, "APEX", 25_000.0)
    assert DolphinActor(DolphinActorConfig(lane="GREEN", posture="HIBERNATE")).direction == 1


def test_a_config_survives_json():
    config = DolphinActorConfig(
        lane="GREEN", mode="day", universe=("BTCUSDT", "ETHUSDT"), engine=EngineConfig(seed=5), orders=VenueConfig(order_style="maker")
    )
    assert DolphinActorConfig.parse(config.json()) == config
    assert ImportableStrategyConfig.parse(ImportableStrategyConfig(**PATHS, config=config.json_primitives()).json()).config


def test_the_factory_builds_the_actor_from_its_path():
    config = {"lane": "GREEN", "engine": {"max_leverage": 3.0}, "orders": {"name": "SIM"}, "universe": ["BTCUSDT"]}
    actor = StrategyFactory.create(ImportableStrategyConfig(**PATHS, config=config))
    assert type(actor) is DolphinActor
    assert (actor.engine.config.max_leverage, actor.config.orders.name, actor.config.universe) == (3.0, "SIM", ("BTCUSDT",))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"engine": {"max_leverage": 1e9}}, r"float` <= 125.*\$\.engine\.max_leverage"),
        ({"engine": {"short_threshold": 0.5}}, r"float` < -?0.*\$\.engine\.short_threshold"),
        ({"engine": {"leverge": 2}}, r"unknown field `leverge`.*\$\.engine"),
        ({"engine": {"seed": "x"}}, r"Expected `int`, got `str`.*\$\.engine\.seed"),
        ({"orders": {"latency_ms": 0}}, r"\$\.orders\.latency_ms"),
        ({"lane": "RED"}, r"Invalid enum value 'RED'.*\$\.lane"),
        ({"posture": "BRAVE"}, r"Invalid enum value 'BRAVE'.*\$\.posture"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_place(config, match):
    with pytest.raises(ValidationError, match=match):
        StrategyFactory.create(ImportableStrategyConfig(**PATHS, config=config))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"engine": {"min_leverage": 9.0}}, r"engine\.min_leverage = 9\.0 must lie below engine\.max_leverage = 5\.0"),
        ({"bar_seconds": 0}, "bar_seconds = 0: expected a divisor of 86400"),
        ({"bar_seconds": 7}, "bar_seconds = 7: expected a divisor of 86400"),
        ({"source": "bars"}, r"universe = \(\): source bars needs the names"),
        ({"source": "bars", "universe": ["BTCUSDT"], "bar_seconds": 5}, "bar_spec = '1-MINUTE-LAST-EXTERNAL' is 60 s, bar_seconds = 5"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(config, match):
    with pytest.raises(ConfigError, match=match):
        StrategyFactory.create(ImportableStrategyConfig(**PATHS, config=config))


def test_a_backtest_node_on_bars_of_a_catalog_decides_as_the_engine_does(tmp_path):
    """BacktestNode, ordinary bars with bar execution, the actor by its path: trades equal the scanner's signals through the engine."""
    from nautilus_trader.backtest.config import BacktestDataConfig, BacktestEngineConfig, BacktestRunConfig, BacktestVenueConfig
    from nautilus_trader.backtest.node import BacktestNode
    from nautilus_trader.config import LoggingConfig
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    rows, universe = day(seed=3, bars=1150), names(12)
    instruments = perpetuals(dict(zip(universe, rows.closes[0].tolist(), strict=True)), "BINANCE")
    closes, columns, stamps = np.empty_like(rows.closes), [], (rows.ts_ms * 1_000_000).tolist()
    for j, name in enumerate(universe):
        kind = BarType.from_str(f"{name}-PERP.BINANCE-1-MINUTE-LAST-EXTERNAL")
        prices = [instruments[name].make_price(close) for close in rows.closes[:, j]]
        size = instruments[name].make_qty(float(instruments[name].size_increment) * 1e6)
        closes[:, j] = [price.as_double() for price in prices]
        columns.append(
            [Bar(kind, p, p, p, p, size, ts, ts) for i, (p, ts) in enumerate(zip(prices, stamps, strict=True)) if i % 50 or j < 6]
        )
    closes[::50, 6:] = np.nan
    catalog = ParquetDataCatalog(str(tmp_path))
    catalog.write_data(list(instruments.values()))
    for bars in columns:
        catalog.write_data(bars)
    engine = {"short_threshold": -0.002, "short_extreme": -0.01, "max_hold_bars": 20}
    strategy = ImportableStrategyConfig(**PATHS, config={"source": "bars", "universe": list(universe), "engine": engine})
    node = BacktestNode(
        [
            BacktestRunConfig(
                engine=BacktestEngineConfig(strategies=[strategy], logging=LoggingConfig(bypass_logging=True)),
                venues=[
                    BacktestVenueConfig(
                        name="BINANCE", oms_type="NETTING", account_type="MARGIN", starting_balances=["25000 USDT"], bar_execution=True
                    )
                ],
                data=[BacktestDataConfig(catalog_path=str(tmp_path), data_cls=Bar, bar_types=[str(bars[0].bar_type) for bars in columns])],
                dispose_on_completion=False,
                raise_exception=True,
            )
        ]
    )
    node.run()
    actor = node.get_engines()[0].trader.strategies()[0]
    reference, scanner = NDAlphaEngine(EngineConfig(**engine)), Scanner(12)
    reference.begin_day("2025-01-01")
    reference.set_universe(universe)
    for row, ts in zip(closes, rows.ts_ms.tolist(), strict=True):
        scan = scanner.push(row, ts // 60_000 - 1)
        reference.process_row(row, scan.vel_div, scan.velocity[0], scan.velocity[-1], ts)
    reference.end_day()
    assert len(reference.trades) > 5
    assert actor.engine.trades == reference.trades
    assert actor.desk.totals.fills >= 2 * len(reference.trades)
    assert (actor.desk.safe_reason, actor.late, actor._assembler.late) == ("", 0, 0)
    node.dispose()


@pytest.mark.parametrize(
    "payload",
    [
        '{"boost": 1.5, "beta": 0.25, "signals": [1]}',
        b'{"boost": 1.5, "beta": 0.25}',
        bytearray(b'{"beta": 0.25, "boost": 1.5}'),
        {"boost": 1.5, "beta": 0.25},
        {"boost": np.float64(1.5), "beta": np.float32(0.25)},
    ],
    ids=["text", "bytes", "bytearray", "mapping", "numpy"],
)
def test_a_breaker_record_may_be_text_bytes_or_a_mapping(payload):
    assert parse_acb(payload) == (1.5, 0.25)


@pytest.mark.parametrize(("boost", "beta"), [(1, 0), (3, 1), (1.0, 1.0)])
def test_the_bounds_of_a_breaker_record_belong_to_it(boost, beta):
    assert parse_acb(json.dumps({"boost": boost, "beta": beta})) == (float(boost), float(beta))


@pytest.mark.parametrize(
    "payload",
    [
        '{"boost": NaN, "beta": 0.5}', '{"boost": 2, "beta": NaN}', '{"boost": Infinity, "beta": 0.5}', '{"boost": 2, "beta": -Infinity}',
        '{"boost": 0.999999, "beta": 0.5}', '{"boost": 3.000001, "beta": 0.5}', '{"boost": 2, "beta": -1e-9}', '{"boost": 2, "beta": 1.1}',
        '{"boost": 2}', '{"beta": 0.5}', "{}", "[]", "null", "1.5", "", "{", b"\xff\xfe\x00", None, 7, Ellipsis,
        '{"boost": null, "beta": 0.5}', '{"boost": "1.5", "beta": 0.5}', '{"boost": true, "beta": 0.5}', '{"boost": [1.5], "beta": 0.5}',
        '{"boost": 1' + "0" * 400 + ', "beta": 0.5}', "[" * 100_000, {"boost": 10**400, "beta": 0.5}, {"boost": math.nan, "beta": 0.5},
    ],
    ids=lambda p: repr(p)[:30],
)  # fmt: skip
def test_a_bad_breaker_record_is_refused_and_changes_nothing(payload):
    actor = DolphinActor(DolphinActorConfig())
    actor._on_acb_event({"boost": 2.0, "beta": 0.5})
    with pytest.raises(ConfigError, match="circuit breaker record"):
        actor._on_acb_event(payload)
    assert actor._pending_acb == (2.0, 0.5)


@pytest.mark.parametrize("posture", ["apex", "", "BRAVE", None, 3, b"APEX", {"posture": "APEX"}, []], ids=repr)
def test_an_unknown_posture_is_refused_and_changes_nothing(posture):
    actor = DolphinActor(DolphinActorConfig())
    actor._on_posture_event("TURTLE")
    with pytest.raises(ConfigError, match="no such posture; known: APEX, STALKER, TURTLE, HIBERNATE"):
        actor._on_posture_event(posture)
    assert actor._pending_posture == "TURTLE"


class Watched(NDAlphaEngine):
    """An engine that notes who told it which boost."""

    def __init__(self, config):
        super().__init__(config)
        self.told, self.after = [], None

    def update_acb_boost(self, boost, beta):
        self.told.append((threading.get_ident(), boost, beta))
        super().update_acb_boost(boost, beta)
        if self.after is not None:
            after, self.after = self.after, None
            after()


def pair(k):
    """The k-th of 10,000 events: boost and beta that belong together."""
    return {"boost": 1.0 + k / 5_000, "beta": k / 10_000}


def test_ten_thousand_breaker_events_from_eight_threads(monkeypatch):
    """The engine is only called on the loop's thread, a boost always has its own beta, each thread's events come in order, and after
    the last event the engine knows one that was the last of its thread.
    """
    engine, built = Watched(EngineConfig()), []

    def send(number):
        for j in range(1250):
            built[0].actor._on_acb_event(json.dumps(pair(number * 1250 + j)))
            time.sleep(0.0005 if j % 25 == 0 else 0.0)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    original = actors.backtest.Delivery.chunks

    def chunks(delivery, days):
        for tick, chunk in enumerate(original(delivery, days)):
            if tick == 10:
                [thread.start() for thread in threads]
            if tick in range(10, 200):
                time.sleep(0.0005)
            if tick > 10 and len(chunk) == 2 and chunk[0].ts_init == int(days[0].ts_ms[-1]) * 1_000_000:
                [thread.join() for thread in threads]
            yield chunk

    monkeypatch.setattr(actors.backtest.Delivery, "chunks", chunks)
    monkeypatch.setattr(actors.backtest, "DolphinActor", lambda config, *_, **__: DolphinActor(config, engine=engine))
    built.append(VenueBacktest.build(DolphinActorConfig(), [day(bars=1440, assets=12)]))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        built[0].run()
    finally:
        sys.setswitchinterval(interval)
    numbers = [round(beta * 10_000) for _, _, beta in engine.told]
    assert len(numbers) > 10
    assert {ident for ident, *_ in engine.told} == {threading.get_ident()}
    assert [(boost, beta) for _, boost, beta in engine.told] == [tuple(pair(k).values()) for k in numbers]
    for thread in range(8):
        own = [k for k in numbers if k // 1250 == thread]
        assert own == sorted(own)
    assert numbers[-1] % 1250 == 1249
    record = built[0].actor.grid.get("DOLPHIN_PNL_BLUE", "2025-01-01")
    assert (record["boost"], record["beta"]) == tuple(pair(numbers[-1]).values())
    assert built[0].actor._pending_acb is None
    built[0].close()


def test_an_event_that_comes_while_the_engine_is_being_told_waits_for_the_next_bar():
    engine = Watched(EngineConfig())
    actor = DolphinActor(DolphinActorConfig(), engine=engine)
    engine.after = lambda: actor._on_acb_event({"boost": 3.0, "beta": 1.0})
    actor._on_acb_event({"boost": 2.0, "beta": 0.5})
    actor._take_acb()
    assert actor._pending_acb == (3.0, 1.0)
    actor._take_acb()
    actor._take_acb()
    assert [told[1:] for told in engine.told] == [(2.0, 0.5), (3.0, 1.0)]
