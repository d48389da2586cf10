"""Fixtures shared by every test: where the real data is, and kernels compiled once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real market data (``DOLPHIN_SHARED_DATA`` or ``../shared/data``); skips when it is absent."""
    folder = Path(os.environ.get("DOLPHIN_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))
    if not (folder / "klines").is_dir():
        pytest.skip(f"real data folder {folder} is absent; set DOLPHIN_SHARED_DATA to where it is")
    return folder
