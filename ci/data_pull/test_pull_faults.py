"""An exchange that limits, fails, lies or is not there: nothing doubtful is published, and a pull ends with a reason."""

from __future__ import annotations

import json
import socket
import time

import pytest
from aiohttp import web
from small_exchange import DAY, HOUR, as_told, on_disk
from typer.testing import CliRunner

from dolphin.errors import DataError, MalformedFile, QualityError, Unavailable
from dolphin.storage.schema import DAY_MS
from flows.cli import app

TEXTS = {-1001: "Internal error; unable to process your request. Please try again.", -1003: "Too many requests.", -1008: "Overloaded."}


def refusal(status, headers=None, code=-1003):
    """An error as Binance sends one; without ``code`` a page of the cloud before it."""
    text = json.dumps({"code": code, "msg": TEXTS[code]}) if code else "<html><body>Bad gateway</body></html>"
    return web.Response(status=status, headers=headers, text=text, content_type="application/json" if code else "text/html")


def symbol_days(asked):
    """Klines that were asked for: symbol and begin."""
    return {(query["symbol"], query["startTime"]) for name, query in asked if name == "klines" and query["limit"] != "1"}


def whole(exchange, tmp_path):
    """Whether everything lies on disk as the exchange has it, and nothing else does."""
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".pull", "2024-01-02.parquet", "2024-01-03.parquet", "2024-01-04.parquet", "funding.parquet",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out" / ".pull").rglob("*") if path.is_file()) == ["lock", "origin.json"]
    return all(on_disk(tmp_path / "out", symbol) == as_told(rows) for symbol, rows in exchange.klines.items())


def test_a_storm_of_429_is_waited_out_and_no_request_is_sent_before_its_end(exchange, pulled, tmp_path):
    """Two storms of Retry-After 1 s; requests that were on their way when it began are few and end at once."""
    times = []

    def storm(_name, _query, number):
        times.append((time.monotonic(), number in (6, 12)))
        return refusal(429, {"Retry-After": "1"}) if times[-1][1] else None

    exchange.fault = storm
    report = pulled()
    assert whole(exchange, tmp_path)
    assert report.failures == 2
    for began in [moment for moment, refused in times if refused]:
        after = [moment - began for moment, _ in times if moment > began]
        assert sum(delay < 0.95 for delay in after) <= 2, after
        assert min(delay for delay in after if delay >= 0.3) >= 0.95, after


@pytest.mark.parametrize(("status", "code"), [(500, 0), (502, 0), (503, -1001), (503, -1008), (504, 0), (418, -1003)])
def test_server_errors_are_tried_again(exchange, pulled, tmp_path, status, code):
    exchange.fault = lambda _name, _query, number: refusal(status, code=code) if number % 3 == 0 else None
    report = pulled()
    assert whole(exchange, tmp_path)
    assert report.failures >= 3


def test_connections_that_break_are_made_again(exchange, pulled, tmp_path):
    def broken(_name, _query, number):
        if number % 4 == 0:
            raise ConnectionResetError("the wire was cut")

    exchange.fault = broken
    pulled()
    assert whole(exchange, tmp_path)


def test_patience_ends_with_a_reason_and_the_next_pull_asks_for_the_rest_only(exchange, pulled, tmp_path):
    """From its tenth request on the exchange is in maintenance: a day is published, and one symbol of the next is here."""
    exchange.fault = lambda _name, _query, number: refusal(503) if number > 9 else None
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"gave no answer for 2 s: .*goes on where it stopped"):
        pulled(patience=2.0)
    assert time.monotonic() - began < 15
    assert (tmp_path / "out" / "2024-01-02.parquet").exists()
    served = symbol_days(exchange.asked[:9])
    exchange.fault = None
    exchange.asked.clear()
    pulled()
    assert len(served) == 3
    assert len(symbol_days(exchange.asked)) == 3
    assert not served & symbol_days(exchange.asked)
    assert whole(exchange, tmp_path)


def test_a_ban_longer_than_the_patience_is_not_waited_for(exchange, pulled):
    exchange.fault = lambda _name, _query, number: refusal(418, {"Retry-After": "86400"}) if number > 3 else None
    began = time.monotonic()
    with pytest.raises(Unavailable, match="418"):
        pulled()
    assert time.monotonic() - began < 5


