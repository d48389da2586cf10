"""The decorator of every kernel: nogil, cached in a folder that is named after the kernels' own source.

Numba keys its cache on the file of the outer function only, so an edited helper in another file would leave a stale
machine-code copy of its caller behind. Here the folder's name carries a hash of all kernel sources: edited kernels start in a
fresh folder. ``NUMBA_CACHE_DIR`` is honoured as the parent (each daemon gets its own: processes that share one can crash).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, overload

import numba
import platformdirs

import dolphin.types

__all__ = ["cache_dir", "kernel"]


@cache
def cache_dir() -> Path:
    """Folder of the compiled kernels: ``<user cache or NUMBA_CACHE_DIR>/dolphin-kernels-<hash of the sources>``."""
    digest = hashlib.sha256(f"{numba.__version__}".encode())
    for path in [*sorted(Path(__file__).parent.glob("*.py")), Path(dolphin.types.__file__)]:
        digest.update(path.read_bytes())
    parent = os.environ.get("NUMBA_CACHE_DIR") or platformdirs.user_cache_dir("dolphin")
    return Path(parent) / f"kernels-{digest.hexdigest()[:16]}"


@overload
def kernel[F: Callable[..., Any]](function: F) -> F: ...


@overload
def kernel[F: Callable[..., Any]](function: None = None, **options: Any) -> Callable[[F], F]: ...


def kernel[F: Callable[..., Any]](function: F | None = None, **options: Any) -> Any:
    """Compile ``function`` with numba: nogil, cached, IEEE arithmetic (no fastmath unless asked for).

    A name with a leading underscore is for other kernels only: without a door for Python it compiles in half the time.
    """
    if function is None:
        return lambda f: kernel(f, **options)
    settings: Any = numba.config
    outer = settings.CACHE_DIR
    settings.CACHE_DIR = str(cache_dir())
    try:
        options |= {"no_cfunc_wrapper": True, "no_cpython_wrapper": function.__name__.startswith("_")}
        return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    finally:
        settings.CACHE_DIR = outer
