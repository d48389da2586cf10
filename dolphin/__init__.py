"""DOLPHIN-NAUTILUS: eigenvalue-velocity crypto-perpetuals trading. The one loop is ``NDAlphaEngine.process_bar``.

Names load on first use, so that ``import dolphin`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dolphin.config import load_profile
    from dolphin.engine.nd import NDAlphaEngine
    from dolphin.scanner.scan import Scanner, scan_batch

__version__ = "0.3.0"

__all__ = ["NDAlphaEngine", "Scanner", "__version__", "load_profile", "scan_batch"]

_HOME = {
    "NDAlphaEngine": "dolphin.engine.nd",
    "Scanner": "dolphin.scanner.scan",
    "load_profile": "dolphin.config",
    "scan_batch": "dolphin.scanner.scan",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'dolphin' has no attribute {name!r}")
