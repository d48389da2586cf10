"""Every order type and every refusal of the demo exchange, on a market that stands still until it is moved."""

from __future__ import annotations

from decimal import Decimal

import pytest
from demo_exchanges import START_MS

from daemons.exchange.funding import FUNDING_MS, funding_rate
from daemons.exchange.server import ExchangeOptions

S = {"symbol": "BTCUSDT"}
LOT = Decimal("0.01")


def levels(desk, side: int) -> list[tuple[int, int]]:
    """Ticks and lots of BTCUSDT's bids (0) or asks (1)."""
    return [tuple(level) for level in desk.venue.book(0).sides[side].tolist()]


def stop(desk, side: str, kind: str, ticks: int, **params: object):
    told = {**S, "algoType": "CONDITIONAL", "side": side, "type": kind, "triggerPrice": desk.venue.instruments[0].price(ticks)}
    return desk.ask("POST algoOrder", **{**told, "quantity": "0.04", **params})


def extreme(desk, seconds: int, sign: int) -> int:
    """Furthest trade of BTCUSDT that is to come in so many seconds, up (+1) or down (-1), in ticks."""
    tape, found = desk.venue.tape, []
    for row in range(tape.row_at(desk.venue.now), tape.row_at(desk.venue.now + seconds * 1000)):
        found += [ticks for n, _, ticks, _, ms, _ in tape.row(row).rows() if n == 0 and ms > desk.venue.now]
    return max(found) if sign > 0 else min(found)


def test_a_market_order_walks_the_book_and_pays_the_takers_fee(desk):
    asks = levels(desk, 1)
    lots = asks[0][1] + 1
    told = desk.buy(desk.venue.instruments[0].quantity(lots))
    spent = (asks[0][0] * asks[0][1] + asks[1][0]) * desk.account.unit(0)
    assert (told["status"], Decimal(told["executedQty"]), Decimal(told["cumQuote"])) == (
        "FILLED",
        lots * desk.venue.instruments[0].lot,
        spent,
    )
    trades = desk.ask("GET userTrades", **S)
    assert [Decimal(t["commission"]) for t in trades] == [Decimal(t["quoteQty"]) * Decimal("0.0005") for t in trades]
    assert desk.account.wallet == 10_000 - sum(Decimal(t["commission"]) for t in trades)
    assert [(e["x"], e["X"]) for e in desk.told("ORDER_TRADE_UPDATE")] == [
        ("NEW", "NEW"),
        ("TRADE", "PARTIALLY_FILLED"),
        ("TRADE", "FILLED"),
    ]
    assert [update["P"][0]["pa"] for update in desk.told("ACCOUNT_UPDATE")][-1] == told["executedQty"]


def test_what_was_taken_is_gone_until_the_book_moves(desk):
    asks = levels(desk, 1)
    desk.buy(desk.venue.instruments[0].quantity(asks[0][1]))
    again = desk.buy("0.02")
    assert Decimal(again["avgPrice"]) == Decimal(desk.venue.instruments[0].price(asks[1][0]))


def test_a_market_order_beyond_the_book_expires_with_the_rest(make_desk):
    desk = make_desk(options=ExchangeOptions(balance=Decimal(10**12)))
    offered = sum(lots for _, lots in levels(desk, 1))
    told = desk.buy(desk.venue.instruments[0].quantity(offered + 5))
    assert told["status"] == "EXPIRED"
    assert Decimal(told["executedQty"]) == offered * LOT


def test_a_round_trip_changes_the_wallet_by_profit_and_fees_exactly(desk):
    desk.buy("0.04")
    desk.wait(90)
    desk.ask("POST order", **S, side="SELL", type="MARKET", quantity="0.04", reduceOnly="true")
    trades = desk.ask("GET userTrades", **S)
    flow = sum(Decimal(t["quoteQty"]) * (-1 if t["buyer"] else 1) - Decimal(t["commission"]) for t in trades)
    assert desk.account.wallet == 10_000 + flow
    assert desk.account.lots(0) == 0
    assert desk.ask("GET v3/positionRisk") == []
    income = desk.ask("GET income", limit=1000)
    assert sum(Decimal(row["income"]) for row in income) == flow


