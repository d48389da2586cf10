"""``dolphin data pull``: what the exchange has is what lies on disk, in every field, and what it lacks is named."""

from __future__ import annotations

import json
import re

import pytest
from small_exchange import DAY, HOUR, MINUTE, SmallExchange, as_told, market, on_disk, rows_of
from typer.testing import CliRunner

from dolphin.errors import ConfigError, Unavailable
from dolphin.storage.funding import read_funding
from dolphin.storage.indicators import read_series
from dolphin.storage.klines import KlineStore
from dolphin.storage.lock import FileLock
from dolphin.storage.macro import macro_files
from dolphin.storage.schema import DAY_MS, date_of
from flows.cli import app
from flows.pull_source import Source

DATES = ["2024-01-02", "2024-01-03", "2024-01-04"]


def test_every_field_of_every_minute_is_what_the_exchange_said(exchange, pulled, tmp_path):
    exchange.klines = {"BTCUSDT": rows_of(9, bars=2880, bar_ms=MINUTE), "ETHUSDT": rows_of(7, bars=2880, bar_ms=MINUTE)[700:]}
    report = pulled(timeframe="1m", last="2024-01-03")
    for symbol, rows in exchange.klines.items():
        assert on_disk(tmp_path / "out", symbol) == as_told(rows)
    assert [(d.date, d.action, d.rows, d.symbols) for d in report.days] == [(DATES[0], "written", 2180, 2), (DATES[1], "written", 2880, 2)]
    assert (report.holes, report.changed, report.quality.counts, report.unfinished) == ([], (), (), ())
    assert report.found is False
    assert KlineStore(tmp_path / "out").load(DATES[0]).quality.counts == ()


def test_funding_is_what_the_exchange_said_and_the_breaker_reads_it(exchange, pulled, tmp_path):
    report = pulled()
    path = tmp_path / "out" / "funding.parquet"
    found = read_funding(path, ["BTCUSDT", "ETHUSDT"])
    for column, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        assert list(zip(found.ts.tolist(), found.rates[:, column].tolist(), strict=True)) == [
            (ts, float(rate)) for ts, rate in exchange.funding[symbol]
        ]
    assert report.funding == {"BTCUSDT": 9, "ETHUSDT": 9}
    assert macro_files(tmp_path / "out") == {"funding_btc": path}
    assert read_series(path, "funding_btc").values.tolist() == [float(rate) for _, rate in exchange.funding["BTCUSDT"][1:]]


def test_a_longer_pull_asks_for_the_new_days_only(exchange, pulled, tmp_path):
    pulled(last="2024-01-03")
    held = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("2*.parquet")}
    exchange.asked.clear()
    report = pulled()
    assert [day.action for day in report.days] == ["kept", "kept", "written"]
    starts = [int(query["startTime"]) for name, query in exchange.asked if name == "klines" and query["limit"] != "1"]
    assert {date_of(ms) for ms in starts} == {"2024-01-04"}
    assert {name: (tmp_path / "out" / name).read_bytes() for name in held} == held
    assert len(read_funding(tmp_path / "out" / "funding.parquet", ["BTCUSDT"]).ts) == 9
    exchange.asked.clear()
    pulled()
    assert [name for name, query in exchange.asked if query.get("limit") != "1"] == ["exchangeInfo", "time"]


def test_a_symbol_that_joins_later_is_merged_and_nothing_else_is_asked_for(exchange, pulled, tmp_path):
    pulled(symbols=("BTCUSDT",))
    exchange.asked.clear()
    report = pulled(symbols=("BTCUSDT", "ETHUSDT"))
    assert [day.action for day in report.days] == ["merged", "merged", "merged"]
    assert {query["symbol"] for name, query in exchange.asked if name == "klines" and query["limit"] != "1"} == {"ETHUSDT"}
    for symbol, rows in exchange.klines.items():
        assert on_disk(tmp_path / "out", symbol) == as_told(rows)


