"""The circuit breaker's and the forewarner's processes on a virtual clock."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import day
from daemon_worlds import START_MS

from daemons import indicators
from daemons.acb_processor import AcbProcessor, slot_of
from daemons.mc_forewarner import McForewarner
from dolphin.config import PathsConfig, Settings, load_profile
from dolphin.engine.breaker import AdaptiveCircuitBreaker
from dolphin.errors import DataError
from dolphin.forewarner.daily import assess_day
from dolphin.forewarner.table import write_table
from dolphin.grid.features import ShardedFeatureStore
from dolphin.grid.maps import FEATURES, AcbBoost, Forewarning, ObMacro, fields
from dolphin.storage.day_table import DayTable, write_day
from dolphin.storage.indicators import daily_indicators
from dolphin.storage.macro import macro_sources
from dolphin.storage.schema import DAY_MS, SIGNALS, date_of
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import AlertKind

HOUR = 3600.0


def series(folder, **values):
    """Daily series of the eight days up to START_MS; the newest value of each is the given one."""
    folder.mkdir(exist_ok=True)
    quiet = {"funding_btc": 0.0001, "dvol_btc": 50.0, "fng": 50.0, "taker": 1.0}
    for name, value in quiet.items():
        stamps = [START_MS + (k - 8) * DAY_MS + (0 if name != "funding_btc" else DAY_MS - 8 * 3_600_000) for k in range(10)]
        last = 7 if name in ("dvol_btc", "taker", "funding_btc") else 8
        lines = [f"{ts},{values.get(name, value) if k == last else value}" for k, ts in enumerate(stamps[: last + 2])]
        (folder / f"{name}.csv").write_text("ts,value\n" + "\n".join(lines) + "\n")
    return folder


def tables(folder, velocities, partial=()):
    """Day tables before START_MS whose lambda_vel_w750 is constant; the last one is of START_MS' day."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, velocity in enumerate(velocities):
        start = START_MS + (k - len(velocities) + 1) * DAY_MS
        rows = day(bars=1440, assets=10, day_index=k)
        signals = {name: np.full(1440, velocity) for name in SIGNALS}
        ts = start + 60_000 * np.arange(1, 1441)
        closes = np.full((1440, 10), 100.0)
        write_day(folder, DayTable(date_of(start), 60, ts, signals, rows.assets, closes), partial=k in partial, sidecar=False)


def settings_of(tmp_path, **values):
    return Settings(paths=PathsConfig(macro=str(series(tmp_path / "macro", **values)), days=str(tmp_path / "days")))


def boosts(service):
    return [record for record in service.context.journal.records() if record.kind == "acb_boost"]


def test_boost_and_beta_are_the_engines_own_of_the_same_day(world_of, tmp_path):
    """Negative funding and high DVOL: two signals; today's partial median above the earlier days' threshold."""
    settings = settings_of(tmp_path, funding_btc=-0.0009, dvol_btc=90.0)
    velocities = [0.001, 0.002, 0.003, 0.004, 0.005, 0.02]
    tables(tmp_path / "days", velocities, partial={5})
    world = world_of(settings=settings, start_ms=START_MS + 60_000)
    world.start(AcbProcessor)
    world.run(3)
    record = world.grid.get(FEATURES, "acb_boost")
    dates = [date_of(START_MS + (k - 5) * DAY_MS) for k in range(6)]
    factors = daily_indicators(macro_sources(tmp_path / "macro"), [dates[-1]]).by_date()
    wanted = AdaptiveCircuitBreaker(factors, dict(zip(dates, velocities, strict=True))).get_dynamic_boost_for_date(dates[-1])
    assert (record["boost"], record["beta"], record["signals"]) == (wanted["boost"], wanted["beta"], wanted["signals"])
    assert record["boost"] == pytest.approx(1.549, abs=1e-3)
    assert record["beta"] == 0.8
    assert record["date"] == "2025-01-01"
    assert record["fence"] > 0


def test_it_is_evaluated_at_half_past_midnight_at_eight_and_for_life_every_four_hours(world_of, tmp_path):
    settings = settings_of(tmp_path)
    for start_s, wanted in ((-20.0, 30.0), (4 * HOUR - 20.0, 4 * HOUR), (8 * HOUR - 20.0, 8 * HOUR)):
        world = world_of(settings=settings, start_ms=START_MS + int(start_s * 1000))
        service = world.start(AcbProcessor)
        world.run(90)
        times = [(record.ts_ms - START_MS) / 1000 for record in boosts(service)]
        assert len(times) == 2
        assert 0 <= times[1] - wanted <= 5.01


def test_slots_begin_at_half_a_minute_past_midnight():
    assert slot_of(START_MS + 29_999) == ("2024-12-31", 6)
    assert slot_of(START_MS + 30_000) == ("2025-01-01", 1)
    assert slot_of(START_MS + 8 * 3_600_000) == ("2025-01-01", 3)


