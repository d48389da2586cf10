"""Gates of live trading: each alone keeps it shut, only all together open it, and what is not known holds nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolphin.deployment import LiveConfig
from dolphin.errors import ConfigError
from dolphin.live.gates import GATES, Account, Facts, admit, consent_of, examine, refusals, refused_address
from dolphin.live.keys import ExchangeKeys
from dolphin.live.paper_record import PaperRecord
from dolphin.live.permit import Permit
from dolphin.types import Posture

NOW = 1_764_000_000_000
PERMIT = Permit(lane="BLUE", venue="BINANCE", capital=1_000.0, terms="abc", issued_ms=NOW - 1, expires_ms=NOW + 1)
ACCOUNT = Account(balance=900.0, one_way=True, can_trade=True, skew_ms=-20.0)
KEYS = ExchangeKeys("canary-key", "canary-secret")
LIVE = LiveConfig(mode="live", url="http://127.0.0.1:1234")
OPEN = Facts(
    lane="BLUE", now_ms=NOW, live=LIVE, venue="BINANCE", terms="abc", start_capital=1_000.0, stop_distance=0.05,
    consent="BLUE-I-ACCEPT-REAL-LOSSES", loopback_only=True, keys="",
    permit=PERMIT, record=PaperRecord(14, ""), kill=False, posture=Posture.APEX, account=ACCOUNT,
)  # fmt: skip


SHUT = {
    "mode": [{"live.mode": "paper"}],
    "consent": [{"consent": text} for text in ("", "yes", consent_of("GREEN"), consent_of("BLUE").lower(), " " + consent_of("BLUE"))],
    "address": [
        {"live.url": u} for u in ("", "http://a.localhost:1", "https://a.com", "http://127.0.0.1.com", "127.0.0.1", "http://0.0.0.0:1")
    ],
    "keys": [{"keys": "none"}],
    "gate_file": [
        {"permit.lane": "GREEN"},
        {"permit.venue": "OKX"},
        {"permit.terms": "abd"},
        {"permit.expires_ms": NOW},
        {"permit.issued_ms": NOW + 1},
    ],
    "paper_record": [{"record": PaperRecord(13, "2025-11-01: safe mode")}, {"record": "no journal"}, {"live.paper_days": 15}],
    "reconciliation": [{"live.reconciliation": False}],
    "protection": [{"stop_distance": 0.0}, {"stop_distance": math.nan}],
    "kill_switch": [{"kill": True}, {"kill": None}],
    "posture": [{"posture": "stale"}, {"posture": ""}],
    "account": [{"account.one_way": False}, {"account.can_trade": False}],
    "capital": [{"account.balance": balance} for balance in (1_000.01, 0.0, -5.0, math.nan, math.inf)]
    + [{"start_capital": 1_001.0}, {"start_capital": math.nan}],
    "clock": [{"account.skew_ms": skew} for skew in (501.0, -501.0, math.nan)],
}
"""Of each gate, facts that shut it and nothing else; ``live.mode`` is a field of the settings among the facts, and so on."""
ONE_BY_ONE = [(gate, change) for gate, changes in SHUT.items() for change in changes]


def changed(change):
    """``OPEN`` with other facts."""
    facts = OPEN
    for dotted, value in change.items():
        part, _, name = dotted.rpartition(".")
        facts = replace(facts, **{part or name: _with(getattr(facts, part), name, value) if part else value})
    return facts


def _with(part, name, value):
    return msgspec.structs.replace(part, **{name: value}) if isinstance(part, msgspec.Struct) else replace(part, **{name: value})


def names(found):
    return [finding.gate for finding in found]


def test_live_is_open_when_every_gate_holds():
    assert refusals(OPEN) == ()
    assert names(examine(OPEN)) == [name for name, _, _ in GATES] == list(SHUT)


@pytest.mark.parametrize(("gate", "change"), ONE_BY_ONE, ids=[f"{gate}-{i}" for i, (gate, _) in enumerate(ONE_BY_ONE)])
def test_one_gate_that_does_not_hold_keeps_live_shut_and_says_how_to_mend_it(gate, change):
    [finding] = refusals(changed(change))
    assert finding.gate == gate
    assert finding.found not in ("", "holds")
    assert finding.mend


@given(st.sets(st.sampled_from(sorted(SHUT))), st.data())
def test_live_is_open_only_when_all_hold(broken, data):
    """Any combination is shut by exactly the gates that were broken."""
    change = {}
    for gate in sorted(broken):
        change |= data.draw(st.sampled_from(SHUT[gate]))
    assert set(names(refusals(changed(change)))) == broken


@pytest.mark.parametrize(("gate", "change"), ONE_BY_ONE, ids=[f"{gate}-{i}" for i, (gate, _) in enumerate(ONE_BY_ONE)])
def test_no_way_to_the_exchange_is_made_when_one_gate_does_not_hold(gate, change):
    with pytest.raises(ConfigError, match=rf"1 of 13 gates do not hold: {gate}: .+ -> .+") as refused:
        admit(changed(change), KEYS)
    assert refused.value.exit_code == 2


def test_the_way_to_the_exchange_ends_with_the_permission():
    admission = admit(OPEN, KEYS)
    assert not admission.over(NOW)
    assert admission.over(PERMIT.expires_ms)
    assert "canary" not in repr(admission)


def test_nothing_is_known_nothing_holds_but_the_safe_settings():
    """The defaults of all facts are their worst."""
    facts = Facts(lane="BLUE", now_ms=NOW, live=LiveConfig(), venue="BINANCE", terms="abc", start_capital=25_000.0, loopback_only=True)
    assert set(names(examine(facts))) - set(names(refusals(facts))) == {"reconciliation"}


def test_without_an_answer_of_the_exchange_account_capital_and_clock_are_shut():
    assert names(refusals(replace(OPEN, account="no answer"))) == ["account", "capital", "clock"]


def test_without_a_gate_file_no_capital_is_permitted():
    assert names(refusals(replace(OPEN, permit="there is none"))) == ["gate_file", "capital"]


def test_the_exchange_itself_is_an_address_outside_of_tests():
    """An empty url is the adapter's own address: allowed, unless this machine is told to keep to itself."""
    assert refusals(changed({"loopback_only": False, "live.url": ""})) == ()


@pytest.mark.parametrize(
    ("url", "inside"), [("http://127.0.0.1:80", True), ("http://[::1]:80", True), ("http://10.0.0.1:80", False), ("http://[::", False)]
)
def test_an_address_is_this_machines_or_refused(url, inside):
    assert (refused_address(url) == "") is inside
