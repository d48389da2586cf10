"""What a scan depends on besides its closes: written into every day table, so that a stale cache is noticed."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from dolphin.kernels.scan_stream import TOLERANCE
from dolphin.types import WINDOWS

__all__ = ["ANCHOR_BARS", "MIN_PARTICIPANTS", "SCANNER_VERSION", "SETTINGS", "settings_hash"]

SCANNER_VERSION: Final = "1"
"""Rises with every change after which the same closes may scan to other numbers."""

ANCHOR_BARS: Final = 1024
"""State is built afresh where ``bar // ANCHOR_BARS`` changes."""

MIN_PARTICIPANTS: Final = 10
"""Fewer give no signal (NaN)."""

SETTINGS: Final = {
    "version": SCANNER_VERSION,
    "windows": list(WINDOWS),
    "instability_windows": list(WINDOWS[:2]),
    "returns": "log, one bar apart",
    "min_finite_share": 0.9,
    "min_variance": 1e-18,
    "missing": "participant mean",
    "min_participants": MIN_PARTICIPANTS,
    "anchor_bars": ANCHOR_BARS,
    "tolerance": TOLERANCE,
}


def settings_hash() -> str:
    """First 16 hex digits of the SHA-256 of ``SETTINGS`` as canonical JSON."""
    text = json.dumps(SETTINGS, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