def test_holes_are_named_by_symbol_and_day_and_never_filled(exchange, pulled, tmp_path):
    """Hours 30 and 31 are missing for both, hour 50 for one; a whole day of one symbol too."""
    exchange.klines["BTCUSDT"] = [row for i, row in enumerate(rows_of(9)) if i not in (30, 31, 50)]
    exchange.klines["ETHUSDT"] = [row for i, row in enumerate(rows_of(7)) if 12 <= i < 48 and i not in (30, 31)]
    exchange.klines["ETHUSDT"] += rows_of(7, bars=96)[72:]
    report = pulled()
    assert [str(hole) for hole in report.holes] == [
        "2024-01-03 06:00..07:00 (2 bars): BTCUSDT, ETHUSDT",
        "2024-01-04 00:00..23:00 (24 bars): ETHUSDT",
        "2024-01-04 02:00..02:00 (1 bars): BTCUSDT",
    ]
    assert report.missing_bars == 4 + 24 + 1
    assert on_disk(tmp_path / "out", "BTCUSDT") == as_told(exchange.klines["BTCUSDT"])


def test_a_day_that_the_whole_exchange_lost_has_no_file(exchange, pulled, tmp_path):
    for symbol, rows in exchange.klines.items():
        exchange.klines[symbol] = [row for row in rows if date_of(row[0]) != "2024-01-03"]
    report = pulled()
    assert [day.action for day in report.days] == ["written", "empty", "written"]
    assert [str(hole) for hole in report.holes] == ["2024-01-03 00:00..23:00 (24 bars): BTCUSDT, ETHUSDT"]
    assert not (tmp_path / "out" / "2024-01-03.parquet").exists()


def test_listings_and_delistings_are_dates_and_no_holes(exchange, pulled):
    """LUNAUSDT stopped in mid-day and is still in exchangeInfo; GONEUSDT is not even there any more."""
    exchange.klines |= {"LUNAUSDT": rows_of(3, bars=40), "GONEUSDT": rows_of(2, first=DAY - DAY_MS, bars=30)}
    exchange.markets["LUNAUSDT"] = market("LUNAUSDT", status="SETTLING")
    report = pulled(symbols=("BTCUSDT", "ETHUSDT", "GONEUSDT", "LUNAUSDT"))
    found = report.to_dict()["listings"]
    assert found["ETHUSDT"] == {"first": "2024-01-02", "last": ""}
    assert found["LUNAUSDT"] == {"first": "2024-01-02", "last": "2024-01-03"}
    assert found["GONEUSDT"] == {"first": "2024-01-01", "last": "2024-01-02"}
    assert [day.symbols for day in report.days] == [4, 3, 2]
    assert report.holes == []
    assert "delisted after 2024-01-03: LUNAUSDT" in report.to_text()


def test_a_delisted_symbol_is_not_among_those_traded_now(exchange, pulled):
    exchange.klines["LUNAUSDT"] = rows_of(3, bars=40)
    exchange.markets["LUNAUSDT"] = market("LUNAUSDT", status="SETTLING")
    assert [x.symbol for x in pulled().listings] == ["BTCUSDT", "ETHUSDT"]


def test_the_largest_by_turnover_are_chosen(exchange, pulled):
    assert [x.symbol for x in pulled(top=1).listings] == ["BTCUSDT"]


def test_a_day_that_is_not_over_is_left_out(exchange, pulled, tmp_path):
    exchange.now_ms = DAY + 3 * DAY_MS - 1
    report = pulled()
    assert report.unfinished == ("2024-01-04",)
    assert [path.name for path in sorted((tmp_path / "out").glob("2*"))] == ["2024-01-02.parquet", "2024-01-03.parquet"]
    assert "2024-01-04: not over yet, left out" in report.to_text()
    exchange.now_ms = DAY + 3 * DAY_MS + HOUR
    assert [day.date for day in pulled(last="").days] == DATES


