"""`dolphin live` as an operator meets it, without an exchange and without a grid: what files, environment and journal decide."""

from __future__ import annotations

import json
import math
import os

import pytest
from live_worlds import LiveDeployment

from dolphin.errors import ConfigError
from flows.cli_paper import paper
from flows.live import lane_of, signed_gate

CANARY = "cAnAryKey0123456789", "cAnArySecret0123456789"
NOWHERE = "http://127.0.0.1:9"
NEED_MORE = {"posture", "account", "capital", "clock"}
"""Gates that ask the grid and the exchange."""


@pytest.fixture
def deployment(tmp_path):
    made = LiveDeployment(tmp_path, NOWHERE, *CANARY)
    made.days_on_paper()
    made.sign()
    return made


def shut(found):
    return {gate for gate, why in found.items() if why} - NEED_MORE


def test_what_files_environment_and_journal_decide_holds(deployment):
    done = deployment.dolphin("check")
    assert done.returncode == 1
    assert "live trading is off: 4 of 13 gates do not hold" in done.stdout
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("SHUT")} == NEED_MORE
    assert "the exchange does not answer" in done.stdout
    told = json.loads(deployment.dolphin("check", "--json").stdout)
    assert (told["schema"], told["open"], len(told["gates"])) == ("dolphin.live-check/1", False, 13)


def test_consent_is_for_this_lane_letter_by_letter(deployment):
    assert shut(deployment.gates(DOLPHIN_LIVE="GREEN-I-ACCEPT-REAL-LOSSES")) == {"consent"}
    assert shut(deployment.gates(DOLPHIN_LIVE="")) == {"consent"}


def test_keys_are_needed(deployment):
    assert shut(deployment.gates(DOLPHIN_BINANCE_KEY="", DOLPHIN_BINANCE_SECRET="")) == {"keys"}


def test_a_setting_that_changed_since_the_signature_shuts_the_gate_file(deployment):
    assert shut(deployment.gates(DOLPHIN__VENUE__MAX_NOTIONAL="2000000")) == {"gate_file"}


def test_the_kill_switch_shuts_its_gate(deployment):
    deployment.state.kill.touch()
    assert shut(deployment.gates()) == {"kill_switch"}


def test_a_day_whose_comparison_found_a_difference_shuts_the_paper_record(deployment):
    [*_, newest] = sorted((deployment.state.root / "parity").iterdir())
    newest.write_text(newest.read_text().replace("true", "false"))
    found = deployment.gates()
    assert shut(found) == {"paper_record"}
    assert "a difference that nobody has explained" in found["paper_record"]


def test_an_address_beyond_this_machine_is_never_spoken_to_here(deployment):
    """The tests' own environment forbids the exchange itself; a demo exchange elsewhere is forbidden always."""
    found = deployment.gates(DOLPHIN__LIVE__URL="")
    assert "DOLPHIN_LOOPBACK_ONLY" in found["address"]
    assert found["account"].startswith("not asked")
    found = deployment.gates(DOLPHIN__LIVE__URL="http://192.0.2.1:80")
    assert "a demo exchange on this machine" in found["address"]
    assert found["account"].startswith("not asked")


def test_signing_says_what_was_permitted_and_refuses_what_is_out_of_bounds(deployment, tmp_path):
    gate = deployment.state.root / "live_BLUE.gate"
    usual = ["sign", "--lane", "blue", "--key", str(deployment.signing_key)]
    assert deployment.dolphin(*usual, "--capital", "250", "--days", "7").returncode == 2, "there is one already"
    gate.unlink()
    done = deployment.dolphin(*usual, "--capital", "250", "--days", "7")
    assert "lane BLUE, BINANCE, up to 250 USDT" in done.stdout
    assert gate.stat().st_mode & 0o7777 == 0o600
    key = deployment.signing_key
    for capital, days in ((0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, 93.0), (1.0, 0.0), (1.0, math.nan)):
        with pytest.raises(ConfigError, match=r"--(capital|days)"):
            signed_gate(deployment.settings, deployment.state, "GREEN", capital, days, key)
    with pytest.raises(ConfigError, match="there are blue and green"):
        lane_of("red")


def test_a_new_key_tells_its_public_half_once(deployment, tmp_path):
    done = deployment.dolphin("key", str(tmp_path / "mine.pem"), "--json")
    told = json.loads(done.stdout)
    assert told["schema"] == "dolphin.live-key/1"
    assert "PRIVATE" not in done.stdout + done.stderr
    assert deployment.dolphin("key", str(tmp_path / "mine.pem")).returncode == 2


def test_no_verb_prints_a_key(deployment):
    done = deployment.dolphin("check", "--debug")
    assert "cAnAry" not in done.stdout + done.stderr
    assert not [path for path in deployment.folder.rglob("*") if path.is_file() and b"cAnAry" in path.read_bytes()]


def test_the_verb_paper_never_trades_live(deployment, monkeypatch):
    """Whatever settings and environment say."""
    started = []
    monkeypatch.setattr(os, "execve", lambda program, command, environment: started.append(environment))
    monkeypatch.setenv("DOLPHIN__LIVE__MODE", "live")
    paper(lane="blue", state=deployment.state.root, changes=["live.mode=live"])
    assert started[0]["DOLPHIN__LIVE__MODE"] == "paper"
