"""The decorator of every kernel: nogil, cached in a folder that is named after the kernels' own source.

Numba keys its cache on the file of the outer function only, so an edited helper in another file would leave a stale
machine-code copy of its caller behind. Here the folder's name carries a hash of all kernel sources: edited kernels start in a
fresh folder. ``NUMBA_CACHE_DIR`` is honoured as the parent (each daemon gets its own: processes that share one can crash).

A kernel is compiled to machine code only for a caller in Python. For a kernel that calls it, it stays unoptimised LLVM code which is
linked in and optimised there, once: numba would build machine code of every helper too, at every level, and a first run would
take 3 s longer. The hook is numba's documented one (a compiler pipeline of one's own, a code library of one's own).
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType
from typing import Any, overload

import platformdirs

from dolphin.kernels._numba import numba  # isort: split

from numba._dynfunc import make_function
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import NativeLowering

import dolphin.types

__all__ = ["cache_dir", "kernel"]


@cache
def cache_dir() -> Path:
    """Folder of the compiled kernels: ``<user cache or NUMBA_CACHE_DIR>/kernels-<hash of the sources>``."""
    digest = hashlib.sha256(f"{numba.__version__}".encode())
    for path in [*sorted(Path(__file__).parent.glob("*.py")), Path(dolphin.types.__file__)]:
        digest.update(path.read_bytes())
    parent = os.environ.get("NUMBA_CACHE_DIR") or platformdirs.user_cache_dir("dolphin")
    return Path(parent) / f"kernels-{digest.hexdigest()[:16]}"


class LinkedLibrary(JITCodeLibrary):
    """Code of a kernel that is only ever linked into others: neither optimised by itself nor turned into machine code."""

    def finalize(self) -> None:
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class LinkedLowering(NativeLowering):
    """Numba's last pass, into a ``LinkedLibrary``."""

    _name = "linked_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = LinkedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state.cr
        name = state.func_id.func_qualname
        key = make_function(lowered.fndesc.lookup_module(), name, "linked, not callable", 0, lowered.env, (state.library,))
        state.targetctx.insert_user_function(key, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=key)
        return True


class LinkedCompiler(CompilerBase):
    """Numba's pipeline but for its end."""

    def define_pipelines(self) -> list[PassManager]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [(LinkedLowering if step is NativeLowering else step, note) for step, note in pipeline.passes]
        pipeline.finalize()
        return [pipeline]


class Kernel[**P, R]:
    """A compiled function: machine code for callers in Python, a ``LinkedLibrary`` for other kernels."""

    def __init__(self, function: Callable[P, R], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        options |= {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
        settings: Any = numba.config
        outer = settings.CACHE_DIR
        settings.CACHE_DIR = str(cache_dir())
        try:
            self._compiled: Any = numba.njit(cache=True, **options)(function)
        finally:
            settings.CACHE_DIR = outer
        self._function, self._options = function, options

    @cached_property
    def _linked(self) -> Any:
        options: Any = self._options | {"pipeline_class": LinkedCompiler, "no_cpython_wrapper": True}
        return numba.njit(**options)(self._function)

    @cached_property
    def py_func(self) -> Callable[P, R]:
        """The body as plain Python, and so are the kernels that it calls: nothing is compiled, the numbers are the same."""
        f: Any = self._function
        plain = {name: value.py_func for name in f.__code__.co_names if isinstance(value := f.__globals__.get(name), Kernel)}
        return FunctionType(f.__code__, f.__globals__ | plain, f.__name__, f.__defaults__, f.__closure__)

    @property
    def _numba_type_(self) -> numba.types.Dispatcher:
        return numba.types.Dispatcher(self._linked)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._compiled(*args, **kwargs)


@overload
def kernel[**P, R](function: Callable[P, R]) -> Kernel[P, R]: ...


@overload
def kernel[**P, R](function: None = None, **options: Any) -> Callable[[Callable[P, R]], Kernel[P, R]]: ...


def kernel(function: Any = None, **options: Any) -> Any:
    """Compile ``function`` with numba at its first call: nogil, cached, IEEE arithmetic (no fastmath unless asked for)."""
    if function is None:
        return lambda f: Kernel(f, options)
    return Kernel(function, options)