def test_a_new_batch_is_evaluated_at_once(world_of, tmp_path):
    world = world_of(settings=settings_of(tmp_path), start_ms=START_MS + 3_600_000)
    service = world.start(AcbProcessor)
    world.run(30)
    assert len(boosts(service)) == 1
    series(tmp_path / "macro", dvol_btc=90.0)
    world.run(6)
    assert [record.payload["boost"] for record in boosts(service)] == [1.0, pytest.approx(1.3466, abs=1e-3)]


def test_a_damaged_source_is_told_and_the_last_boost_goes_on(world_of, tmp_path):
    world = world_of(settings=settings_of(tmp_path), start_ms=START_MS + 3_600_000)
    service = world.start(AcbProcessor)
    world.run(3)
    before = world.grid.get(FEATURES, "acb_boost")
    (tmp_path / "macro" / "dvol_btc.csv").write_bytes(b"PAR1\x00\xff")
    world.run(70)
    assert service.status == "bad_source"
    assert world.grid.get(FEATURES, "acb_boost") == before
    assert any(alert.kind is AlertKind.STALE_FEED and "dvol_btc.csv" in alert.text for alert in world.told)
    series(tmp_path / "macro", dvol_btc=90.0)
    world.run(40)
    assert (service.status, world.grid.get(FEATURES, "acb_boost")["boost"] > 1.3) == ("ok", True)


def test_of_two_writers_one_publishes_and_the_other_takes_over_with_a_higher_fence(world_of, tmp_path, memory_folder):
    world = world_of(settings=settings_of(tmp_path), start_ms=START_MS + 3_600_000)
    first = world.start(AcbProcessor)
    second = world.start(AcbProcessor, StateFolder(memory_folder / "other"))
    world.run(60)
    assert (first.status, second.status) == ("ok", "standby")
    before = world.grid.get(FEATURES, "acb_boost")
    frozen = next(r for r in world.runners if r.service is first)
    world.runners.remove(frozen)
    world.run(30)
    after = world.grid.get(FEATURES, "acb_boost")
    assert (second.status, after["fence"] > before["fence"]) == ("ok", True)
    world.runners.append(frozen)
    world.run(30)
    assert first.status == "standby"
    assert world.grid.get(FEATURES, "acb_boost") == after


def test_an_emptied_grid_gets_the_boost_again_and_only_from_the_holder(world_of, tmp_path):
    world = world_of(settings=settings_of(tmp_path), start_ms=START_MS + 3_600_000)
    world.start(AcbProcessor)
    world.run(10)
    world.grid.wipe()
    world.run(11)
    assert world.grid.get(FEATURES, "acb_boost")["boost"] == 1.0


def test_without_series_the_boost_is_one_and_every_factor_unknown(world):
    world.start(AcbProcessor)
    world.run(3)
    record = world.grid.get(FEATURES, "acb_boost")
    assert (record["boost"], record["beta"]) == (1.0, 0.2)
    assert set(record["factors"].values()) == {None}


def test_withdrawing_books_raise_beta_in_a_calm_market(world_of, tmp_path):
    """OB-4: regime_signal 1 and half of the books withdrawing: beta * (1 + 0.25 * 0.5)."""
    world = world_of(settings=settings_of(tmp_path))
    macro = ObMacro(cascade_count=0.0, regime_signal=1.0, market_imbalance=0.0, market_agreement=1.0, n_assets=2, n_stale=0, ts_ms=START_MS)
    world.grid.put(FEATURES, "ob_macro", fields(macro))
    store = ShardedFeatureStore(world.grid, world.clock.wall_ms)
    store.put("BTCUSDT", "book", {"withdrawal_velocity": -0.5})
    store.put("ETHUSDT", "book", {"withdrawal_velocity": 0.1})
    world.start(AcbProcessor)
    world.run(1)
    assert world.grid.get(FEATURES, "acb_boost")["beta"] == pytest.approx(0.2 * 1.125)


HOSTILE = ["\x00", "[" * 5000, '{"ts_ms":1}', '{"schema":"s","ts_ms":1,"fence":"x","value":5}']


@pytest.mark.parametrize("text", HOSTILE, ids=["nul", "deep", "no schema", "types"])
def test_hostile_values_under_every_key_that_is_read_change_nothing(world, text):
    for key in ("acb_boost", "ob_macro"):
        world.grid.plant(FEATURES, key, text)
    world.grid.plant("DOLPHIN_FEATURES_SHARD_07", "book_BTCUSDT", text)
    service = world.start(AcbProcessor)
    world.run(12)
    assert service.status == "ok"
    assert world.grid.get(FEATURES, "acb_boost")["beta"] == 0.2


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("made_up", Path(__file__).parent.parent / "forewarner" / "made_up.py")
    made_up = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made_up)
    path = tmp_path_factory.mktemp("trials") / "trials.parquet"
    write_table(path, made_up.table(60))
    return path