def test_a_sale_through_zero_turns_the_position_at_the_new_price(desk):
    desk.buy("0.04")
    sold = desk.ask("POST order", **S, side="SELL", type="MARKET", quantity="0.06", newOrderRespType="RESULT")
    position = desk.ask("GET v2/positionRisk", **S)[0]
    last = desk.ask("GET userTrades", **S)[-1]
    assert position["positionAmt"] == "-0.02"
    assert sold["status"] == "FILLED"
    assert Decimal(position["entryPrice"]) <= Decimal(last["price"]) * Decimal("1.001")


def test_a_resting_limit_is_filled_as_maker_at_its_price_by_the_tape(desk):
    ticks = extreme(desk, 600, -1) + 1
    assert ticks < levels(desk, 0)[0][0]
    order = desk.limit("BUY", "0.04", ticks)
    assert order["status"] == "NEW"
    assert [o["orderId"] for o in desk.ask("GET openOrders")] == [order["orderId"]]
    desk.wait(700)
    trades = desk.ask("GET userTrades", **S)
    assert {(t["price"], t["maker"]) for t in trades} == {(order["price"], True)}
    assert desk.ask("GET order", **S, orderId=order["orderId"])["status"] == "FILLED"
    assert Decimal(trades[0]["commission"]) == Decimal(trades[0]["quoteQty"]) * Decimal("0.0002")


def test_a_resting_limit_gets_no_more_than_the_tape_traded(make_desk):
    desk = make_desk(options=ExchangeOptions(balance=Decimal(10**12)))
    ticks = extreme(desk, 600, -1) + 1
    first = next(q for _, t, q in tape_after(desk) if t <= ticks)
    order = desk.limit("BUY", desk.venue.instruments[0].quantity(first + 1_000_000), ticks)
    while not desk.ledger.fills:
        desk.wait(1)
    assert desk.ledger.fills[0].lots == first
    assert desk.ask("GET order", **S, orderId=order["orderId"])["status"] == "PARTIALLY_FILLED"


def tape_after(desk):
    """(ms, ticks, lots) of BTCUSDT's next trades."""
    tape = desk.venue.tape
    for row in range(tape.row_at(desk.venue.now), len(tape.bars.ts)):
        yield from ((ms, ticks, lots) for n, _, ticks, lots, ms, _ in tape.row(row).rows() if n == 0 and ms > desk.venue.now)


def test_immediate_or_cancel_takes_what_there_is_within_its_limit(desk):
    asks = levels(desk, 1)
    told = desk.limit("BUY", desk.venue.instruments[0].quantity(asks[0][1] + 3), asks[0][0], timeInForce="IOC")
    assert (told["status"], Decimal(told["executedQty"])) == ("EXPIRED", asks[0][1] * LOT)
    assert desk.ask("GET openOrders") == []


def test_fill_or_kill_is_all_or_nothing(desk):
    asks = levels(desk, 1)
    assert desk.refused("POST order", **S, side="BUY", type="LIMIT", timeInForce="FOK", price=desk.venue.instruments[0].price(asks[0][0]),
                        quantity=desk.venue.instruments[0].quantity(asks[0][1] + 1)) == -5021  # fmt: skip
    assert desk.ask("GET allOrders", **S) == []
    assert desk.limit("BUY", desk.venue.instruments[0].quantity(asks[0][1]), asks[0][0], timeInForce="FOK")["status"] == "FILLED"


def test_post_only_rests_or_is_refused(desk):
    bids, asks = levels(desk, 0), levels(desk, 1)
    price = desk.venue.instruments[0].price(asks[0][0])
    assert desk.refused("POST order", **S, side="BUY", type="LIMIT", timeInForce="GTX", price=price, quantity="0.04") == -5022
    assert desk.limit("BUY", "0.04", bids[0][0], timeInForce="GTX")["status"] == "NEW"


