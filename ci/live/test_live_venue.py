"""A live lane against the local exchange: a real node with Nautilus' own adapter, faults on the wire, and the exchange's truth at the end.

Each law: one order a wish (by its id), never a position that nobody knows of, never one without a stop, safe mode where the truth is open.
The rows that are marked run with `bash ci/test -m faults`.
"""

from __future__ import annotations

from collections import Counter

import httpx
import pytest
from live_ground import KEY, SECRET, exchange_process, lane_process


@pytest.fixture
def exchange(tmp_path):
    with exchange_process(tmp_path) as made:
        yield made


@pytest.fixture
def lane(tmp_path, exchange):
    """BLUE (SHORT), stops 5 % away. At the end no id was sent twice, and no secret was written."""
    with lane_process(tmp_path, exchange.url) as made:
        assert made.seen["safe"] == ""
        yield made
    ids = Counter(order["newClientOrderId"] for order in exchange.orders() if "newClientOrderId" in order)
    assert set(ids.values()) <= {1}, ids
    told = (tmp_path / "lane.log").read_text()
    assert "cAnAry" not in told


def purposes(seen):
    return [order[0] for order in seen["orders"]]


def held(seen):
    return seen["held"] != 0.0


def flat(seen):
    return not seen["trip"] and not seen["positions"]


def test_a_round_trip_with_its_stop_at_the_exchange(exchange, lane):
    seen = lane.until(held) if held(lane("enter")) else lane.seen
    assert seen["held"] == exchange.position() < 0.0
    [stop] = exchange.stops()
    assert (stop["orderType"], stop["side"], stop["reduceOnly"], float(stop["quantity"])) == ("STOP_MARKET", "BUY", True, -seen["held"])
    seen = lane("leave")
    assert flat(lane.until(flat))
    assert exchange.position() == 0.0
    assert exchange.stops() == []
    assert [order[1] for order in lane.seen["orders"]] == ["FILLED", "CANCELED", "FILLED"]
    assert lane("stop") == {"stopped": True}


def test_a_position_that_nobody_here_opened_is_safe_mode_and_stays_untouched(tmp_path, exchange):
    exchange.signed("POST", "/fapi/v1/order", symbol="ETHUSDT", side="BUY", type="MARKET", quantity="0.5")
    with lane_process(tmp_path, exchange.url) as lane:
        assert lane.seen["safe"].startswith("POSITION_MISMATCH ETHUSDT: venue 0.5, ours 0")
        seen = lane("enter")
        assert seen["denied"] == {"SAFE_MODE": 1}
        assert len(exchange.orders()) == 1
        lane("stop")
    assert exchange.position("ETHUSDT") == 0.5


@pytest.mark.faults
def test_an_order_that_nobody_here_sent_is_safe_mode(tmp_path, exchange):
    exchange.signed("POST", "/fapi/v1/order", symbol="ETHUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.5", price="2900")
    with lane_process(tmp_path, exchange.url) as lane:
        assert lane.seen["safe"].startswith("UNKNOWN_ORDER")
        assert lane("enter")["denied"] == {"SAFE_MODE": 1}


@pytest.mark.faults
def test_somebody_else_trades_while_the_lane_runs(exchange, lane):
    exchange.signed("POST", "/fapi/v1/order", symbol="ETHUSDT", side="BUY", type="MARKET", quantity="0.5")
    assert lane.until(lambda seen: seen["safe"])["safe"].startswith("POSITION_MISMATCH ETHUSDT")


def test_a_lost_answer_of_an_entry_is_found_again_and_not_sent_twice(exchange, lane):
    """The exchange takes the order and cuts the connection."""
    exchange.fault("lost_ack", 1.0)
    lane("enter")
    lane.until(lambda seen: held(seen) and seen["open"])
    assert [order["side"] for order in exchange.orders()] == ["SELL"]
    lane("leave")
    lane.until(flat)
    assert exchange.position() == 0.0


@pytest.mark.faults
def test_a_lost_answer_while_the_streams_are_cut_is_asked_after(exchange, lane):
    """Only the query, or what is reconciled after the reconnect, can tell."""
    exchange.fault("disconnect", 6.0)
    exchange.fault("lost_ack", 1.0)
    lane("enter")
    lane.until(lambda seen: held(seen) or (seen["safe"] and flat(seen)))
    lane.until(lambda seen: seen["held"] == exchange.position())
    lane("leave") if lane.seen["trip"] else None
    lane.until(lambda seen: flat(seen) and exchange.position() == 0.0)


@pytest.mark.faults
def test_an_order_in_a_storm_of_5xx_is_never_taken_for_rejected(exchange, lane):
    """It was not taken, but only the exchange knows: safe mode, nothing sent twice, nothing held."""
    exchange.fault("server_error", 6.0, share=1.0)
    assert lane("enter")["orders"] == [["ENTRY", "SUBMITTED"]]
    lane.until(lambda seen: seen["safe"].startswith("NO_ANSWER"))
    lane("leave")
    lane.until(flat)
    assert exchange.position() == 0.0
    assert purposes(lane.seen) == ["ENTRY"]