def test_the_forewarner_publishes_what_the_plain_function_says_for_the_day(world_of, tmp_path, trials):
    """First day: the day before has no table and the trials do not know it: RED. The next day its table is there."""
    settings = Settings(paths=PathsConfig(forewarner=str(trials), days=str(tmp_path / "days")), engine=load_profile("champion"))
    world = world_of(settings=settings, start_ms=START_MS + DAY_MS - 600_000)
    service = world.start(McForewarner)
    world.run(5)
    first = world.grid.get(FEATURES, "mc_forewarner")
    assert (first["status"], first["envelope_score"], first["date"]) == ("RED", None, "2025-01-01")
    tables(world.state.days, [0.001])
    world.run(700)
    second = world.grid.get(FEATURES, "mc_forewarner")
    report = assess_day(service._forewarner, settings.engine, "2025-01-02", [world.state.days / "2025-01-01.parquet"])
    assert (second["status"], second["date"]) == (report.mc_status, "2025-01-02")
    assert second["catastrophic_probability"] == report.catastrophic_probability
    assert json.loads(json.dumps(second))["model_hash"] == service._forewarner.table.plan.digest[:16]
    assert service.status == "ok"


def test_a_day_that_has_just_begun_waits_for_the_table_of_the_day_before(world_of, tmp_path, trials):
    """The scanner ends the day at the same moment: a RED in between would halt a fast replay for a day. A table that never comes is RED."""
    settings = Settings(paths=PathsConfig(forewarner=str(trials), days=str(tmp_path / "days")), engine=load_profile("champion"))
    world = world_of(settings=settings, start_ms=START_MS + DAY_MS - 60_000)
    service = world.start(McForewarner)
    world.run(70)
    assert world.grid.get(FEATURES, "mc_forewarner")["date"] == "2025-01-01"
    world.end(service, killed=True)
    world.start(McForewarner)
    world.run(5)
    assert world.grid.get(FEATURES, "mc_forewarner")["date"] == "2025-01-01"
    world.run(25)
    late = world.grid.get(FEATURES, "mc_forewarner")
    assert (late["date"], late["status"], late["envelope_score"]) == ("2025-01-02", "RED", None)
    tables(world.state.days, [0.001])
    world.run(10)
    assert world.grid.get(FEATURES, "mc_forewarner")["ts_ms"] > late["ts_ms"]


def test_a_day_in_progress_that_becomes_whole_while_it_is_read_is_no_bad_source(tmp_path, monkeypatch):
    """The scanner ends its day while the breaker reads the folder."""
    tables(tmp_path, [0.001, 0.002], partial=(1,))
    partial, whole = tmp_path / "2025-01-01.partial.parquet", tmp_path / "2025-01-01.parquet"
    read = indicators.w750_of_days

    def ended(paths):
        if partial in paths:
            tables(tmp_path, [0.001, 0.002])
        return read(paths)

    monkeypatch.setattr(indicators, "w750_of_days", ended)
    found = indicators.Indicators(None, (tmp_path,)).breaker("2025-01-02", lambda: None)
    assert found.get_dynamic_boost_for_date("2025-01-02", None)["boost"] == 1.0
    assert not partial.exists()
    assert set(found._w750) == {"2024-12-31", "2025-01-01"}
    whole.write_bytes(b"no table")
    with pytest.raises(DataError):
        indicators.Indicators(None, (tmp_path,)).breaker("2025-01-02", lambda: None)


def test_without_trials_nothing_is_published_and_an_operator_hears_it(world):
    service = world.start(McForewarner)
    world.run(20)
    assert (service.status, world.grid.get(FEATURES, "mc_forewarner")) == ("no_table", None)
    assert [alert.key for alert in world.told] == ["mc_forewarner"]


def test_a_wall_clock_that_was_wrong_and_is_set_right_costs_no_record_its_credit(world_of, tmp_path, trials):
    """What was stamped by the wrong clock comes from the future for everybody: it is published again, and only then."""
    paths = PathsConfig(forewarner=str(trials), macro=str(series(tmp_path / "macro")), days=str(tmp_path / "days"))
    world = world_of(settings=Settings(paths=paths))
    right = world.clock.wall_ms
    world.clock.wall_ms = lambda: right() + 3_600_000
    world.start(McForewarner)
    world.start(AcbProcessor)
    world.run(60)
    keys = "mc_forewarner", "acb_boost"
    wrong = [world.grid.get(FEATURES, key)["ts_ms"] for key in keys]
    assert all(stamp > right() for stamp in wrong)
    world.clock.wall_ms = right
    world.run(15)
    stamps = [world.grid.get(FEATURES, key)["ts_ms"] for key in keys]
    assert all(0 <= right() - stamp <= 15_000 for stamp in stamps)
    world.run(600)
    assert [world.grid.get(FEATURES, key)["ts_ms"] for key in keys] == stamps


def test_records_of_both_are_what_readers_expect():
    assert AcbBoost.__struct_config__.tag == "dolphin.acb/1"
    assert Forewarning.__struct_config__.tag == "dolphin.forewarner/1"
