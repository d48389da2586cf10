"""The way of a trader to an exchange: every gate is looked at, with what grid and exchange say now."""

from __future__ import annotations

import asyncio
import os
from typing import Literal

from daemons.service import Context
from dolphin.errors import ConfigError, MissingDependency
from dolphin.grid.view import LocalView, State
from dolphin.live.facts import gather
from dolphin.live.gates import Account, Admission, Facts, admit, refusals
from dolphin.live.keys import ExchangeKeys, read_keys
from dolphin.types import Posture

__all__ = ["admission"]

ASKED: frozenset[str] = frozenset({"posture", "account", "capital", "clock"})
"""Gates that depend on what others answer; the exchange is asked only when all the rest holds."""


def admission(context: Context, lane: Literal["BLUE", "GREEN"]) -> Admission:
    """Raises ``ConfigError`` with the list of gates that do not hold; ``MissingDependency`` when only the posture is not there yet."""
    settings, clock = context.settings, context.clock

    def facts(account: Account | str) -> Facts:
        return gather(settings, context.state, os.environ, lane, clock.wall_ms(), _posture(context), account)

    before = facts("not asked: another gate is shut")
    keys = _keys(settings.live.key_file)
    found = before if keys is None or {f.gate for f in refusals(before)} - ASKED else facts(_account(context, keys))
    shut = refusals(found)
    if [finding.gate for finding in shut] == ["posture"]:
        raise MissingDependency(f"live trading waits for the posture: {shut[0].found}")
    return admit(found, keys or ExchangeKeys("", ""))


def _keys(key_file: str) -> ExchangeKeys | None:
    try:
        return read_keys(key_file, os.environ)
    except ConfigError:
        return None


def _account(context: Context, keys: ExchangeKeys) -> Account | str:
    from actors.binance import ask_account

    try:
        return asyncio.run(ask_account(context.settings.live, keys))
    except MissingDependency as error:
        return str(error)


def _posture(context: Context) -> Posture | str:
    view = LocalView(context.grid, context.clock.monotonic, context.clock.wall_ms)
    try:
        view.poll()
    except MissingDependency as error:
        return str(error)
    said = view.posture()
    return said.value if said.state is State.FRESH else f"{said.state} {said.reason or ''}".strip()