@pytest.mark.parametrize(("kind", "sign"), [("STOP_MARKET", -1), ("TAKE_PROFIT_MARKET", 1)])
def test_a_conditional_order_becomes_a_market_order_at_its_price(desk, kind, sign):
    desk.buy("0.04")
    trigger = extreme(desk, 600, sign)
    algo = stop(desk, "SELL", kind, trigger, reduceOnly="true", clientAlgoId="guard")
    assert [a["algoStatus"] for a in desk.ask("GET openAlgoOrders")] == ["NEW"]
    desk.wait(700)
    assert desk.account.lots(0) == 0
    done = desk.ask("GET algoOrder", algoId=algo["algoId"])
    order = desk.ask("GET order", **S, orderId=done["actualOrderId"])
    assert (done["algoStatus"], order["status"], order["clientOrderId"], order["origType"]) == ("FINISHED", "FILLED", "guard", kind)
    assert [e["X"] for e in desk.told("ALGO_UPDATE")] == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert desk.ask("GET openAlgoOrders") == []


def test_a_stop_that_closes_takes_the_whole_position(desk):
    desk.buy("0.04")
    trigger = extreme(desk, 600, -1)
    stop(desk, "SELL", "STOP_MARKET", trigger, quantity="", closePosition="true")
    desk.buy("0.03")
    desk.wait(700)
    assert desk.account.lots(0) == 0


def test_a_stop_without_a_position_to_reduce_expires_at_its_trigger(desk):
    algo = stop(desk, "SELL", "STOP_MARKET", extreme(desk, 600, -1), reduceOnly="true")
    desk.wait(700)
    assert desk.ask("GET algoOrder", algoId=algo["algoId"])["algoStatus"] == "EXPIRED"
    assert desk.account.lots(0) == 0


def test_conditional_orders_are_refused_where_binance_refuses_them(desk):
    last = int(desk.venue.last[0])
    price = desk.venue.instruments[0].price(last + 10)
    assert desk.refused("POST order", **S, side="SELL", type="STOP_MARKET", quantity="0.04", stopPrice=price) == -4120
    told = {**S, "algoType": "CONDITIONAL", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.04"}
    assert desk.refused("POST algoOrder", **told, triggerPrice=price) == -2021
    stop(desk, "SELL", "STOP_MARKET", last - 1000, clientAlgoId="guard")
    assert desk.refused("POST algoOrder", **told, triggerPrice=desk.venue.instruments[0].price(last - 1000), clientAlgoId="guard") == -4116
    assert desk.ask("DELETE algoOrder", clientAlgoId="guard")["code"] == "200"
    assert desk.refused("DELETE algoOrder", clientAlgoId="guard") == -2011


def test_reduce_only_never_opens_or_turns_a_position(desk):
    told = {**S, "type": "MARKET", "quantity": "0.04", "reduceOnly": "true"}
    assert desk.refused("POST order", **told, side="SELL") == -2022
    desk.buy("0.03")
    assert desk.refused("POST order", **told, side="BUY") == -2022
    sold = desk.ask("POST order", **told, side="SELL", newOrderRespType="RESULT")
    assert (sold["origQty"], sold["status"]) == ("0.03", "FILLED")
    assert desk.account.lots(0) == 0


BAD = [
    ({"quantity": "0.001"}, -1111), ({"quantity": "0"}, -4003), ({"quantity": "x"}, -1100), ({"quantity": ""}, -1102),
    ({"quantity": "0.04", "side": "HOLD"}, -1117), ({"quantity": "0.04", "type": "ICEBERG"}, -1116), ({"quantity": "1e9"}, -2019),
    ({"quantity": "0.04", "positionSide": "LONG"}, -4061), ({"quantity": "0.04", "newClientOrderId": "no spaces"}, -4015),
    ({"quantity": "0.04", "symbol": "NONEUSDT"}, -1121), ({"quantity": "0.04", "type": "LIMIT", "price": "80000"}, -1102),
    ({"quantity": "0.04", "type": "LIMIT", "price": "80000", "timeInForce": "DAY"}, -1115),
    ({"quantity": "0.04", "type": "LIMIT", "price": "80000.05", "timeInForce": "GTC"}, -4014),
    ({"quantity": "0.04", "type": "LIMIT", "price": "120000", "timeInForce": "GTC"}, -4016),
    ({"quantity": "0.04", "type": "LIMIT", "price": "60000", "timeInForce": "GTC", "side": "SELL"}, -4024),
    ({"quantity": "NaN"}, -1130), ({"quantity": "-1"}, -1130),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "code"), BAD, ids=lambda value: str(value))
