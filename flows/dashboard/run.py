"""The dashboard as a process: lock, socket, token, alerts, and the server on them."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from contextlib import ExitStack
from typing import Final

from dolphin.config import Settings
from dolphin.errors import Unavailable
from dolphin.storage.lock import FileLock
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import Alerts
from dolphin.telemetry.redaction import Redactor
from dolphin.telemetry.sinks import sinks_of
from flows.dashboard.access import Token
from flows.dashboard.follow import cleaner
from flows.dashboard.reader import Clocks, SnapshotReader
from flows.dashboard.server import Site, serve

__all__ = ["run"]

LOOPBACK: Final = "127.0.0.1"


def run(state: StateFolder, settings: Settings, port: int, *, offer_kill: bool) -> str:
    """Serve the page of a deployment until a signal; its address. Raises ``Unavailable`` for a taken port or a second dashboard."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("hazelcast").setLevel(logging.CRITICAL)  # the page says it
    with ExitStack() as opened:
        lock = FileLock(state.processes / "dashboard.lock", "dolphin dashboard")
        opened.callback(lock.release)
        listening = opened.enter_context(_listening(port))
        address = f"http://{LOOPBACK}:{listening.getsockname()[1]}/"
        redact = Redactor(os.environ)
        alerts = Alerts(sinks_of(settings.alerts, os.environ), redact, time.monotonic, window_s=settings.alerts.window_s)
        opened.callback(alerts.close, 2.0)
        token = Token(state.dashboard_token) if offer_kill else None
        if token is not None:
            opened.callback(token.forget)
        clean, clocks = cleaner(redact), Clocks()
        _say(address, state, token)
        serve(Site(state, SnapshotReader(state, settings, clean, clocks), token, alerts.send, clean, clocks), listening)
    return address


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise Unavailable(f"{LOOPBACK}:{port} cannot be had ({error.strerror}): --port N, or 0 for a free one") from error


def _say(address: str, state: StateFolder, token: Token | None) -> None:
    lines = [f"dashboard of {state.root}: {address}"]
    if token is not None:
        lines += [f"token of its kill switch: {token.text}", f"with the token filled in:  {address}#{token.text}"]
    print("\n".join([*lines, "Ctrl-C ends it"]), file=sys.stderr, flush=True)
