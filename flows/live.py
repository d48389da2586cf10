"""Looking at the gates of live trading, and signing a gate file."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Literal

from dolphin.config import Settings
from dolphin.errors import ConfigError, DolphinError
from dolphin.live.facts import gate_file, gather
from dolphin.live.gates import LOOPBACK_ONLY, Account, Finding, examine, refused_address
from dolphin.live.keys import read_keys
from dolphin.live.permit import LONGEST_DAYS, Permit, sign_permit, terms_of
from dolphin.storage.state import StateFolder
from dolphin.types import Posture

__all__ = ["findings", "lane_of", "signed_gate"]

DAY_MS = 86_400_000


def lane_of(name: str) -> Literal["BLUE", "GREEN"]:
    """BLUE or GREEN, however it is written. Raises ``ConfigError``."""
    found = name.upper()
    if found == "BLUE":
        return "BLUE"
    if found == "GREEN":
        return "GREEN"
    raise ConfigError(f"--lane {name}: there are blue and green")


def findings(settings: Settings, state: StateFolder, lane: Literal["BLUE", "GREEN"]) -> tuple[Finding, ...]:
    """Every gate as it is now. Exchange and grid are asked; what they do not say holds nothing."""
    return examine(gather(settings, state, os.environ, lane, _now_ms(), _posture(settings), _account(settings)))


def signed_gate(
    settings: Settings, state: StateFolder, lane: Literal["BLUE", "GREEN"], capital: float, days: float, key: Path
) -> tuple[Permit, Path, str]:
    """Sign a gate file for these settings; the permit, its file, and the signer's public key. Raises ``ConfigError``."""
    if not 0.0 < days <= LONGEST_DAYS:
        raise ConfigError(f"--days {days:g}: more than 0, at most {LONGEST_DAYS}")
    if not 0.0 < capital <= 1e12:
        raise ConfigError(f"--capital {capital:g}: USDT, more than 0")
    now, out = _now_ms(), gate_file(settings, state, lane)
    terms, venue = terms_of(settings), settings.venue.name
    permit = Permit(lane=lane, venue=venue, capital=capital, terms=terms, issued_ms=now, expires_ms=now + int(days * DAY_MS))
    return permit, out, sign_permit(permit, key, out)


def _account(settings: Settings) -> Account | str:
    live = settings.live
    if live.url and refused_address(live.url):
        return "not asked: live.url is no address of this machine"
    if not live.url and (live.mode != "live" or os.environ.get(LOOPBACK_ONLY)):
        return "not asked: the exchange itself is asked in mode live only"
    try:
        keys = read_keys(live.key_file, os.environ)
        from actors.binance import ask_account

        return asyncio.run(ask_account(live, keys))
    except DolphinError as error:
        return str(error)


def _posture(settings: Settings) -> Posture | str:
    if settings.grid.kind != "hazelcast":
        return "grid.kind = embedded: nobody publishes a posture"
    from flows.grid import connect, posture_now

    try:
        grid = connect(settings)
    except DolphinError as error:
        return str(error)
    try:
        found = posture_now(grid)
    finally:
        grid.close()
    return Posture(found["posture"]) if found["state"] == "FRESH" else f"{found['state']} {found['reason'] or ''}".strip()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