def test_a_wrong_order_is_refused_with_binances_code_and_leaves_nothing(desk, wrong, code):
    assert desk.refused("POST order", **{**S, "side": "BUY", "type": "MARKET", **wrong}) == code
    assert not desk.ledger.orders
    assert not desk.events


def test_an_order_below_the_least_notional_is_refused_unless_it_reduces(desk):
    ticks = int(desk.venue.last[3])
    cheap, tiny = desk.venue.instruments[3], 4 / (ticks * float(desk.account.unit(3)))
    assert desk.refused("POST order", symbol=cheap.symbol, side="BUY", type="MARKET", quantity=cheap.quantity(max(1, int(tiny)))) == -4164


def test_a_client_id_is_taken_only_while_its_order_is_open(desk):
    """As on Binance: unique among open orders. A market order that is sent again is a second market order."""
    first = desk.limit("BUY", "0.04", levels(desk, 0)[3][0], newClientOrderId="one")
    told = {**S, "side": "BUY", "type": "MARKET", "quantity": "0.04", "newClientOrderId": "one"}
    assert desk.refused("POST order", **told) == -4116
    assert desk.ask("DELETE order", **S, origClientOrderId="one")["status"] == "CANCELED"
    assert desk.refused("DELETE order", **S, orderId=first["orderId"]) == -2011
    desk.ask("POST order", **told)
    desk.ask("POST order", **told)
    assert desk.account.lots(0) == 8


def test_cancelling_several_tells_each_fate(desk):
    near = levels(desk, 0)
    one, two = (desk.limit("BUY", "0.04", near[k][0]) for k in (3, 4))
    told = desk.ask("DELETE batchOrders", **S, orderIdList=f"[{one['orderId']},7,{two['orderId']}]")
    assert [row.get("status", row.get("code")) for row in told] == ["CANCELED", -2011, "CANCELED"]
    desk.limit("BUY", "0.04", near[3][0])
    desk.ask("DELETE allOpenOrders", **S)
    assert desk.ask("GET openOrders") == []


def test_margin_follows_leverage_and_positions(desk):
    assert desk.ask("POST leverage", **S, leverage=2)["leverage"] == 2
    assert desk.refused("POST order", **S, side="BUY", type="MARKET", quantity="0.30") == -2019
    desk.ask("POST leverage", **S, leverage=20)
    desk.buy("0.30")
    account = desk.ask("GET v3/account")
    position = account["positions"][0]
    assert Decimal(position["initialMargin"]) == pytest.approx(abs(Decimal(position["notional"])) / 20)
    assert Decimal(account["availableBalance"]) < Decimal(account["totalMarginBalance"])
    assert desk.refused("POST leverage", **S, leverage=126) == -4028


def test_funding_is_paid_every_eight_market_hours(desk):
    desk.buy("0.04")
    before = desk.account.wallet
    desk.clock.advance(FUNDING_MS / 1000 + 1)
    desk.venue.advance()
    rate, notional = Decimal(f"{funding_rate('BTCUSDT', START_MS + FUNDING_MS):.8f}"), desk.account.notional(0)
    assert desk.account.wallet == before - notional * rate
    assert desk.told("ACCOUNT_UPDATE")[-1]["m"] == "FUNDING_FEE"
    assert desk.ask("GET income", incomeType="FUNDING_FEE")[0]["symbol"] == "BTCUSDT"
    assert desk.ask("GET fundingRate", **S, limit=1)[0]["fundingTime"] == START_MS + FUNDING_MS