def test_an_exchange_that_is_not_there_exits_4_in_one_line(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = ["data", "pull", "--from", "2024-01-02", "--to", "2024-01-02", "--url", url, "--out", str(tmp_path), "--patience", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 4
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "gave no answer for 1 s" in done.stderr
    assert not list(tmp_path.glob("*.parquet"))


def rows_become(change):
    """A fault that spoils every answer of more than one candle of BTCUSDT."""

    def spoil(exchange):
        answer = exchange._klines
        exchange._klines = lambda query: change(answer(query)) if query["symbol"] == "BTCUSDT" and query["limit"] != "1" else answer(query)

    return spoil


def edited(row, column, value):
    return [*row[:column], value, *row[column + 1 :]]


LIES = {
    "a candle of tomorrow": (lambda rows: [*rows, edited(rows[-1], 0, DAY + 6 * DAY_MS)], QualityError, "beyond the exchange's clock"),
    "a candle of another day": (lambda rows: [*rows, edited(rows[-1], 0, DAY - HOUR)], QualityError, "is not one that was asked for"),
    "a candle off the grid": (lambda rows: [edited(rows[0], 0, rows[0][0] + 1), *rows[1:]], QualityError, "off the grid"),
    "two values for one candle": (lambda rows: [*rows, edited(rows[-1], 4, "1.0")], QualityError, "contradicts row 23"),
    "two trade counts for one candle": (lambda rows: [*rows, edited(rows[-1], 8, 3)], QualityError, "contradicts row 23"),
    "every other candle": (lambda rows: rows[::2], QualityError, "comes in steps of 7200 s"),
    "no rows": (lambda rows: {"rows": rows}, MalformedFile, "answered no rows"),
    "a short row": (lambda rows: [rows[0][:6]], MalformedFile, "answered no kline"),
    "a time as text": (lambda rows: [edited(rows[0], 0, str(rows[0][0]))], MalformedFile, "answered no kline"),
    "a time in seconds": (lambda rows: [edited(rows[0], 0, rows[0][0] // 1000)], MalformedFile, "answered no kline"),
    "a price with a line break": (lambda rows: [edited(rows[0], 4, "1.0\n2,2")], MalformedFile, "answered no kline"),
    "no price": (lambda rows: [edited(rows[0], 4, None)], MalformedFile, "answered no kline"),
    "text for a price": (lambda rows: [edited(rows[0], 4, "high")], MalformedFile, "answered no kline"),
}


@pytest.mark.parametrize("name", LIES)
def test_an_answer_that_cannot_be_is_refused_and_its_day_not_published(exchange, pulled, tmp_path, name):
    change, error, message = LIES[name]
    healthy = exchange._klines
    rows_become(change)(exchange)
    with pytest.raises(error, match=message):
        pulled()
    assert not list((tmp_path / "out").glob("2*.parquet"))
    exchange._klines = healthy
    pulled()
    assert whole(exchange, tmp_path)


def test_a_candle_that_comes_twice_is_used_once_and_counted(exchange, pulled, tmp_path):
    rows_become(lambda rows: [*rows, rows[-1], rows[3]])(exchange)
    report = pulled()
    assert dict(report.quality.counts) == {"duplicate": 6}
    assert whole(exchange, tmp_path)


def test_a_price_that_is_none_is_counted_and_stays_as_it_was_told(exchange, pulled, tmp_path):
    """The importer's rule: values are never changed here; where klines are read, they are "no price"."""
    exchange.klines["BTCUSDT"][5][2:5] = ["0", "0", "0"]
    exchange.klines["ETHUSDT"][5][3] = "99999999"
    report = pulled()
    assert dict(report.quality.counts) == {"not_a_price": 1, "ohlc_order": 1}
    assert report.found
    assert whole(exchange, tmp_path)


@pytest.mark.parametrize(
    ("payment", "message"),
    [
        ((DAY + 3 * HOUR, "0.5"), "is no funding rate"),
        ((DAY + 3 * HOUR, "nan"), "answered no funding rate"),
        ((DAY + 3, "0.0002"), "two funding rates"),
    ],
    ids=["in percent", "no number", "another rate for one time"],
)
def test_a_funding_rate_that_cannot_be_is_refused(exchange, pulled, tmp_path, payment, message):
    exchange.funding["BTCUSDT"].insert(1, payment)
    with pytest.raises(DataError, match=message):
        pulled()
    assert not (tmp_path / "out" / "funding.parquet").exists()


def test_a_funding_rate_that_changed_since_the_last_pull_is_refused(exchange, pulled, tmp_path):
    pulled(last="2024-01-03")
    held = (tmp_path / "out" / "funding.parquet").read_bytes()
    ts, _ = exchange.funding["BTCUSDT"][2]
    exchange.funding["BTCUSDT"][2] = (ts, "0.00044444")
    with pytest.raises(QualityError, match=r"the exchange now says 0\.00044444"):
        pulled()
    assert (tmp_path / "out" / "funding.parquet").read_bytes() == held