@pytest.mark.faults
def test_an_entry_in_a_storm_of_429_is_refused_and_an_exit_goes_on_until_it_is_through(exchange, lane):
    exchange.fault("rate_limit", 1.5)
    lane("enter")
    lane.until(lambda seen: seen["orders"][0][1] == "REJECTED", 10)
    lane("leave")
    lane("wait", seconds=2.0)
    lane("enter")
    lane.until(lambda seen: held(seen) and seen["open"])
    exchange.fault("rate_limit", 3.0)
    lane("leave")
    lane.until(flat)
    assert exchange.position() == 0.0
    assert not lane.seen["safe"]


@pytest.mark.faults
def test_partial_fills_are_protected_as_a_whole_and_closed_as_a_whole(exchange, lane):
    exchange.fault("partial_fills", 30.0, share=0.3)
    lane("enter")
    lane.until(lambda seen: seen["orders"][0][1] == "FILLED")
    assert lane.seen["held"] == pytest.approx(exchange.position())
    [stop] = exchange.stops()
    assert float(stop["quantity"]) == pytest.approx(-lane.seen["held"])
    lane("leave")
    lane.until(flat)
    assert exchange.position() == 0.0
    assert exchange.stops() == []


@pytest.mark.faults
def test_cut_streams_during_an_open_position_change_nothing(exchange, lane):
    lane("enter")
    lane.until(lambda seen: held(seen) and seen["open"])
    before = lane.seen["held"]
    exchange.fault("disconnect", 3.0)
    for _ in range(60):
        lane("wait", seconds=0.5)
        if exchange.log()["requests"]["POST /fapi/v1/listenKey"] > 1:
            break
    lane("wait", seconds=3.0)
    assert exchange.log()["requests"]["POST /fapi/v1/listenKey"] > 1
    assert lane("bar")["held"] == before == exchange.position()
    assert lane.seen["safe"] == ""
    lane("leave")
    lane.until(flat)
    assert exchange.position() == 0.0


@pytest.mark.faults
def test_an_exit_during_maintenance_waits_for_its_end(exchange, lane):
    """The stop protects meanwhile; what was tried in vain makes it safe mode at most, never a second position."""
    lane("enter")
    lane.until(lambda seen: held(seen) and seen["open"])
    exchange.fault("maintenance", 5.0)
    lane("leave")
    lane.until(lambda seen: flat(seen) and exchange.position() == 0.0)
    lane.until(lambda seen: not seen["open"])
    assert exchange.stops() == []


def test_a_stop_that_the_exchange_refuses_closes_the_position_at_once(tmp_path, exchange):
    """Its trigger is where the price is: the exchange says that it would trigger immediately."""
    with lane_process(tmp_path, exchange.url, distance=1e-9) as lane:
        lane("enter")
        lane.until(flat)
        assert lane.seen["safe"].startswith("STOP_REFUSED BTCUSDT")
        assert purposes(lane.seen) == ["ENTRY", "STOP", "EXIT"]
        assert exchange.position() == 0.0


@pytest.mark.faults
def test_a_stop_that_triggers_at_the_exchange_ends_the_trip(tmp_path):
    """A market at 2000 times our speed comes to the stop soon."""
    with (
        exchange_process(tmp_path, "--symbols", "6", "--speed", "2000") as exchange,
        lane_process(tmp_path, exchange.url, "GREEN", distance=0.004) as lane,
    ):
        lane("enter")
        lane.until(lambda seen: ["STOP", "FILLED"] in seen["orders"], 60)
        lane.until(lambda seen: not seen["positions"])
        assert exchange.position() == 0.0
        assert not lane.seen["safe"]
        assert purposes(lane.seen) == ["ENTRY", "STOP"]
        lane("leave")
        assert flat(lane.seen)
        assert len(lane.seen["trades"]) == 1


@pytest.mark.faults
def test_flatten_closes_and_takes_the_stop_away(exchange, lane):
    lane("enter")
    lane.until(lambda seen: held(seen) and seen["open"])
    lane("flatten")
    lane.until(lambda seen: not seen["positions"] and not seen["open"])
    assert exchange.position() == 0.0
    assert exchange.stops() == []


def test_a_key_that_the_exchange_does_not_know_ends_the_start(tmp_path, exchange):
    with lane_process(tmp_path, exchange.url, key=KEY[::-1]) as lane:
        assert "could not be connected" in lane.seen["error"]
        assert lane.process.wait(30) == 4
    assert exchange.orders() == []


@pytest.mark.faults
def test_the_canary_is_real(exchange):
    """What the other tests look for in vain is what the exchange checks."""
    assert exchange.position() == 0.0
    assert httpx.get(f"{exchange.url}/fapi/v3/positionRisk", headers={"X-MBX-APIKEY": "another"}).status_code == 401
    assert KEY.startswith("cAnAry")
    assert SECRET.startswith("cAnAry")