def test_verify_names_candles_that_changed_and_changes_nothing(exchange, pulled, tmp_path):
    pulled()
    held = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.parquet")}
    assert pulled(verify=True).changed == ()
    exchange.klines["BTCUSDT"][30][4] = "19700.0000"
    exchange.klines["BTCUSDT"][31][8] += 1
    exchange.klines["ETHUSDT"].pop(40)
    report = pulled(verify=True)
    was = as_told(rows_of(9))
    assert [(c.symbol, c.ts_ms) for c in report.changed] == [
        ("BTCUSDT", DAY + 30 * HOUR),
        ("BTCUSDT", DAY + 31 * HOUR),
        ("ETHUSDT", DAY + 52 * HOUR),
    ]
    assert (report.changed[0].was, report.changed[0].now) == (f"close {was[30][4]!r}", "close 19700.0")
    assert (report.changed[1].was, report.changed[1].now) == (f"trades {was[31][7]!r}", f"trades {was[31][7] + 1!r}")
    assert report.changed[2].now == ""
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.parquet")} == held


class Unified(Source):
    """The way that every other exchange goes: CCXT's unified rows."""

    whole = False


def test_other_exchanges_give_five_numbers_a_candle(exchange, pulled, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.pull.Source", Unified)
    report = pulled()
    for symbol, rows in exchange.klines.items():
        assert on_disk(tmp_path / "out", symbol) == as_told(rows, range(6))
    assert report.holes == []


def test_an_exchange_with_short_pages_is_asked_on(exchange, pulled, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.pull.Source", Unified)
    answer = exchange._klines
    exchange._klines = lambda query: answer({**query, "limit": "7"})
    pulled()
    for symbol, rows in exchange.klines.items():
        assert on_disk(tmp_path / "out", symbol) == as_told(rows, range(6))


def test_two_pulls_into_one_folder_and_two_markets_in_one_folder_are_refused(exchange, pulled, tmp_path):
    lock = FileLock(tmp_path / "out" / ".pull" / "lock", "another pull")
    with pytest.raises(Unavailable, match="another pull"):
        pulled()
    lock.release()
    pulled()
    with pytest.raises(ConfigError, match="use another folder"):
        pulled(timeframe="1m")
    with pytest.raises(ConfigError, match="use another folder"):
        pulled(exchange="binance")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": "yesterday"}, "--from yesterday"),
        ({"last": "2023-01-01"}, "before --from"),
        ({"exchange": "nobody"}, "no such exchange"),
        ({"timeframe": "7m"}, "divides a day"),
        ({"symbols": ("BTCUSDT", "BTCUSDT")}, "comes twice"),
        ({"symbols": ("../etc",)}, "is no symbol"),
        ({"symbols": ("NOSUCHUSDT",)}, "no such symbol"),
        ({"url": "http://example.com:80"}, "127.0.0.1"),
        ({"url": "https://127.0.0.1:80"}, "127.0.0.1"),
        ({"url": "http://127.0.0.1.example.com:80"}, "127.0.0.1"),
        ({"url": "http://127.0.0.1:80@example.com"}, "127.0.0.1"),
        ({"url": "http://127.0.0.1"}, "127.0.0.1"),
        ({"url": "http://[::1"}, "127.0.0.1"),
    ],
    ids=str,
)
def test_a_plan_that_makes_no_sense_is_refused(pulled, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        pulled(**changes)


def test_the_verb_tells_all_as_json_and_strict_exits_1(exchange: SmallExchange, tmp_path):
    exchange.klines["BTCUSDT"].pop(30)
    command = ["data", "pull", "--from", "2024-01-02", "--to", "2024-01-04", "--timeframe", "1h", "--url", exchange.url]
    command += ["--out", str(tmp_path / "out"), "--symbols", "BTCUSDT,ETHUSDT"]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["schema"], told["missing_bars"], told["funding"]) == ("dolphin.data-pull/1", 1, {"BTCUSDT": 9, "ETHUSDT": 9})
    assert told["holes"] == [{"date": "2024-01-03", "from": "06:00", "to": "06:00", "bars": 1, "symbols": ["BTCUSDT"]}]
    assert [day["action"] for day in told["days"]] == ["written"] * 3
    strict = CliRunner().invoke(app, [*command, "--strict"])
    assert strict.exit_code == 1
    assert "2024-01-03 06:00..06:00 (1 bars): BTCUSDT" in strict.stdout
    assert CliRunner().invoke(app, ["data", "pull", "--from", "2024-01-02", "--top", "2", "--symbols", "BTCUSDT"]).exit_code == 2
