"""Numba, imported without SciPy: it looks for it to read a version and to offer ``np.dot``, and each start would pay for that."""

from __future__ import annotations

import sys

__all__ = ["numba"]

if "scipy" in sys.modules:
    import numba
else:
    sys.modules["scipy"] = None  # type: ignore[assignment]
    try:
        import numba
        import numba.np.arraymath
    finally:
        del sys.modules["scipy"]
