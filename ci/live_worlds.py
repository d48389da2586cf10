"""A deployment whose gates of live trading hold as far as files, environment and journal go: each test takes away what it is about."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dolphin.config import Settings, config_hash, load, to_toml
from dolphin.live.gates import consent_of
from dolphin.live.permit import make_signing_key
from dolphin.storage.journal import Entry, Journal, Kind, journal_path
from dolphin.storage.state import StateFolder
from flows.live import findings, signed_gate

__all__ = ["DAYS", "LiveDeployment"]

CHECKOUT = Path(__file__).resolve().parent.parent
DAYS = 2
DAY_MS = 86_400_000


class LiveDeployment:
    """State, settings, keys and journal below ``folder``; the exchange is a demo one at ``url``."""

    def __init__(self, folder: Path, url: str, key: str, secret: str, **changes: str) -> None:
        self.folder, self.state = folder, StateFolder(folder / "state").made()
        self.signing_key = folder / "signing.pem"
        signer = make_signing_key(self.signing_key)
        flags = {
            "live.mode": "live", "live.url": url, "live.signers": signer, "live.paper_days": str(DAYS), "venue.stop_distance": "0.05",
            "engine.start_capital": "5000", "paths.state": str(self.state.root), **changes,
        }  # fmt: skip
        self.settings: Settings = load(None, {}, flags).settings
        self.state.settings.write_text(to_toml(self.settings))
        self.environ = {"DOLPHIN_LIVE": consent_of("BLUE"), "DOLPHIN_BINANCE_KEY": key, "DOLPHIN_BINANCE_SECRET": secret}

    def days_on_paper(self, lane: str = "BLUE") -> None:
        """Clean days, compared, up to midnight before now."""
        today = dt.datetime.now(dt.UTC).date()
        step = self.settings.feed.bar_seconds * 1000
        writer = f"trader_{lane.lower()}"
        facts = {"version": "1", "config_hash": "c", "pid": 1, "engine_hash": config_hash(self.settings.engine), "speed": 1.0, "demo": True}
        (self.state.root / "parity").mkdir(exist_ok=True)
        with Journal.open(journal_path(self.state.journals, writer), writer) as journal:
            journal.append(Kind.STARTED, facts, 1)
            for date in (today - dt.timedelta(days=back) for back in range(DAYS, 0, -1)):
                begin = int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp() * 1000)
                journal.append_many([_bar(date.isoformat(), n, begin + (n + 1) * step) for n in range(DAY_MS // step)])
                report = self.state.root / "parity" / f"parity-{lane}-{date}.json"
                report.write_text(json.dumps({"lane": lane, "date": date.isoformat(), "passed": True}))

    def sign(self, capital: float = 12_000.0) -> None:
        """A gate file for a week."""
        signed_gate(self.settings, self.state, "BLUE", capital, 7.0, self.signing_key)

    def dolphin(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``dolphin live ...``."""
        command = [sys.executable, "-m", "flows.cli", "live", *arguments]
        if arguments[0] != "key":
            command += ["--state", str(self.state.root)]
        own = os.environ | {"PYTHONPATH": str(CHECKOUT)} | self.environ | environment
        return subprocess.run(command, cwd=self.folder, env=own, capture_output=True, text=True, timeout=120, check=False)

    def gates(self, **environment: str) -> dict[str, str]:
        """What ``dolphin live check`` finds of each gate; empty = it holds."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self.environ | environment).items():
                patch.setenv(name, value)
            found = findings(load(self.state.settings, os.environ).settings, self.state, "BLUE")
        return {finding.gate: "" if finding.holds else finding.found for finding in found}


def _bar(date: str, number: int, ts_ms: int) -> Entry:
    facts = {"date": date, "bar": number, "vel_div": 0.0, "posture": "APEX", "boost": 1.0, "beta": 0.2, "entry": None, "exit": None}
    return Entry(Kind.BAR, {**facts, "refusals": []}, ts_ms)
